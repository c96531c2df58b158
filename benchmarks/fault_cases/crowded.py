"""Several replayers of one topic at once."""

import signal
import time

from benchmarks.fault_cases.scene import DONE, SOON_SECONDS, Outcome, Scene, Size, codes


def two_replays(scene: Scene, size: Size) -> Outcome:
    """Start two bounded replays of one topic at once."""
    answers = []
    for _ in range(size.times):
        scene.topic.produce(size.records)
        with scene.replaying() as one, scene.replaying() as other:
            answers += [scene.heard(one.answer()), scene.heard(other.answer())]
    for answer in answers:
        if answer.code not in (0, 3):
            scene.expect_refusal(answer, "another")
    told = next((answer.said for answer in answers if answer.code == 1), "neither was in the other's way")
    return scene.outcome("two replays at once", size.times, f"{codes(answers)}; {told}")


def two_followers(scene: Scene, size: Size) -> Outcome:
    """Start two followers of one topic at once, in no group."""
    answers = []
    for _ in range(size.times):
        with scene.following() as one, scene.following() as other:
            with scene.records_arriving():
                time.sleep(4)
            scene.await_caught_up()
            for follower in (one, other):
                follower.send(signal.SIGTERM)
                answers.append(scene.heard(follower.answer(SOON_SECONDS)))
    for answer in answers:
        if answer.code != DONE:
            scene.expect_refusal(answer, "another")
    told = next((answer.said for answer in answers if answer.code == 1), "neither was in the other's way")
    return scene.outcome("two followers at once", size.times, f"{codes(answers)}; {told}")


def two_in_a_group(scene: Scene, size: Size) -> Outcome:
    """Two followers share a topic in one consumer group; one is killed, and the other takes over."""
    group = ("--group", f"lab-{scene.topic.name}")
    for _ in range(size.times):
        with scene.following(*group) as stays:
            with scene.records_arriving(), scene.following(*group) as killed:
                time.sleep(scene.rng.uniform(2, 5))
                for follower in (stays, killed):
                    if not follower.running:
                        answer = scene.heard(follower.answer())
                        scene.expect(False, f"a member of a group left with {answer.code}: {answer.said}")
                scene.heard(killed.kill())
            scene.await_caught_up()
            scene.leave(stays)
    return scene.outcome("two followers in a group, one killed", size.times, "the other took its partitions over")
