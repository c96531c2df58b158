"""The model of users' behaviour: where a user is, whether they will convert, what they do next, who is like them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from neonblue_lab.errors import NotFound
from neonblue_lab.events.journey_stages import STAGES
from neonblue_lab.models.behaviour.answers import ActionChance, Intent, SegmentAnswer, SimilarUser, UserBehavior
from neonblue_lab.models.behaviour.assignment import ExperimentUplift, Recommendation
from neonblue_lab.models.behaviour.features import DAY, FeatureSet, Matrix, Past, conversions_of, with_time_since
from neonblue_lab.models.behaviour.intent import IntentModel
from neonblue_lab.models.behaviour.journey_vectors import PmiSvd, similar
from neonblue_lab.models.behaviour.next_action import NextAction
from neonblue_lab.models.behaviour.score import Scoring
from neonblue_lab.models.behaviour.segments import Segments
from neonblue_lab.models.behaviour.sequences import UNKNOWN, Sequences
from neonblue_lab.models.behaviour.sessions import Steps, steps
from neonblue_lab.models.behaviour.snapshots import IN_SESSION, WITHIN_DAYS, Timeline
from neonblue_lab.models.behaviour.stages import stage_after
from neonblue_lab.stats.arrays import Floats, Integers

COLD_STEPS = 3
"""Who has made fewer steps is cold: nearly all that is said of them is what holds for everybody."""

SESSION_END = "session_end"
"""The action that is none: nothing more comes in the session."""

LEAST_CHANCE = 0.005
"""Next actions that are less likely are not named."""

CONTEXT = 3
"""So many of the last actions decide on the next one within `enrich`."""

NO_ACTION = -2
"""In a context: before the first action of the session."""

COVARIATES = (
    "session_steps",
    "earlier_steps",
    "earlier_sessions",
    "earlier_conversions",
    "days_since_earlier",
    "stage:consideration",
    "stage:intent",
)
"""Of the features, beside the traits: what an uplift may depend on."""

ENRICHED: dict[str, pl.DataType] = {
    "user_journey_stage": pl.String(),
    "behavioral_score": pl.Float64(),
    "intent_prediction": pl.Float64(),
    "segment": pl.String(),
    "likely_next_action": pl.String(),
    "probability": pl.Float64(),
    "recommended_variant": pl.String(),
}
"""Columns of `BehaviourModel.enrich`."""

USERS: dict[str, pl.DataType] = {
    "user_id": pl.String(),
    "sessions": pl.Int64(),
    "steps": pl.Int64(),
    "conversions": pl.Int64(),
    "last": pl.Int64(),
    "segment": pl.Int64(),
}
"""Columns of `BehaviourModel.users`."""


Number = TypeVar("Number", np.int64, np.float64)


@dataclass(frozen=True)
class Reading:
    """How events are read as behaviour.

    Attributes:
        conversions: event types that are a conversion; a session has one or none.
        traits: properties of a session's first step that say what the user is and how they came; those that events lack
            do nothing.
        detail: a property that tells steps of one event type apart, where types alone say too little.
        gap_minutes: see `sessions.GAP`.
        days: of the intent that reaches beyond the session.
    """

    conversions: tuple[str, ...] = ("conversion", "purchase")
    traits: tuple[str, ...] = ("device_type", "traffic_source", "user_segment")
    detail: str | None = None
    gap_minutes: int = 30
    days: int = 7

    @property
    def gap(self) -> timedelta:
        """`gap_minutes` as a length of time."""
        return timedelta(minutes=self.gap_minutes)

    def steps(self, events: pl.DataFrame, actions: Sequence[str] | None = None) -> Steps:
        """The steps of events, by this reading; see `sessions.steps`."""
        return steps(events, traits=self.traits, detail=self.detail, actions=actions, gap=self.gap)


@dataclass(frozen=True, eq=False)
class BehaviourModel:
    """All that was learned of behaviour.

    Attributes:
        reading: how events are read.
        features: which features there are.
        intents: question (IN_SESSION, WITHIN_DAYS) -> its model, where it could be learned.
        lacking: question -> why it could not be learned, in a sentence.
        next_action: over the actions of `features` and SESSION_END.
        contexts: the frequent ones among the last CONTEXT actions of a session: one context a row, the oldest action first,
            NO_ACTION before the session.
        vectors: of journeys.
        segments: of users.
        users: columns of USERS, of the users learned from, in any order; `last` in microseconds since 1970.
        user_vectors: of their journeys, users x dimensions.
        scoring: see `score`.
        uplifts: experiment -> whom its variants help.
        as_of: the last step learned from.
    """

    reading: Reading
    features: FeatureSet
    intents: Mapping[str, IntentModel]
    lacking: Mapping[str, str]
    next_action: NextAction
    contexts: Integers
    vectors: PmiSvd
    segments: Segments
    users: pl.DataFrame
    user_vectors: Floats
    scoring: Scoring
    uplifts: Mapping[str, ExperimentUplift]
    as_of: datetime

    def predict(
        self, user_id: str, events: pl.DataFrame, *, now: datetime, artifact: str, version: int, most: int = 5
    ) -> UserBehavior:
        """What is to be expected of a user.

        Args:
            user_id: who.
            events: of this user, all that is known up to `now`, in the columns of `sessions.COLUMNS`.
            now: when it is asked.
            artifact, version: what this model is called in the answer.
            most: so many next actions and similar users at most.
        """
        own = self.reading.steps(events, self.features.actions)
        known = self.features.after_each_step(own)[-1:]
        since = np.maximum(microseconds(now) - own.time[-1:], 0)
        running = bool((since <= self.reading.gap / timedelta(microseconds=1)).any())
        within = self._within_days(known, since)
        in_session = self._in_session(own, known) if running else None
        base_rates = {question: model.base_rate for question, model in self.intents.items()}
        score = self.scoring.score(within, np.array([len(own)]), since / DAY)
        if not len(own):
            nobody = np.array([base_rates.get(WITHIN_DAYS, 0.0)])
            score = self.scoring.score(nobody, np.zeros(1, dtype=np.int64), np.inf)
        cold = len(own) < COLD_STEPS
        return UserBehavior(
            user_id=user_id,
            journey_stage=_named(STAGES, stage_after(own)[-1:])[0] if len(own) else None,
            intent=Intent(
                in_session=_only(in_session),
                within_days=_only(within) if len(own) else base_rates.get(WITHIN_DAYS),
                days=self.reading.days,
            ),
            next_actions=self._next_actions(own.sequences if running else Sequences.of([]), most),
            behavioral_score=round(float(score[0]), 1),
            segment=self._segment(own),
            similar_users=[] if cold else self._similar(own, most),
            basis=self._basis(own, now, running),
            cold=cold,
            artifact=artifact,
            version=version,
        )

    def recommend(self, experiment_id: str, events: pl.DataFrame) -> tuple[Recommendation, bool]:
        """The variant of an experiment for a user, and whether the user is cold.

        Args:
            events: as of `predict`.

        Raises:
            NotFound: nothing was learned of that experiment.
        """
        one = self.uplifts.get(experiment_id)
        if one is None:
            raise NotFound(
                f"The model of behaviour has not learned from an experiment {experiment_id}, but from {len(self.uplifts)} others, "
                "which the notebook lists. notebooks/21_user_behavior.ipynb trains it anew."
            )
        own = self.reading.steps(events, self.features.actions)
        if len(own) < COLD_STEPS:
            return one.recommend(None), True
        segment = self.segments.assign(self.vectors.embed(own.journeys))
        return one.recommend(self.covariates(self.features.after_each_step(own)[-1:], segment)[0]), False

    def covariates(self, known: Matrix, segment: Integers) -> Floats:
        """What an uplift may depend on: COVARIATES, the traits, and the segments but the first.

        Args:
            known: rows of `features.after_each_step`.
            segment: the ID of each row's user, or -1.
        """
        names = self.features.names
        traits = [f"{trait}:{value}" for trait, values in self.features.traits.items() for value in values]
        columns = [names.index(name) for name in (*COVARIATES, *traits)]
        segments = segment[:, None] == np.array(self.segments.ids[1:], dtype=np.int64)
        return np.hstack([known[:, columns], segments], dtype=np.float64)

    def enrich(self, events: pl.DataFrame) -> pl.DataFrame:
        """What is known after each event, from the events of the same user here up to it and from what was learned.

        What was learned of a user counts where it ends before their first event here: the past of an event never holds
        its future. An event that is no step, such as an exposure, gets what the user's last step of the running session
        says. The next action is the likeliest after the last CONTEXT actions.

        Args:
            events: columns of `sessions.COLUMNS`, and `experiment_id` for recommended variants.

        Returns:
            Columns of ENRICHED, one row an event, in order; null where unknown. `intent_prediction` is the probability that
            the session converts (1 once it has), `segment` the user's as of training. The same for the same events.
        """
        found = self.reading.steps(events, self.features.actions)
        row = self._rows_of(found.users)
        past = self._past(row)
        known, made = self.features.after_each_step(found, past=past), past.made(found)
        segment = np.append(self._segment_places, -1)[row][found.user]
        place = self._last_steps(events, found)
        code, chance = self._likely_next(found)
        in_session = self._in_session(found, known)
        score = self.scoring.score(self._within_days(known, None), made, 0.0).round(1)
        stage = stage_after(found, bought_before=past.bought(found))
        return pl.DataFrame(
            {
                "user_journey_stage": _named(STAGES, _at(place, stage, -1)),
                "behavioral_score": _numbers(_at(place, score, np.nan)),
                "intent_prediction": None if in_session is None else _numbers(_at(place, in_session, np.nan)),
                "segment": _named(self.segments.names, _at(place, segment, -1)),
                "likely_next_action": _named(self.next_action.vocabulary, _at(place, code, -1)),
                "probability": _numbers(_at(place, chance, np.nan)),
                "recommended_variant": self._variants(events, known, made, segment, place),
            },
            schema=ENRICHED,
        )

    def _variants(
        self, events: pl.DataFrame, known: Matrix, made: Integers, segment: Integers, place: Integers
    ) -> pl.Series:
        """The recommended variant of each event of somebody that names an experiment of which something was learned."""
        if "experiment_id" not in events.columns:
            return pl.repeat(None, events.height, dtype=pl.String, eager=True)
        variant = pl.col("experiment_id").replace_strict(self._for_all, default=None, return_dtype=pl.String)
        somebody = pl.col("user_id").is_not_null() | pl.col("session_id").is_not_null()
        variants = events.select(variant=pl.when(somebody).then(variant))["variant"]
        for key, one in self.uplifts.items():
            if not one.personal:
                continue
            rows = np.flatnonzero((events["experiment_id"] == key).fill_null(False).to_numpy() & (place >= 0))
            rows = rows[made[place[rows]] >= COLD_STEPS]
            at = place[rows]
            chosen = one.recommended(self.covariates(known[at], np.array([*self.segments.ids, -1])[segment[at]]))
            variants = variants.scatter(rows, pl.Series(one.variants).gather(chosen))
        return variants

    @cached_property
    def _for_all(self) -> dict[str, str]:
        """Experiment -> the variant recommended where hardly anything is known of a user."""
        return {key: one.recommend(None).variant for key, one in self.uplifts.items()}

    @cached_property
    def _segment_places(self) -> Integers:
        """The place in `segments` of that of each row of `users`, or -1."""
        return _places(self.segments.ids, self.users["segment"].to_numpy())

    def _within_days(self, known: Matrix, since: Integers | None) -> Floats | None:
        """The probability of a conversion within the days, so long after each of the rows of `known`; None: right after."""
        model = self.intents.get(WITHIN_DAYS)
        if model is None:
            return None
        gap = int(self.reading.gap / timedelta(microseconds=1))
        return model.probability(known if since is None else with_time_since(known, since, gap))

    def _in_session(self, found: Steps, known: Matrix) -> Floats | None:
        """The probability that the session converts, after each of the rows of `known`, the last steps found."""
        model = self.intents.get(IN_SESSION)
        if model is None:
            return None
        converted = np.cumsum(conversions_of(found, self.reading.conversions))
        before = np.concatenate([[0], converted])[found.first][found.session]
        has = (converted > before)[len(found) - len(known) :]
        return np.where(has, 1.0, model.probability(known))

    def _likely_next(self, found: Steps) -> tuple[Integers, Floats]:
        """The code and the probability of the likeliest action after the last CONTEXT actions of each step."""
        wanted = self._key(last_actions(found))
        keys, codes, chances = self._after_contexts
        place = np.minimum(np.searchsorted(keys, wanted), keys.size - 1)
        rare = keys[place] != wanted
        code, chance = codes[place], chances[place]
        if rare.any():
            distinct, back = np.unique(wanted[rare], return_inverse=True)
            code_of, chance_of = self._likeliest(self._context(distinct))
            code[rare], chance[rare] = code_of[back], chance_of[back]
        return code, chance

    @cached_property
    def _after_contexts(self) -> tuple[Integers, Integers, Floats]:
        """Keys of the frequent contexts, ascending, with the likeliest next action's code and probability."""
        keys = np.unique(self._key(self.contexts))
        return keys, *self._likeliest(self._context(keys))

    def _key(self, contexts: Integers) -> Integers:
        """One number for each row of actions."""
        place = (len(self.features.actions) - NO_ACTION) ** np.arange(CONTEXT)
        return np.asarray((contexts - NO_ACTION) @ place)

    def _context(self, keys: Integers) -> Integers:
        """The rows of actions that have these keys."""
        base = len(self.features.actions) - NO_ACTION
        return np.asarray(keys[:, None] // base ** np.arange(CONTEXT) % base + NO_ACTION)

    def _likeliest(self, contexts: Integers) -> tuple[Integers, Floats]:
        start = np.arange(len(contexts)) * CONTEXT + (contexts == NO_ACTION).sum(axis=1)
        values = np.where(contexts == NO_ACTION, UNKNOWN, contexts).ravel()
        found = Sequences(values, start, (np.arange(len(contexts)) + 1) * CONTEXT)
        codes, chances = self.next_action.predict(found, k=1)
        return codes[:, 0], chances[:, 0]

    def _rows_of(self, users: pl.Series) -> Integers:
        """The row of each user in `users`; the number of rows for one who is not there."""
        index = self.users.select("user_id", row=pl.int_range(pl.len()))
        rows = users.to_frame("user_id").join(index, on="user_id", how="left", maintain_order="left")["row"]
        return rows.fill_null(self.users.height).to_numpy()

    def _past(self, row: Integers) -> Past:
        """What was learned of users, by their rows in `users`."""
        never = {"sessions": 0, "steps": 0, "conversions": 0, "last": np.iinfo(np.int64).max}
        return Past(**{name: np.append(self.users[name].to_numpy(), value)[row] for name, value in never.items()})

    def _last_steps(self, events: pl.DataFrame, found: Steps) -> Integers:
        """The place of the last step of its user's running session at each event, or -1."""
        place = np.full(events.height, -1, dtype=np.int64)
        place[found.event] = np.arange(len(found))
        others = np.flatnonzero(place < 0)
        if not others.size or not len(found):
            return place
        of_others = events.select(pl.col("user_id", "session_id", "timestamp").gather(others))
        who = of_others.select(user_id=pl.coalesce("user_id", "session_id"), time=pl.col("timestamp").dt.epoch("us"))
        number = found.users.to_frame("user_id").with_row_index("user")
        joined = who.join(number, on="user_id", how="left", maintain_order="left")
        here = joined["user"].is_not_null().to_numpy()
        user, time = joined["user"].fill_null(0).cast(pl.Int64).to_numpy(), joined["time"].to_numpy()
        last = Timeline(found).last_step(user, time)
        runs = here & (last >= 0) & (found.user[last] == user)
        runs &= time - found.time[last] <= self.reading.gap / timedelta(microseconds=1)
        place[others] = np.where(runs, last, -1)
        return place

    def _next_actions(self, sessions: Sequences, most: int) -> list[ActionChance]:
        """What comes after the last of some sessions; without one, how a session begins."""
        context = sessions.take(slice(-1, None)) if len(sessions) else Sequences.of([[]])
        codes, chances = self.next_action.predict(context, k=most)
        names = self.next_action.vocabulary
        return [
            ActionChance(action=names[code], probability=round(chance, 4))
            for code, chance in zip(codes[0].tolist(), chances[0].tolist(), strict=True)
            if chance >= LEAST_CHANCE
        ]

    def _segment(self, own: Steps) -> SegmentAnswer | None:
        if not len(own):
            return None
        place = self.segments.ids.index(int(self.segments.assign(self.vectors.embed(own.journeys))[0]))
        return SegmentAnswer(
            id=self.segments.ids[place], name=self.segments.names[place], description=self.descriptions[place]
        )

    @cached_property
    def descriptions(self) -> list[str]:
        """Of each segment: how large it is, and what its users are or do more often than the others."""
        return [describe(self.segments, one) for one in self.segments.ids]

    def _similar(self, own: Steps, most: int) -> list[SimilarUser]:
        rows, cosines = similar(self.user_vectors, self.vectors.embed(own.journeys), most + 1)
        found = zip(self.users["user_id"].gather(rows[0]), cosines[0].tolist(), strict=True)
        return [
            SimilarUser(user_id=user_id, similarity=round(cosine, 4))
            for user_id, cosine in found
            if user_id != own.users[0]
        ][:most]

    def _basis(self, own: Steps, now: datetime, running: bool) -> list[str]:
        said = []
        if not len(own):
            said.append(
                "No step of this user is known: the probabilities are those of all users, the next actions those that "
                "sessions begin with, and the score is that of someone of whom nothing was heard."
            )
        else:
            sessions = own.first.size
            last = datetime.fromtimestamp(own.time[-1] / 1e6, tz=now.tzinfo)
            said.append(
                f"{len(own):,} step{'s' * (len(own) > 1)} in {sessions:,} session{'s' * (sessions > 1)}, the last on "
                f"{last:%Y-%m-%d at %H:%M} UTC."
            )
            if len(own) < COLD_STEPS:
                said.append(
                    "That is hardly anything: the probabilities are those of all users of whom as little was known, the "
                    "segment is the nearest one and may change with the next step."
                )
        if not running:
            said.append(
                "No session is running: there is no probability of converting in it, and the next actions are those that "
                "sessions begin with."
            )
        said += [
            f"There is no probability of a conversion {_QUESTIONS[question]}. {why}"
            for question, why in self.lacking.items()
        ]
        if not self.segments.found:
            said.append("Journeys do not fall into groups: there is one segment, of all users.")
        return said


_QUESTIONS = {IN_SESSION: "in a session", WITHIN_DAYS: "within days"}


def describe(segments: Segments, segment_id: int, *, most: int = 3) -> str:
    """How large a segment is and what is over-represented in it, in a sentence or two."""
    own = segments.shares.filter(segment_id=segment_id)
    said = f"{own['share'][0]:.0%} of users."
    more = segments.profile.filter(pl.col("segment_id") == segment_id, pl.col("lift_low") > 1).sort(
        "lift_low", "feature", "value", descending=[True, False, False]
    )
    traits = [
        f"{row['label']} ({row['share']:.0%} of them, {row['share_elsewhere']:.0%} of others)"
        for row in more.head(most).iter_rows(named=True)
    ]
    return f"{said} More often than others: {', '.join(traits)}." if traits else said


def last_actions(found: Steps) -> Integers:
    """The last CONTEXT actions of the session up to each step, steps x CONTEXT, oldest first; see `contexts`."""
    prefixes = found.sequences.prefixes()
    return np.stack([prefixes.ago(back, before=NO_ACTION) for back in range(CONTEXT, 0, -1)], axis=1)


def microseconds(moment: datetime) -> int:
    """Since 1970."""
    return int((moment - datetime(1970, 1, 1, tzinfo=moment.tzinfo)) / timedelta(microseconds=1))


def _at(place: Integers, values: NDArray[Number], missing: float) -> NDArray[Number]:
    """The value at each place; `missing` at a negative one."""
    return np.append(values, np.array(missing, dtype=values.dtype))[place]


def _numbers(values: Floats) -> pl.Series:
    """Null for what is not a number."""
    return pl.Series(values, nan_to_null=True)


def _named(names: Sequence[str], code: Integers) -> pl.Series:
    """The name of each code; null for a negative one."""
    return pl.Series([*names, None], dtype=pl.String).gather(np.where(code < 0, len(names), code).astype(np.uint32))


def _places(ids: Sequence[int], wanted: Integers) -> Integers:
    """The place of each wanted ID, or -1."""
    known = np.array(ids, dtype=np.int64)
    order = np.argsort(known)
    place = order[np.minimum(np.searchsorted(known, wanted, sorter=order), known.size - 1)]
    return np.where(known[place] == wanted, place, -1)


def _only(values: Floats | None) -> float | None:
    return float(values[0]) if values is not None and values.size else None
