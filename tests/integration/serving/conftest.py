"""A small lab made from simulated topics, with what a nightly run publishes, and ways to ask a server of it."""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

import anyio
import pytest
from mcp import Client

from neonblue_lab.errors import Unavailable
from neonblue_lab.events.simulator import simulate
from neonblue_lab.knowledge.minilm import model_folder
from neonblue_lab.lab import Lab
from neonblue_lab.metrics.series import daily_series
from neonblue_lab.topics.archive import write_archive

Conversation = Callable[[Client], Awaitable[Any]]


@pytest.fixture(scope="session")
def simulated(
    tmp_path_factory: pytest.TempPathFactory, unavailable: Callable[[str], NoReturn]
) -> tuple[Path, dict[str, Any]]:
    """A data folder as a nightly run leaves it, and what the simulation knows to be true of it."""
    try:
        model_folder()
    except Unavailable as error:
        unavailable(str(error))
    folder = tmp_path_factory.mktemp("served")
    simulation = simulate(experiments=8, users=2_000, events=24_000, seed=3, days=42)
    write_archive(folder / "topics", simulation.batches())
    lab = Lab.open(folder)
    lab.replay(str(folder / "topics"))
    lab.knowledge.publish(lab.experiments.documents(), data_versions=lab.warehouse.versions)
    lab.models.fit_trends(daily_series(lab.warehouse, lab.metrics, experiments=[]))
    return folder, simulation.truth


@pytest.fixture(scope="session")
def home(simulated: tuple[Path, dict[str, Any]]) -> Path:
    """The data folder. Nothing writes to it: take `own_home` for that."""
    return simulated[0]


@pytest.fixture(scope="session")
def truth(simulated: tuple[Path, dict[str, Any]]) -> dict[str, Any]:
    """The simulation's truth."""
    return simulated[1]


@pytest.fixture
def own_home(home: Path, tmp_path: Path) -> Path:
    """A copy of `home` to change at will."""
    return Path(shutil.copytree(home, tmp_path / "home"))


@pytest.fixture
def talk() -> Callable[[Any, Conversation], Any]:
    """`talk(server, conversation)`: connect a client of the SDK, hold the conversation, leave, and return its result."""

    def hold(server: Any, conversation: Conversation) -> Any:
        async def connected() -> Any:
            async with Client(server, read_timeout_seconds=60) as client:
                return await conversation(client)

        return anyio.run(connected)

    return hold
