"""Whether a clot is blood: a logistic model of its signs, fitted on held-out heads (bundles/decide.py), at one of three operating points.

In the manifest it stands under post.evidence of the bleed network; models/bundle/evidence.go reads it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .signs import NAMES, Signs

POINTS = ("sensitive", "balanced", "specific")
ALWAYS_ML = 5.0  # no rule may drop a clot of this volume or more (models/bundle/evidence.go)


@dataclass(frozen=True)
class Point:
    """Least chance of being blood that is reported, and what that was measured to do: share of the bleeding heads with 1 mL or more
    in which any was found, mean mL false in heads without blood, on so many heads."""

    cut: float
    sensitivity: float = 0.0
    false_ml: float = 0.0
    heads: int = 0


@dataclass(frozen=True)
class Evidence:
    """weights: one for each of signs.NAMES; points: all of POINTS."""

    intercept: float
    weights: tuple[float, ...]
    points: dict[str, Point]
    always_ml: float = ALWAYS_ML

    @classmethod
    def of(cls, entry: dict | None) -> "Evidence | None":
        """From the manifest."""
        if not entry:
            return None
        points = {k: Point(**v) for k, v in entry["operating_points"].items()}
        return cls(float(entry["intercept"]), tuple(float(entry["weights"][k]) for k in NAMES), points, float(entry["always_ml"]))

    def entry(self) -> dict:
        """For the manifest."""
        return {"intercept": self.intercept, "weights": dict(zip(NAMES, self.weights)), "always_ml": self.always_ml,
                "operating_points": {k: vars(self.points[k]) for k in POINTS}}

    def chance(self, clots: Signs) -> np.ndarray:
        """Of each clot that it is blood, 0 to 1."""
        logit = self.intercept + clots.features() @ np.array(self.weights)
        return 1 / (1 + np.exp(-np.clip(logit, -60, 60)))

    def kept(self, clots: Signs, point: str) -> np.ndarray:
        return (clots.ml >= self.always_ml) | (self.chance(clots) >= self.points[point].cut)
