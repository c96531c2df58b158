"""Several replayers of one topic at once."""

import signal
import time

from benchmarks.fault_cases.scene import DONE, SOON_SECONDS, Outcome, Scene, Size, codes
from tests.services.neonblue_process import NeonblueProcess, wait_until


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
    """Two followers share a topic in one consumer group until one is killed, or is asked to leave; the other takes over."""
    group = f"lab-{scene.topic.name}"
    with scene.following("--group", group) as stays:
        with scene.records_arriving():
            for number in range(2 * size.times):
                with scene.following("--group", group) as leaves:
                    await_members(scene, group, 2, leaves)
                    time.sleep(scene.rng.uniform(0, 2))
                    if not leaves.running:
                        answer = scene.heard(leaves.answer())
                        scene.expect(False, f"a member of a group left with {answer.code}: {answer.said}")
                    elif number % 2:
                        scene.leave(leaves)
                    else:
                        scene.heard(leaves.kill())
                await_members(scene, group, 1, stays)
        scene.await_caught_up()
        answer = scene.leave(stays)
    seen = f"the other took over; {answer.said}"
    return scene.outcome("two in a group, one killed or leaving", 2 * size.times, seen)


def await_members(scene: Scene, group: str, count: int, member: NeonblueProcess) -> None:
    """Wait until a group has so many members with partitions, or a member has ended."""
    wait_until(
        lambda: len(scene.topic.shares(group)) == count or not member.running,
        f"{count} members share {group}",
        SOON_SECONDS,
        every=0.2,
    )
