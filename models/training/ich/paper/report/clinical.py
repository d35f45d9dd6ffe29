"""Volumes as clinicians judge them, head by head: agreement in millilitres, lesions found and missed, false blood, calibration.

    rows = [head_row(h) for h in heads]     one head at a time, also in worker processes: a row is small and JSON-able
    result = clinical(rows)                 JSON-able, goes into the evaluation, the manifest and the model card
    clinical_figures.draw(rows, result, folder)

Definitions, all in three dimensions and with 26 neighbours:
    lesion           component of one subtype in the truth, of LEAST_LESION_ML or more; smaller ones are specks and not counted
    found            at least FOUND_SHARE of its voxels are marked as blood of any subtype; named right if most of them as its own
    false blood      voxels marked as blood where the truth has none; misnamed: marked as one subtype where the truth has another
    false component  component of marked voxels that touches no blood of the truth
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ...product.config import SUBTYPES
from ...datasets.volume import DataError
from . import agreement, calibration, conformal

CAVITY = 1  # label value; subtypes follow from FIRST on
FIRST = 2
PARTS = ("total", *SUBTYPES)  # keys of every dictionary by subtype
NEIGHBOURS = ndimage.generate_binary_structure(3, 3)
LEAST_LESION_ML = 0.1  # below: partial volume and crumbs of a lesion
FOUND_SHARE = 0.1
SIZES_ML = (0.0, 1.0, 5.0, 30.0, np.inf)  # from below 1 mL to above the 30 mL at which surgery is weighed
NONE = "none"  # called by no name: missed


@dataclass(frozen=True)
class HeadResult:
    """One head, truth and result on the same grid.

    truth, found (S, H, W) uint8: 0 outside, 1 cavity, 2..6 IPH IVH SAH SDH EDH. voxel_ml (S,): millilitres of a voxel on
    each slice. probability (S, H, W): of hemorrhage of any subtype, 0 to 1; None leaves calibration out.
    """

    name: str
    truth: np.ndarray
    found: np.ndarray
    voxel_ml: np.ndarray
    probability: np.ndarray | None = None

    def __post_init__(self) -> None:
        shape = np.shape(self.truth)
        for what, array in (("found", self.found), ("probability", self.probability)):
            if array is not None and np.shape(array) != shape:
                raise DataError(self.name, f"{what} of shape {np.shape(array)} for a truth of {shape}", "give both on one grid")
        if len(shape) != 3 or np.shape(self.voxel_ml) != shape[:1]:
            raise DataError(self.name, f"voxel_ml of shape {np.shape(self.voxel_ml)} for a truth of {shape}", "give one value a slice of a volume")
        for what, label in (("truth", self.truth), ("found", self.found)):
            if label.size and int(label.max()) >= FIRST + len(SUBTYPES):
                raise DataError(self.name, f"{what} holds label {int(label.max())}", "use 0 outside, 1 cavity, 2 to 6 the subtypes")


def head_row(head: HeadResult) -> dict:
    """Everything that `clinical` needs of one head."""
    part = _around_blood(head)
    blood, marked = part.truth >= FIRST, part.found >= FIRST
    lesions, specks = _lesions(part)
    row = {
        "name": head.name,
        "truth_ml": _by_part(part, part.truth), "found_ml": _by_part(part, part.found),
        "lesions": lesions, "specks": specks,
        "false_ml": _by_part(part, np.where(blood, 0, part.found)),
        "misnamed_ml": {k: _ml(part, (part.found == v) & blood & (part.truth != v)) for v, k in enumerate(SUBTYPES, FIRST)},
    }
    row |= _false_components(part, blood, marked)
    cavity = head.truth >= CAVITY
    row["calibration"] = None if head.probability is None else calibration.counts(head.probability[cavity], head.truth[cavity] >= FIRST)
    return row


def clinical(rows: Iterable[dict]) -> dict:
    """All figures of a set of heads, by subtype and in total. What cannot be told from these heads is None or left out."""
    rows = list(rows)
    volumes = {k: ([r["truth_ml"][k] for r in rows], [r["found_ml"][k] for r in rows]) for k in PARTS}
    counted = [r["calibration"] for r in rows if r["calibration"] is not None]
    return {
        "heads": len(rows), "bleeding": sum(r["truth_ml"]["total"] > 0 for r in rows),
        "agreement": {k: agreement.bland_altman(*v) for k, v in volumes.items()},
        "detection": detection(rows),
        "false_positives": false_positives(rows),
        "calibration": calibration.summary(counted) if counted else None,
        "uncertainty": {k: conformal.summary(*v) for k, v in volumes.items()},
        "definitions": {"least_lesion_ml": LEAST_LESION_ML, "found_share": FOUND_SHARE, "specks": sum(r["specks"] for r in rows)},
    }


def detection(rows: list[dict]) -> dict:
    """Sensitivity by lesion size, of each subtype and of all; and of heads, with the specificity of normal ones."""
    lesions = [b for r in rows for b in r["lesions"]]
    out: dict = {}
    for k in PARTS:
        own = [b for b in lesions if k in ("total", b["subtype"])]
        bins = {"all": own} | {size_name(i): [b for b in own if SIZES_ML[i] <= b["ml"] < SIZES_ML[i + 1]] for i in range(len(SIZES_ML) - 1)}
        out[k] = {name: _shares(part) for name, part in bins.items() if part}
    sick = [r["found_ml"]["total"] > 0 for r in rows if r["truth_ml"]["total"] >= LEAST_LESION_ML]
    normal = [r["found_ml"]["total"] == 0 for r in rows if r["truth_ml"]["total"] == 0]
    return {"lesions": out, "heads": {"sensitivity": agreement.share(sick), "specificity": agreement.share(normal)}}


def size_name(i: int) -> str:
    """Words for the i-th size."""
    low, high = SIZES_ML[i], SIZES_ML[i + 1]
    return f"<{high:g} mL" if low == 0 else f">{low:g} mL" if np.isinf(high) else f"{low:g}-{high:g} mL"


def false_positives(rows: list[dict]) -> dict:
    """False volume and components a head, in heads without blood and in heads with it."""
    out = {}
    for name, part in (("normal", [r for r in rows if r["truth_ml"]["total"] == 0]), ("bleeding", [r for r in rows if r["truth_ml"]["total"] > 0])):
        if part:
            total = np.array([r["false_ml"]["total"] for r in part])
            mean = lambda key: {k: float(np.mean([r[key][k] for r in part])) for k in part[0][key]}  # noqa: E731,B023
            out[name] = {"heads": len(part), "mean_ml": float(total.mean()), "median_ml": float(np.median(total)),
                         "p95_ml": float(np.percentile(total, 95)), "most_ml": float(total.max()),
                         "below_0.5_ml": agreement.share(total < 0.5), "below_1_ml": agreement.share(total < 1.0),
                         "mean_ml_by": mean("false_ml"), "misnamed_ml_by": mean("misnamed_ml"),
                         "components_by": mean("false_components"), "component_ml_by": mean("false_component_ml")}
    return out


def _shares(lesions: list[dict]) -> dict:
    return {"n": len(lesions), "found": agreement.share([b["called"] != NONE for b in lesions]),
            "named_right": agreement.share([b["called"] == b["subtype"] for b in lesions]),
            "marked": float(np.mean([b["marked"] for b in lesions]))}


def _around_blood(head: HeadResult) -> HeadResult:
    """The box that holds all true and all marked blood, without probability; the rest of the head adds nothing but time."""
    box = ndimage.find_objects((head.truth >= FIRST) | (head.found >= FIRST), 1)
    box = box[0] if box and box[0] else (slice(0, 0),) * 3
    return HeadResult(head.name, head.truth[box], head.found[box], np.asarray(head.voxel_ml, float)[box[0]])


def _ml(head: HeadResult, mask: np.ndarray) -> float:
    return float(mask.sum(axis=(1, 2)) @ head.voxel_ml)


def _by_part(head: HeadResult, label: np.ndarray) -> dict[str, float]:
    own = {k: _ml(head, label == v) for v, k in enumerate(SUBTYPES, FIRST)}
    return {"total": sum(own.values()), **own}


def _components(head: HeadResult, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Component of each voxel, 0 none; and millilitres of each, with 0 for none first."""
    if not mask.any():
        return np.zeros(mask.shape, np.int32), np.zeros(1)
    parts, n = ndimage.label(mask, NEIGHBOURS)
    at = np.nonzero(parts)
    return parts, np.bincount(parts[at], weights=head.voxel_ml[at[0]], minlength=n + 1).round(9)  # sums of many small numbers


def _lesions(head: HeadResult) -> tuple[list[dict], int]:
    """Lesions of the truth and what became of them, and the number of specks."""
    out, specks = [], 0
    for v, k in enumerate(SUBTYPES, FIRST):
        parts, ml = _components(head, head.truth == v)
        inside = np.zeros((len(ml), len(SUBTYPES)), int)  # voxels of each component by the name they were given
        at = (parts > 0) & (head.found >= FIRST)
        np.add.at(inside, (parts[at], head.found[at] - FIRST), 1)
        size = np.bincount(parts.ravel(), minlength=len(ml))
        for i in range(1, len(ml)):
            if ml[i] < LEAST_LESION_ML:
                specks += 1
                continue
            share = float(inside[i].sum() / size[i])
            called = SUBTYPES[int(inside[i].argmax())] if share >= FOUND_SHARE else NONE
            out.append({"subtype": k, "ml": float(ml[i]), "marked": share, "called": called})
    return out, specks


def _false_components(head: HeadResult, blood: np.ndarray, marked: np.ndarray) -> dict:
    """Number and millilitres of false components. Those of the subtypes may add up to more than the total: they can touch."""
    number, volume = {}, {}
    for k, mask in (("total", marked), *((k, head.found == v) for v, k in enumerate(SUBTYPES, FIRST))):
        parts, ml = _components(head, mask)
        ml[np.unique(parts[blood])] = 0.0  # touches the truth; 0 is no component
        number[k], volume[k] = int((ml > 0).sum()), float(ml.sum())
    return {"false_components": number, "false_component_ml": volume}
