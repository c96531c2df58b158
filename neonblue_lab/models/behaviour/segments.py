"""Segments of users: as many as there are valleys for, named by what is over-represented, kept over refits.

k-means of the users' vectors. A number of segments is accepted when there is a valley between each two neighbours,
counted on users that the centroids were not found with, and when refits on bootstrap samples put users together alike;
the largest of them is chosen (the best silhouette would merge groups that lie near each other). Without any there are no
segments, and that is said: one segment, all users. Journeys of few kinds of actions lie in a few points, with valleys
between: then segments are kinds of journeys.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from neonblue_lab.errors import BadInput
from neonblue_lab.models.behaviour.overrepresentation import lifts
from neonblue_lab.models.behaviour.valleys import valley_p_value
from neonblue_lab.models.training.threads import one_thread
from neonblue_lab.stats.arrays import Floats, Integers
from neonblue_lab.stats.shares import wilson

MOST = 8
"""Segments that are looked for, at most: more than a person keeps apart."""
ALPHA = 0.05
"""Chance of segments where there are none, over all numbers tried; and of a wrong word in any segment's name."""
STABLE = 0.8
"""Adjusted Rand index of refits from which on a number of segments is taken."""
REFITS = 6
"""Bootstrap samples; each is compared with each."""
LOOKED_AT = 10_000
"""Users drawn to choose the number on, at most."""
COMPARED = 2_000
"""Users drawn for the silhouette, at most: it takes all distances."""
WORDS = 3
"""Features in a name, at most."""
ALL_USERS = "all users"
SEPARATOR = " · "


@dataclass(frozen=True, eq=False)
class Segments:
    """Segments as they were found.

    Attributes:
        ids: one a segment, from 1; a refit that is given the former segments keeps the number of what is the same.
        names: one a segment, e.g. "mobile · high searches"; of a lone segment "all users".
        centroids: segments x dimensions.
        profile: what is over- and under-represented: segment_id, name, feature, value, label, users, share, share_low,
            share_high, share_elsewhere, lift, lift_low, lift_high, p_value, p_adjusted; see `lifts`.
        shares: segment_id, name, users, share and its Wilson interval low, high, at 95 %.
        choice: the numbers of segments tried: segments, valley_p_value (of the weakest valley), stability (mean
            adjusted Rand index), silhouette, accepted, chosen.
    """

    ids: tuple[int, ...]
    names: tuple[str, ...]
    centroids: Floats
    profile: pl.DataFrame
    shares: pl.DataFrame
    choice: pl.DataFrame

    @property
    def found(self) -> bool:
        """Whether the data has segments: False where there is one, or where a wished number showed no valleys."""
        return len(self.ids) > 1 and bool(self.choice.filter("chosen")["accepted"].all())

    @property
    def verdict(self) -> str:
        """One sentence on how many there are and why."""
        if len(self.ids) == 1:
            return "No segments found: no number of segments has a valley between all neighbours and is found again."
        row = self.choice.row(by_predicate=pl.col("chosen"), named=True)
        measured = (
            f"weakest valley p = {row['valley_p_value']:.2g}, refits agree to {row['stability']:.2f} (adjusted Rand), "
            f"silhouette {row['silhouette']:.2f}"
        )
        if not row["accepted"]:
            return f"{len(self.ids)} segments because so many were asked for; the data does not show them: {measured}."
        return f"{len(self.ids)} segments: {measured}."

    def assign(self, vectors: Floats) -> Integers:
        """The ID of the nearest segment of each row.

        Raises:
            BadInput: the vectors are of other dimensions than the segments.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.centroids.shape[1]:
            raise BadInput(f"Vectors of shape {vectors.shape} do not fit centroids of shape {self.centroids.shape}.")
        return np.asarray(self.ids, dtype=np.int64)[_nearest(vectors, self.centroids)]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All state, for `from_arrays`."""
        frames = {
            f"{table}/{column}": _plain(frame[column])
            for table, frame in (("profile", self.profile), ("shares", self.shares), ("choice", self.choice))
            for column in frame.columns
        }
        return {
            "ids": np.array(self.ids, dtype=np.int64),
            "names": np.array(self.names, dtype=np.str_),
            "centroids": self.centroids,
            **frames,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "Segments":
        """The segments that `to_arrays` described."""

        def frame(table: str) -> pl.DataFrame:
            under = f"{table}/"
            return pl.DataFrame(
                {name.removeprefix(under): _column(arrays[name]) for name in arrays if name.startswith(under)}
            )

        return cls(
            ids=tuple(arrays["ids"].tolist()),
            names=tuple(arrays["names"].tolist()),
            centroids=arrays["centroids"],
            profile=frame("profile"),
            shares=frame("shares"),
            choice=frame("choice"),
        )


def discover(
    vectors: Floats,
    profiles: pl.DataFrame,
    *,
    seed: int,
    k: int | None = None,
    former: Segments | None = None,
    former_ids: ArrayLike | None = None,
) -> Segments:
    """Find segments of users.

    Args:
        vectors: users x dimensions. Vectors of norm 1 should have four dimensions or more: fewer make an even cloud
            look hollow.
        profiles: features that segments are named by, one row a user in the same order: texts, booleans, numbers.
        seed: of samples and starts.
        k: a wished number of segments; it is taken as it is, and `found` says whether the data shows it.
        former: segments found before. One that shares more than half of its users with a new one (users in both over
            users in either) passes on its ID, and its name as long as each word of it still holds.
        former_ids: the former segment of each user, 0 for a user without one; needed when the vectors are of another
            model than the former ones, and otherwise what `former.assign(vectors)` says.

    Raises:
        BadInput: vectors, profiles or former IDs disagree in length, a vector is not finite, there are no users, `k`
            is below 1 or above the number of distinct vectors, or `former_ids` come without `former`.
    """
    _check(vectors, profiles, k)
    if former is None and former_ids is not None:
        raise BadInput("former_ids come without `former`: the names belong to it.")
    random = np.random.default_rng(seed)
    distinct = len(np.unique(vectors, axis=0))
    if k is not None and k > distinct:
        raise BadInput(f"k is {k}, and there are {distinct} distinct vectors: ask for at most so many.")
    with one_thread():
        choice = _choice(vectors, range(2, min(MOST, distinct) + 1) if k is None else range(k, k + 1), random)
        chosen = max(choice.filter("accepted")["segments"].to_list(), default=1) if k is None else k
        centroids = _centroids(vectors, chosen, random)
    label = _nearest(vectors, centroids)
    order = np.argsort(-np.bincount(label, minlength=chosen), kind="stable")
    centroids, label = centroids[order], np.argsort(order)[label]

    ids = np.arange(1, chosen + 1)
    if former is not None:
        before = former.assign(vectors) if former_ids is None else np.asarray(former_ids, dtype=np.int64)
        if before.shape != label.shape:
            raise BadInput(f"former_ids are {before.shape} for {len(label)} users: one each.")
        ids = _kept_ids(label, chosen, before, former.ids)
    profile = lifts(ids[label], profiles, alpha=ALPHA).rename({"group": "segment_id"})
    names = _names(ids, profile, former)
    named = pl.DataFrame({"segment_id": ids, "name": names}, schema={"segment_id": pl.Int64, "name": pl.String})
    return Segments(
        ids=tuple(ids.tolist()),
        names=tuple(names),
        centroids=centroids,
        profile=profile.join(named, on="segment_id", maintain_order="left").select(
            "segment_id", "name", pl.exclude("segment_id", "name")
        ),
        shares=_shares(named, label),
        choice=choice.with_columns(chosen=pl.col("segments") == chosen),
    )


def _check(vectors: Floats, profiles: pl.DataFrame, k: int | None) -> None:
    if vectors.ndim != 2 or not len(vectors) or len(vectors) != profiles.height:
        raise BadInput(
            f"Vectors of shape {vectors.shape} and {profiles.height} profiles: there must be one of each a user, and "
            "at least one user."
        )
    if not np.isfinite(vectors).all():
        raise BadInput(f"The vector of row {int((~np.isfinite(vectors).all(axis=1)).argmax())} is not finite.")
    if k is not None and k < 1:
        raise BadInput(f"k is {k}: ask for at least one segment.")


def _choice(vectors: Floats, numbers: Sequence[int], random: np.random.Generator) -> pl.DataFrame:
    """How well each number of segments stands."""
    from sklearn.metrics import adjusted_rand_score, silhouette_score  # slow to import, needed to learn only

    drawn = random.permutation(len(vectors))[:LOOKED_AT]
    learn, count = vectors[drawn[::2]], vectors[drawn[1::2]]
    compared = vectors[drawn[:COMPARED]]
    rows = []
    for number in numbers:
        if number < 2 or len(np.unique(learn, axis=0)) < number:
            continue
        valley = valley_p_value(learn, count, _centroids(learn, number, random))
        refits = [
            _nearest(compared, _centroids(random.choice(vectors[drawn], len(drawn)), number, random))
            for _ in range(REFITS)
        ]
        agreement = [adjusted_rand_score(one, other) for i, one in enumerate(refits) for other in refits[:i]]
        label = _nearest(compared, _centroids(vectors[drawn], number, random))
        silhouette = silhouette_score(compared, label) if 1 < len(np.unique(label)) < len(compared) else np.nan
        rows.append((number, valley, float(np.mean(agreement)), float(silhouette)))
    frame = pl.DataFrame(
        rows,
        schema={"segments": pl.Int64, "valley_p_value": pl.Float64, "stability": pl.Float64, "silhouette": pl.Float64},
        orient="row",
    )
    valleys = pl.col("valley_p_value") < ALPHA / max(len(rows), 1)
    return frame.with_columns(accepted=valleys & (pl.col("stability") >= STABLE))


def _centroids(vectors: Floats, number: int, random: np.random.Generator) -> Floats:
    if number == 1:
        return np.asarray(vectors.mean(axis=0, keepdims=True))
    from sklearn.cluster import KMeans  # slow to import, needed to learn only

    means = KMeans(number, n_init=5, random_state=int(random.integers(2**31)))
    return np.asarray(means.fit(vectors).cluster_centers_, dtype=np.float64)


def _nearest(vectors: Floats, centroids: Floats) -> Integers:
    distance = (centroids**2).sum(axis=1) - 2 * (vectors @ centroids.T)  # squared, less the square of the vector
    return np.asarray(distance.argmin(axis=1), dtype=np.int64)


def _kept_ids(label: Integers, segments: int, before: Integers, former: Sequence[int]) -> Integers:
    """The ID of each segment: of the former one with more than half of the users in common, or a new one."""
    known = np.array(former, dtype=np.int64)
    same = (label[:, None] == np.arange(segments)).T.astype(np.float64) @ (before[:, None] == known)
    either = np.bincount(label, minlength=segments)[:, None] + (before[:, None] == known).sum(axis=0) - same
    overlap = same / either
    new = known.max() + 1 + np.arange(segments)
    ids = np.where(overlap.max(axis=1) > 0.5, known[overlap.argmax(axis=1)], 0)
    fresh = ids == 0
    ids[fresh] = new[: int(fresh.sum())]
    return ids


def _names(ids: Integers, profile: pl.DataFrame, former: Segments | None) -> list[str]:
    if len(ids) == 1:
        return [ALL_USERS]
    kept = dict(zip(former.ids, former.names, strict=True)) if former is not None else {}
    over = profile.filter((pl.col("p_adjusted") < ALPHA) & (pl.col("lift") > 1))
    names: list[str] = []
    for segment in ids.tolist():
        words = over.filter(pl.col("segment_id") == segment).unique("feature", keep="first", maintain_order=True)
        every = words["label"].to_list()
        before = kept.get(segment, "")
        if before and before not in names and set(before.split(SEPARATOR)) <= set(every):
            names.append(before)
            continue
        short = [SEPARATOR.join(every[:count]) for count in range(min(WORDS, len(every)), len(every) + 1)]
        free = [name for name in short if name and name not in names]
        names.append(free[0] if free else f"segment {segment}")
    return names


def _shares(named: pl.DataFrame, label: Integers) -> pl.DataFrame:
    users = np.bincount(label, minlength=named.height)
    low, high = wilson(users, len(label))
    return named.with_columns(users=users, share=users / len(label), low=low, high=high)


def _plain(column: pl.Series) -> NDArray[Any]:
    return np.array(column.to_list(), dtype=np.str_) if column.dtype == pl.String else column.to_numpy()


def _column(array: NDArray[Any]) -> pl.Series:
    return pl.Series(array.tolist(), dtype=pl.String) if array.dtype.kind == "U" else pl.Series(array)
