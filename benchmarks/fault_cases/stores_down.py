"""Stores fail while they are fed, or their feeder does."""

import time

from benchmarks.fault_cases.scene import DONE, NOTHING_TO_DO, Outcome, Scene, Size
from benchmarks.fault_cases.stores import Stores, stores_for

DOWN_SECONDS = 2.0


def stores_down_while_following(scene: Scene, size: Size) -> Outcome:
    """Kill ClickHouse and PostgreSQL in turn under a follower that feeds them, and start each again after a while."""
    diagnoses = []
    with stores_for(scene.home) as stores:
        with scene.following("--sync", environment=stores.environment) as follower:
            for _ in range(size.times):
                for store in (stores.clickhouse, stores.postgres):
                    with scene.records_arriving():
                        time.sleep(scene.rng.uniform(1, 3))
                        store.kill()
                        time.sleep(DOWN_SECONDS)
                        diagnoses.append(scene.diagnosis(stores.environment))
                        store.restart()
            scene.await_caught_up()
            scene.leave(follower)
        return synced(scene, stores, "stores down while following", 2 * size.times, diagnoses)


def stores_down_while_syncing(scene: Scene, size: Size) -> Outcome:
    """Kill ClickHouse and PostgreSQL in turn during `neonblue sync`, and start each again when that has ended."""
    diagnoses = []
    with stores_for(scene.home) as stores:
        for _ in range(size.times):
            for store in (stores.clickhouse, stores.postgres):
                scene.topic.produce(size.records)
                scene.replay()
                with scene.syncing(stores.environment) as syncing:
                    time.sleep(scene.rng.uniform(0.5, 2))
                    store.kill()
                    scene.heard(syncing.answer())
                diagnoses.append(scene.diagnosis(stores.environment))
                store.restart()
        return synced(scene, stores, "stores down during a sync", 2 * size.times, diagnoses)


def killed_while_syncing(scene: Scene, size: Size) -> Outcome:
    """Kill `neonblue sync` at random instants: between a write and its bookkeeping, too."""
    with stores_for(scene.home) as stores:
        times = size.kills // 3
        for _ in range(times):
            scene.topic.produce(size.records // 4)
            scene.replay()
            with scene.syncing(stores.environment) as syncing:
                time.sleep(scene.rng.uniform(0.3, 2))
                scene.heard(syncing.kill())
        return synced(scene, stores, "kill -9 of a sync", times, [])


def synced(scene: Scene, stores: Stores, fault: str, times: int, diagnoses: list[str]) -> Outcome:
    """Bring the stores up to the lake, expect that there is nothing to do then, and compare them and the lake with the log."""
    scene.replay()
    for expected in (DONE, NOTHING_TO_DO):
        with scene.syncing(stores.environment) as syncing:
            answer = scene.heard(syncing.answer())
        scene.expect(answer.code in (expected, NOTHING_TO_DO), f"sync left with {answer.code}: {answer.said}")
    silent = [diagnosis for diagnosis in diagnoses if not diagnosis]
    scene.expect(not silent, f"doctor said nothing of a store that was down, {len(silent)} times")
    seen = f"doctor: {diagnoses[-1]}" if diagnoses else answer.said
    return scene.outcome(fault, times, seen, stores=stores.audit(scene.topic.due()))
