"""All that besides the data decides what a run computes: the means to repeat it, or to see that nothing changed."""

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path

import neonblue_lab
from neonblue_lab.pipelines.plan import PlannedStep
from neonblue_lab.pipelines.runs import Inputs
from neonblue_lab.settings import Settings


def gather_inputs(planned: Mapping[str, PlannedStep], settings: Settings) -> Inputs:
    """Read parameters, hashes and versions of the run that is about to start."""
    metrics = settings.metrics_file
    return Inputs(
        parameters={name: dict(each.parameters) for name, each in planned.items()},
        notebooks={name: each.sha256 for name, each in planned.items()},
        code=_sources_sha256(Path(neonblue_lab.__file__).parent),
        metric_definitions=hashlib.sha256(metrics.read_bytes()).hexdigest() if metrics.is_file() else None,
        python=platform.python_version(),
        platform=platform.platform(),
        libraries=_installed_libraries(),
    )


def _installed_libraries() -> dict[str, str]:
    """Distribution -> version; folders that an unfinished removal left without a name are nobody's version."""
    return dict(sorted((each.name, each.version) for each in distributions() if each.metadata["Name"]))


def _sources_sha256(package: Path) -> str:
    """SHA-256 over the names and contents of the package's Python files, in the order of their names."""
    total = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        total.update(f"{file.relative_to(package).as_posix()}\0".encode())
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()
