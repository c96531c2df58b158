"""What is answered when somebody asks about a user."""

from pydantic import BaseModel


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
