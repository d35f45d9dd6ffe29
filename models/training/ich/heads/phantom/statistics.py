"""Whether phantoms bleed as people do: the labels of rendered heads measured as the table of real hemorrhages was, side by side.

Raters draw about 1.5 mm beyond the blood (24 real hematomas: core 65 HU, tight mask 63, dilated by 1.5 mm 60), so labels are dilated by as
much within their slices, which are 3 to 6 mm apart, and within the cavity, for raters do not paint bone. Only slices with blood and
their neighbours are rendered, in full; the others have no label. Nothing that is drawn is compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from . import table
from .study import Phantom, Plan, generate
from .table import SUBTYPES

MARGIN_MM = 1.5
LARGE_ML = 5.0  # lesions whose density is judged: raters' margins weigh least
LEAST_ML = 0.01  # the table's smallest lesion
QUARTILES = (25, 50, 75)
HU_LIMIT, HU_QUARTILE_LIMIT, ML_FACTOR, COMPONENTS_LIMIT, TWO_SHARE = 3.0, 5.0, 1.3, 1.0, (0.65, 0.80)
EDGES = ndimage.generate_binary_structure(3, 3)


@dataclass(frozen=True)
class Part:
    """A connected hemorrhage of one head."""

    subtype: str
    ml: float
    median_hu: float


def dilated(label: np.ndarray, pixel_mm: float, margin_mm: float = MARGIN_MM) -> np.ndarray:
    """Label (S, rows, columns) whose blood reaches margin_mm further within each slice and the cavity."""
    out = label.copy()
    for z in np.flatnonzero((label > 1).any(axis=(1, 2))):
        hit = np.argwhere(label[z] > 1)
        reach = int(margin_mm / pixel_mm) + 2
        box = tuple(slice(max(int(a) - reach, 0), int(b) + reach + 1) for a, b in zip(hit.min(0), hit.max(0)))
        part = label[z][box]
        away, (rows, cols) = ndimage.distance_transform_edt(part < 2, sampling=pixel_mm, return_indices=True)
        out[z][box] = np.where((part == 1) & (away <= margin_mm), part[rows, cols], part)
    return out


def parts_of(p: Phantom) -> list[Part]:
    """Connected hemorrhages of a rendered head, raters' margin included."""
    label = dilated(p.label, p.pixel)
    voxel_ml = p.pixel**2 * p.thickness / 1000
    found = []
    for k, name in enumerate(SUBTYPES, 2):
        parts, count = ndimage.label(label == k, EDGES)
        for i, box in enumerate(ndimage.find_objects(parts), 1):
            body = parts[box] == i
            ml = float(body.sum() * voxel_ml)
            if ml >= LEAST_ML:
                found.append(Part(name, ml, float(np.median(p.hu[box][body]))))
    return found


def head(seed: int) -> list[Part]:
    """The hemorrhages of a head that bleeds, drawn from its seed."""
    plan = Plan.draw(np.random.default_rng((seed, 5)), normal=0.0)
    return parts_of(generate(seed, plan, blood_only=True))


@dataclass(frozen=True)
class Row:
    """One figure: of the table, of the phantoms, how many phantoms it is of, and whether the two are near enough."""

    subtype: str
    name: str
    real: float
    phantom: float
    n: int
    near: bool


def compare(heads: list[list[Part]]) -> list[Row]:
    """Every judged figure. A head counts for a subtype when it shows any of it."""
    rows = []
    for k in SUBTYPES:
        large = [p.median_hu for h in heads for p in h if p.subtype == k and p.ml >= LARGE_ML]
        scans = [[p for p in h if p.subtype == k] for h in heads]
        scans = [s for s in scans if s]
        ml = [sum(p.ml for p in s) for s in scans]
        for q in QUARTILES:
            real, here = table.HU[k][QUARTILES.index(q) + 1], _quantile(large, q)
            rows.append(Row(k, f"HU of {LARGE_ML:g} mL or more, {q} %", real, here, len(large), abs(here - real) <= (HU_LIMIT if q == 50 else HU_QUARTILE_LIMIT)))
        for q in QUARTILES:
            real, here = table.ML[k][QUARTILES.index(q) + 2], _quantile(ml, q)
            rows.append(Row(k, f"mL a head, {q} %", real, here, len(ml), bool(1 / ML_FACTOR <= here / real <= ML_FACTOR)))
        count = _quantile([len(s) for s in scans], 50)
        rows.append(Row(k, "components a head, median", table.COMPONENTS[k], count, len(ml), abs(count - table.COMPONENTS[k]) <= COMPONENTS_LIMIT))
    bleeding = [{p.subtype for p in h} for h in heads if h]
    two = float(np.mean([len(s) > 1 for s in bleeding])) if bleeding else float("nan")
    real = sum(n for c, n in table.COMPANY.items() if len(c) > 1) / sum(table.COMPANY.values())
    rows.append(Row("", "share of heads with two subtypes or more", real, two, len(bleeding), bool(TWO_SHARE[0] <= two <= TWO_SHARE[1])))
    return rows


def _quantile(values: list[float], q: int) -> float:
    return float(np.percentile(values, q)) if values else float("nan")


def text(rows: list[Row]) -> str:
    """The comparison as lines."""
    lines = [f"{'':4}{'':42}{'real':>8}{'phantoms':>10}{'n':>6}"]
    lines += [f"{r.subtype:4}{r.name:42}{r.real:8.2f}{r.phantom:10.2f}{r.n:6d}  {'' if r.near else 'apart'}" for r in rows]
    return "\n".join([*lines, f"{sum(r.near for r in rows)} of {len(rows)} figures are as near as they have to be"])


def picture(heads: list[list[Part]], path) -> None:
    """Quartiles of density, volume and number, of the table and of the phantoms, a column a subtype."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = {(r.subtype, r.name): r for r in compare(heads)}
    figure, axes = pyplot.subplots(1, 3, figsize=(13, 4))
    for axis, start, title in zip(axes, ("HU", "mL", "components"), ("median HU, 5 mL or more", "mL a head", "components a head")):
        for i, k in enumerate(SUBTYPES):
            mine = [r for (s, name), r in rows.items() if s == k and name.startswith(start)]
            for shift, values, colour in ((-0.12, [r.real for r in mine], "0.3"), (0.12, [r.phantom for r in mine], "tab:red")):
                axis.plot([i + shift] * len(values), values, "o-", color=colour, label=("table", "phantoms")[colour != "0.3"] if i == 0 else None)
        axis.set_xticks(range(len(SUBTYPES)), SUBTYPES)
        axis.set_title(title)
        if start == "mL":
            axis.set_yscale("log")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
