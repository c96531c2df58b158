"""Where faults happen: a known topic, a data folder, the commands between them, and what came of it."""

import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from deltalake import DeltaTable

from tests.services.kafka_broker import KafkaBroker
from tests.services.known_topic import Audit, KnownTopic
from tests.services.neonblue_process import Answer, NeonblueProcess, run, started, wait_until

DONE, NOTHING_TO_DO = 0, 3
SINKS = ("sinks", "clickhouse", "postgres")
"""What `doctor` calls its findings about stores."""
LINGER_SECONDS = 0.2
SOON_SECONDS = 60


class NotHere(Exception):
    """A fault cannot be made to happen on this machine; the message says why."""


@dataclass(frozen=True)
class Size:
    """How much of a fault is wanted.

    Attributes:
        kills: how often the replayer is killed, at each way of running it.
        times: how often the faults happen that need more time each.
        records: records of one bounded replay.
        commits: commits of the lake whose follower is timed.
    """

    kills: int
    times: int
    records: int
    commits: int


@dataclass(frozen=True)
class Outcome:
    """One row of the table.

    Attributes:
        times: how often it happened; 0 where it could not be made to happen here, and `seen` says why.
        lost: rows that the lake lacks, over all its tables.
        doubled: rows beyond those due.
        seen: what the user saw.
        flaws: whatever was not as it should be, in sentences.
    """

    fault: str
    times: int
    lost: int
    doubled: int
    seen: str
    flaws: tuple[str, ...] = ()


@dataclass
class Scene:
    """A topic with records of its own, a data folder without a lake, and what the user was told so far."""

    broker: KafkaBroker
    folder: Path
    seed: int = 1
    topic: KnownTopic = field(init=False)
    home: Path = field(init=False)
    flaws: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        name = f"user_events-{uuid4().hex[:8]}"
        self.rng = random.Random(self.seed)
        self.topic = KnownTopic(self.broker.bootstrap, name)
        self.home = self.folder / name

    @property
    def _arguments(self) -> tuple[str | Path, ...]:
        return "replay", self.topic.name, "--from", f"kafka://{self.broker.bootstrap}", "--home", self.home

    def replay(self, *options: str) -> Answer:
        """One bounded replay to its end."""
        return self.heard(run(*self._arguments, *options))

    def seconds_of_a_replay(self, records: int) -> float:
        """How long a replay of so many records takes when nothing happens to it."""
        undisturbed = Scene(self.broker, self.folder)
        undisturbed.topic.produce(records)
        begun = time.monotonic()
        undisturbed.replay()
        return time.monotonic() - begun

    def replaying(self, *options: str) -> AbstractContextManager[NeonblueProcess]:
        """A bounded replay that runs."""
        return started(*self._arguments, *options)

    def following(
        self, *options: str, environment: Mapping[str, str] | None = None
    ) -> AbstractContextManager[NeonblueProcess]:
        """A follower that runs."""
        follow = ("--follow", "--linger", str(LINGER_SECONDS))
        return started(*self._arguments, *follow, *options, environment=environment)

    def syncing(self, environment: Mapping[str, str]) -> AbstractContextManager[NeonblueProcess]:
        """A delivery to the stores that runs."""
        return started("sync", "--home", self.home, environment=environment)

    def compacting(self) -> AbstractContextManager[NeonblueProcess]:
        """A compaction of all tables that runs."""
        return started("lake", "compact", "--home", self.home)

    def diagnosis(self, environment: Mapping[str, str]) -> str:
        """What `neonblue doctor` says of the stores when something is wrong with one; empty otherwise."""
        answer = self.heard(run("doctor", "--home", self.home, "--json", environment=environment))
        found = json.loads(answer.out)["checks"]
        return "; ".join(one["message"] for one in found if one["name"] in SINKS and one["status"] != "ok")

    def expect_gaps(self, gone: Mapping[int, range]) -> None:
        """`neonblue lake gaps` lists what was gone from each partition."""
        answer = self.heard(run("lake", "gaps", "--home", self.home, "--json"))
        self.expect(answer.code == DONE, f"neonblue lake gaps left with {answer.code}: {answer.said}")
        for offsets in gone.values():
            told = str(offsets.start) in answer.out and str(offsets.stop) in answer.out
            self.expect(told, f"neonblue lake gaps does not list {offsets}: {answer.out.strip()}")

    def heard(self, answer: Answer) -> Answer:
        """Note what no user should see."""
        for sign in ("Traceback", "panicked at", "nanobind: leaked"):
            self.expect(sign not in answer.err, f"{sign}: {answer.said}")
        return answer

    def expect(self, so: bool, sentence: str) -> None:
        """Note what should be so and is not."""
        if not so:
            self.flaws[sentence] += 1

    def expect_refusal(self, answer: Answer, *words: str) -> None:
        """An error that leaves with a code of its own and one message that has all the words, in any case."""
        self.expect(answer.code in (1, 2), f"left with {answer.code} instead of an error: {answer.said}")
        missing = [word for word in words if word.lower() not in answer.err.lower()]
        self.expect(not missing, f"the message does not say {', '.join(missing)}: {answer.said}")

    @property
    def raw(self) -> str:
        """The lake's table of the topic's records."""
        return f"raw/{self.topic.name}"

    def marks(self, table: str) -> dict[int, int]:
        """Partition -> next offset of the topic, as a table of the lake states it."""
        path = self.home / "lake" / table
        if not DeltaTable.is_deltatable(str(path)):
            return {}
        opened = DeltaTable(path)
        stated = {p: opened.transaction_version(f"{self.topic.name}/{p}") for p in range(self.topic.partitions)}
        return {partition: offset for partition, offset in stated.items() if offset}

    def logs(self) -> list[Path]:
        """The tables that every batch is written to, the first and the last: raw and events."""
        return [self.home / "lake" / self.raw, self.home / "lake" / "events"]

    def await_commit(self, replaying: NeonblueProcess) -> None:
        """Wait until a command commits to raw, or has ended."""
        log = self.logs()[0] / "_delta_log"
        made = len(list(log.glob("*.json"))) or 1  # the first commit only makes the table
        wait_until(
            lambda: len(list(log.glob("*.json"))) > made or not replaying.running,
            "a replay commits",
            SOON_SECONDS,
            0.002,
        )

    def ingest_dates(self) -> list[str]:
        """The days on which records were stored, by the clock of whoever stored them."""
        files = DeltaTable(self.logs()[0]).file_uris()
        return sorted({part for file in files for part in Path(file).parts if part.startswith("ingest_date=")})

    def torn(self) -> bool:
        """Whether raw holds what `events` does not know of yet."""
        return self.marks(self.raw) != self.marks("events")

    def caught_up(self) -> bool:
        """Whether the lake reaches to the ends that the log has now."""
        ends = {partition: end for partition, end in self.topic.ends().items() if end}
        return self.marks("events") == ends == self.marks(self.raw)

    def await_caught_up(self) -> None:
        """Wait until it does."""
        wait_until(self.caught_up, f"{self.home} reaches the ends of {self.topic.name}", SOON_SECONDS, every=0.1)

    def leave(self, follower: NeonblueProcess) -> Answer:
        """Ask a follower to leave (SIGTERM), and expect that it does so in order."""
        follower.send(signal.SIGTERM)
        answer = self.heard(follower.answer(SOON_SECONDS))
        self.expect(answer.code == DONE, f"a follower asked to leave left with {answer.code}: {answer.said}")
        return answer

    def outcome(
        self,
        fault: str,
        times: int,
        seen: str,
        gone: Mapping[int, range] | None = None,
        stores: Sequence[Audit] = (),
    ) -> Outcome:
        """Replay what is left, expect that there is nothing to do then, and compare lake and log."""
        last = self.replay()
        self.expect(last.code in (DONE, NOTHING_TO_DO), f"the last replay left with {last.code}: {last.said}")
        again = self.replay()
        self.expect(again.code == NOTHING_TO_DO, f"a replay with nothing to do left with {again.code}: {again.said}")
        return self.audited(fault, times, seen, gone, stores)

    def audited(
        self,
        fault: str,
        times: int,
        seen: str,
        gone: Mapping[int, range] | None = None,
        stores: Sequence[Audit] = (),
    ) -> Outcome:
        """Compare lake and log as they are, and add what was found of stores."""
        audits = [self.topic.audit(self.home, gone), *stores]
        for own, shown in {
            str(self.home): "DATA",
            self.topic.name: "user_events",
            self.broker.bootstrap: "host:port",
        }.items():
            seen = seen.replace(own, shown)
        lost, doubled = sum(a.lost.total() for a in audits), sum(a.doubled.total() for a in audits)
        told = [f"{sentence} ({count} times)" if count > 1 else sentence for sentence, count in self.flaws.items()]
        told += [example for audit in audits for example in audit.examples]
        return Outcome(fault, times, lost, doubled, seen, tuple(told))

    @contextmanager
    def records_arriving(self, at_once: int = 100, pause: float = 0.05) -> Iterator[None]:
        """Records keep coming from another thread while the block runs."""
        enough = threading.Event()
        failures: list[BaseException] = []

        def send() -> None:
            try:
                while not enough.wait(pause):
                    self.topic.produce(at_once)
            except BaseException as failure:
                failures.append(failure)
                raise

        sender = threading.Thread(target=send)
        sender.start()
        try:
            yield
        finally:
            enough.set()
            sender.join()
        if failures:
            raise failures[0]


def codes(answers: list[Answer]) -> str:
    """How often commands left with which exit code, as part of a sentence."""
    return ", ".join(f"{count} x exit {code}" for code, count in sorted(Counter(one.code for one in answers).items()))
