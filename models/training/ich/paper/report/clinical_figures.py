"""Figures of `clinical`: agreement by subtype, lesions found by size, calibration, and intervals of volumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import look
from .clinical import PARTS, SIZES_ML, size_name
from .conformal import interval
from .volumes import bland_altman_legend, draw_bland_altman

LEVEL = "90%"  # of the intervals that are drawn


def draw(rows: list[dict], result: dict, folder: Path) -> list[Path]:
    """All figures for which there is something to draw. rows: of `head_row`; result: of `clinical` on them."""
    out = []
    if any(r["truth_ml"]["total"] > 0 or r["found_ml"]["total"] > 0 for r in rows):
        out.append(agreement(rows, folder / "agreement.png"))
    if result["detection"]["lesions"]["total"]:
        out.append(sensitivity(result, folder / "sensitivity.png"))
    if any(result["uncertainty"][k]["levels"][LEVEL]["k"] is not None for k in PARTS):
        out.append(uncertainty(rows, result, folder / "uncertainty.png"))
    if result["calibration"] and result["calibration"]["bins"]:
        out.append(reliability(result["calibration"], folder / "calibration.png"))
    return out


def agreement(rows: list[dict], path: Path) -> Path:
    """Bland-Altman plots of the total and of each subtype, each on its own axes."""
    with look.canvas(2, 3, 4.3) as (figure, axes):
        for ax, k in zip(axes.flat, PARTS):
            truth, found = ([r[key][k] for r in rows] for key in ("truth_ml", "found_ml"))
            n = sum(t > 0 or f > 0 for t, f in zip(truth, found))
            reach = draw_bland_altman(ax, truth, found, look.SUBTYPE_COLOURS[k] if k != "total" else look.SKY)
            look.root_axis(ax.yaxis, -reach, reach)
            look.root_axis(ax.xaxis, 0, 1.15 * max((t + f) / 2 for t, f in zip(truth, found)) + 0.1)
            ax.set_title(f"{_title(k)} (n = {n})")
        _labels(axes, "mean of truth and found [mL]", "found - truth [mL]")
        look.legend(figure, bland_altman_legend())
        return look.save(figure, path)


def sensitivity(result: dict, path: Path) -> Path:
    """Lesions found and named right by size, with Wilson's 95 % intervals; the number of lesions above each pair."""
    names = [size_name(i) for i in range(len(SIZES_ML) - 1)]
    with look.canvas(2, 3, 4.0, sharex=True, sharey=True) as (figure, axes):
        for ax, k in zip(axes.flat, PARTS):
            bins = result["detection"]["lesions"][k]
            for i, name in enumerate(names):
                if name not in bins:
                    continue
                for key, colour, dx in (("found", look.BLUE, -0.12), ("named_right", look.ORANGE, 0.12)):
                    s = bins[name][key]
                    low, high = (100 * v for v in s["ci"])
                    ax.plot([i + dx] * 2, [low, high], color=colour, linewidth=1.0)
                    ax.plot(i + dx, 100 * s["share"], "o" if key == "found" else "s", color=colour, markersize=4)
                ax.text(i, 107, f"n = {bins[name]['n']}", ha="center", va="bottom", fontsize=6)
            ax.set_title(f"{_title(k)}", pad=10)
            ax.grid(axis="y")
            ax.set_xlim(-0.5, len(names) - 0.5)
            ax.set_ylim(-5, 105)
            ax.set_xticks(range(len(names)), names)
        for ax in axes[:, 0]:
            ax.set_ylabel("lesions [%]")
        dot = {"linestyle": "", "markersize": 4}
        look.legend(figure, [look.line(look.BLUE, "found", marker="o", **dot), look.line(look.ORANGE, "named right", marker="s", **dot)])
        return look.save(figure, path)


def uncertainty(rows: list[dict], result: dict, path: Path) -> Path:
    """True against found volume where something was found, with the interval that the conformal k gives."""
    with look.canvas(2, 3, 4.4) as (figure, axes):
        for ax, k in zip(axes.flat, PARTS):
            pairs = [(r["truth_ml"][k], r["found_ml"][k]) for r in rows if r["found_ml"][k] > 0]
            t, f = np.array(pairs).reshape(-1, 2).T
            top = 1.1 * float(max(t.max(initial=1.0), f.max(initial=1.0)))
            width = result["uncertainty"][k]["levels"][LEVEL]["k"]
            if width is not None:
                x = np.concatenate([[0], np.geomspace(0.001, top, 300)])
                low, high = np.array([interval(v, width) for v in x]).T
                ax.fill_between(x, low, high, color=look.PALE, linewidth=0)
            ax.plot([0, top], [0, top], color=look.GREY, linewidth=0.6)
            ax.plot(f, t, "o", color=look.SUBTYPE_COLOURS[k] if k != "total" else look.SKY, markersize=3, alpha=0.8, markeredgecolor=look.BLACK, markeredgewidth=0.25)
            look.root_axis(ax.xaxis, 0, top)
            look.root_axis(ax.yaxis, 0, top)
            ax.set_title(f"{_title(k)} (n = {len(f)})" + ("" if width is None else f", k = {width:.2f}"))
        _labels(axes, "found V' [mL]", "truth V [mL]")
        look.legend(figure, [look.patch(look.PALE, f"{LEVEL.replace('%', ' %')} interval, |V - V'| ≤ k √(V' + 1)"), look.line(look.GREY, "V = V'", linewidth=0.6)])
        return look.save(figure, path)


def reliability(c: dict, path: Path) -> Path:
    """Frequency of hemorrhage against probability, and how many voxels each bin holds."""
    with look.canvas(2, 1, 3.6, width=3.5, sharex=True, height_ratios=(3, 1)) as (figure, axes):
        top, below = axes[:, 0]
        p, y = np.array([b["probability"] for b in c["bins"]]), np.array([b["frequency"] for b in c["bins"]])
        top.plot([0, 1], [0, 1], color=look.GREY, linewidth=0.6)
        top.plot(p, y, "o-", color=look.BLUE, markersize=3.5)
        top.set_ylim(-0.02, 1.02)
        top.set_ylabel("frequency of hemorrhage")
        number = lambda v, form: "n/a" if v is None else format(v, form)  # noqa: E731
        top.set_title(f"ECE {number(c['ece'], '.4f')}; at p ≥ {c['above']:g} {number(c['ece_above'], '.3f')}; Brier {number(c['brier'], '.4f')}", fontsize=7)
        width = c["above"]
        below.bar([b["from"] + width / 2 for b in c["bins"]], [b["n"] for b in c["bins"]], width=0.9 * width, color=look.SKY)
        below.set_yscale("log")
        below.set_ylabel("voxels")
        below.set_xlabel("probability of hemorrhage")
        below.set_xlim(-0.02, 1.02)
        return look.save(figure, path)


def _labels(axes, x: str, y: str) -> None:
    for ax in axes[-1]:
        ax.set_xlabel(x)
    for ax in axes[:, 0]:
        ax.set_ylabel(y)


def _title(k: str) -> str:
    return "Total" if k == "total" else k


