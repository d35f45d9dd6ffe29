"""Which differences between methods are more than chance: every pair, for each metric, volumes as samples.

Welch's two-sided t-test is what the paper reports (Figure 4). It treats the two methods as if they had been tried on different
volumes. They were not, so a paired t-test on the same volumes stands beside it, which leaves out how much volumes differ from
each other and sees far smaller differences. With ten methods there are 45 pairs a metric, about two of which fall below 0.05
by chance alone: both tests are also given after Holm's correction within the metric.

All of them take volumes as independent. In cross-validation the folds share most of their training volumes, and one training
seed says nothing about another: p-values are somewhat too small (Bengio and Grandvalet, JMLR 2004).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

ALPHA = 0.05
POWER = 0.8
SAME = 1e-12  # differences below it are rounding


@dataclass(frozen=True)
class Pair:
    """Comparison of methods a and b on one metric. difference = mean of b - mean of a over the n volumes both have, with its
    95 % interval from the paired test. p-values are None where they are not defined (fewer than two volumes)."""

    a: str
    b: str
    n: int
    difference: float
    interval: tuple[float, float] | None
    welch: float | None
    paired: float | None
    welch_holm: float | None = None
    paired_holm: float | None = None


def welch(a: np.ndarray, b: np.ndarray) -> float | None:
    """p of Welch's two-sided t-test. Constant samples: 1 if they agree, else undefined."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    if len(a) < 2 or len(b) < 2:
        return None
    if _constant(a) and _constant(b):
        return 1.0 if abs(a[0] - b[0]) < SAME else None
    moments = (a.mean(), a.std(ddof=1), len(a), b.mean(), b.std(ddof=1), len(b))  # ttest_ind warns where one sample is constant
    return float(stats.ttest_ind_from_stats(*moments, equal_var=False).pvalue)


def paired(a: np.ndarray, b: np.ndarray) -> float | None:
    """p of the paired two-sided t-test, a[i] and b[i] of one volume. All equal: 1. One constant difference: undefined."""
    d = np.asarray(b, float) - np.asarray(a, float)
    if len(d) < 2:
        return None
    if _constant(d):
        return 1.0 if abs(d[0]) < SAME else None
    return float(stats.ttest_1samp(d, 0.0).pvalue)


def _constant(a: np.ndarray) -> bool:
    return float(np.ptp(a)) < SAME


def interval(a: np.ndarray, b: np.ndarray) -> tuple[float, float] | None:
    """95 % interval of the mean of b - a, volumes paired."""
    d = np.asarray(b, float) - np.asarray(a, float)
    if len(d) < 2:
        return None
    half = float(stats.t.ppf(1 - ALPHA / 2, len(d) - 1) * d.std(ddof=1) / math.sqrt(len(d)))
    return float(d.mean()) - half, float(d.mean()) + half


def holm(p: list[float | None]) -> list[float | None]:
    """Holm's step-down correction (Scand J Stat 1979): keeps the chance of any false claim in the family below alpha.
    None stays None and does not count."""
    known = sorted((v, i) for i, v in enumerate(p) if v is not None)
    out: list[float | None] = [None] * len(p)
    least = 0.0
    for rank, (v, i) in enumerate(known):
        least = max(least, min((len(known) - rank) * v, 1.0))
        out[i] = least
    return out


def pairs(values: dict[str, dict[str, float]]) -> list[Pair]:
    """All pairs of one metric. values[method][volume]; Welch takes every volume of each method, the paired test those both have."""
    out = []
    for a, b in combinations(values, 2):
        both = [v for v in values[a] if v in values[b]]
        x, y = (np.array([values[m][v] for v in both]) for m in (a, b))
        out.append(Pair(a, b, len(both), float(np.mean(y - x)) if both else math.nan, interval(x, y),
                        welch(list(values[a].values()), list(values[b].values())), paired(x, y)))
    corrected = zip(out, holm([p.welch for p in out]), holm([p.paired for p in out]))
    return [Pair(p.a, p.b, p.n, p.difference, p.interval, p.welch, p.paired, w, t) for p, w, t in corrected]


def find(of: list[Pair], a: str, b: str) -> Pair | None:
    """The comparison of a and b, turned so that the difference is b - a."""
    for p in of:
        if (p.a, p.b) == (a, b):
            return p
        if (p.a, p.b) == (b, a):
            turned = None if p.interval is None else (-p.interval[1], -p.interval[0])
            return Pair(a, b, p.n, -p.difference, turned, p.welch, p.paired, p.welch_holm, p.paired_holm)
    return None


def detectable(sd: float, n: int) -> float:
    """Smallest difference of two means that Welch's test on n volumes a method finds with probability POWER (normal
    approximation). For the paired test give SD of the differences / sqrt(2)."""
    return float(stats.norm.ppf(1 - ALPHA / 2) + stats.norm.ppf(POWER)) * sd * math.sqrt(2 / n)


def volumes_needed(sd: float, difference: float) -> int:
    """Volumes a method for which `detectable` is this difference."""
    return math.ceil(2 * ((stats.norm.ppf(1 - ALPHA / 2) + stats.norm.ppf(POWER)) * sd / difference) ** 2)


def p_equals(p: float | None) -> str:
    """The same within a sentence."""
    return "p not defined" if p is None else "p < 0.001" if p < 0.001 else f"p = {p_text(p)}"


def p_text(p: float | None) -> str:
    """As journals print it."""
    return "n/a" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"
