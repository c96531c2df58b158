"""Kill the replayer, or what keeps its lake in order, or ask it to leave."""

import time

from benchmarks.fault_cases.scene import DONE, Outcome, Scene, Size

COMMITTING_SECONDS = 0.1
"""About how long the commits of one batch take."""


def killed_while_replaying(scene: Scene, size: Size) -> Outcome:
    """Kill a bounded replay: every other time at any instant of the time that one takes, else right after a commit."""
    whole = scene.seconds_of_a_replay(size.records)
    finished = torn = 0
    for number in range(size.kills):
        if scene.caught_up():
            scene.topic.produce(size.records)
        with scene.replaying() as replaying:
            if number % 2:
                scene.await_commit(replaying)
            time.sleep(scene.rng.uniform(0, COMMITTING_SECONDS if number % 2 else whole))
            finished += not replaying.running
            scene.heard(replaying.kill())
        torn += scene.torn()
    last = scene.replay()
    seen = f"{finished} had finished before; {torn} kills fell between raw and events; at last: {last.out.strip()}"
    return scene.outcome("kill -9 of a bounded replay", size.kills, seen)


def killed_while_following(scene: Scene, size: Size) -> Outcome:
    """Kill a follower while records arrive: every other time at any instant, else right after a commit."""
    ended = torn = 0
    with scene.records_arriving():
        for number in range(size.kills):
            with scene.following() as follower:
                if number % 2:
                    scene.await_commit(follower)
                time.sleep(scene.rng.uniform(0, COMMITTING_SECONDS if number % 2 else 3))
                if not follower.running:
                    ended += 1
                    answer = scene.heard(follower.answer())
                    scene.expect(False, f"a follower left on its own with {answer.code}: {answer.said}")
                follower.kill()
            torn += scene.torn()
    with scene.following() as follower:
        scene.await_caught_up()
        scene.leave(follower)
    seen = f"{torn} kills fell between raw and events; {ended} followers had left on their own; the last one caught up"
    return scene.outcome("kill -9 of a follower", size.kills, seen)


def asked_to_leave(scene: Scene, size: Size) -> Outcome:
    """SIGTERM a follower while records arrive: it finishes its batch, commits and leaves with 0."""
    torn = 0
    said = ""
    with scene.records_arriving():
        for _ in range(size.times):
            with scene.following() as follower:
                scene.await_commit(follower)
                time.sleep(scene.rng.uniform(0, 1))
                said = scene.leave(follower).said
            torn += scene.torn()
    scene.expect(torn == 0, f"{torn} followers asked to leave left raw ahead of events")
    return scene.outcome("SIGTERM of a follower", size.times, said)


def killed_while_compacting(scene: Scene, size: Size) -> Outcome:
    """Kill `neonblue lake compact` at any instant while a replay commits to the same tables; the replay must not mind."""
    answers = []
    times = size.kills // 3
    for _ in range(times):
        scene.topic.produce(size.records // 20)
        scene.replay()
        scene.topic.produce(size.records // 20)
        with scene.compacting() as compacting, scene.replaying() as replaying:
            time.sleep(scene.rng.uniform(0.3, 1.5))
            scene.heard(compacting.kill())
            answers.append(scene.heard(replaying.answer()))
    minded = [answer.said for answer in answers if answer.code != DONE]
    scene.expect(not minded, f"{len(minded)} replays minded a compaction beside them: {minded[:1]}")
    with scene.compacting() as compacting:
        last = scene.heard(compacting.answer())
    scene.expect(last.code == DONE, f"the last compaction left with {last.code}: {last.said}")
    return scene.outcome("kill -9 of a compaction", times, last.said)
