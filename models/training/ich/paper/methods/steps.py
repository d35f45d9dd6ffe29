"""The steps of a study. Each reads its inputs from disk and leaves its results there, so any process can take it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..paper import PRETEXTS, Study
from . import cavity, classification, contrastive, restoration, segmentation
from ...files import whole
from ...loop import Machine, weights
from .fit import Task, fit, mean_loss
from .folds import folds
from .score import embedding, fold_dice, volume_rows, write_rows
from .sets import Labelled, Source, check_labels, labelled
from .slices import balanced, hold_out, seed_of


@dataclass(frozen=True)
class Context:
    """What all steps share."""

    out: Path
    study: Study
    on: Machine
    labelled: tuple[Source, ...]
    pretext: Source | None
    cavity: Source | None  # whose cavity masks the cavity nets learn from
    progress: bool = False  # a bar inside the step

    def source(self, dataset: str) -> Source:
        return next(s for s in self.labelled if s.dataset == dataset)


def pretext_dir(c: Context, method: str, seed: int) -> Path:
    return c.out / "runs" / "pretext" / f"{method}-seed{seed}"


def fold_dir(c: Context, dataset: str, method: str, seed: int, fold: int) -> Path:
    return c.out / "runs" / dataset / f"{method}-seed{seed}-fold{fold}"


def cavity_file(c: Context, dataset: str) -> Path:
    return c.out / "runs" / "cavity" / f"{dataset}.npy"


def pretext_task(method: str, study: Study, labels: np.ndarray, encoder: dict | None) -> Task:
    match method:
        case "context-restoration":
            return restoration.task(study.restoration, study.network, study.size)
        case "global-contrastive":
            return contrastive.global_task(study.global_contrastive, study.network)
        case "local-contrastive":
            return contrastive.local_task(study.local_contrastive, study.network, encoder)
    return classification.task(method, study.classification, study.network, labels)


def pretrain(method: str, source: Source, study: Study, out: Path, seed: int, on: Machine, progress: bool, encoder: dict | None = None) -> None:
    """Trains a pretext on the balanced slices of a set, but for those held out, whose embedding is written (Figure 5)."""
    data = source.slices(study.pretext.window, progress)
    store = data.store
    if method not in ("context-restoration", "global-contrastive", "local-contrastive"):
        check_labels(source, data, method)
    rows = balanced(store.labels, seed)
    groups = np.array([v.group for v in store.volumes])[store.volume[rows]]
    train, held = hold_out(rows, groups, min(study.pretext.validation, len(rows) // 4), seed)
    torch.manual_seed(seed_of(seed, method))  # the weights a net begins with
    task = pretext_task(method, study, store.labels[train], encoder)
    task.measure = mean_loss(task, data, held, seed, on)
    net = fit(task, data, train, study.optimiser, out, seed_of(seed, method), on, progress)
    with whole(out / "embedding.npz") as part, part.open("wb") as f:
        labels = store.labels[held]
        np.savez_compressed(f, vectors=embedding(net, data, held, on), bleeding=labels[:, 0], types=labels[:, 1:])


def run_pretext(c: Context, method: str, seed: int) -> None:
    encoder = weights(pretext_dir(c, "global-contrastive", seed) / "net.pt") if method == "local-contrastive" else None
    pretrain(method, c.pretext, c.study, pretext_dir(c, method, seed), seed, c.on, c.progress, encoder)


def segment(base: str, part: Labelled, study: Study, rows: np.ndarray, test: np.ndarray | None, out: Path, key: tuple, seed: int, on: Machine,
            progress: bool, init: dict | None = None):
    """Trains the U-Net of one row of Table 3 on slices `rows` of the training volumes. key: names its random numbers."""
    cfg = study.segmentation_of(part.name)
    normal = 0.0 if base == "ich-only" else cfg.normal_per_ich
    chosen = segmentation.training_rows(part.ich, rows, normal, seed_of(seed, *key[:2]))  # the same slices for every method
    torch.manual_seed(seed_of(seed, *key))
    task = segmentation.task(cfg, study.network, init)
    if test is not None:
        task.measure, task.measure_every = fold_dice(part.data, test, on, cfg.threshold), max(cfg.epochs // 8, 1)
    return fit(task, part.data, chosen, study.optimiser, out, seed_of(seed, *key), on, progress)


def run_fold(c: Context, dataset: str, base: str, seed: int, fold: int, icm: bool) -> None:
    """One net on one fold, and its rows of volumes.csv; with icm also those within the cavity, in a file of another name."""
    part = labelled(c.source(dataset), c.study.window)
    out = fold_dir(c, dataset, base, seed, fold)
    init = weights(pretext_dir(c, base, seed) / "net.pt") if base in PRETEXTS else None
    mask = np.load(cavity_file(c, dataset), mmap_mode="r") if icm else None
    rows = one_fold(base, part, c.study, fold, out, seed, c.on, c.progress, init, mask)
    write_rows(out / ("volumes-icm.csv" if icm else "volumes.csv"), rows)


def one_fold(base: str, part: Labelled, study: Study, fold: int, out: Path, seed: int, on: Machine, progress: bool, init: dict | None,
             mask: np.ndarray | None) -> list[dict]:
    """Trains on all folds but one and scores its volumes; with a cavity mask (N, H, W) a second time within that."""
    cfg = study.segmentation_of(part.name)
    of = folds(part.groups(), part.bleeding[part.usable], cfg.folds, seed, str(part.source.folder))
    train, test = part.usable[of != fold], part.usable[of == fold]
    rows = part.data.rows_of(train), part.data.rows_of(test)
    net = segment(base, part, study, *rows, out, (part.name, fold, base), seed, on, progress, init)
    about = {m: {"dataset": part.name, "seed": seed, "fold": fold} for m in ((base,) if mask is None else (base, f"{base}-icm"))}
    return volume_rows(net, part.data, test, part.bleeding, on, cfg.threshold, mask, about)


def cross_validate(base: str, part: Labelled, study: Study, out: Path, seed: int, on: Machine, init: dict | None) -> Path:
    """All folds of one method on one set; writes <out>/volumes.csv and a folder for each fold."""
    rows = []
    for fold in range(study.segmentation_of(part.name).folds):
        rows += one_fold(base, part, study, fold, out / f"fold{fold}", seed, on, True, init, None)
    write_rows(out / "volumes.csv", rows)
    return out / "volumes.csv"


def run_cavity(c: Context, name: str) -> None:
    """The tissue or the bone net (2.3.3), on a few scans of the set that has cavity masks."""
    cfg = getattr(c.study, name)
    store = c.cavity.slices(c.study.pretext.window).store
    bleeding = np.array([bool(v.bleeding) for v in store.volumes])
    chosen = [store.volumes[i] for i in cavity.choose(store.has_cavity, bleeding, cfg.scans, 0)]
    data = c.cavity.slices(cfg.window, only=chosen)
    torch.manual_seed(seed_of(0, name))
    task = cavity.task(name, cfg, c.study.network)
    fit(task, data, np.arange(len(data)), c.study.optimiser, c.out / "runs" / "cavity" / name, seed_of(0, name), c.on, c.progress)


def run_mask(c: Context, dataset: str) -> None:
    """Cavity masks of a segmentation set: its own, or the union of both nets."""
    source = c.source(dataset)
    store = source.slices(c.study.window).store
    if c.study.cavity == "given" and store.has_cavity.all():
        mask = np.asarray(store.cavities)
    else:
        nets, windows = [], []
        for name in ("tissue", "bone"):
            cfg = getattr(c.study, name)
            net = cavity.task(name, cfg, c.study.network).net
            net.load_state_dict(weights(c.out / "runs" / "cavity" / name / "net.pt"))
            nets.append(net.to(c.on.device).eval())
            windows.append(source.slices(cfg.window, only=store.volumes))
        mask = cavity.union(nets, windows, c.on)
        truth = np.asarray(store.cavities) > 0
        if store.has_cavity.all():  # said in the report, not used
            dice = (2 * int((truth & (mask > 0)).sum()) + 1) / (int(truth.sum()) + int((mask > 0).sum()) + 1)
            cavity_file(c, dataset).with_suffix(".txt").write_text(f"{dice:.4f}\n")
    with whole(cavity_file(c, dataset)) as part, part.open("wb") as f:
        np.save(f, mask)
