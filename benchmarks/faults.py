"""What does a fault cost: records lost, records doubled, and what does the user see?

The command line is killed, starved and misled while it brings records from a real Apache Kafka into a lake; then the lake is
compared with the broker's log, byte for byte. `lost` counts the rows that a reader of the lake should find and does not,
`doubled` those beyond; both over raw records, events, dead letters, assignments, metric totals and experiments, and over
the same tables of ClickHouse and PostgreSQL where these are fed.
"""

import argparse
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.fault_cases import bad_machine, broken_topic, crowded, killed, stores_down
from benchmarks.fault_cases.scene import NotHere, Outcome, Scene, Size
from benchmarks.timing import give_up, print_table
from tests.services.kafka_broker import KafkaBroker, KafkaUnavailable
from tests.services.neonblue_process import TooLate

FULL = Size(kills=50, times=3, records=10_000, commits=10_000)
QUICK = Size(kills=6, times=1, records=4_000, commits=200)

FAULTS: dict[str, Callable[[Scene, Size], Outcome]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        killed.killed_while_replaying,
        killed.killed_while_following,
        killed.asked_to_leave,
        killed.killed_while_compacting,
        broken_topic.broker_killed_while_replaying,
        broken_topic.broker_killed_while_following,
        broken_topic.partition_added,
        broken_topic.log_truncated,
        broken_topic.log_truncated_where_nothing_was,
        broken_topic.log_truncated_while_following,
        broken_topic.topic_made_anew,
        broken_topic.topic_made_anew_while_following,
        bad_machine.disk_full_while_replaying,
        bad_machine.disk_full_while_following,
        bad_machine.clock_backwards,
        bad_machine.restarted_on_an_old_lake,
        crowded.two_replays,
        crowded.two_followers,
        crowded.two_in_a_group,
        stores_down.stores_down_while_following,
        stores_down.stores_down_while_syncing,
        stores_down.killed_while_syncing,
    )
}


def suffer(fault: str, broker: KafkaBroker, folder: Path, size: Size) -> Outcome:
    """Let one fault happen in a scene of its own. A fault that ends otherwise than it should is a flaw, not the end."""
    scene = Scene(broker, folder)
    try:
        return FAULTS[fault](scene, size)
    except NotHere as reason:
        return Outcome(fault.replace("-", " "), 0, 0, 0, f"not run: {reason}")
    except TooLate as late:
        scene.expect(False, str(late))
        return scene.audited(fault.replace("-", " "), 1, f"it did not end: {late}")


def in_a_cell(text: str) -> str:
    """A text as it may stand in a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def main() -> None:
    """Print the table, and below it what was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("faults", nargs="*", metavar="fault", help=f"all unless named: {', '.join(FAULTS)}")
    parser.add_argument("--quick", action="store_true", help="each fault a few times only")
    options = parser.parse_args()
    if unknown := set(options.faults) - FAULTS.keys():
        parser.error(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # unwinds: what was started is stopped
    try:
        broker = KafkaBroker()
    except KafkaUnavailable as reason:
        give_up(f"No fault can be tried: {reason}.")
    outcomes = []
    with TemporaryDirectory(prefix="neonblue-faults-") as folder, broker:
        for fault in options.faults or FAULTS:
            begun = time.monotonic()
            outcome = suffer(fault, broker, Path(folder), QUICK if options.quick else FULL)
            outcomes.append(outcome)
            print(
                f"{fault}: {time.monotonic() - begun:.0f} s, lost {outcome.lost}, doubled {outcome.doubled}",
                file=sys.stderr,
            )
    print_table(
        ["fault", "times", "lost", "doubled", "what the user saw"],
        [[o.fault, str(o.times), str(o.lost), str(o.doubled), in_a_cell(o.seen)] for o in outcomes],
    )
    flaws = [f"- {outcome.fault}: {flaw}" for outcome in outcomes for flaw in outcome.flaws]
    if flaws:
        print("\nNot as it should be:\n" + "\n".join(flaws))
        sys.exit(1)


if __name__ == "__main__":
    main()
