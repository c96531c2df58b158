"""From events and exposures to whom a variant helps: what is known before exposure, what counts after it."""

import numpy as np
import polars as pl
import pytest

from neonblue_lab.models.behaviour.assignment import OUTCOME_DAYS
from neonblue_lab.models.behaviour.behaviour import Reading
from neonblue_lab.models.behaviour.learning import learn

USERS = 2_500


def events_and_assignments(written, *, helps_mobile, late=0.0, experiments=("e",)):
    """Users who look around, are exposed, and convert with 30 %; on mobile `helps_mobile` more often with the variant, from
    `late` days after the exposure on."""
    rng = np.random.default_rng(11)
    rows, exposed = [], []
    for user in range(USERS):
        minute, mobile, treated = float(rng.uniform(0, 20_000)), rng.random() < 0.5, rng.random() < 0.5
        device = f'{{"device_type":"{"mobile" if mobile else "desktop"}"}}'
        here = {"user_id": f"u{user}", "session_id": f"s{user}"}
        rows += [
            here | {"event_type": kind, "minute": minute + step / 10, "properties": device}
            for step, kind in enumerate(["session_start", "page_view", "click"])
        ]
        for experiment in experiments:
            exposed.append((experiment, f"u{user}", "variant" if treated else "control", minute + 0.25))
        if rng.random() < 0.3 + helps_mobile * (treated and mobile):
            bought = {"event_type": "purchase", "minute": minute + 1 + late * 24 * 60, "session_id": f"t{user}"}
            rows.append(here | bought)
    end = {"event_type": "page_view", "minute": 80_000, "user_id": "the last"}
    events = written([*rows, end])
    start = events["timestamp"].min() - pl.duration(minutes=min(row["minute"] for row in rows))
    assignments = pl.DataFrame(exposed, schema=["experiment_id", "user_id", "variant_id", "minute"], orient="row")
    minutes = pl.duration(microseconds=(pl.col("minute") * 60e6).cast(pl.Int64))
    return events, assignments.select(pl.exclude("minute"), first_exposed_at=start + minutes)


def variants(*experiments):
    pairs = [(experiment, variant) for experiment in experiments for variant in ("control", "variant")]
    return pl.DataFrame(pairs, schema=["experiment_id", "variant_id"], orient="row")


def like(events, device):
    own = events.filter(pl.col("properties").str.contains(device))["user_id"][0]
    return events.filter(pl.col("user_id") == own, pl.col("event_type") != "purchase")


@pytest.fixture(scope="module")
def helped(written):
    events, assignments = events_and_assignments(written, helps_mobile=0.3, experiments=("e", "small"))
    small = pl.col("experiment_id") == "small"
    few = assignments.filter(~small | (pl.col("user_id").str.len_chars() <= 3))
    return learn(events, few, variants("e", "small"), Reading(), seed=1), events


def test_the_variant_is_for_those_whom_it_helps(helped):
    (model, report), events = helped
    row = report.uplifts.filter(experiment_id="e").row(0, named=True)
    assert row["low"] < 0.15 < row["high"]
    assert row["effect_varies"]
    assert row["overlap"]
    mobile, cold = model.recommend("e", like(events, "mobile"))
    assert (mobile.variant, mobile.personalised, cold) == ("variant", True, False)
    assert mobile.effect[1] < 0.3 < mobile.effect[2]
    desktop, _ = model.recommend("e", like(events, "desktop"))
    # Nothing was seen for those like them, so that what holds for all decides, and the answer says so.
    assert not desktop.personalised
    assert any("contains 0" in sentence for sentence in desktop.basis)


def test_somebody_unknown_gets_what_is_best_for_all(helped):
    (model, _), events = helped
    said, cold = model.recommend("e", events.clear())
    assert cold
    assert (said.variant, said.personalised) == ("variant", False)
    assert any("hardly anything is known" in sentence for sentence in said.basis)


def test_enrichment_recommends_what_is_recommended(helped):
    (model, _), events = helped
    for device in ("mobile", "desktop"):
        own = like(events, device).with_columns(user_id=pl.lit("new"), experiment_id=pl.lit("e"))
        assert model.enrich(own)["recommended_variant"][-1] == model.recommend("e", own)[0].variant


def test_an_experiment_of_few_users_tells_nothing_and_its_control_stays(helped):
    (model, report), events = helped
    assert "at least 50 of each" in report.uplifts.filter(experiment_id="small")["why"][0]
    said, _ = model.recommend("small", like(events, "mobile"))
    assert (said.variant, said.effect, said.overlap) == ("control", None, None)


def test_a_conversion_after_the_days_does_not_count(written):
    events, assignments = events_and_assignments(written, helps_mobile=0.3, late=OUTCOME_DAYS + 1)
    _, report = learn(events, assignments, variants("e"), Reading(), seed=1)
    assert "0 of its users converted" in report.uplifts["why"][0]


def test_users_of_two_variants_are_left_out(written):
    events, assignments = events_and_assignments(written, helps_mobile=0.0)
    both = assignments.head(300).with_columns(
        variant_id=pl.col("variant_id").replace_strict({"control": "variant", "variant": "control"})
    )
    _, report = learn(events, pl.concat([assignments, both]), variants("e"), Reading(), seed=1)
    assert report.uplifts["users"][0] == USERS - 300
    assert not report.uplifts["effect_varies"][0]
