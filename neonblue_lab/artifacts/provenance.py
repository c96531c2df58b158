"""Where a result comes from: the running Python, the libraries it has imported, and the commit of the checkout."""

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

from neonblue_lab.artifacts.manifest import GitState
from neonblue_lab.errors import Unavailable
from neonblue_lab.settings import VERSION

GIT_SECONDS = 30


def imported_libraries() -> dict[str, str]:
    """Distribution -> version, sorted, of every installed distribution that this process has imported."""
    distributions = _distributions()
    loaded = {name.partition(".")[0] for name in list(sys.modules)}
    names = {distribution for module in loaded for distribution in distributions.get(module, ())}
    return dict(sorted({**{name: version(name) for name in names}, "neonblue-lab": VERSION}.items()))


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


def git_state(checkout: Path) -> GitState | None:
    """Commit of `checkout`, and whether its files differ from it; None when it is not the root of a git
    checkout, has no commit yet, or no git is installed.

    Raises:
        Unavailable: git is there but did not answer.
    """
    if not (checkout / ".git").exists():
        return None
    try:
        head = _git(checkout, "rev-parse", "--verify", "--quiet", "HEAD")
        if head.returncode != 0:
            return None
        status = _git(checkout, "status", "--porcelain")
    except FileNotFoundError:
        return None
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"git did not answer within {GIT_SECONDS} s in {checkout}.") from error
    if status.returncode != 0:
        raise Unavailable(f"git cannot tell the state of {checkout}: {status.stderr.strip()}")
    return GitState(commit=head.stdout.strip(), dirty=bool(status.stdout.strip()))


def _git(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Inside a git hook, GIT_DIR and its like point to another repository; and `status` must not take the index lock.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    return subprocess.run(
        ["git", "-C", str(checkout), *arguments],
        capture_output=True,
        text=True,
        timeout=GIT_SECONDS,
        env=environment,
        check=False,
    )
