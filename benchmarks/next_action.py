"""Which item does a visitor of a shop click next, and do the two halves of a visit find each other?

Click streams of a real shop, 217 items. Sessions are split by date: the last fifth is tested on, and everything chosen
is chosen on the last tenth of the others. Each click after the first of its session is a target; items may come again.
"""

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
import polars as pl
from numpy.typing import NDArray
from timing import dataset, interleaved, print_table, seconds

from neonblue_lab.models.behaviour.journey_vectors import PmiSvd, other_half_ranks
from neonblue_lab.models.behaviour.markov import GRID, Markov, Smoothing
from neonblue_lab.models.behaviour.next_action import NextAction
from neonblue_lab.models.behaviour.sequences import Sequences, encode
from neonblue_lab.models.training.scores import Score, mean_score, recalls, reciprocal_ranks

TEST_SHARE, TUNING_SHARE = 0.2, 0.1
DEPTH = 20
"""How far down a ranking is looked at."""
RECALLS = (1, 5, DEPTH)
HEADER = ["", *(f"recall@{k}" for k in RECALLS), f"MRR@{DEPTH}", "ms a prediction"]
HALVED = 8
"""Clicks from which on a session is cut into halves."""
SEED = 1

Ranking = NDArray[np.int64]
Model = Callable[[Sequences], Ranking]


def load() -> tuple[Sequences, tuple[str, ...]]:
    """The sessions in the order of their dates, and the items that the codes stand for."""
    clicks = pl.read_parquet(dataset("eshop_clothing_2008.parquet")).sort(
        "year", "month", "day", "session_id", "order", maintain_order=True
    )
    items = tuple(clicks["clothing_model"].unique().sort().to_list())
    codes = encode(clicks["clothing_model"].to_list(), items)
    return Sequences.of_rows(clicks["session_id"].to_numpy(), codes), items


def parted(sessions: Sequences, *, tuning: bool) -> tuple[Sequences, Sequences]:
    """What is learned from and what is predicted; with `tuning`, both are taken from the training part."""
    train = sessions.take(slice(0, int((1 - TEST_SHARE) * len(sessions))))
    if not tuning:
        return train, sessions.take(slice(len(train), None))
    kept = round((1 - TUNING_SHARE) * len(train))
    return train.take(slice(0, kept)), train.take(slice(kept, None))


def first_order(train: Sequences, size: int) -> tuple[Markov, Smoothing]:
    """The chain that looks at the last action alone, smoothed as is best for the last of the training sessions."""
    kept = round((1 - TUNING_SHARE) * len(train))
    tried = Markov.fit(*train.take(slice(0, kept)).targets(), size)
    held_out = train.take(slice(kept, None)).targets(first=1)
    best = tried.best_smoothing(*held_out, grid=[smoothing for smoothing in GRID if smoothing.order == 1])
    return Markov.fit(*train.targets(), size), best


def ranked(chances: NDArray[np.float64]) -> Ranking:
    """The DEPTH likeliest of each row, the likeliest first."""
    best = np.argpartition(-chances, DEPTH - 1, axis=1)[:, :DEPTH]
    order = np.argsort(-np.take_along_axis(chances, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)


def measures(ranking: Ranking, targets: NDArray[np.int64], sessions: NDArray[np.int64]) -> dict[str, Score]:
    """recall@1, @5, @20 and MRR@20; intervals by drawing whole sessions."""
    hits = ranking == targets[:, None]
    by_target = {f"recall@{k}": recalls(hits, k) for k in RECALLS} | {f"MRR@{DEPTH}": reciprocal_ranks(hits, DEPTH)}
    return {name: mean_score(values, sessions, seed=SEED) for name, values in by_target.items()}


def table(sessions: Sequences, items: tuple[str, ...], *, tuning: bool = False, runs: int = 3) -> list[list[str]]:
    """Print what was chosen; a row a model, in the columns of HEADER."""
    size = len(items)
    train, predicted = parted(sessions, tuning=tuning)
    contexts, targets = predicted.targets(first=1)
    sessions = np.unique(contexts.start, return_inverse=True)[1]
    chain, smoothing = first_order(train, size)
    ours = NextAction.fit(train, items, tuning_share=TUNING_SHARE, seed=SEED)
    print(
        f"Markov-1: discount {smoothing.discount:g}, pseudo-counts {smoothing.pseudo_counts:g}. Ours: {ours.blend}.\n"
    )

    models: dict[str, Model] = {
        "popularity": lambda asked: ranked(chain.probabilities(asked, Smoothing(0, 0.0, 1.0))),
        "Markov-1": lambda asked: ranked(chain.probabilities(asked, smoothing)),
        "chain alone": lambda asked: ranked(ours.markov.probabilities(asked, ours.blend.smoothing)),
        "network alone": lambda asked: ranked(ours.network.log_probabilities(asked).astype(np.float64)),
        "ours": lambda asked: ours.predict(asked, DEPTH)[0],
    }
    times = interleaved(runs, *(partial(seconds, partial(model, contexts)) for model in models.values()))
    rows = []
    for (name, model), taken in zip(models.items(), times, strict=True):
        found = measures(model(contexts), targets, sessions)
        rows.append([name, *map(str, found.values()), f"{1_000 * median(taken) / len(contexts):.4f}"])
    return rows


def halves(sessions: Sequences, items: tuple[str, ...], *, tuning: bool = False) -> list[list[str]]:
    """A row a way of making vectors: does a session's first half find its second among all others?"""
    size = len(items)
    train, predicted = parted(sessions, tuning=tuning)
    long = predicted.take(predicted.lengths >= HALVED)
    middle = (long.start + long.stop) // 2
    parts = (Sequences(long.values, long.start, middle), Sequences(long.values, middle, long.stop))
    count = len(long)

    def bags(sequences: Sequences) -> NDArray[np.float64]:
        codes, owner = sequences.flat()
        counts = np.bincount(owner * size + codes, minlength=len(sequences) * size).reshape(-1, size)
        return np.asarray(counts / np.linalg.norm(counts, axis=1, keepdims=True), dtype=np.float64)

    ways = {"bag of actions": bags, "PMI-SVD": PmiSvd.fit(train, size, seed=SEED).embed}
    rows = [["chance", f"{1 / count:.4f}", f"{10 / count:.4f}", f"{(count + 1) / 2:.0f}"]]
    for name, embed in ways.items():
        ranks = other_half_ranks(embed(parts[0]), embed(parts[1]))
        scores = (str(mean_score(ranks <= k, seed=SEED)) for k in (1, 10))
        rows.append([name, *scores, f"{np.median(ranks):.0f}"])
    return rows


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--tuning", action="store_true", help="predict the part that things are chosen on, and leave the test part be"
    )
    parser.add_argument("--runs", type=int, default=3, help="of the predictions; medians count (default: %(default)s)")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    sessions, items = load()
    print_table(HEADER, table(sessions, items, tuning=options.tuning, runs=options.runs))
    train, predicted = parted(sessions, tuning=options.tuning)
    targets = int(np.maximum(predicted.lengths - 1, 0).sum())
    print(
        f"{len(train):,} sessions to learn from, {len(predicted):,} to predict, {targets:,} targets, {len(items)} items.\n"
    )
    print_table(["", "hit@1", "recall@10", "median rank"], halves(sessions, items, tuning=options.tuning))
    print(f"Sessions of at least {HALVED} clicks: {int((predicted.lengths >= HALVED).sum()):,}.")


if __name__ == "__main__":
    main()
