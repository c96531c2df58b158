"""The real sentence encoder, loaded once."""

from collections.abc import Callable
from typing import NoReturn

import pytest

from neonblue_lab.errors import Unavailable
from neonblue_lab.knowledge.minilm import MiniLM


@pytest.fixture(scope="session")
def minilm(unavailable: Callable[[str], NoReturn]) -> MiniLM:
    """all-MiniLM-L6-v2; a skip where its weights are not installed."""
    try:
        return MiniLM()
    except Unavailable as error:
        unavailable(str(error))
