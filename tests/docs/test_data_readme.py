"""What data/README.md shows is what holds."""

from pathlib import Path

from neonblue_lab.lake.tables import TABLES
from neonblue_lab.sinks.policy import DEFAULT_TEXT

README = (Path(__file__).resolve().parents[2] / "data" / "README.md").read_text("utf-8")


def test_the_policy_is_the_default_one():
    assert f"```yaml\n{DEFAULT_TEXT.strip()}\n```" in README


def test_every_table_of_the_lake_is_described():
    assert {name for name in TABLES if f"| `{name}` |" in README} == set(TABLES)
