"""Where a run is not the paper: settings that a scale changes, and what the paper does not say and somebody had to choose."""

from __future__ import annotations

from dataclasses import asdict

import torch

from ...loop import Machine
from ..paper import Augmentation, Study
from .scales import PAPER

CODE, OURS = "authors' code", "ours"

# Settings of paper.py that the paper leaves out, and who chose them.
CHOSEN = {
    "network.factor": CODE, "network.dropout": CODE,
    "restoration.dropout": CODE, "restoration.augment": CODE,
    **{f"{task}.augment.{k}": CODE for task in ("global_contrastive", "local_contrastive") for k in ("contrast", "blur", "crop", "ratio")},
    **{f"{task}.augment.brightness": OURS for task in ("global_contrastive", "local_contrastive")},
    "global_contrastive.dropout": CODE, "local_contrastive.dropout": CODE, "classification.dropout": CODE,
    **{f"{net}.{k}": CODE for net in ("tissue", "bone") for k in ("smoothing", "dropout", "augment")},
}


def deviations(study: Study, datasets: list[str], on: Machine = Machine()) -> list[dict]:
    """All of it as rows: setting, here, paper; and `by` (who chose it) where it is the same at every scale. datasets: those of the run."""
    return changed(study, datasets) + chosen(study, datasets, on)


def changed(study: Study, datasets: list[str]) -> list[dict]:
    """Every setting that differs from the paper's, with both values, by name."""
    out: list[dict] = []

    def compare(name: str, ours: dict, paper: dict) -> None:
        for k, v in ours.items():
            if isinstance(v, dict) and isinstance(paper.get(k), dict):
                compare(f"{name}{k}.", v, paper[k])
            elif v != paper.get(k):
                out.append({"setting": f"{name}{k}", "here": v, "paper": paper.get(k)})

    ours, paper = asdict(study), asdict(PAPER)
    for settings in (ours, paper):
        for k in ("scale", "segmentation", "other"):
            del settings[k]
    compare("", ours, paper)
    for name in datasets:
        compare(f"segmentation.{name}.", asdict(study.segmentation_of(name)), asdict(PAPER.segmentation_of(name)))
    return out


def chosen(study: Study, datasets: list[str], on: Machine) -> list[dict]:
    """What is the same at every scale: done in another way than the paper says, or not said there."""
    low, high = study.window
    grid = f"{study.size} x {study.size}"
    rows = [
        ("slices", f"stored as uint8: the window in 255 steps of {(high - low) / 255:.2f} HU", "not said", OURS),
        ("augment.order", f"after the resize to {grid}, all of it in one interpolation", "before the resize", OURS),
        ("augment.fill", "the window's lower end", "not said", CODE),
        ("views.order", "crop before contrast, brightness and blur, so the blur acts at the crop's scale", "crop after them", OURS),
        ("contrastive.sum", "mean", "sum, Eq. 6 and 7", OURS),
        ("pos_weight", "of multilabel-ce: slices without the class / slices with it", "weighted, not said how", CODE),
        ("metrics.grid", f"the network's, {grid}", "not said", OURS),
        ("widths", f"doubled from block to block, {study.network.base} to {16 * study.network.base}", "its example can be read as 32, 32, 64", CODE),
        ("held_out", "pretext slices of other patients than those trained on", "slices", OURS),
        ("folds", "patients stay whole, those that bleed are spread evenly", "volumes stay whole, each fold has some that bleed", OURS),
    ]
    if study.cavity == "given":
        rows.append(("cavity_masks", "those that a set brings are used", "the nets' union", OURS))
    if on.dtype is not None:
        rows.append(("autocast", f"{str(on.dtype).removeprefix('torch.')} on a GPU, weights in {str(torch.float32).removeprefix('torch.')}", "not said", OURS))
    for name, by in CHOSEN.items():
        here = _at(study, name)
        if here == _at(PAPER, name):  # else a scale changed it, and `changed` says so
            rows.append((name, "that of 2.3.2" if here == Augmentation() else here, "not said", by))
    rows += [(f"segmentation.{name}.smoothing", study.segmentation_of(name).smoothing, "not said", CODE) for name in datasets]
    return [{"setting": s, "here": here, "paper": paper, "by": by} for s, here, paper, by in rows]


def _at(study: Study, name: str) -> object:
    for key in name.split("."):
        study = getattr(study, key)
    return study
