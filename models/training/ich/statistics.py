"""What hemorrhages on real scans are like, in numbers: volume, density and company of subtypes.

Quantiles (5, 25, 50, 75, 95 %) of the 1,873 lesions of 192 scans of BHSD, measured within its raters' labels and published
as a table under CC0 (DIDSR, framework for synthetic ICH). Raters' labels reach about 1.5 mm beyond the blood, so blood itself
is MARGIN_HU denser than the table says. Everything that draws hemorrhages draws from here: the generator and `ich paint`.
"""

from __future__ import annotations

import numpy as np

AT = (0.05, 0.25, 0.5, 0.75, 0.95)
SCAN_ML = {  # of a subtype in a scan that has it
    "IPH": (0.35, 2.27, 9.33, 31.65, 83.02), "IVH": (0.14, 0.59, 2.27, 8.39, 45.06), "SAH": (0.21, 0.87, 1.95, 9.66, 43.97),
    "SDH": (0.69, 2.29, 6.01, 23.42, 74.04), "EDH": (0.45, 2.23, 5.07, 15.85, 38.2),
}
COMPONENTS = {  # connected parts of a subtype in a scan that has it
    "IPH": (1, 1, 1, 2, 6), "IVH": (1, 2, 2, 4, 6), "SAH": (1, 3, 6, 15, 29), "SDH": (1, 1, 2, 4, 8.5), "EDH": (1, 1, 1, 1, 3),
}
LARGEST_SHARE = {  # of a subtype's volume in its largest part
    "IPH": (0.5, 0.75, 1.0, 1.0, 1.0), "IVH": (0.44, 0.54, 0.69, 0.94, 1.0), "SAH": (0.21, 0.34, 0.51, 0.83, 1.0),
    "SDH": (0.39, 0.72, 0.98, 1.0, 1.0), "EDH": (0.89, 1.0, 1.0, 1.0, 1.0),
}
LARGE_ML = 5.0
LESION_HU = {  # median HU of a lesion of LARGE_ML or more, and of one of 1 to 5 mL
    "IPH": ((36.2, 48, 54, 58, 63), (38, 42, 47, 54.8, 60)), "IVH": ((33, 42, 47, 53, 63.6), (30, 35, 41, 49.5, 58)),
    "SAH": ((39, 43.5, 47, 50, 57), (34, 41, 45, 47.5, 58.5)), "SDH": ((15, 44, 54.5, 61.5, 71), (28, 44, 51, 57, 64)),
    "EDH": ((49.2, 54, 60, 65, 69.4), (42, 47, 56.5, 62.5, 74.2)),
}
MARGIN_HU = {"IPH": 3.0, "IVH": 3.0, "SAH": 3.0, "SDH": 4.0, "EDH": 2.0}
LEAST_HU = 45.0  # of blood that is drawn and labelled: 8 HU above cortex. Darker blood cannot be told from brain
MOST_ML = 110.0
LEAST_ML = 0.2

# Which subtypes a bleeding scan shows, and in how many of the 192 scans.
COMPANY = (
    (("IPH", "IVH", "SAH"), 28), (("IPH", "IVH"), 27), (("IPH", "SAH", "SDH"), 17), (("IPH", "SAH"), 14), (("IPH", "IVH", "SAH", "SDH"), 13),
    (("IPH",), 11), (("EDH",), 11), (("SDH",), 10), (("IVH",), 9), (("SAH",), 9), (("IVH", "SAH", "SDH"), 9), (("IVH", "SAH"), 8),
    (("IPH", "IVH", "SDH"), 6), (("IPH", "SDH"), 4), (("SAH", "SDH"), 3), (("SAH", "EDH"), 3), (("IPH", "SDH", "EDH"), 2), (("SDH", "EDH"), 2),
    (("IPH", "IVH", "SAH", "EDH"), 2), (("SAH", "SDH", "EDH"), 1), (("IPH", "SAH", "SDH", "EDH"), 1), (("IVH", "SDH"), 1),
    (("IPH", "IVH", "SAH", "SDH", "EDH"), 1),
)


def draw_company(rng: np.random.Generator) -> tuple[str, ...]:
    """Subtypes of a bleeding head."""
    weights = np.array([n for _, n in COMPANY], float)
    return COMPANY[int(rng.choice(len(COMPANY), p=weights / weights.sum()))][0]


def draw_ml(rng: np.random.Generator, subtype: str, at: float | None = None) -> float:
    """Millilitres of a subtype in a head that has it. at: the quantile, 0 to 1; None draws it."""
    return float(np.clip(np.exp(_quantile(rng, np.log(SCAN_ML[subtype]), at)), LEAST_ML, MOST_ML))


def draw_hu(rng: np.random.Generator, subtype: str, ml: float, at: float | None = None) -> float:
    """Density of the blood itself, before partial volume: the table and its raters' margin."""
    table = LESION_HU[subtype][0 if ml >= LARGE_ML else 1]
    return float(max(_quantile(rng, np.asarray(table, float), at) + MARGIN_HU[subtype], LEAST_HU))


def draw_bleeds(rng: np.random.Generator) -> tuple[tuple[str, float, float], ...]:
    """Subtype, mL and HU of each hemorrhage of a head, as real heads have them."""
    out = []
    for kind in draw_company(rng):
        ml = draw_ml(rng, kind)
        out.append((kind, ml, draw_hu(rng, kind, ml)))
    return tuple(out)


def _quantile(rng: np.random.Generator, table: np.ndarray, at: float | None) -> float:
    """Between the quantiles straight lines; beyond the outermost ones the lines go on."""
    p = float(rng.uniform()) if at is None else at
    if p < AT[0]:
        return float(table[0] - (table[1] - table[0]) * (AT[0] - p) / (AT[1] - AT[0]))
    if p > AT[-1]:
        return float(table[-1] + (table[-1] - table[-2]) * (p - AT[-1]) / (AT[-1] - AT[-2]))
    return float(np.interp(p, AT, table))
