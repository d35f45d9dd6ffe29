"""Slices of a store as batches: what the loop reads, in an order that follows from seed and epoch alone."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ...datasets.volume import UNKNOWN


def seed_of(*parts: int | str) -> int:
    """One 62-bit seed from several numbers or words; other parts give another seed."""
    words = [zlib.crc32(p.encode()) if isinstance(p, str) else p % 2**64 for p in parts]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(2))


@dataclass
class Batch:
    """A batch on the device; what the task does not need is None."""

    x: torch.Tensor  # float32 (B, 1, H, W) in [0, 1]
    mask: torch.Tensor | None  # bool (B, 1, H, W)
    cavity: torch.Tensor | None  # bool (B, 1, H, W)
    labels: torch.Tensor | None  # uint8 (B, 6): any, IPH, IVH, SAH, SDH, EDH; 255 unknown

    @staticmethod
    def of(needs: tuple[str, ...], raw: list[torch.Tensor], device: str) -> Batch:
        part = {k: v.to(device, non_blocking=True) for k, v in zip(needs, raw)}
        plane = lambda k: part[k][:, None] > 0 if k in part else None  # noqa: E731
        return Batch(part["images"][:, None].float() / 255, plane("masks"), plane("cavities"), part.get("labels"))


class Slices(Dataset):
    """A SliceStore, or anything with its arrays, indexed by whole batches of rows."""

    def __init__(self, store):
        self.store, self.folder = store, Path(getattr(store, "folder", "slices"))
        self.needs: tuple[str, ...] = ("images",)

    def __len__(self) -> int:
        return len(self.store.volume)

    def __getitem__(self, rows: np.ndarray) -> list[torch.Tensor]:
        return [torch.from_numpy(np.ascontiguousarray(getattr(self.store, k)[rows])) for k in self.needs]

    def loader(self, rows: np.ndarray, batch: int, needs: tuple[str, ...], seed: int, drop_last: bool, workers: int, pin: bool) -> DataLoader:
        """Batches of an epoch; set `loader.sampler.epoch` before each."""
        data = Slices(self.store)
        data.needs = needs
        return DataLoader(data, batch_size=None, sampler=Order(rows, batch, seed, drop_last), num_workers=workers, pin_memory=pin,
                          persistent_workers=workers > 0, generator=torch.Generator())  # its own: dropout draws from the global one

    def images(self, rows: np.ndarray, device: str) -> torch.Tensor:
        """float32 (B, 1, H, W) in [0, 1]"""
        return torch.from_numpy(np.ascontiguousarray(self.store.images[rows])).to(device)[:, None].float() / 255

    def rows_of(self, volumes: np.ndarray) -> np.ndarray:
        """All slices of volumes, given by index."""
        return np.flatnonzero(np.isin(self.store.volume, volumes))


class Order:
    """Rows in batches, shuffled anew for every epoch."""

    def __init__(self, rows: np.ndarray, batch: int, seed: int, drop_last: bool):
        self.rows, self.batch, self.seed, self.drop_last, self.epoch = np.asarray(rows), batch, seed, drop_last, 0

    def __len__(self) -> int:
        return len(self.rows) // self.batch if self.drop_last else -(-len(self.rows) // self.batch)

    def __iter__(self) -> Iterator[np.ndarray]:
        shuffled = np.random.default_rng(seed_of(self.seed, self.epoch, "order")).permutation(self.rows)
        for i in range(len(self)):
            yield shuffled[i * self.batch : (i + 1) * self.batch]


def balanced(labels: np.ndarray, seed: int) -> np.ndarray:
    """Rows of every slice with hemorrhage and as many without (2.6); all rows where no slice is labelled."""
    known = labels[:, 0] != UNKNOWN
    if not known.any():
        return np.arange(len(labels))
    ich, normal = np.flatnonzero(labels[:, 0] == 1), np.flatnonzero(labels[:, 0] == 0)
    rng = np.random.default_rng(seed_of(seed, "balanced"))
    return np.sort(np.concatenate([ich, rng.permutation(normal)[: len(ich)]]))


def hold_out(rows: np.ndarray, groups: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and `count` rows to validate on, of other patients. groups: the patient of each row."""
    rng = np.random.default_rng(seed_of(seed, "held out"))
    names, of, slices = np.unique(groups, return_inverse=True, return_counts=True)
    order = rng.permutation(len(names))
    taken = int(np.searchsorted(np.cumsum(slices[order]), count)) + 1
    held = np.isin(of, order[:taken])
    return rows[~held], np.sort(rng.permutation(rows[held])[:count])
