"""The one training loop, for every task: Adam, exponential decay, checkpoints, log, mixed precision, CPU or GPU.

A run that was interrupted gives the same weights as one that was not. Nothing has to be remembered for that but the epoch
and the number of threads, on which the rounding of sums depends: the order of slices follows from (seed, epoch),
augmentation from (seed, epoch, step), dropout from the seed that each epoch sets, and workers that read slices draw nothing.
Checkpoints hold net, optimiser, schedule, scaler and log, appear whole or not at all, and are written between epochs.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from ...datasets.volume import DataError
from ..paper import Optimiser
from .slices import Batch, Slices, seed_of

SAVE_EVERY_S = 60.0
LOG = ("epoch", "phase", "loss", "lr", "seconds", "val_loss", "val_dice")


@dataclass(frozen=True)
class Machine:
    """Where and how to compute; changes speed and rounding, nothing else."""

    device: str = "cpu"
    dtype: torch.dtype | None = None  # of autocast; None: float32 throughout
    workers: int = 0  # processes that read slices

    def autocast(self) -> torch.autocast:
        return torch.autocast(torch.device(self.device).type, self.dtype or torch.bfloat16, enabled=self.dtype is not None)


def machine(device: str = "auto", workers: int | None = None) -> Machine:
    """GPU with bfloat16 (older ones float16) where there is one, else the CPU in float32."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        return Machine("cpu", None, workers or 0)
    name, _, number = device.partition(":")
    if name != "cuda" or (":" in device and not number.isdigit()):
        raise DataError("--device", f"{device} is not known", "give auto, cpu, cuda, or cuda:1 for the second GPU")
    if int(number or 0) >= (count := torch.cuda.device_count() if torch.cuda.is_available() else 0):
        raise DataError("--device", f"{device} is not there, PyTorch sees {count} GPU{'s' * (count != 1)}", "leave it out, or give cpu")
    bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return Machine(device, torch.bfloat16 if bf16 else torch.float16,
                   min(8, os.cpu_count() or 1) if workers is None else workers)


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
    scaler = torch.amp.GradScaler(enabled=on.dtype == torch.float16)
    saved = {"net": net, "opt": opt, "schedule": schedule, "scaler": scaler}
    first, log = _resume(out / "last.pt", saved)
    saved_at = time.monotonic()
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
                with on.autocast():
                    loss = task.loss(net, batch, _generator(seed, epoch, step), epoch)
                opt.zero_grad(set_to_none=True)
                scaler.scale(loss).backward()
                scaler.step(opt)
                scaler.update()
                total += loss.detach()
                bar.update()
            row = {"epoch": epoch + 1, "phase": task.phase, "loss": float(total) / len(loader), "lr": schedule.get_last_lr()[0]}
            schedule.step()
            if not np.isfinite(row["loss"]):
                raise DataError(out, f"{task.name} diverged in epoch {epoch + 1}: loss {row['loss']}", "lower the learning rate")
            if task.measure and ((epoch + 1) % task.measure_every == 0 or epoch + 1 == task.epochs):
                row |= _measured(task, net, on)
            log.append(row | {"seconds": time.monotonic() - begun})
            _write_log(out / "log.csv", log)
            bar.set_postfix(loss=f"{row['loss']:.4f}")
            if time.monotonic() - saved_at > SAVE_EVERY_S or epoch + 1 == last:
                state = {k: v.state_dict() for k, v in saved.items()}
                save(out / "last.pt", state | {"epoch": epoch + 1, "log": log, "threads": torch.get_num_threads()})
                saved_at = time.monotonic()
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


def _resume(path: Path, saved: dict) -> tuple[int, list[dict]]:
    """Epochs done, and their log. Takes as many threads as the run began with."""
    if not path.exists():
        return 0, []
    state = load(path)
    torch.set_num_threads(state.get("threads", torch.get_num_threads()))
    for key, part in saved.items():
        part.load_state_dict(state[key])
    return state["epoch"], state["log"]


def _write_log(path: Path, rows: list[dict]) -> None:
    with whole(path) as part, part.open("w", newline="") as f:
        table = csv.DictWriter(f, LOG, restval="")
        table.writeheader()
        table.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)


def save(path: Path, state: dict) -> None:
    with whole(path) as part:
        torch.save(state, part)


def load(path: Path) -> dict:
    """What `save` wrote. Raises DataError when it is not that."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(path, "no such file", "give the net.pt of a finished run") from None
    except Exception as err:  # torch, pickle and zipfile raise many kinds on damaged files
        raise DataError(path, f"not weights of a run ({type(err).__name__})", "give the net.pt of a finished run, or delete the file and run again") from None


def weights(path: Path) -> dict[str, torch.Tensor]:
    """Weights of a finished run, by name. Raises DataError when the file holds none."""
    state = load(path)
    net = state.get("net") if isinstance(state, dict) else None
    if not isinstance(net, dict) or not all(isinstance(v, torch.Tensor) for v in net.values()):
        raise DataError(path, "holds no weights of a network", "give the net.pt that `ich pretrain --out` wrote")
    return net


class whole:
    """A file that appears whole or not at all: write to the part, leave the block."""

    def __init__(self, path: Path):
        self.path, self.part = path, path.with_name(f".{path.name}.{os.getpid()}.tmp")

    def __enter__(self) -> Path:
        return self.part

    def __exit__(self, kind, *_: object) -> None:
        if kind is None:
            self.part.replace(self.path)
        else:
            self.part.unlink(missing_ok=True)


def iterate(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Rows in order, so many at a time."""
    for i in range(0, len(rows), size):
        yield rows[i : i + size]
