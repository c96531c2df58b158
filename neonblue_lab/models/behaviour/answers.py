"""What is answered when somebody asks about a user."""

from pydantic import BaseModel

from neonblue_lab import facts


class Intent(BaseModel):
    """Probabilities of a conversion.

    Attributes:
        in_session: in the running session, 1 if it has converted; None where none is running, or none could be learned.
        within_days: within `days`, in another session than one that has converted; None where none could be learned.
    """

    in_session: float | None
    within_days: float | None
    days: int


class ActionChance(BaseModel):
    """A possible next action (`session_end`: none in this session) and its probability."""

    action: str
    probability: float


class SegmentAnswer(BaseModel):
    """The segment that a user belongs to; `description` says what its users do more than others."""

    id: int
    name: str
    description: str


class SimilarUser(BaseModel):
    """A user with a similar journey, and the cosine of both journeys' vectors."""

    user_id: str
    similarity: float


class UserBehavior(BaseModel):
    """What is known of a user, and what is to be expected.

    Attributes:
        journey_stage: one of `journey_stages.STAGES`; None where no step tells.
        behavioral_score: 0 to 100; see `models.behaviour.score`.
        segment: None where no step of the user is known.
        basis: what the answer rests on, in sentences.
        cold: whether next to nothing is known of this user, so that the answer is what holds for all.
        artifact, version: what answered.
    """

    user_id: str
    journey_stage: str | None
    intent: Intent
    next_actions: list[ActionChance]
    behavioral_score: float
    segment: SegmentAnswer | None
    similar_users: list[SimilarUser]
    basis: list[str]
    cold: bool
    artifact: str
    version: int

    def __str__(self) -> str:
        """The answer in lines: a name and what is known of it, then what it rests on."""
        return f"{self.user_id}\n\n{facts.lines(self._facts)}\n\n{self._below}"

    def _repr_html_(self) -> str:
        return facts.html(self._facts, title=self.user_id, below=self._below)

    @property
    def _facts(self) -> dict[str, str]:
        return {
            "stage": self.journey_stage or "unknown",
            "converts in this session": _chance(self.intent.in_session),
            f"converts within {self.intent.days} days": _chance(self.intent.within_days),
            "next": ", ".join(f"{step.action} ({step.probability:.0%})" for step in self.next_actions) or "unknown",
            "score": f"{self.behavioral_score:.0f} of 100",
            "segment": "unknown" if self.segment is None else f"{self.segment.name}\n{self.segment.description}",
            "similar users": ", ".join(user.user_id for user in self.similar_users) or "unknown",
        }

    @property
    def _below(self) -> str:
        return "\n".join([*self.basis, f"Answered by {self.artifact}@{self.version}."])


class UserAssignment(BaseModel):
    """A recommendation for one user.

    Attributes:
        assigned_variant: what the user already got in this experiment; None if nothing.
        recommended_variant: what is recommended; for a user who was assigned, what would be for one like them.
        expected_uplift, low, high: what it adds to the share of users who convert, beside the control; None where the
            control is recommended.
        personalised: whether it rests on what is known of this user; else it is the same for all.
        overlap: whether users of every kind could get every variant; None where the experiment told nothing.
        basis: why, in sentences.
        cold, artifact, version: as of UserBehavior.
    """

    user_id: str
    experiment_id: str
    assigned_variant: str | None
    recommended_variant: str
    expected_uplift: float | None
    low: float | None
    high: float | None
    personalised: bool
    overlap: bool | None
    basis: list[str]
    cold: bool
    artifact: str
    version: int

    def __str__(self) -> str:
        """The recommendation in lines: a name and what is known of it, then why."""
        return f"{self.user_id} in {self.experiment_id}\n\n{facts.lines(self._facts)}\n\n{self._below}"

    def _repr_html_(self) -> str:
        return facts.html(self._facts, title=f"{self.user_id} in {self.experiment_id}", below=self._below)

    @property
    def _facts(self) -> dict[str, str]:
        uplift = "none: it is the control"
        if self.expected_uplift is not None:
            uplift = f"{100 * self.expected_uplift:+.1f} percentage points"
            if self.low is not None and self.high is not None:
                uplift += f" ({100 * self.low:+.1f} to {100 * self.high:+.1f})"
        return {
            "already got": self.assigned_variant or "nothing",
            "recommended": self.recommended_variant,
            "expected uplift": uplift,
            "rests on": "what is known of this user" if self.personalised else "what holds for all users",
        }

    @property
    def _below(self) -> str:
        return "\n".join([*self.basis, f"Answered by {self.artifact}@{self.version}."])


def _chance(probability: float | None) -> str:
    return "unknown" if probability is None else f"{probability:.1%}"
