"""Held-out heads as an emergency department sees them: all sizes, densities and companies of real hemorrhages.

Two sets of seeds that share no head: `fit` for the rules of the decision, `judge` for the figures. Every third head bleeds nowhere;
the others draw from the table of real lesions (phantom/table.py).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..product.data import HELD_OUT
from ..product.scan import Bleed, Scan
from . import heads
from .phantom import table
from .phantom.study import Plan, generate

SEEDS = {"fit": HELD_OUT + 450_000, "judge": HELD_OUT + 600_000}
KIND = "mix"  # of a scan


def plan_of(which: str, i: int) -> Plan:
    """Bleeds of the i-th head of a set, densities included."""
    if i % 3 == 0:
        return Plan()
    rng = np.random.default_rng((SEEDS[which] + i, 11))
    return Plan(tuple((k, table.draw_ml(rng, k), table.draw_hu(rng, k)) for k in table.draw_company(rng)))


def render(which: str, i: int) -> Scan:
    """The i-th head, HU in whole numbers as in a CT image."""
    plan = plan_of(which, i)
    return heads.scan_of(generate(SEEDS[which] + i, plan), name_of(which, i), KIND, tuple(Bleed(k, hu, ml) for k, ml, hu in plan.bleeds))


def name_of(which: str, i: int) -> str:
    return f"{KIND}-{which}{i:03d}"


def held_out(which: str, i: int, folder: Path | None) -> Scan:
    """The i-th head of a set as `render` gives it, from the folder if it is there, else rendered and kept."""
    return heads.kept(folder, name_of(which, i), lambda: render(which, i))
