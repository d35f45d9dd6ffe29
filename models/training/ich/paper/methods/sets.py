"""The sets of a study: which folder is for what, their slices, and synthetic heads where no folder is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ...datasets import detect, open_dataset, rsna, synthetic
from ...datasets.slices import SliceStore
from ...datasets.volume import UNKNOWN, DataError, Volume
from .scales import Heads
from .slices import Slices

PRETEXT_SETS = ("rsna", "cq500")  # no voxel labels: only pretexts can use them
PRETEXT_SEEDS = 200_000  # the pretext's synthetic heads begin so far after the labelled ones


@dataclass(frozen=True)
class Source:
    """A set on disk, cheap to hand to another process."""

    dataset: str
    folder: Path
    stores: Path  # where slices are kept
    size: int
    pretext: bool = False  # of RSNA only the slices that a pretext takes are read: a third of 750,000
    workers: int = 1  # processes that make the slices

    def volumes(self) -> list[Volume]:
        volumes = open_dataset(self.dataset, self.folder, self.stores)
        return rsna.balanced(volumes) if self.pretext and self.dataset == rsna.NAME else volumes

    def slices(self, window: tuple[float, float], progress: bool = False, only: list[Volume] | None = None) -> Slices:
        """Windowed slices of all volumes, or of some; unreadable volumes are left out and named in store.skipped."""
        return Slices(SliceStore(self.stores, only or self.volumes(), self.size, window, lenient=True, progress=progress, workers=self.workers))


@dataclass
class Labelled:
    """Slices of a segmentation set, and what is known of its volumes."""

    source: Source
    data: Slices
    usable: np.ndarray  # indices of volumes with voxel labels
    bleeding: np.ndarray  # bool (V,)
    ich: np.ndarray  # bool (N,): slices with hemorrhage on the network's grid

    @property
    def name(self) -> str:
        return self.source.dataset

    def groups(self) -> list[str]:
        return [self.data.store.volumes[v].group for v in self.usable]


def labelled(source: Source, window: tuple[float, float], progress: bool = False) -> Labelled:
    data = source.slices(window, progress)
    store = data.store
    usable = np.flatnonzero(store.has_mask)
    if len(usable) == 0:
        raise DataError(source.folder, f"{source.dataset} has no voxel labels", "give a segmentation set; see `ich data list`")
    ich = np.array([bool((np.asarray(m) > 0).any()) for m in store.masks])
    if not ich.any():
        raise DataError(source.folder, "no slice has hemorrhage", "check the masks with `ich data check`")
    found = np.zeros(len(store.volumes), bool)
    np.logical_or.at(found, store.volume, ich)
    bleeding = np.array([f if v.bleeding is None else v.bleeding for v, f in zip(store.volumes, found)])
    return Labelled(source, data, usable, bleeding, ich)


def tell_left_out(store: SliceStore) -> None:
    """A line for each volume that could not be read; nothing is dropped in silence."""
    for why in store.skipped.values():
        tqdm.write(f"left out: {why}")


def check_labels(source: Source, data: Slices, method: str) -> None:
    """Raises DataError when a weakly-supervised pretext has no labels to learn from."""
    labels = data.store.labels
    column = labels[:, 0] if method == "binary" else labels[:, 1:]
    if not (labels[:, 0] != UNKNOWN).any() or not (column == 1).any():
        what = "slice labels" if method == "binary" else "subtype labels of slices"
        raise DataError(source.folder, f"the pretext set has no {what}, which {method} learns from", "give RSNA, or leave the method out with --methods")


def sources(folders: list[Path], pretext: Path | None, stores: Path, size: int, workers: int = 1) -> tuple[list[Source], Source | None]:
    """Segmentation sets and the pretext set among the folders. `pretext` names the latter whatever it holds."""
    made = partial(Source, stores=stores, size=size, workers=workers)
    labelled_sets, unlabelled = [], []
    for folder in folders:
        name = detect(folder)
        (unlabelled if name in PRETEXT_SETS else labelled_sets).append(made(name, folder, pretext=name in PRETEXT_SETS))
    if len({s.dataset for s in labelled_sets}) < len(labelled_sets):
        raise DataError(labelled_sets[-1].folder, f"a second set of {labelled_sets[-1].dataset}", "give each set once")
    if pretext is not None:
        return labelled_sets, made(detect(pretext), pretext, pretext=True)
    return labelled_sets, next((s for s in unlabelled if s.dataset == "rsna"), unlabelled[0] if unlabelled else None)


def render(folder: Path, heads: Heads, size: int, processes: int, progress: Callable) -> tuple[Path, Path]:
    """Folders of labelled heads and of heads for the pretexts, rendered as far as they are missing."""
    first = synthetic.Settings(count=heads.labelled, size=size, slices=heads.slices, normal=heads.normal)
    second = replace(first, count=heads.pretext, slices=heads.pretext_slices, first_seed=first.first_seed + PRETEXT_SEEDS)
    folders = folder / "labelled", folder / "pretext"
    for at, settings in zip(folders, (first, second)):
        synthetic.write(at, settings, progress, processes)
    return folders
