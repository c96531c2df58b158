"""From a lake to answers about users: trained, published, promoted, asked from Python and from the command line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from neonblue_lab import Lab
from neonblue_lab.cli import app
from neonblue_lab.errors import BadInput, NotFound
from neonblue_lab.events.simulator import simulate
from neonblue_lab.topics.archive import write_archive


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    home = tmp_path_factory.mktemp("behaviour")
    write_archive(home / "topics", simulate(experiments=4, users=1_500, events=12_000, seed=2).batches())
    lab = Lab.open(home)
    lab.replay()
    with pytest.raises(NotFound, match="21_user_behavior"):
        lab.models.predict_user_behavior("anybody")
    lab.models.train_behaviour(seed=2)
    return lab


def user_of(lab: Lab, condition: str) -> str:
    found = lab.warehouse.sql(f"SELECT user_id FROM events WHERE {condition} ORDER BY timestamp DESC, event_id LIMIT 1")
    return str(found["user_id"][0])


def test_a_user_is_known_by_all_events_of_the_lake(lab: Lab) -> None:
    said = lab.models.predict_user_behavior(user_of(lab, "event_type = 'purchase'"))
    assert (said.artifact, said.version, said.cold) == ("user_behavior", 1, False)
    assert said.journey_stage in ("purchase", "retention")
    assert said.basis
    for shown in (str(said), said._repr_html_()):
        for text in (said.user_id, said.journey_stage, *said.basis, "user_behavior@1"):
            assert text in shown
    with pytest.raises(BadInput, match="user_id is empty"):
        lab.models.predict_user_behavior("")


def test_a_context_is_what_the_lake_does_not_have_yet(lab: Lab) -> None:
    steps = [{"event_type": kind} for kind in ("session_start", "add_to_cart", "checkout_start")]
    said = lab.models.predict_user_behavior("new here", steps)
    assert said.journey_stage == "intent"
    assert said.intent.in_session is not None
    assert not said.cold


def test_an_assignment_says_what_the_user_has_and_why(lab: Lab) -> None:
    user = user_of(lab, "event_type = 'exposure'")
    one = lab.warehouse.sql("SELECT * FROM assignments WHERE user_id = $1 ORDER BY experiment_id", [user])
    said = lab.models.predict_user_assignment(user, one["experiment_id"][0])
    assert said.assigned_variant == one["variant_id"][0]
    assert "already got" in said.basis[0]
    assert said.recommended_variant in str(said)
    assert said.basis[0] in said._repr_html_()
    new = lab.models.predict_user_assignment("new here", one["experiment_id"][0])
    assert new.assigned_variant is None
    assert new.cold
    assert new.recommended_variant in lab.warehouse.sql("SELECT variant_id FROM variants")["variant_id"]
    with pytest.raises(NotFound, match="has not learned from an experiment no-such"):
        lab.models.predict_user_assignment(user, "no-such")


def test_what_a_replay_stores_of_new_events_is_said_by_the_promoted_model(lab: Lab, tmp_path: Path) -> None:
    write_archive(tmp_path / "topics", simulate(experiments=4, users=300, events=3_000, seed=9).batches())
    later = Lab.open(tmp_path)
    artifact = lab.artifacts.get("user_behavior").path
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "user_behavior").symlink_to(artifact.parent)
    later.replay()
    filled = later.warehouse.sql(
        "SELECT count(*) AS n, count(ai_context.intent_prediction) AS intents, any_value(ai_context.model) AS model "
        "FROM events WHERE event_type = 'page_view'"
    )
    assert filled["n"][0] == filled["intents"][0] > 0
    assert filled["model"][0] == "user_behavior@1"


def test_the_command_line_says_the_same(lab: Lab) -> None:
    user = user_of(lab, "event_type = 'click'")
    home = ["--home", str(lab.settings.home)]
    told = CliRunner().invoke(app, ["models", "behavior", user, *home, "--json"])
    assert json.loads(told.stdout) == lab.models.predict_user_behavior(user).model_dump(mode="json")
    shown = CliRunner().invoke(app, ["models", "behavior", user, *home]).stdout
    assert user in shown
    assert "user_behavior@1" in shown
