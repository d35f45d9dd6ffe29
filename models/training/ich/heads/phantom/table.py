"""What real hemorrhages are like, and draws from it: which subtypes come together, how many millilitres, how dense.

Source: volume and density of the 1,873 connected hemorrhages of 192 scans of BHSD, as their owners measured them (DIDSR,
framework-for-synthetic-ICH-to-assess-AI-generalizability, CC0-1.0); the numbers are its quantiles. Masks have the margin of raters, 1.5 mm
beyond the blood itself: a phantom compares with it by its label dilated by so much (`statistics.py`), and what is drawn here
as density of the blood itself is above the table's.
"""

from __future__ import annotations

import numpy as np

SUBTYPES = ("IPH", "IVH", "SAH", "SDH", "EDH")
LEVELS = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
SCANS = {"IPH": 126, "IVH": 104, "SAH": 109, "SDH": 70, "EDH": 23}  # of 192

# mL of a subtype in a scan that has it, at LEVELS.
ML = {
    "IPH": (0.05, 0.35, 2.27, 9.33, 31.7, 83.0, 194.0),
    "IVH": (0.04, 0.14, 0.59, 2.27, 8.39, 45.1, 66.3),
    "SAH": (0.03, 0.21, 0.87, 1.95, 9.66, 44.0, 76.8),
    "SDH": (0.52, 0.69, 2.29, 6.01, 23.4, 74.0, 215.0),
    "EDH": (0.42, 0.45, 2.23, 5.07, 15.9, 38.2, 133.0),
}
# Median HU of a lesion of 5 mL or more, at LEVELS without its ends.
HU = {
    "IPH": (36.2, 48.0, 54.0, 58.0, 63.0),
    "IVH": (33.0, 42.0, 47.0, 53.0, 63.6),
    "SAH": (39.0, 43.5, 47.0, 50.0, 57.0),
    "SDH": (15.0, 44.0, 54.5, 61.5, 71.0),
    "EDH": (49.2, 54.0, 60.0, 65.0, 69.4),
}
# Connected components of a subtype in a scan that has it, median.
COMPONENTS = {"IPH": 1, "IVH": 2, "SAH": 6, "SDH": 2, "EDH": 1}
# Scans by the subtypes they have.
COMPANY = {
    ("IPH", "IVH", "SAH"): 28, ("IPH", "IVH"): 27, ("IPH", "SAH", "SDH"): 17, ("IPH", "SAH"): 14, ("IPH", "IVH", "SAH", "SDH"): 13,
    ("IPH",): 11, ("EDH",): 11, ("SDH",): 10, ("IVH",): 9, ("SAH",): 9, ("IVH", "SAH", "SDH"): 9, ("IVH", "SAH"): 8,
    ("IPH", "IVH", "SDH"): 6, ("IPH", "SDH"): 4, ("SAH", "SDH"): 3, ("SAH", "EDH"): 3, ("IPH", "SDH", "EDH"): 2, ("SDH", "EDH"): 2,
    ("IPH", "IVH", "SAH", "EDH"): 2, ("SAH", "SDH", "EDH"): 1, ("IPH", "SAH", "SDH", "EDH"): 1, ("IVH", "SDH"): 1,
    ("IPH", "IVH", "SAH", "SDH", "EDH"): 1,
}
# Density of the blood itself, drawn so that dilated labels of rendered heads meet HU.
CORE_HU = {
    "IPH": (40.0, 43.0, 48.5, 57.0, 60.5, 64.0, 70.0),
    "IVH": (40.0, 42.0, 46.0, 51.0, 55.5, 65.0, 72.0),
    "SAH": (45.0, 47.0, 48.0, 49.3, 51.0, 55.0, 62.0),
    "SDH": (40.0, 42.0, 44.0, 48.0, 55.0, 64.0, 71.0),
    "EDH": (48.0, 52.0, 55.5, 61.5, 67.5, 70.5, 74.0),
}
# Factors on what is placed, at LEVELS: dilated labels are larger than the blood itself, and part of it is too thin or too dark to be seen.
DRAWN_ML = {
    "IPH": (0.6, 0.6, 0.5, 0.69, 0.86, 0.91, 0.91),
    "IVH": (0.45, 0.45, 0.36, 0.43, 0.72, 0.75, 0.75),
    "SAH": (4.6, 4.6, 4.3, 1.05, 0.7, 1.0, 1.0),
    "SDH": (3.8, 3.8, 2.4, 1.45, 2.1, 1.5, 1.3),
    "EDH": (0.65, 0.65, 0.63, 0.9, 1.0, 0.95, 0.95),
}
MORE_COMPANY = 7.0  # times as often as alone: some of the company is too little or too dark to be seen


def draw_company(rng: np.random.Generator) -> tuple[str, ...]:
    """Subtypes of a head that bleeds."""
    weights = np.array([n * (MORE_COMPANY if len(c) > 1 else 1) for c, n in COMPANY.items()])
    return list(COMPANY)[int(rng.choice(len(weights), p=weights / weights.sum()))]


def draw_ml(rng: np.random.Generator, subtype: str) -> float:
    """Millilitres of a subtype to place in a phantom, so that labels of rendered heads meet ML."""
    level = rng.random()
    return float(np.interp(level, LEVELS, DRAWN_ML[subtype])) * ml_at(subtype, level)


def ml_at(subtype: str, level: float) -> float:
    """Millilitres of a subtype in a real head, by quantile; straight lines between those of ML on a logarithmic scale."""
    return float(np.exp(np.interp(level, LEVELS, np.log(ML[subtype]))))


def draw_hu(rng: np.random.Generator, subtype: str) -> float:
    """Density of the blood itself."""
    return float(np.interp(rng.random(), LEVELS, CORE_HU[subtype]))
