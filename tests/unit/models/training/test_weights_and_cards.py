import json
import zipfile

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from neonblue_lab.errors import BadInput, Corrupt
from neonblue_lab.models.training.card import card, doubts_of, table
from neonblue_lab.models.training.scores import Score
from neonblue_lab.models.training.weights import load_pipeline, save_pipeline

TRUSTED = frozenset(
    {
        "builtins.str",
        "builtins.dict",
        "builtins.list",
        "numpy.ndarray",
        "numpy.float64",
        "numpy.int32",
        "sklearn.linear_model._logistic.LogisticRegression",
    }
)


@pytest.fixture
def fitted():
    rng = np.random.default_rng(1)
    return LogisticRegression().fit(rng.normal(size=(50, 3)), rng.integers(2, size=50))


def test_weights_come_back_as_they_were(tmp_path, fitted):
    save_pipeline(tmp_path / "model.skops", fitted)
    again = load_pipeline(tmp_path / "model.skops", TRUSTED)
    rows = np.random.default_rng(2).normal(size=(20, 3))
    assert (again.predict_proba(rows) == fitted.predict_proba(rows)).all()


def test_a_type_that_is_not_on_the_list_is_not_loaded_though_skops_would(tmp_path, fitted):
    save_pipeline(tmp_path / "model.skops", fitted)
    with pytest.raises(Corrupt, match=r"names sklearn\.linear_model\._logistic\.LogisticRegression, which is no part"):
        load_pipeline(tmp_path / "model.skops", TRUSTED - {"sklearn.linear_model._logistic.LogisticRegression"})


def test_a_planted_function_is_not_run(tmp_path, fitted):
    path = tmp_path / "model.skops"
    save_pipeline(path, fitted)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(entries["schema.json"])
    schema["content"]["content"]["C"] = {
        "__class__": "function",
        "__module__": "os",
        "__loader__": "FunctionNode",
        "content": {"module_path": "os", "function": "system"},
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (entries | {"schema.json": json.dumps(schema).encode()}).items():
            archive.writestr(name, content)
    with pytest.raises(Corrupt, match=r"os\.function"):
        load_pipeline(path, TRUSTED)


def test_what_is_no_skops_file_is_said(tmp_path):
    (tmp_path / "model.skops").write_bytes(b"weights")
    with pytest.raises(Corrupt, match="not a skops file"):
        load_pipeline(tmp_path / "model.skops", TRUSTED)


def test_the_doubts_of_a_card_can_be_read_alone():
    assert doubts_of(card("Model", {"Data": "Many rows."}, ["It rains.", "It snows."])) == "- It rains.\n- It snows."
    assert doubts_of("# A card without") == ""


def test_a_card_says_when_not_to_believe_the_model():
    text = card(
        "Outcome",
        {"How good it is": table(["model", "AUC"], [["ours", Score(0.7, 0.65, 0.75, 10)], ["none", None]])},
        ["On short tests."],
    )
    assert "| ours | 0.700 (0.650 to 0.750) |" in text
    assert "| none | not measured |" in text
    assert text.endswith("## When not to believe it\n\n- On short tests.\n")
    with pytest.raises(BadInput, match="when not to believe"):
        card("Outcome", {}, [])
