"""From measured scans to the figures the networks are judged by, each with its target, whether met or not."""

from __future__ import annotations

import numpy as np

from ..paper.report.agreement import share
from .config import SUBTYPES
from .measure import FOUND_SHARE, NONE

LARGE_ML = 5.0  # judged hemorrhages show more than this
SIZES_ML = (0.0, 1.0, 5.0, 20.0, 50.0, np.inf)
WITHIN, WITHIN_ML = 0.2, 1.0  # a volume is right within 20 % or 1 mL
PURE = 0.9  # share of acute blood in a head whose "any" counts as acute
DICE = {"IPH": 0.8, "IVH": 0.8, "SAH": 0.5, "SDH": 0.7, "EDH": 0.7}
PAINTED_DICE = {"IPH": 0.9, "IVH": 0.85, "SAH": 0.55, "SDH": 0.65, "EDH": 0.85}
LEAST_ML, NAMED_ML = 1.0, 2.0  # of a head that must be found; of a hemorrhage that must have its right name
HU_BINS = (0.0, 50.0, 55.0, 60.0, 65.0, np.inf)  # of the blood itself
RESAMPLES = 1000


class Lines:
    """Lines {what, target, value, ci, met, n, detail}. A line without data is left out: it is neither met nor missed."""

    def __init__(self) -> None:
        self.lines: list[dict] = []

    def least(self, what: str, values, target: float, detail: str = "") -> None:
        """Shares (of bools) and means that should be at least so much."""
        self._add(what, values, np.mean, ">=", target, detail)

    def most(self, what: str, values, target: float, detail: str = "", reduce=max) -> None:
        """What should be at most so much."""
        self._add(what, values, reduce, "<=", target, detail)

    def _add(self, what, values, reduce, sign, target, detail) -> None:
        values = list(values)
        if values:
            v = float(reduce(values))
            self.lines.append({"what": what, "target": f"{sign} {target:g}", "value": v, "ci": interval(values, reduce),
                               "met": bool(v >= target if sign == ">=" else v <= target), "n": len(values), "detail": detail})


def interval(values: list, reduce=np.mean) -> list[float] | None:
    """95 % interval: Wilson's of a share, percentiles of RESAMPLES resamples of a mean or median; None of a largest value, and below
    three values, of which it would say nothing."""
    if reduce is max or len(values) < 3:
        return None
    if all(isinstance(v, (bool, np.bool_)) for v in values):
        return share(values)["ci"]
    draws = np.random.default_rng(0).choice(np.asarray(values, float), (RESAMPLES, len(values)))
    return [float(v) for v in np.percentile(reduce(draws, axis=1), (2.5, 97.5))]


def judged(rows: list[dict]) -> list[dict]:
    """The lines of all groups of scans, the headline first."""
    out = Lines()
    _mix(out, of_kind(rows, "mix"))
    _bleeding(out, of_kind(rows, "bleeding"))
    real = of_kind(rows, "scan")
    out.most("real heads without blood, most false mL", [r["false_ml"] for r in real], 0.2)
    out.most("real heads without blood, most mL of rim", [r["rim_ml"] for r in real], 0.2)
    _painted(out, of_kind(rows, "painted"))
    dense = of_kind(rows, "calcified")
    spared = [not c["called"] for r in dense for c in r["calcifications"]]
    out.least("calcifications not called a bleed", spared, 0.95,
              f"{len(dense)} heads, most {max(r['false_ml'] for r in dense):.2f} mL false" if dense else "")
    _acute(out, of_kind(rows, "phantom"))
    return out.lines


def _mix(out: Lines, heads: list[dict]) -> None:
    """A real-like mix of all sizes and densities. Heads whose blood no reader would have labelled are not among those without."""
    sick, normal = sick_and_normal(heads)
    heads, normal = sick + normal, [r["false_ml"] for r in normal]
    out.least("mix, any Dice of heads that bleed", [r["dice"]["any"] for r in sick], 0.75)
    out.least("mix, heads with 1 mL or more found", [found(r) for r in sick if r["truth_ml"]["total"] >= LEAST_ML], 0.95)
    out.least("mix, heads without blood at most 0.5 mL false", [v <= 0.5 for v in normal], 0.95,
              f"mean {np.mean(normal):.2f}, most {max(normal):.2f} mL" if normal else "")
    out.least("mix, heads with every subtype within 20 % or 1 mL", [volumes_right(r) for r in heads], 0.75,
              f"{np.mean([volumes_right(r) for r in sick]):.2f} of those that bleed" if sick else "")


def _bleeding(out: Lines, heads: list[dict]) -> None:
    """Real heads with labelled blood. Those that the edge of clots was chosen on say nothing of what the edge changes."""
    dices = lambda rows: [r["dice"]["any"] for r in rows]  # noqa: E731
    judges = [r for r in heads if not r.get("chose_edge")]
    out.least("real bleeding heads, any Dice", dices(judges), 0.93, f"least {min(dices(judges)):.3f}" if judges else "")
    out.least("those that the edge was chosen on, any Dice", dices(r for r in heads if r.get("chose_edge")), 0.93)
    out.least("real bleeding heads found", [found(r) for r in heads], 1.0)
    out.most("real bleeding heads, median error in mL", [abs(r["found_ml"]["total"] - r["truth_ml"]["total"]) for r in judges], 1.0, reduce=np.median)
    out.most("real bleeding heads, most extra-axial mL beyond 5 mm", [r["extra_axial_away_ml"] for r in heads], 0.3)


def _painted(out: Lines, heads: list[dict]) -> None:
    """Real heads with hemorrhages painted into them."""
    bleeds = [b for r in heads for b in r["bleeds"] if b["truth_ml"] > 0]
    out.least("painted, any Dice", [r["dice"]["any"] for r in heads], 0.84)
    for k in SUBTYPES:
        out.least(f"painted, {k} Dice", [b["dice"] for b in bleeds if b["subtype"] == k], PAINTED_DICE[k])
    out.least("painted, found from 5 mL on", [b["called"] != NONE for b in bleeds if b["truth_ml"] >= LARGE_ML], 1.0)
    out.least("painted, right name over 2 mL", [b["called"] == b["subtype"] for b in bleeds if b["truth_ml"] > NAMED_ML], 0.85)


def _acute(out: Lines, heads: list[dict]) -> None:
    """Bright blood over 5 mL, in heads from wide ranges: the easy part, and the row of former versions."""
    out.least("cavity Dice", dices := [r["cavity_dice"] for r in heads], 0.97, f"least {min(dices):.3f}" if dices else "")
    out.least("any Dice, acute over 5 mL", [r["dice"]["any"] for r in heads if acute_share(r) >= PURE and r["truth_ml"]["total"] > LARGE_ML], 0.85)
    for k in SUBTYPES:
        d = [b["dice"] for b in large(heads, k)]
        out.least(f"{k} Dice, acute over 5 mL", d, DICE[k], f"median {np.median(d):.3f}" if d else "")
    sick, normal = sick_and_normal(heads)
    out.least("heads with every subtype within 20 % or 1 mL", [volumes_right(r) for r in sick + normal], 0.75,
              f"{np.mean([volumes_right(r) for r in sick]):.2f} of those that bleed" if sick else "")
    normal = [r["false_ml"] for r in normal]
    out.least("normal heads below 0.5 mL false", [v < 0.5 for v in normal], 0.95,
              f"95th percentile {np.percentile(normal, 95):.2f} mL" if normal else "")


def found(row: dict) -> bool:
    """Whether enough of the head's blood was marked."""
    return row["marked_ml"] >= FOUND_SHARE * row["truth_ml"]["total"]


def summary(rows: list[dict]) -> dict:
    """The same and more, by group of scans."""
    out: dict = {}
    for kind in ("mix", "phantom", "sample", "painted"):
        part = of_kind(rows, kind)
        if part:
            out[kind] = group(part)
    bleeding = of_kind(rows, "bleeding")
    if bleeding:
        sets = sorted({r["set"] for r in bleeding})
        error = [abs(r["found_ml"]["total"] - r["truth_ml"]["total"]) for r in bleeding]
        out["bleeding"] = {"n": len(bleeding), "sets": {k: sum(r["set"] == k for r in bleeding) for k in sets},
                           "dice_any": stats([r["dice"]["any"] for r in bleeding]), "found": share(found(r) for r in bleeding),
                           "median_error_ml": float(np.median(error)), "extra_axial_away_ml": stats([r["extra_axial_away_ml"] for r in bleeding])}
    real = of_kind(rows, "scan")
    if real:
        out["scan"] = {"n": len(real), "false_ml": {r["name"]: r["false_ml"] for r in real}, "rim_ml": {r["name"]: r["rim_ml"] for r in real}}
    return out


def group(rows: list[dict]) -> dict:
    sick, normal = sick_and_normal(rows)
    normal = [r["false_ml"] for r in normal]
    out: dict = {"n": len(rows), "cavity_dice": stats([r["cavity_dice"] for r in rows])}
    if sick:
        error = [abs(r["found_ml"]["total"] / r["truth_ml"]["total"] - 1) for r in sick]
        out |= {"dice_any": stats([r["dice"]["any"] for r in sick]), "total_error_median": float(np.median(error)),
                "volumes_right": float(np.mean([volumes_right(r) for r in sick])),
                "dice": {k: stats(d) for k in SUBTYPES if (d := [r["dice"][k] for r in sick if k in r["dice"]])},
                "acute_over_5_ml": {k: stats(d) for k in SUBTYPES if (d := [b["dice"] for b in large(sick, k)])},
                "sensitivity": sensitivity(sick), "by_size": by_size(sick), "by_density": by_density(sick), "confusion_ml": confusion(sick)}
    if normal:
        out["normal_false_ml"] = {"mean": float(np.mean(normal)), "p95": float(np.percentile(normal, 95)), "most": max(normal), "n": len(normal)}
    return out


def sick_and_normal(rows: list[dict]) -> tuple[list[dict], list[dict]]:
    """Heads with blood in their label, and heads without any; of those that bleed unseen nothing can be said."""
    return [r for r in rows if r["truth_ml"]["total"] > 0], [r for r in rows if r["truth_ml"]["total"] == 0 and not r["bleeds"]]


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


def sensitivity(rows: list[dict]) -> dict:
    """Hemorrhages of each subtype found (any name), called by their name, and their Dice: by size and by density, with intervals."""
    bleeds = [b for r in rows for b in r["bleeds"] if b["truth_ml"] > 0]
    out: dict = {}
    for k in ("total", *SUBTYPES):
        own = [b for b in bleeds if k in ("total", b["subtype"])]
        parts = {"all": own}
        parts |= {f"{_between(low, high)} mL": [b for b in own if low < b["truth_ml"] <= high] for low, high in zip(SIZES_ML[:-1], SIZES_ML[1:])}
        parts |= {f"{_between(low, high)} HU": [b for b in own if low < b["hu"] <= high] for low, high in zip(HU_BINS[:-1], HU_BINS[1:])}
        out[k] = {name: {"n": len(part), "found": share(b["called"] != NONE for b in part), "named_right": share(b["called"] == b["subtype"] for b in part),
                         "dice": float(np.mean([b["dice"] for b in part])), "dice_ci": interval([b["dice"] for b in part])}
                  for name, part in parts.items() if part}
    return {k: v for k, v in out.items() if v}


def _between(low: float, high: float) -> str:
    return f"over {low:g}" if np.isinf(high) else f"{low:g}-{high:g}"


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
    heads = of_kind(rows, "phantom") + of_kind(rows, "mix")
    sick = [r for r in heads if r["truth_ml"]["total"] > 1]
    named = lambda r: sum(r["confusion_ml"][i][i] for i in range(1, 6)) / max(sum(map(sum, r["confusion_ml"])), 1e-6)  # noqa: E731
    picks = sorted(sick, key=lambda r: r["dice"]["any"])[:count] + sorted(sick, key=named)[:count]
    picks += [r for r in sorted(heads, key=lambda r: -r["false_ml"])[:count] if r["false_ml"] > 0.3]
    return [r["name"] for r in picks]
