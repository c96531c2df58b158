"""Learning all of behaviour from events, with the report on users and moments that the tested models had not seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import polars as pl

from neonblue_lab.errors import NothingToDo
from neonblue_lab.models.behaviour import assignment, intent, score, snapshots, uplift
from neonblue_lab.models.behaviour.assignment import OUTCOME_DAYS, ExperimentUplift
from neonblue_lab.models.behaviour.behaviour import (
    COLD_STEPS,
    SESSION_END,
    BehaviourModel,
    Reading,
    last_actions,
)
from neonblue_lab.models.behaviour.features import (
    DAY,
    FeatureSet,
    Matrix,
    conversions_of,
    summary_of_users,
)
from neonblue_lab.models.behaviour.intent import IntentReport
from neonblue_lab.models.behaviour.journey_vectors import PmiSvd
from neonblue_lab.models.behaviour.next_action import NextAction
from neonblue_lab.models.behaviour.score import Scoring
from neonblue_lab.models.behaviour.segments import Segments, discover
from neonblue_lab.models.behaviour.sequences import Sequences
from neonblue_lab.models.behaviour.sessions import Steps, starts, trait_levels
from neonblue_lab.models.behaviour.snapshots import IN_SESSION, WITHIN_DAYS, Snapshots, Timeline
from neonblue_lab.models.behaviour.stages import flow, funnel, stage_after
from neonblue_lab.models.training.drift import Profile
from neonblue_lab.models.training.scores import log_losses, mean_score
from neonblue_lab.stats.arrays import Floats, Integers

DIMENSIONS = 32
"""Of the vectors of journeys."""

MOST_CONTEXTS = 20_000
"""So many contexts, the most frequent ones, have their next action worked out beforehand."""

MOST_ON_MAP = 2_000
"""Users on the map of journeys."""

MOST_LEARNED = 40_000
"""Actions, the latest ones, that the next one is learned from: for the few hundred actions of a vocabulary they are plenty."""

MOST_TESTED = 50_000
"""Rows that are enough to measure on."""

MOST_IN_PROFILE = 12
"""So many actions, the most frequent ones, may name a segment."""

NEXT_HELD_OUT = 0.2
"""Share of the sessions, the last ones, that the next action is tested on."""

NEXT_SCORES = {"model": pl.String, "metric": pl.String} | dict.fromkeys(("value", "low", "high"), pl.Float64)


@dataclass(frozen=True, eq=False)
class BehaviourReport:
    """What was seen, and how far the model can be believed.

    Attributes:
        funnel: stage, sessions, share; see `stages.funnel`.
        flow: source, target, count, share; see `stages.flow`.
        intents: question -> scores on later moments of other users, for the questions that could be learned.
        lacking: question -> why it could not.
        drivers: what moves the probabilities most: question, feature, weight; see `intent.drivers`.
        bands: what scores are worth, on held-out moments: score, converted, low, high, moments; no rows without intent.
        next_action: on the last NEXT_HELD_OUT of sessions: model ("model", "most frequent"), metric (accuracy, log_loss), value,
            low, high (sessions drawn whole).
        map: x, y (a plane through the vectors of journeys), segment (its name); MOST_ON_MAP users at most.
        segments: the segments, with their profile.
        uplifts: columns of `assignment.UPLIFTS`.
        profile: of the features at the moments learned from, for drift.
        facts: events, steps, sessions, users, first and last step.
    """

    funnel: pl.DataFrame
    flow: pl.DataFrame
    intents: Mapping[str, IntentReport]
    lacking: Mapping[str, str]
    drivers: pl.DataFrame
    bands: pl.DataFrame
    next_action: pl.DataFrame
    map: pl.DataFrame
    segments: Segments
    uplifts: pl.DataFrame
    profile: Profile
    facts: Mapping[str, float | int | str]

    @property
    def scores(self) -> pl.DataFrame:
        """Scores of both intents, beside their baselines: columns of `intent.SCORES`."""
        return pl.concat([pl.DataFrame(schema=intent.SCORES), *(report.scores for report in self.intents.values())])

    @property
    def overview(self) -> str:
        """What was learned from, and what could not be, in sentences of a line each."""
        seen = (
            f"{self.facts['steps']:,} steps (of {self.facts['events']:,} events) in {self.facts['sessions']:,} sessions of "
            f"{self.facts['users']:,} users, {self.facts['first']} to {self.facts['last']}."
        )
        return "\n".join(
            [seen, *(f"Not learned, {name.replace('_', ' ')}: {why}" for name, why in self.lacking.items())]
        )

    def reliability(self, question: str) -> pl.DataFrame:
        """Stated probabilities of a question beside what came true; no rows where it could not be learned."""
        found = self.intents.get(question)
        return pl.DataFrame() if found is None else found.reliability

    @property
    def metrics(self) -> dict[str, float | None]:
        """What an artifact's manifest keeps, e.g. `in_session_brier` and `in_session_brier_base_rate`."""
        kept = {
            f"{row['question']}_{row['metric']}"
            + ("" if row["model"] == intent.MODEL else f"_{_word(row['model'])}"): row["value"]
            for row in self.scores.iter_rows(named=True)
        }
        kept |= {
            f"next_action_{row['metric']}" + ("" if row["model"] == intent.MODEL else f"_{_word(row['model'])}"): row[
                "value"
            ]
            for row in self.next_action.iter_rows(named=True)
        }
        return kept | {"segments": float(len(self.segments.ids)), "users": float(self.facts["users"])}


def learn(
    events: pl.DataFrame,
    assignments: pl.DataFrame,
    variants: pl.DataFrame,
    reading: Reading,
    *,
    seed: int,
    former: BehaviourModel | None = None,
) -> tuple[BehaviourModel, BehaviourReport]:
    """Learn from events, and report on it.

    Args:
        events: in the columns of `sessions.COLUMNS`.
        assignments: experiment_id, user_id, variant_id, first_exposed_at.
        variants: experiment_id, variant_id, in order: the first of an experiment is its control.
        reading: how events are read.
        seed: of moments, folds, vectors and segments.
        former: an earlier model: segments that are the same keep their IDs and names.

    Raises:
        NotFound: no event is a step of a user.
    """
    steps = reading.steps(events)
    if not len(steps):
        raise NothingToDo(
            "None of these events is a step of a user: no type is in the table of journey stages or classified as "
            "user_behavior, with a user or a session. There is no behaviour to learn from."
        )
    features = FeatureSet(steps.actions, reading.conversions, trait_levels(steps.traits))
    known, stage = features.after_each_step(steps), stage_after(steps)
    moments = {
        IN_SESSION: snapshots.in_session(steps, features, known, stage, gap=reading.gap, seed=seed),
        WITHIN_DAYS: snapshots.within_days(
            steps, features, known, stage, days=reading.days, gap=reading.gap, seed=seed
        ),
    }
    reports: dict[str, IntentReport] = {}
    lacking: dict[str, str] = {}
    for question, of in moments.items():
        try:
            reports[question] = intent.evaluate(of, steps, seed=seed)
        except intent.TooFew as error:
            lacking[question] = str(error)
    intents = {question: intent.fit(moments[question], seed=seed) for question in reports}

    vectors = PmiSvd.fit(steps.journeys, len(steps.actions), dimensions=DIMENSIONS, seed=seed)
    user_vectors = vectors.embed(steps.journeys)
    users = summary_of_users(steps, reading.conversions)
    segments = discover(
        user_vectors,
        _profiles(steps, users, reading.conversions),
        seed=seed,
        former=None if former is None else former.segments,
        former_ids=None if former is None else _former_ids(users, former),
    )
    after_days = moments[WITHIN_DAYS]
    within = intents[WITHIN_DAYS].probability(after_days.features) if WITHIN_DAYS in intents else None
    model = BehaviourModel(
        reading=reading,
        features=features,
        intents=intents,
        lacking=lacking,
        next_action=_next_action(*_with_end(steps, _by_time(steps)), seed=seed),
        contexts=_frequent_contexts(steps),
        vectors=vectors,
        segments=segments,
        users=users.with_columns(segment=segments.assign(user_vectors)),
        user_vectors=user_vectors,
        scoring=Scoring.of(within, _steps_known(steps, after_days.step) if len(after_days) else [0]),
        uplifts={},
        as_of=datetime.fromtimestamp(int(steps.time.max()) / 1e6, tz=UTC),
    )
    uplifts = learn_uplifts(model, steps, known, assignments, variants, seed=seed)
    model = replace(model, uplifts=uplifts)
    report = BehaviourReport(
        funnel=funnel(steps),
        flow=flow(steps),
        intents=reports,
        lacking=lacking,
        drivers=pl.concat([pl.DataFrame(schema=intent.DRIVERS), *(intent.drivers(q, m) for q, m in intents.items())]),
        bands=_bands(model, steps, after_days, reports.get(WITHIN_DAYS)),
        next_action=_next_action_scores(steps, seed),
        map=_map(user_vectors, model, seed),
        segments=segments,
        uplifts=assignment.table(uplifts),
        profile=_profile(features, known, steps, seed),
        facts={
            "events": events.height,
            "steps": len(steps),
            "sessions": int(steps.first.size),
            "users": len(steps.users),
            "first": f"{datetime.fromtimestamp(int(steps.time.min()) / 1e6, tz=UTC):%Y-%m-%d}",
            "last": f"{model.as_of:%Y-%m-%d}",
        },
    )
    return model, report


def learn_uplifts(
    model: BehaviourModel,
    steps: Steps,
    known: Matrix,
    assignments: pl.DataFrame,
    variants: pl.DataFrame,
    *,
    seed: int,
) -> dict[str, ExperimentUplift]:
    """Whom the variants of each experiment help, by what was known of its users before their first exposure.

    Users who got two variants of an experiment are left out of it, and users without a step. The outcome is a conversion
    within OUTCOME_DAYS of the first exposure: at the end of the data fewer of those days are known, of all variants alike.

    Args:
        model: with segments and vectors; its `uplifts` are not looked at.
        steps, known: those learned from, and their features.
        assignments, variants: as of `learn`.
    """
    timeline = Timeline(steps)
    total = np.concatenate([[0], np.cumsum(conversions_of(steps, model.reading.conversions))])
    first = starts(steps.user)
    numbers = steps.users.to_frame("user_id").with_row_index("user")
    once = pl.col("variant_id").n_unique().over("experiment_id", "user_id") == 1
    exposed = assignments.filter(once).join(numbers, on="user_id", maintain_order="left")
    found = {}
    for experiment_id, own in variants.group_by("experiment_id", maintain_order=True):
        key = str(experiment_id[0])
        arms = own["variant_id"].to_list()
        users = exposed.filter(pl.col("experiment_id") == key, pl.col("variant_id").is_in(arms))
        if len(arms) < 2:
            continue
        user = users["user"].cast(pl.Int64).to_numpy()
        time = users["first_exposed_at"].dt.epoch("us").to_numpy()
        arm = users["variant_id"].replace_strict({a: i for i, a in enumerate(arms)}, return_dtype=pl.Int64).to_numpy()
        before, end = timeline.last_step(user, time), timeline.last_step(user, time + OUTCOME_DAYS * DAY)
        converts = (total[end + 1] > total[before + 1]).astype(np.float64)
        seen = before >= first[user]
        rows = known[before] * seen[:, None]
        segment = np.full(user.size, -1)
        warm = seen & (before - first[user] + 1 >= COLD_STEPS)
        journeys = Sequences(steps.action, first[user[warm]], before[warm] + 1)
        segment[warm] = model.segments.assign(model.vectors.embed(journeys))
        found[key] = _uplift(key, arms, model.covariates(rows, segment), arm, converts, segment, seed)
    return found


def _uplift(
    experiment_id: str,
    variants: list[str],
    covariates: Floats,
    arm: Integers,
    converts: Floats,
    segment: Integers,
    seed: int,
) -> ExperimentUplift:
    counts = np.bincount(arm, minlength=len(variants))
    why = ""
    if counts.min() < uplift.LEAST_USERS:
        why = (
            f"It has {', '.join(f'{n:,} users of {v}' for n, v in zip(counts, variants, strict=True))}: at least "
            f"{uplift.LEAST_USERS} of each are needed to tell an uplift."
        )
    elif converts.sum() < intent.LEAST:
        why = f"Only {converts.sum():.0f} of its users converted: at least {intent.LEAST} are needed to tell an uplift."
    if why:
        return ExperimentUplift(experiment_id, tuple(variants), None, why)
    stratum = np.unique(segment, return_inverse=True)[1].astype(np.int64)
    fitted = uplift.fit(covariates, arm, converts, stratum, seed=seed)
    return ExperimentUplift(experiment_id, tuple(variants), fitted, "")


def _profiles(steps: Steps, users: pl.DataFrame, conversions: Sequence[str]) -> pl.DataFrame:
    """What segments are named by, one row a user: the traits of their last session, and how much they did of what."""
    first = steps.first
    last_session = np.append(starts(steps.user[first])[1:], first.size) - 1
    converts = set(steps.codes(conversions).tolist())
    did = {
        name.replace("_", " "): np.bincount(steps.user[steps.action == code], minlength=users.height) > 0
        for code, name in enumerate(steps.actions[:MOST_IN_PROFILE])
        if code not in converts
    }
    return pl.DataFrame(
        {
            **{name: steps.traits[name].gather(last_session) for name in steps.traits.columns},
            "steps a session": users["steps"].to_numpy() / users["sessions"].to_numpy(),
            "several sessions": users["sessions"].to_numpy() > 1,
            "conversion": users["conversions"].to_numpy() > 0,
            **did,
        }
    )


def _former_ids(users: pl.DataFrame, former: BehaviourModel) -> Integers:
    joined = users.select("user_id").join(former.users, on="user_id", how="left", maintain_order="left")
    return joined["segment"].fill_null(0).cast(pl.Int64).to_numpy()


def _by_time(steps: Steps) -> Integers:
    """The sessions, the oldest first."""
    return np.argsort(steps.time[steps.first], kind="stable")


def _with_end(steps: Steps, order: Integers) -> tuple[Sequences, list[str]]:
    """Sessions in an order, each with SESSION_END as its last action, and the vocabulary with it."""
    sessions = steps.sequences.take(order)
    end = len(steps.actions)
    flat, _ = sessions.flat()
    lengths = sessions.lengths
    values = np.insert(flat, np.cumsum(lengths), end)
    return Sequences.of_lengths(values, lengths + 1), [*steps.actions, SESSION_END]


def _frequent_contexts(steps: Steps) -> Integers:
    distinct, count = np.unique(last_actions(steps), axis=0, return_counts=True)
    return np.asarray(distinct[np.argsort(-count, kind="stable")[:MOST_CONTEXTS]])


def _next_action(sessions: Sequences, vocabulary: list[str], *, seed: int) -> NextAction:
    """Learned from the last MOST_LEARNED actions of sessions, the oldest first."""
    later = np.cumsum(sessions.lengths[::-1])[::-1] <= MOST_LEARNED
    return NextAction.fit(sessions.take(later if later.any() else slice(-1, None)), vocabulary, seed=seed)


def _next_action_scores(steps: Steps, seed: int) -> pl.DataFrame:
    """Accuracy and log loss of the next action in the last sessions, learned from those before, beside always saying how
    often each action occurs."""
    sessions, vocabulary = _with_end(steps, _by_time(steps))
    cut = round(len(sessions) * (1 - NEXT_HELD_OUT))
    if not 0 < cut < len(sessions):
        return pl.DataFrame(schema=NEXT_SCORES)
    contexts, targets = sessions.take(slice(cut, None)).targets()
    owner = np.repeat(np.arange(len(sessions) - cut), sessions.take(slice(cut, None)).lengths)
    kept = np.flatnonzero(targets >= 0)[:MOST_TESTED]
    contexts, targets, owner = contexts.take(kept), targets[kept], owner[kept]
    learned = sessions.take(slice(0, cut))
    counts = np.bincount(np.maximum(learned.flat()[0], 0), minlength=len(vocabulary)) + 1.0
    stated = {
        intent.MODEL: _next_action(learned, vocabulary, seed=seed).probabilities(contexts),
        "most frequent": np.broadcast_to(counts / counts.sum(), (targets.size, len(vocabulary))),
    }
    rows = [
        {"model": name, "metric": metric, "value": s.value, "low": s.low, "high": s.high}
        for name, p in stated.items()
        for metric, s in {
            "accuracy": mean_score(p.argmax(axis=1) == targets, owner, seed=seed),
            "log_loss": mean_score(log_losses(targets, p), owner, seed=seed),
        }.items()
    ]
    return pl.DataFrame(rows, schema=NEXT_SCORES)


def _steps_known(steps: Steps, step: Integers) -> Integers:
    """How many steps of the user are known after each of some steps."""
    return np.asarray(step - starts(steps.user)[steps.user[step]] + 1)


def _bands(model: BehaviourModel, steps: Steps, moments: Snapshots, report: IntentReport | None) -> pl.DataFrame:
    if report is None:
        return pl.DataFrame(schema=score.BANDS)
    held_out = moments.take(report.held_out["row"].to_numpy())
    since = (held_out.time - steps.time[held_out.step]) / DAY
    scores = model.scoring.score(report.held_out["stated"].to_numpy(), _steps_known(steps, held_out.step), since)
    return score.bands(scores, held_out.converts)


def _map(vectors: Floats, model: BehaviourModel, seed: int) -> pl.DataFrame:
    """Users on the plane through the vectors along which they differ most."""
    drawn = np.sort(np.random.default_rng(seed).permutation(len(vectors))[:MOST_ON_MAP])
    centred = vectors[drawn] - vectors[drawn].mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    plane = centred @ axes[:2].T if len(axes) > 1 else np.hstack([centred[:, :1], np.zeros((len(drawn), 1))])
    names = dict(zip(model.segments.ids, model.segments.names, strict=True))
    segment = model.users["segment"].gather(drawn).replace_strict(names, return_dtype=pl.String)
    return pl.DataFrame({"x": plane[:, 0], "y": plane[:, 1], "segment": segment})


def _profile(features: FeatureSet, known: Matrix, steps: Steps, seed: int) -> Profile:
    """Of the features after a step of each session."""
    drawn = np.random.default_rng(seed).permutation(len(steps))[:MOST_TESTED]
    return Profile.of(pl.DataFrame(known[drawn], schema=list(features.names)))


def _word(name: str) -> str:
    return name.replace(" ", "_")
