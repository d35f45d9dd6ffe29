"""A phantom from a seed: what it has, which slices are rendered, what the truth is."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from threadpoolctl import threadpool_limits

from . import table
from .anatomy import SQUEEZED, TURNED, build, draw_traits, fill, squeezed, turned
from .bleeds import SUBTYPES, Lesion
from .fields import Grid, wider
from .fluid import place_fluid
from .lookalikes import distractors
from .scanner import Quality, Series, render
from .solid import place_solid
from .surgery import alter

# Products of matrices are summed in another order on another number of threads: a head must come from its seed alone.
one_thread = threadpool_limits.wrap(limits=1, user_api="blas")


@dataclass(frozen=True)
class Plan:
    """Which bleeds, in mL and HU; hu None draws it. An empty plan is a normal head."""

    bleeds: tuple[tuple[str, float, float | None], ...] = ()
    traits: dict[str, float] = field(default_factory=dict)  # overrides of what would be drawn
    several: bool = True  # a subtype in one or more parts, clots with levels and layers; otherwise each in one even piece

    @staticmethod
    def draw(rng: np.random.Generator, normal: float = 0.25) -> "Plan":
        if rng.random() < normal:
            return Plan()
        return Plan(tuple((k, table.draw_ml(rng, k), None) for k in table.draw_company(rng)))


@dataclass
class Phantom:
    """hu (S, H, W) float32; label (S, H, W) uint8: 0 outside, 1 cavity, 2.. IPH IVH SAH SDH EDH."""

    hu: np.ndarray
    label: np.ndarray
    positions: np.ndarray  # mm, rising
    pixel: float  # mm
    first: tuple[float, float]
    thickness: float
    traits: dict[str, float]
    plan: Plan
    unseen: np.ndarray | None = None  # (S, H, W) bool: blood without contrast, which label calls cavity
    tissue: np.ndarray | None = None  # (S, H, W) uint8, scanner.TISSUES

    def truth_ml(self) -> dict[str, float]:
        """Label voxels times voxel volume; slices are equally spaced."""
        spacing = float(np.median(np.diff(self.positions))) if len(self.positions) > 1 else self.thickness
        ml = self.pixel**2 * spacing / 1000
        out = {k: float((self.label == i + 2).sum() * ml) for i, k in enumerate(SUBTYPES)}
        return {"total": sum(out.values()), **out}

    def cavity_ml(self) -> float:
        spacing = float(np.median(np.diff(self.positions))) if len(self.positions) > 1 else self.thickness
        return float((self.label > 0).sum() * self.pixel**2 * spacing / 1000)


def make_head(rng: np.random.Generator, plan: Plan, surgeon: np.random.Generator | None = None, widen: float = 0.0):
    """Anatomy with its lesions; the order matters: solid bleeds push the brain before it is filled. `surgeon` draws what
    treatment and trauma left behind; None leaves the head as it is."""
    traits = draw_traits(rng, widen)
    if rng.random() < SQUEEZED:
        traits |= squeezed(rng)
    pose = rng.spawn(1)[0]
    if pose.random() < TURNED:
        traits |= turned(pose)
    traits |= plan.traits
    kinds = {k for k, _, _ in plan.bleeds}
    filled = max((ml for k, ml, _ in plan.bleeds if k == "IVH"), default=0.0)
    if filled:
        traits["ventricle"] = max(traits["ventricle"], float(rng.uniform(1.1, 1.9)), min(0.9 + filled / 30, 2.4))  # blood widens them
    trauma = "IVH" not in kinds and rng.random() < (0.8 if kinds & {"SDH", "EDH"} else 0.35)
    head = build(rng, traits)
    lesions: list[Lesion] = alter(surgeon, head) if surgeon is not None else []
    push = np.zeros((len(head.index), 3), np.float32)
    for kind, ml, hu in plan.bleeds:
        if kind in ("IPH", "SDH", "EDH"):
            les, shift = place_solid(rng, head, kind, ml, hu, trauma, plan.several)
            lesions.append(les)
            push += shift
            if kind == "IPH":  # oedema: darker rim, not blood
                lesions.insert(0, Lesion("", les.region - rng.uniform(2, 9), "cavity", float(rng.uniform(18, 26)), 1.0, 0))
    fill(rng, head, push if push.any() else None)
    for kind, ml, hu in plan.bleeds:
        if kind in ("IVH", "SAH"):
            lesions.append(place_fluid(rng, head, kind, ml, hu, trauma if kinds - {"SAH", "IVH"} else None, plan.several))
    return head, distractors(rng, head) + lesions


def top_of(head) -> float:
    """Scanner z of the highest bone, mm."""
    rows = np.flatnonzero((head.full["bone"] < 0).any(axis=(1, 2)))
    return float(head.grid.low[0] + head.grid.step * rows[-1])


@one_thread
def generate(seed: int, plan: Plan | None = None, slices: int | None = None, runs: int | None = None,
             without: tuple[str, ...] = (), widen: float = 0.0, blood_only: bool = False) -> Phantom | list[Phantom]:
    """A phantom from its seed alone.

    runs=None: the whole head. runs=k: k stretches of `slices` consecutive slices, aimed at the blood more often than
    not; every inner slice of a stretch has both neighbours, so it is a training sample. widen: share by which the ranges
    of anatomy and scanner grow at both ends, for heads to measure on. blood_only: of the whole head, slices with blood and
    their neighbours.
    """
    rng = np.random.default_rng(seed)
    plan = plan if plan is not None else Plan.draw(rng)
    head, lesions = make_head(rng, plan, rng.spawn(1)[0], widen)
    u = wider(rng, widen)
    quality = Quality.draw(rng, widen).without(without)
    thickness = u(3.0, 6.0)
    pixel = u(0.86, 1.05)
    side = 256
    first = (float(-side / 2 * pixel + rng.normal(0, 4)), float(-side / 2 * pixel + rng.normal(0, 6)))
    top = top_of(head) + rng.uniform(-4, 10)
    bottom = max(top - rng.uniform(150, 215), -126.0)
    stack = top - thickness * np.arange(int((top - bottom) / thickness))[::-1]
    series = lambda z: Series(np.asarray(z), thickness, side, side, pixel, first)  # noqa: E731
    blood = blood_levels(head, lesions)
    if blood_only:
        near = np.abs(stack[:, None] - np.unique(blood)[None]).min(1, initial=np.inf) < 1.6 * thickness
        stack = stack[near] if near.any() else stack[:1]
    if runs is None:
        r = render(rng, head, lesions, series(stack), quality)
        return Phantom(r.hu, r.label, stack, pixel, first, thickness, head.traits, plan, r.unseen, r.tissue)
    slices = slices or 7
    out = []
    for _ in range(runs):
        if len(blood) and rng.random() < 0.7:
            middle = int(np.argmin(np.abs(stack - rng.choice(blood)))) + int(rng.integers(-3, 4))
            start = int(np.clip(middle - slices // 2, 0, max(len(stack) - slices, 0)))
        else:
            start = int(rng.integers(0, max(len(stack) - slices, 0) + 1))
        z = stack[start : start + slices]
        r = render(rng, head, lesions, series(z), quality)
        out.append(Phantom(r.hu, r.label, z, pixel, first, thickness, head.traits, plan, r.unseen, r.tissue))
    return out


def blood_levels(head, lesions) -> np.ndarray:
    """z (mm) of grid nodes within labelled lesions."""
    hit = np.zeros(len(head.index), bool)
    for les in lesions:
        if les.subtype:
            inside = les.region < 0
            if les.carrier == "ventricle":
                inside &= head.brain["vent"] < 0
            hit |= inside
    nodes = head.index[hit] // (head.grid.shape[1] * head.grid.shape[2])
    return Grid().low[0] + Grid().step * nodes.astype(float)
