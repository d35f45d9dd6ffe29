"""Training for every task of the paper: Adam, exponential decay, log, mixed precision, CPU or GPU. loop.py holds what the shipped nets' training shares.

A run that was interrupted gives the same weights as one that was not. Nothing has to be remembered for that but the epoch
and the number of threads, on which the rounding of sums depends: the order of slices follows from (seed, epoch),
augmentation from (seed, epoch, step), dropout from the seed that each epoch sets, and workers that read slices draw nothing.
Checkpoints hold net, optimiser, schedule, scaler and log, appear whole or not at all, and are written between epochs.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from ...datasets.volume import DataError
from ...files import whole
from ...loop import Checkpoint, Machine, check_finite, descend, load, save, scaler_of
from ..paper import Optimiser
from .slices import Batch, Slices, seed_of

SAVE_EVERY_S = 60.0
LOG = ("epoch", "phase", "loss", "lr", "seconds", "val_loss", "test_dice")


@dataclass
class Task:
    """What to train: a net, its loss on a batch, and for how long."""

    name: str
    net: nn.Module
    loss: Callable[[nn.Module, Batch, torch.Generator, int], torch.Tensor]  # net, batch, random numbers, epoch
    epochs: int
    batch: int
    phase: str = "pretext"  # or segmentation, cavity: in the log
    needs: tuple[str, ...] = ("images",)  # arrays of the store
    drop_last: bool = False  # the contrastive losses depend on the size of a batch
    measure: Callable[[nn.Module], dict[str, float]] | None = None  # further columns of the log, net in evaluation mode
    measure_every: int = 1  # epochs; always after the last
    facts: dict = field(default_factory=dict)  # saved beside the weights


def fit(task: Task, data: Slices, rows: np.ndarray, opt_cfg: Optimiser, out: Path, seed: int, on: Machine, progress: bool = True,
        stop_after: int | None = None) -> nn.Module:
    """Trains task.net on slices `rows` of the data. Writes <out>/log.csv, and <out>/net.pt when done; a rerun continues.

    `stop_after` ends the run early, after so many epochs of this call, as an interruption would.
    """
    if len(rows) == 0:
        raise DataError(data.folder, f"no slices for {task.name}", "give a set that has them; see `ich data check`")
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    net = task.net.to(on.device, memory_format=torch.channels_last)
    if (out / "net.pt").exists():
        net.load_state_dict(load(out / "net.pt")["net"])
        return net.eval()
    opt = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=opt_cfg.lr, weight_decay=opt_cfg.weight_decay)
    schedule = torch.optim.lr_scheduler.ExponentialLR(opt, opt_cfg.decay)
    scaler = scaler_of(on)
    checkpoint = Checkpoint(out / "last.pt", {"net": net, "opt": opt, "schedule": schedule, "scaler": scaler}, SAVE_EVERY_S)
    state = checkpoint.resume()
    first, log = state.get("epoch", 0), state.get("log", [])
    loader = data.loader(rows, min(task.batch, len(rows)), task.needs, seed, task.drop_last, on.workers, on.device != "cpu")
    last = task.epochs if stop_after is None else min(task.epochs, first + stop_after)
    with tqdm(total=task.epochs * len(loader), initial=first * len(loader), desc=task.name, disable=not progress, mininterval=5) as bar:
        for epoch in range(first, last):
            begun, total = time.monotonic(), torch.zeros((), device=on.device)
            net.train()
            torch.manual_seed(seed_of(seed, epoch))  # dropout
            loader.sampler.epoch = epoch
            for step, raw in enumerate(loader):
                batch = Batch.of(task.needs, raw, on.device)
                gen = _generator(seed, epoch, step)
                total += descend(lambda: task.loss(net, batch, gen, epoch), opt, on, scaler)  # noqa: B023
                bar.update()
            row = {"epoch": epoch + 1, "phase": task.phase, "loss": float(total) / len(loader), "lr": schedule.get_last_lr()[0]}
            schedule.step()
            check_finite(row["loss"], out, f"{task.name} diverged in epoch {epoch + 1}")
            if task.measure and ((epoch + 1) % task.measure_every == 0 or epoch + 1 == task.epochs):
                row |= _measured(task, net, on)
            log.append(row | {"seconds": time.monotonic() - begun})
            _write_log(out / "log.csv", log)
            bar.set_postfix(loss=f"{row['loss']:.4f}")
            if checkpoint.due() or epoch + 1 == last:
                checkpoint.save(epoch=epoch + 1, log=log)
    if last == task.epochs:
        save(out / "net.pt", {"net": net.state_dict(), "task": task.name, **task.facts})
        (out / "last.pt").unlink(missing_ok=True)
    return net.eval()


def mean_loss(task: Task, data: Slices, rows: np.ndarray, seed: int, on: Machine) -> Callable[[nn.Module], dict[str, float]]:
    """Measure: the task's loss on held-out slices, with the same random numbers at every epoch."""

    def measure(net: nn.Module) -> dict[str, float]:
        losses = []
        for step, raw in enumerate(data.loader(rows, min(task.batch, len(rows)), task.needs, seed, True, 0, False)):
            losses.append(float(task.loss(net, Batch.of(task.needs, raw, on.device), _generator(seed, 0, step), task.epochs)))
        return {"val_loss": float(np.mean(losses))}

    return measure


def _measured(task: Task, net: nn.Module, on: Machine) -> dict[str, float]:
    net.eval()
    with torch.no_grad(), on.autocast():
        return task.measure(net)


def _generator(*key: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed_of(*key))


def _write_log(path: Path, rows: list[dict]) -> None:
    with whole(path) as part, part.open("w", newline="") as f:
        table = csv.DictWriter(f, LOG, restval="")
        table.writeheader()
        table.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)


def iterate(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Rows in order, so many at a time."""
    for i in range(0, len(rows), size):
        yield rows[i : i + size]
