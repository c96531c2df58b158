"""How good are the lab's models, each beside what a sceptic would name? One command for every figure that is reported of them.

Runs the scripts below one after the other, each in a process of its own, and prints their tables under headings.
"""

import argparse
import subprocess
import sys

from timing import CHECKOUT

PARTS = {
    "retrieval": ("Retrieval: headlines of one test find each other", ("--sample", "100", "--runs", "1")),
    "outcome": ("Outcome: which of two headlines is clicked more often", ("--sample", "150", "--without-neural")),
    "next_action": ("Next action: what a visitor of a shop looks at next", ("--tuning", "--runs", "1")),
    "m4_hourly": ("Trends: hourly series of the M4 competition", ("--sample", "100", "--workers", "2")),
    "event_labels": ("Event labels: types of events that were never seen", ("--events", "200")),
    "enrichment": ("Enrichment: what it adds to a replay", ("--records", "20000", "--runs", "1")),
}
"""Script -> heading, and the options with which it is quick: on less data, so that its figures are others."""


def main() -> None:
    """Run the parts; leave with the code of the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all unless given")
    parser.add_argument("--quick", action="store_true", help="on a part of the data: to see that all of it works")
    options = parser.parse_args()
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    for part in options.parts or PARTS:
        heading, quick = PARTS[part]
        print(f"## {heading}\n", flush=True)
        done = subprocess.run(
            [sys.executable, CHECKOUT / "benchmarks" / f"{part}.py", *(quick if options.quick else ())], check=False
        )
        if done.returncode:
            sys.exit(done.returncode)
        print(flush=True)


if __name__ == "__main__":
    main()
