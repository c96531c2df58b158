"""The broker dies, the topic grows a partition, or the log loses records."""

import signal
import time
from collections.abc import Sequence

from benchmarks.fault_cases.scene import DONE, SOON_SECONDS, Outcome, Scene, Size, codes
from tests.services.neonblue_process import wait_until

DOWN_SECONDS = 2.0


def broker_killed_while_replaying(scene: Scene, size: Size) -> Outcome:
    """Kill the broker while a bounded replay reads, and start it again after a moment."""
    answers = []
    records = 10 * size.records
    whole = scene.seconds_of_a_replay(records)
    for _ in range(size.times):
        scene.topic.produce(records)
        with scene.replaying() as replaying:
            time.sleep(scene.rng.uniform(0.3, 0.9) * whole)
            scene.broker.kill()
            time.sleep(DOWN_SECONDS)
            scene.broker.restart()
            answers.append(scene.heard(replaying.answer()))
    for answer in answers:
        if answer.code != DONE:
            scene.expect_refusal(answer, "No Kafka broker answers")
    return scene.outcome("broker killed during a replay", size.times, f"{codes(answers)}; {answers[-1].said}")


def broker_killed_while_following(scene: Scene, size: Size) -> Outcome:
    """Kill the broker while a follower reads and records arrive."""
    with scene.following() as follower:
        with scene.records_arriving():
            scene.await_commit(follower)  # a follower that finds no broker when it starts says so and leaves
            for _ in range(size.times):
                time.sleep(scene.rng.uniform(0, 2))
                scene.broker.kill()
                time.sleep(DOWN_SECONDS)
                scene.broker.restart()
        scene.await_caught_up()
        scene.expect(follower.running, "the follower left on its own")
        answer = scene.leave(follower)
    return scene.outcome("broker killed while following", size.times, f"went on by itself; {answer.said}")


def partition_added(scene: Scene, size: Size) -> Outcome:
    """Add partitions to the topic under a follower."""
    with scene.following() as follower:
        scene.topic.produce(size.records)
        for _ in range(size.times):
            added = scene.topic.add_partition()
            scene.topic.produce(size.records // 10, [added])
            scene.topic.produce(size.records // 10)
            scene.await_caught_up()
        scene.leave(follower)
    return scene.outcome("partition added while following", size.times, "its records arrived with the others")


def log_truncated(scene: Scene, size: Size) -> Outcome:
    """Delete records that the lake does not have yet; the replay must refuse, and go on only when told to."""
    scene.topic.produce(size.records)
    return gone_before_a_replay(scene, size, "log truncated before a replay", (0, 2))


def log_truncated_where_nothing_was(scene: Scene, size: Size) -> Outcome:
    """The same in a partition that was empty when the lake was filled: its first records are gone."""
    scene.topic.produce(size.records, [0, 1])
    return gone_before_a_replay(scene, size, "log truncated in a partition empty before", (2,))


def gone_before_a_replay(scene: Scene, size: Size, fault: str, partitions: Sequence[int]) -> Outcome:
    """Replay, let records arrive, delete the first of them in some partitions, and replay."""
    scene.replay()
    held = scene.marks(scene.raw)
    scene.topic.produce(size.records)
    gone = {p: range(held.get(p, 0), held.get(p, 0) + 100 + p) for p in partitions}
    scene.topic.delete_before({partition: offsets.stop for partition, offsets in gone.items()})
    refused = scene.replay()
    for partition, offsets in gone.items():
        scene.expect_refusal(
            refused, f"{scene.topic.name}-{partition}", str(offsets.start), str(offsets.stop), "--accept-gap"
        )
    scene.expect(scene.marks(scene.raw) == held, "a replay that refused has written")
    accepted = scene.replay("--accept-gap")
    scene.expect(accepted.code == DONE, f"--accept-gap left with {accepted.code}: {accepted.said}")
    scene.expect_gaps(gone)
    return scene.outcome(fault, 1, refused.said, gone)


def log_truncated_while_following(scene: Scene, size: Size) -> Outcome:
    """Delete records that a follower, held up for a moment, has not read yet."""
    with scene.following() as follower:
        scene.topic.produce(size.records)
        scene.await_caught_up()
        follower.send(signal.SIGSTOP)
        scene.topic.produce(size.records)
        ends = scene.topic.ends()
        # Whatever a fetch under way may still bring: more is deleted.
        scene.topic.delete_before({0: ends[0] - 10})
        follower.send(signal.SIGCONT)
        wait_until(lambda: not follower.running, "a follower of a truncated log leaves", SOON_SECONDS)
        refused = scene.heard(follower.answer())
    held = scene.marks(scene.raw)
    gone = {0: range(held[0], ends[0] - 10)}
    scene.expect_refusal(refused, f"{scene.topic.name}-0", str(gone[0].start), str(gone[0].stop), "--accept-gap")
    with scene.following("--accept-gap") as follower:
        scene.await_caught_up()
        scene.leave(follower)
    scene.expect_gaps(gone)
    return scene.outcome("log truncated while following", 1, refused.said, gone)


def topic_made_anew(scene: Scene, size: Size) -> Outcome:
    """Delete the topic and fill another of its name: its offsets mean other records, and none may get into the lake."""
    scene.topic.produce(size.records)
    scene.replay()
    held = scene.marks(scene.raw)
    other = scene.topic.made_anew()
    other.produce(2 * size.records)
    refused = scene.replay()
    scene.expect_refusal(refused, "another log")
    scene.expect(scene.marks(scene.raw) == held, "a replay that refused has written")
    return scene.audited("topic deleted and made anew", 1, refused.said)


def topic_made_anew_while_following(scene: Scene, size: Size) -> Outcome:
    """The same under a follower that is held up meanwhile, so that the other log is longer than its position."""
    with scene.following() as follower:
        scene.topic.produce(size.records)
        scene.await_caught_up()
        follower.send(signal.SIGSTOP)
        other = scene.topic.made_anew()
        other.produce(2 * size.records)
        follower.send(signal.SIGCONT)
        other.produce(100)
        wait_until(lambda: not follower.running, "a follower of a topic that was made anew leaves", SOON_SECONDS)
        refused = scene.heard(follower.answer())
    scene.expect_refusal(refused, "another log")
    return scene.audited("topic deleted and made anew while following", 1, refused.said)
