"""Agreement of measured with true volumes (Bland and Altman, Lancet 1986 and Stat Methods Med Res 1999), and shares with intervals."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import stats

Z95 = 1.959963984540054  # of the standard normal distribution, both sides
WITHIN, WITHIN_ML = 0.2, 1.0  # a volume counts as right within 20 % or 1 mL of the truth


def bland_altman(truth_ml: Iterable[float], found_ml: Iterable[float]) -> dict:
    """Bias and 95 % limits of agreement of found - truth, in mL, with their 95 % confidence intervals.

    Over heads in which either is above zero: pairs of zeros agree perfectly and would only narrow the limits. `slope` is
    that of the difference on the mean; far from 0 it says that errors grow with size, so that one pair of limits does not
    fit all. `percentiles` (2.5, 97.5) need no normal distribution. None for what takes more heads than there are.
    """
    t, f = np.asarray(list(truth_ml), float), np.asarray(list(found_ml), float)
    some = (t > 0) | (f > 0)
    right = np.abs(f - t) <= np.maximum(WITHIN * t, WITHIN_ML)
    out: dict = {"n": int(some.sum()), "heads": len(t), "right": share(right), "right_where_any": share(right[some])}
    d, m = (f - t)[some], (f + t)[some] / 2
    if not len(d):
        return out | {"bias_ml": None, "mean_error_ml": None, "median_error_ml": None, "sd_ml": None, "limits_ml": None,
                      "bias_ci_ml": None, "limits_ci_ml": None, "percentiles_ml": None, "slope": None, "slope_p": None, "pearson": None}
    bias = float(d.mean())
    out |= {"bias_ml": bias, "mean_error_ml": float(np.abs(d).mean()), "median_error_ml": float(np.median(np.abs(d)))}
    few = len(d) < 3
    sd = None if len(d) < 2 else float(d.std(ddof=1))
    out |= {"sd_ml": sd, "limits_ml": None if few else [bias - Z95 * sd, bias + Z95 * sd]}
    if few:
        return out | {"bias_ci_ml": None, "limits_ci_ml": None, "percentiles_ml": None, "slope": None, "slope_p": None, "pearson": None}
    quantile = float(stats.t.ppf(0.975, len(d) - 1))
    of_bias = quantile * sd / np.sqrt(len(d))
    of_limit = quantile * sd * np.sqrt(1 / len(d) + Z95**2 / (2 * (len(d) - 1)))  # Bland and Altman 1999, about sqrt(3 / n) SD
    low, high = out["limits_ml"]
    out |= {"bias_ci_ml": [bias - of_bias, bias + of_bias],
            "limits_ci_ml": [[low - of_limit, low + of_limit], [high - of_limit, high + of_limit]],
            "percentiles_ml": [float(v) for v in np.percentile(d, (2.5, 97.5))]}
    line = stats.linregress(m, d) if np.ptp(m) > 0 else None
    r = stats.pearsonr(t[some], f[some]).statistic if np.ptp(t[some]) > 0 and np.ptp(f[some]) > 0 else None
    return out | {"slope": None if line is None else float(line.slope), "slope_p": None if line is None else float(line.pvalue),
                  "pearson": None if r is None else float(r)}


def share(hits: Iterable[bool]) -> dict:
    """Share of hits with Wilson's 95 % interval, which holds for few cases and for shares of 0 and 1."""
    hits = np.asarray(list(hits), bool)
    n = len(hits)
    if n == 0:
        return {"n": 0, "share": None, "ci": None}
    p, z2 = float(hits.mean()), Z95**2
    middle, half = (p + z2 / (2 * n)) / (1 + z2 / n), Z95 * np.sqrt(p * (1 - p) / n + z2 / (4 * n**2)) / (1 + z2 / n)
    return {"n": n, "share": p, "ci": [float(max(middle - half, 0.0)), float(min(middle + half, 1.0))]}
