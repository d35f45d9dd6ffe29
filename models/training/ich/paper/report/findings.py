"""What the numbers say, by rules that were fixed before the numbers: the paper's claims one by one, the ranking, and how far it all goes.

A claim is a contrast: the mean of some methods against the mean of others, volume by volume, so that one paired test answers it.
The p-values of the claims are corrected together (Holm).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..paper import METRICS, PAPER_TABLE3, SELF_SUPERVISED, WEAKLY_SUPERVISED
from . import stats
from .experiment import Experiment, Part, pretext_rows
from .metrics import NAMES

MULTI_LABEL = ("multilabel-ce", "multilabel-dl")
STILL_LEARNING = 0.05  # relative fall of the training loss over the last fifth of the epochs
BLIND = 0.5  # share of ICH volumes in which nothing true was found
FLOODING = 0.05  # mean precision below which a net marks nearly everything
UNLEARNT = 0.2  # best mean Dice below which the task was hardly learnt
GOOD_CAVITY = 0.9  # Dice of the cavity nets below which rows with the mask tell of the mask's faults
FEW = 10  # volumes below which a power calculation means nothing


@dataclass(frozen=True)
class Claim:
    """The paper says: `after` is above `before` in a metric (margin 0), or differs from it by less than the margin."""

    text: str
    metric: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    margin: float = 0.0


CLAIMS = (
    Claim("The cavity mask raises the precision of ICH-only", "precision", ("ich-only",), ("ich-only-icm",)),
    Claim("Slices without hemorrhage in training (Mixed) raise precision", "precision", ("ich-only",), ("mixed",)),
    Claim("Slices without hemorrhage in training (Mixed) raise Dice", "dice", ("ich-only",), ("mixed",)),
    Claim("The cavity mask changes Mixed by less than 2 points", "dice", ("mixed",), ("mixed-icm",), 0.02),
    Claim("Self-supervised transfer raises Dice over Mixed", "dice", ("mixed",), SELF_SUPERVISED),
    Claim("Weakly-supervised transfer raises Dice over Mixed", "dice", ("mixed",), WEAKLY_SUPERVISED),
    Claim("Weakly-supervised transfer is above self-supervised in Dice", "dice", SELF_SUPERVISED, WEAKLY_SUPERVISED),
    Claim("Multi-label is above binary classification in Dice", "dice", ("binary",), MULTI_LABEL),
    Claim("Transfer raises precision over Mixed", "precision", ("mixed",), SELF_SUPERVISED + WEAKLY_SUPERVISED),
    Claim("Transfer changes recall by less than 10 points", "recall", ("mixed",), SELF_SUPERVISED + WEAKLY_SUPERVISED, 0.1),
)


@dataclass(frozen=True)
class Answer:
    """A claim on the volumes of a part. difference 0 to 1, p after Holm over the claims; verdict in words."""

    claim: Claim
    n: int
    difference: float | None
    interval: tuple[float, float] | None
    p: float | None
    verdict: str


def answers(e: Experiment, part: Part) -> list[Answer]:
    """All claims on one part."""
    raw = []
    for claim in CLAIMS:
        values = e.values(part, claim.metric)
        needed = (*claim.before, *claim.after)
        if any(m not in values for m in needed):
            raw.append((claim, None, None))
            continue
        both = sorted(set.intersection(*(set(values[m]) for m in needed)))
        before, after = (np.array([[values[m][v] for v in both] for m in ms]).mean(axis=0) for ms in (claim.before, claim.after))
        raw.append((claim, before, after))
    corrected = stats.holm([None if a is None else stats.paired(a, b) for _, a, b in raw])
    return [_answer(claim, a, b, p) for (claim, a, b), p in zip(raw, corrected)]


def _answer(claim: Claim, before: np.ndarray | None, after: np.ndarray | None, p: float | None) -> Answer:
    if before is None or len(before) < 2:
        return Answer(claim, 0 if before is None else len(before), None, None, None, "not tested")
    d, ci = float((after - before).mean()), stats.interval(before, after)
    if claim.margin:
        inside = -claim.margin < ci[0] and ci[1] < claim.margin
        outside = ci[0] > claim.margin or ci[1] < -claim.margin
        verdict = "holds" if inside else "contradicted" if outside else "open: the interval reaches beyond the margin"
    elif p is not None and p < stats.ALPHA:
        verdict = "seen here too" if d > 0 else "contradicted"
    else:
        verdict = "not shown: same direction, not significant" if d > 0 else "not shown: no difference" if d == 0 else "not shown: opposite direction, not significant"
    return Answer(claim, len(before), d, ci, p, verdict)


def paper_difference(claim: Claim, dataset: str) -> float | None:
    """The same contrast of the paper's means on the ICH volumes of one of its sets, percentage points."""
    table, key = PAPER_TABLE3[dataset], f"{claim.metric}_ich"
    mean = lambda methods: float(np.mean([table[m][key][0] for m in methods]))  # noqa: E731
    return mean(claim.after) - mean(claim.before)


@dataclass(frozen=True)
class Ranking:
    """Methods by mean Dice. not_apart: those whose Dice cannot be told from the best's (paired, Holm, within the part).
    tau, p: Kendall's agreement with the paper's order on `against`; None below three methods. moved: places, (here, paper)."""

    methods: list[str]
    means: dict[str, float]
    not_apart: list[str]
    against: dict[str, tuple[float, float]]
    moved: dict[str, tuple[int, int]]


def ranking(e: Experiment, part: Part, compared: list[stats.Pair]) -> Ranking:
    from scipy.stats import kendalltau

    means = {m: e.mean(part, m, "dice").mean for m in e.methods(part.dataset)}
    order = sorted(means, key=lambda m: -means[m])
    pairs = {m: stats.find(compared, m, order[0]) for m in order[1:]}
    not_apart = [m for m, p in pairs.items() if p.paired_holm is None or p.paired_holm >= stats.ALPHA]
    against = {}
    for name, table in PAPER_TABLE3.items():
        both = [m for m in means if m in table]
        if len(both) >= 3:
            r = kendalltau([means[m] for m in both], [table[m]["dice_ich"][0] for m in both])
            against[name] = float(r.statistic), float(r.pvalue)
    table = PAPER_TABLE3[part.dataset if part.dataset in PAPER_TABLE3 else "hssayeni"]
    both = [m for m in order if m in table]
    theirs = sorted(both, key=lambda m: -table[m]["dice_ich"][0])
    moved = {m: (both.index(m) + 1, theirs.index(m) + 1) for m in both}
    return Ranking(order, means, not_apart, against, {m: v for m, v in moved.items() if abs(v[0] - v[1]) >= 3})


def still_learning(e: Experiment) -> dict[str, float]:
    """Methods whose segmentation loss still fell at the end: relative fall over the last fifth of the epochs, mean of the runs."""
    out = {}
    for m, log in e.logs.items():
        if m.endswith("-icm"):  # the same nets as without the cavity mask
            continue
        runs: dict[tuple, list[float]] = {}
        for r in pretext_rows(log)[1]:
            runs.setdefault((r.get("dataset"), r.get("seed"), r.get("fold")), []).append(r["loss"])
        falls = []
        for losses in runs.values():
            k = len(losses) // 5
            if k >= 1 and (before := float(np.mean(losses[-2 * k : -k]))) > 0:
                falls.append(1 - float(np.mean(losses[-k:])) / before)
        if falls and np.mean(falls) > STILL_LEARNING:
            out[m] = float(np.mean(falls))
    return out


def blind(e: Experiment, part: Part) -> dict[str, float]:
    """Methods that found nothing true in more than BLIND of the ICH volumes, with that share."""
    rows = {m: [r.tp == 0 for r in e.select(part, m) if r.bleeding] for m in e.methods(part.dataset)}
    return {m: float(np.mean(v)) for m, v in rows.items() if v and np.mean(v) > BLIND}


def flooding(e: Experiment, part: Part) -> dict[str, float]:
    """Methods whose mean precision on ICH volumes is below FLOODING, with it."""
    means = {m: e.mean(part, m, "precision").mean for m in e.methods(part.dataset)}
    return {m: v for m, v in means.items() if part.ich and v < FLOODING}


def caveats(e: Experiment, part: Part, compared: dict[tuple[Part, str], list[stats.Pair]]) -> list[str]:
    """What cannot be concluded, from n, seeds, scale and spread."""
    n, out = len(e.volumes(part)), []
    if part.dataset == "synthetic":
        out.append("The heads are synthetic. They prove that the study runs from end to end and show how the methods behave on them; "
                   "they say nothing about patients, and a ranking on them is no evidence for or against the paper's.")
    if e.about.get("scale", "paper") != "paper":
        out.append(f"Scale `{e.about['scale']}`: images, networks, epochs and data are smaller than the paper's (see the deviations). A method may rank "
                   "elsewhere only because it needs more steps than it was given.")
    best = max(e.mean(part, m, "dice").mean for m in e.methods(part.dataset))
    if best < UNLEARNT:
        out.append(f"The best mean Dice is {100 * best:.1f} %: the task was hardly learnt, and differences between methods at that level say nothing about them.")
    cavity = e.about.get("cavity_dice", {}).get(part.dataset)
    if cavity is not None and cavity < GOOD_CAVITY:
        out.append(f"The cavity masks have a Dice of {cavity:.2f} only, so the rows with ICM tell of poor masks, not of what a good one does.")
    if len(e.seeds()) == 1:
        out.append("One training seed. How much a method's mean changes from one initialisation to the next is not known, and no p-value here contains it.")
    else:
        spread = [e.mean(part, m, "dice").spread for m in e.methods(part.dataset)]
        out.append(f"{len(e.seeds())} training seeds; between them the mean Dice of a method varies with an SD of "
                   f"{100 * min(spread):.1f} to {100 * max(spread):.1f} points. Tests use each volume's mean over the seeds.")
    if n < FEW:
        out.append(f"n = {n}: far too few volumes to tell methods apart, or to call them equal.")
    else:
        sd = float(np.median([e.mean(part, m, "dice").sd for m in e.methods(part.dataset)]))
        inner = [p.interval[1] - p.interval[0] for p in compared[part, "dice"] if p.interval]
        half = float(np.median(inner)) / 2 if inner else None
        out.append(f"n = {n} volumes. Between volumes the Dice has an SD of {100 * sd:.0f} points (median of the methods), so Welch's test would find a true "
                   f"difference of {100 * stats.detectable(sd, n):.0f} points in {100 * stats.POWER:.0f} % of such studies; one of 10 points takes "
                   f"{stats.volumes_needed(sd, 0.1)} volumes a method."
                   + (f" The paired test sees more: its 95 % intervals reach ± {100 * half:.1f} points (median of the pairs)." if half else ""))
    out.append("Not significant is not the same: a difference that was not shown may exist.")
    out.append("Folds share training volumes and volumes of one test fold share a network, so the tests take volumes for more independent than they "
               "are; p-values are somewhat too small.")
    if n < 20:
        out.append(f"With n = {n} the t-tests lean on normally distributed differences, which Dice values do not have.")
    few = {m: len(v) for m, v in e.values(part, "dice").items() if len(v) < n}
    if few:
        out.append("Incomplete: " + ", ".join(f"{m} has {k} of {n} volumes" for m, k in few.items()) + ". Their means are of other volumes than the rest.")
    return out


def metric_summary(compared: dict[tuple[Part, str], list[stats.Pair]], part: Part) -> list[list[str]]:
    """For each metric: pairs, and how many fall below 0.05 by each test."""
    rows = []
    for k in METRICS:
        found = compared[part, k]
        count = lambda name: str(sum(1 for p in found if (v := getattr(p, name)) is not None and v < stats.ALPHA))  # noqa: E731,B023
        rows.append([NAMES[k], str(len(found)), count("welch"), count("welch_holm"), count("paired"), count("paired_holm")])
    return rows
