"""The benchmark of experiment statistics runs, prints its table and agrees with its peer. No figure is judged."""

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "experiment_statistics.py"


def test_experiment_statistics() -> None:
    options = ("--users", "2000", "--bootstrap", "1000", "--runs", "1")
    done = subprocess.run([sys.executable, SCRIPT, *options], capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    assert [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("|")][2:] == [
        "four metrics and sample ratio, Parquet",
        "four metrics and sample ratio, DuckDB file",
        "p90 with interval, Parquet",
        "10,000 experiments x 10 metrics x 30 days",
    ]
    gaps = {name: float(gap) for name, gap in re.findall(r"(\w+) (\de[-+]\d+)", done.stdout)}
    assert gaps.pop("paid") < 1e-3  # p (1 - p) in the place of the sample variance
    assert len(gaps) == 4
    assert max(gaps.values()) < 1e-8
