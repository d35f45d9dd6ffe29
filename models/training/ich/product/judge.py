"""From measured scans to the figures the networks are judged by, each with its target, whether met or not."""

from __future__ import annotations

import numpy as np

from .config import SUBTYPES
from .measure import NONE

LARGE_ML = 5.0  # judged hemorrhages show more than this
SIZES_ML = (0.0, 1.0, 5.0, 20.0, 50.0, np.inf)
WITHIN, WITHIN_ML = 0.2, 1.0  # a volume is right within 20 % or 1 mL
PURE = 0.9  # share of acute blood in a head whose "any" counts as acute
DICE = {"IPH": 0.8, "IVH": 0.8, "SAH": 0.5, "SDH": 0.7, "EDH": 0.7}


def judged(rows: list[dict]) -> list[dict]:
    """Lines {what, target, value, met, n, detail}. A line without data is left out: it is neither met nor missed."""
    lines: list[dict] = []

    def add(what: str, values, target: float, least: bool = True, reduce=np.mean, detail: str = "") -> None:
        values = list(values)
        if values:
            v = float(reduce(values))
            lines.append({"what": what, "target": f"{'>=' if least else '<'} {target:g}", "value": v,
                          "met": bool(v >= target if least else v < target), "n": len(values), "detail": detail})

    heads = of_kind(rows, "phantom")
    add("cavity Dice", dices := [r["cavity_dice"] for r in heads], 0.97, detail=f"least {min(dices):.3f}" if dices else "")
    add("any Dice, acute over 5 mL", [r["dice"]["any"] for r in heads if acute_share(r) >= PURE and r["truth_ml"]["total"] > LARGE_ML], 0.85)
    for k in SUBTYPES:
        d = [b["dice"] for b in large(heads, k)]
        add(f"{k} Dice, acute over 5 mL", d, DICE[k], detail=f"median {np.median(d):.3f}" if d else "")
    bleeding = [volumes_right(r) for r in heads if r["truth_ml"]["total"] > 0]
    add("heads with every subtype within 20 % or 1 mL", [volumes_right(r) for r in heads], 0.75,
        detail=f"{np.mean(bleeding):.2f} of those that bleed" if bleeding else "")
    normal = [r["false_ml"] for r in heads if r["truth_ml"]["total"] == 0]
    add("normal heads below 0.5 mL false", [v < 0.5 for v in normal], 0.95,
        detail=f"95th percentile {np.percentile(normal, 95):.2f} mL" if normal else "")
    dense = of_kind(rows, "calcified")
    spared = [not c["called"] for r in dense for c in r["calcifications"]]
    add("calcifications not called a bleed", spared, 0.95,
        detail=f"{len(dense)} heads, most {max(r['false_ml'] for r in dense):.2f} mL false" if dense else "")
    real = of_kind(rows, "scan")
    add("real heads, most false mL", [r["false_ml"] for r in real], 1.0, False, max)
    add("real heads, most mL of rim", [r["rim_ml"] for r in real], 0.5, False, max)
    painted = of_kind(rows, "painted")
    every = [b["called"] == b["subtype"] for r in painted for b in r["bleeds"] if b["truth_ml"] > 0]
    add("painted, any Dice over 5 mL", [r["dice"]["any"] for r in painted if r["truth_ml"]["total"] > LARGE_ML], 0.8)
    add("painted, right subtype over 5 mL", [b["called"] == b["subtype"] for b in large(painted)], 0.8,
        detail=f"{np.mean(every):.2f} of {len(every)} of any size" if every else "")
    return lines


def summary(rows: list[dict]) -> dict:
    """The same and more, by group of scans."""
    out: dict = {}
    for kind in ("phantom", "sample", "painted"):
        part = of_kind(rows, kind)
        if part:
            out[kind] = group(part)
    real = of_kind(rows, "scan")
    if real:
        out["scan"] = {"n": len(real), "false_ml": {r["name"]: r["false_ml"] for r in real}, "rim_ml": {r["name"]: r["rim_ml"] for r in real}}
    return out


def group(rows: list[dict]) -> dict:
    sick = [r for r in rows if r["truth_ml"]["total"] > 0]
    normal = [r["false_ml"] for r in rows if r["truth_ml"]["total"] == 0]
    out: dict = {"n": len(rows), "cavity_dice": stats([r["cavity_dice"] for r in rows])}
    if sick:
        error = [abs(r["found_ml"]["total"] / r["truth_ml"]["total"] - 1) for r in sick]
        out |= {"dice_any": stats([r["dice"]["any"] for r in sick]), "total_error_median": float(np.median(error)),
                "volumes_right": float(np.mean([volumes_right(r) for r in sick])),
                "dice": {k: stats(d) for k in SUBTYPES if (d := [r["dice"][k] for r in sick if k in r["dice"]])},
                "acute_over_5_ml": {k: stats(d) for k in SUBTYPES if (d := [b["dice"] for b in large(sick, k)])},
                "by_size": by_size(sick), "by_density": by_density(sick), "confusion_ml": confusion(sick)}
    if normal:
        out["normal_false_ml"] = {"mean": float(np.mean(normal)), "p95": float(np.percentile(normal, 95)), "most": max(normal), "n": len(normal)}
    return out


def of_kind(rows: list[dict], kind: str) -> list[dict]:
    return [r for r in rows if r["kind"] == kind]


def large(rows: list[dict], subtype: str = "") -> list[dict]:
    """Acute hemorrhages over 5 mL, of a subtype or of any."""
    return [b for r in rows for b in r["bleeds"] if b["acute"] and b["truth_ml"] > LARGE_ML and subtype in ("", b["subtype"])]


def acute_share(row: dict) -> float:
    """Of the visible blood of a head."""
    total = sum(b["truth_ml"] for b in row["bleeds"])
    return sum(b["truth_ml"] for b in row["bleeds"] if b["acute"]) / total if total else 0.0


def volumes_right(row: dict) -> bool:
    """Every subtype within 20 % or 1 mL of the truth."""
    t, f = row["truth_ml"], row["found_ml"]
    return all(abs(f[k] - t[k]) <= max(WITHIN * t[k], WITHIN_ML) for k in SUBTYPES)


def by_size(rows: list[dict]) -> dict:
    """Acute hemorrhages by visible millilitres: how many, found, called right, Dice of their own subtype."""
    out = {}
    bleeds = [b for r in rows for b in r["bleeds"] if b["acute"] and b["truth_ml"] > 0]
    for low, high in zip(SIZES_ML[:-1], SIZES_ML[1:]):
        part = [b for b in bleeds if low < b["truth_ml"] <= high]
        if part:
            out[f"{low:g}-{high:g}" if np.isfinite(high) else f"over {low:g}"] = shares(part)
    return out


def by_density(rows: list[dict]) -> dict:
    bleeds = [b for r in rows for b in r["bleeds"] if b["truth_ml"] > LARGE_ML]
    parts = {"acute": [b for b in bleeds if b["acute"]], "isodense": [b for b in bleeds if not b["acute"]]}
    return {k: shares(v) for k, v in parts.items() if v}


def shares(bleeds: list[dict]) -> dict:
    return {"n": len(bleeds), "found": float(np.mean([b["called"] != NONE for b in bleeds])),
            "called_right": float(np.mean([b["called"] == b["subtype"] for b in bleeds])),
            "marked": float(np.mean([b["marked"] for b in bleeds])), "dice": float(np.mean([b["dice"] for b in bleeds]))}


def confusion(rows: list[dict]) -> dict:
    """Millilitres: truth -> found."""
    names = (NONE, *SUBTYPES)
    total = np.sum([r["confusion_ml"] for r in rows], axis=0)
    return {a: {b: float(total[i, j]) for j, b in enumerate(names)} for i, a in enumerate(names)}


def stats(values: list[float]) -> dict:
    return {"mean": float(np.mean(values)), "sd": float(np.std(values)), "median": float(np.median(values)), "least": float(min(values)),
            "n": len(values)}


def worst(rows: list[dict], count: int) -> list[str]:
    """Names of the held-out heads that went worst: blood missed, blood misnamed, blood where there is none."""
    heads = of_kind(rows, "phantom")
    sick = [r for r in heads if r["truth_ml"]["total"] > 1]
    named = lambda r: sum(r["confusion_ml"][i][i] for i in range(1, 6)) / max(sum(map(sum, r["confusion_ml"])), 1e-6)  # noqa: E731
    picks = sorted(sick, key=lambda r: r["dice"]["any"])[:count] + sorted(sick, key=named)[:count]
    picks += [r for r in sorted(heads, key=lambda r: -r["false_ml"])[:count] if r["false_ml"] > 0.3]
    return [r["name"] for r in picks]
