"""The 2D samples that the paper's methods train on: every slice windowed to [0, 1] and resized to size x size (2.3.1, 2.3.2).

The resize is the plain one of `ich.window` (pixel_mm = 0: triangle filter, order 1 with anti-aliasing), the one the Go
program runs, so a network trained here reads the same numbers there; the mask takes the nearest pixel. The paper
augments between window and resize: store twice the network's size and let the augmentation sample down to it in one
interpolation, or store the network's size and augment that, which differs by one slight blur.

A store is a folder named by the digest of all that shaped it. Arrays are raw files that only grow; journal.jsonl gets the
line of a volume after its bytes are on disk, so an interrupted build continues after the last whole volume.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from ..product.window import Resampler, window as to_window
from .volume import LABELS, UNKNOWN, DataError, Volume

VERSION = 1  # raise when the numbers of a store change
FILES = ("images", "masks", "cavities")
COMMIT = 32  # volumes between two waits for the disk


class SliceStore:
    """Slices of volumes on disk, built at the first use; opening it again costs nothing. Safe to hand to worker processes.

    images   uint8 (N, size, size), window value * 255
    masks    uint8 (N, size, size), as Scan.mask; all 0 where the volume has none
    cavities uint8 (N, size, size), 0 or 1; all 0 where the volume has none
    labels   uint8 (N, 6), columns LABELS (any, IPH, IVH, SAH, SDH, EDH), 255 unknown
    volume   int32 (N,), index into `volumes`
    voxel_ml float64 (N,), millilitres of a pixel of the store on that slice
    volumes  list of Volume that are in the store, in order; has_mask, has_cavity bool (V,)
    skipped  {volume name: one line} of volumes left out, only with lenient; else the first unreadable volume raises DataError

    workers: processes that read and resize while this one writes.
    """

    def __init__(self, folder: Path, volumes: list[Volume], size: int = 256, window: tuple[float, float] = (-50.0, 150.0),
                 lenient: bool = False, progress: bool = True, workers: int = 1):
        self.size, self.window = size, (float(window[0]), float(window[1]))
        self.folder = Path(folder) / self._key(volumes, lenient)
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # a second process waits for the first to finish, then finds all done
            rows = self._journal()
            if len(rows) < len(volumes):
                rows = self._build(volumes, rows, lenient, progress, workers)
        self.skipped = {v.name: r["skipped"] for v, r in zip(volumes, rows) if r.get("skipped")}
        kept = [(v, r) for v, r in zip(volumes, rows) if not r.get("skipped")]
        if not kept:
            raise DataError(self.folder, "no volume could be read", next(iter(self.skipped.values()), "the list of volumes is empty"))
        self.volumes = [v for v, _ in kept]
        self.has_mask = np.array([r["mask"] for _, r in kept])
        self.has_cavity = np.array([r["cavity"] for _, r in kept])
        self.volume = np.repeat(np.arange(len(kept), dtype=np.int32), [r["slices"] for _, r in kept])
        self.voxel_ml = np.concatenate([r["voxel_ml"] for _, r in kept]).astype(float)
        self.labels = np.concatenate([np.array(r["labels"], np.uint8).reshape(-1, len(LABELS)) for _, r in kept])
        self._map()

    def __len__(self) -> int:
        return len(self.volume)

    def __getstate__(self) -> dict:
        return {k: v for k, v in self.__dict__.items() if k not in FILES}  # maps are opened anew, not copied

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._map()

    def _map(self) -> None:
        for name in FILES:
            shape = (len(self), self.size, self.size)
            setattr(self, name, np.memmap(self.folder / f"{name}.u8", np.uint8, "r", shape=shape))

    def _key(self, volumes: list[Volume], lenient: bool) -> str:
        """Digest of settings and sources; a changed file is a changed store."""
        h = hashlib.sha256(json.dumps([VERSION, self.size, self.window, lenient]).encode())
        for v in volumes:
            h.update(f"\n{v.dataset}/{v.name}".encode())
            for f in v.files:
                s = f.stat() if f.exists() else None
                h.update(f"\n{f.name} {s.st_size} {s.st_mtime_ns}".encode() if s else b"\nmissing")
        return f"{volumes[0].dataset if volumes else 'empty'}-{self.size}-{h.hexdigest()[:16]}"

    def _journal(self) -> list[dict]:
        """Whole lines of the journal; a torn last one is as if it had not been written."""
        rows = []
        try:
            for line in (self.folder / "journal.jsonl").read_text().splitlines():
                rows.append(json.loads(line))
        except (FileNotFoundError, ValueError):
            pass
        return rows

    def _build(self, volumes: list[Volume], rows: list[dict], lenient: bool, progress: bool, workers: int) -> list[dict]:
        from tqdm import tqdm

        done, plane, pending = sum(r.get("slices", 0) for r in rows), self.size * self.size, []
        journal = self.folder / "journal.jsonl"
        journal.write_text("".join(json.dumps(r) + "\n" for r in rows))
        paths = {name: self.folder / f"{name}.u8" for name in FILES}
        files = {name: p.open("r+b" if p.exists() else "w+b") for name, p in paths.items()}

        def commit() -> None:
            for f in files.values():
                f.flush()
                os.fsync(f.fileno())
            with journal.open("a") as log:
                log.write("".join(json.dumps(r) + "\n" for r in pending))
                log.flush()
                os.fsync(log.fileno())
            rows.extend(pending)
            pending.clear()

        bar = tqdm(total=len(volumes), initial=len(rows), desc=f"slices {self.size}x{self.size}", unit="volume", disable=None if progress else True)
        try:
            for row, arrays in _samples(volumes[len(rows):], (self.size, self.window, lenient), workers):
                for name, f in files.items():
                    f.truncate(done * plane)
                    if arrays.get(name) is not None:
                        f.seek(done * plane)
                        f.write(arrays[name].tobytes())
                        f.flush()
                    f.truncate((done + row.get("slices", 0)) * plane)  # an absent mask is a hole: zeros without disk
                pending.append(row)
                done += row.get("slices", 0)
                bar.update()
                if len(pending) >= COMMIT:
                    commit()
        finally:  # also when interrupted: what is whole is kept
            commit()
            bar.close()
            for f in files.values():
                f.close()
        return rows


def _samples(volumes: list[Volume], settings: tuple, workers: int):
    """sample() of every volume in order, a few ahead of the writer when there are worker processes."""
    if workers <= 1:
        for v in volumes:
            yield sample(v, *settings)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        ahead: deque = deque()
        try:
            for v in volumes:
                ahead.append(pool.submit(sample, v, *settings))
                if len(ahead) > 2 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def sample(v: Volume, size: int, window: tuple[float, float], lenient: bool) -> tuple[dict, dict[str, np.ndarray | None]]:
    """Journal line and arrays of one volume."""
    try:
        scan = v.read()
    except DataError as err:
        if not lenient:
            raise
        return {"skipped": str(err)}, {}
    rows, columns = scan.hu.shape[1:]
    to = Resampler(scan.hu, scan.spacing, size, 0.0, centre=(0.0, 0.0))  # a plain resize has no centre
    images = np.stack([np.round(to.down(to_window(s, *window)) * 255) for s in scan.hu]).astype(np.uint8)
    near = np.ix_(nearest(rows, size), nearest(columns, size))
    pick = lambda a: None if a is None else np.stack([s[near] for s in a]).astype(np.uint8)  # noqa: E731
    labels = scan.labels if scan.labels is not None else np.full((len(scan.hu), len(LABELS)), UNKNOWN)
    ml = scan.voxel_ml() * rows * columns / size**2
    row = {"slices": len(scan.hu), "mask": scan.mask is not None, "cavity": scan.cavity is not None,
           "voxel_ml": ml.tolist(), "labels": labels.ravel().tolist()}
    return row, {"images": images, "masks": pick(scan.mask), "cavities": pick(scan.cavity)}


def nearest(n_source: int, size: int) -> np.ndarray:
    """Source index under each target centre; pixel edges of both grids coincide, as in the plain resize."""
    return np.minimum(((np.arange(size) + 0.5) * n_source / size).astype(int), n_source - 1)
