"""The methods of a study as a clinician would judge them: millilitres, volumes missed, false blood (totals: the nets do not name subtypes)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import look
from .agreement import WITHIN, WITHIN_ML, bland_altman, share
from .clinical import FOUND_SHARE, SIZES_ML, size_name
from .experiment import Experiment, Part, title

DASHES = (0, (4, 2))
HEAD = ["Method", "bias [mL]", "limits of agreement [mL]", "mean absolute error [mL]", "within 20 % or 1 mL [%]", "false, normal volumes, median / 95th pct. [mL]"]


def rows(e: Experiment, part: Part) -> list[list[str]]:
    """For each method: bias, limits of agreement, volumes within 20 % or 1 mL, false mL in normal volumes."""
    out = []
    for m in e.methods(part.dataset):
        found = list(e.select(part, m))
        a = bland_altman([r.truth_ml for r in found], [r.found_ml for r in found])
        normal = [r.found_ml for r in found if not r.bleeding]
        out.append([title(m), _number(a["bias_ml"]), "n/a" if a["limits_ml"] is None else "{:.1f} to {:.1f}".format(*a["limits_ml"]),
                    _number(a["mean_error_ml"]), _share(share([abs(r.found_ml - r.truth_ml) <= max(WITHIN * r.truth_ml, WITHIN_ML) for r in found if r.bleeding])),
                    f"{np.median(normal):.2f} / {np.percentile(normal, 95):.2f}" if normal else "n/a"])
    return out


def sensitivity(e: Experiment, part: Part) -> tuple[list[str], list[list[str]]]:
    """Head and rows: share of volumes found, by millilitres of hemorrhage in the volume."""
    sizes = [i for i in range(len(SIZES_ML) - 1) if any(_in(r.truth_ml, i) for r in e.select(part) if r.bleeding)]
    out = []
    for m in e.methods(part.dataset):
        found = [r for r in e.select(part, m) if r.bleeding and r.tp + r.fn > 0]
        cells = [share([r.tp / (r.tp + r.fn) >= FOUND_SHARE for r in found if _in(r.truth_ml, i)]) for i in sizes]
        out.append([title(m), *map(_share, cells)])
    return ["Method", *(f"{size_name(i)} [%]" for i in sizes)], out


def figure(e: Experiment, part: Part, path: Path) -> Path:
    """Bland-Altman plots, a panel a method, on the same axes."""
    methods = e.methods(part.dataset)
    columns = min(5, len(methods))
    lines = -(-len(methods) // columns)
    with look.canvas(lines, columns, 0.5 + 1.5 * lines, sharex=True, sharey=True) as (fig, axes):
        reach, most = [], []
        for ax, m in zip(axes.flat, methods):
            found = list(e.select(part, m))
            reach.append(draw_bland_altman(ax, [r.truth_ml for r in found], [r.found_ml for r in found], look.colour(m)))
            most += [(r.truth_ml + r.found_ml) / 2 for r in found]
            ax.set_title(look.short(m), fontsize=7)
        for ax in axes.flat:
            look.root_axis(ax.yaxis, -max(reach), max(reach))
            look.root_axis(ax.xaxis, 0, 1.15 * max(most, default=1.0) + 0.1)
        look.hide(list(axes.flat)[len(methods) :])
        axes[-1, len(axes[-1]) // 2].set_xlabel("mean of truth and found [mL]")
        for ax in axes[:, 0]:
            ax.set_ylabel("found - truth [mL]")
        look.legend(fig, bland_altman_legend())
        return look.save(fig, path)


def draw_bland_altman(ax, truth_ml: list[float], found_ml: list[float], colour: str) -> float:
    """Points, bias and limits of agreement. Returns how far up and down the axis has to reach."""
    t, f = np.asarray(truth_ml, float), np.asarray(found_ml, float)
    some = (t > 0) | (f > 0)
    t, f, a = t[some], f[some], bland_altman(t, f)
    ax.axhline(0, color=look.GREY, linewidth=0.5)
    ax.plot((t + f) / 2, f - t, "o", color=colour, markersize=3, alpha=0.75, markeredgecolor=look.BLACK, markeredgewidth=0.25)
    if a["bias_ml"] is not None:
        ax.axhline(a["bias_ml"], color=look.BLACK, linewidth=1.0)
    for limit in a["limits_ml"] or ():
        ax.axhline(limit, color=look.BLACK, linewidth=0.8, linestyle=DASHES)
    return max(1.0, 1.3 * float(np.abs(f - t).max(initial=0)), *(1.2 * abs(v) for v in a["limits_ml"] or (0.0,)))


def bland_altman_legend() -> list:
    return [look.line(look.BLACK, "bias", linewidth=1.0), look.line(look.BLACK, "95 % limits of agreement", linewidth=0.8, linestyle=DASHES)]


def _in(ml: float, i: int) -> bool:
    return SIZES_ML[i] <= ml < SIZES_ML[i + 1]


def _number(x: float | None) -> str:
    return "n/a" if x is None else f"{x:.1f}"


def _share(s: dict) -> str:
    """Percent with its interval and n."""
    return "n/a" if s["share"] is None else f"{100 * s['share']:.0f} ({100 * s['ci'][0]:.0f} to {100 * s['ci'][1]:.0f}; n = {s['n']})"
