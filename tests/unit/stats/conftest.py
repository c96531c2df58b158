"""Numbers published by other systems, for the statistics to be tested against."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
REFERENCE = Path(os.environ.get("NEONBLUE_REFERENCE", CHECKOUT.parent / "shared" / "reference"))


@pytest.fixture(scope="session")
def oracle(unavailable: Callable[[str], NoReturn]) -> Callable[[str, str], dict[str, Any]]:
    """`oracle("two_sample", "welch_absolute")`: one case of oracles.json, or a skip that says what is missing."""
    file = REFERENCE / "oracles.json"
    if not file.exists():
        unavailable(f"oracles.json is not in {REFERENCE} (set NEONBLUE_REFERENCE to its folder)")
    cases = json.loads(file.read_text(encoding="utf-8"))

    def find(family: str, case: str) -> dict[str, Any]:
        return next(found for found in cases[family] if found["case"] == case)

    return find
