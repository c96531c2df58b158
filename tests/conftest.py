"""Fixtures shared by all tests: where the public data sets lie, and what to do when a service cannot be had."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import settings

settings.register_profile("lab", deadline=None)  # a busy machine is no failure
settings.load_profile("lab")

CHECKOUT = Path(__file__).resolve().parent.parent
DATASETS = Path(os.environ.get("NEONBLUE_DATASETS", CHECKOUT.parent / "shared" / "datasets"))


def missing(what: str) -> NoReturn:
    """Skip, saying what is missing; fail instead where NEONBLUE_REQUIRE_SERVICES=1 says that all must be there."""
    if os.environ.get("NEONBLUE_REQUIRE_SERVICES") == "1":
        pytest.fail(f"{what} (NEONBLUE_REQUIRE_SERVICES=1 forbids the skip)")
    pytest.skip(what)


@pytest.fixture(scope="session")
def unavailable() -> Callable[[str], NoReturn]:
    """Call it with the reason when a real service cannot be had."""
    return missing


@pytest.fixture(scope="session")
def dataset() -> Callable[[str], Path]:
    """`dataset("upworthy_exploratory.parquet")`: the path of a public data set, or a skip that says what is missing."""

    def find(name: str) -> Path:
        path = DATASETS / name
        if not path.exists():
            missing(f"data set {name} is not in {DATASETS} (set NEONBLUE_DATASETS to its folder)")
        return path

    return find
