"""What both trainings share: the device, the optimiser step, checkpoints, and the check for divergence.

product/train.py counts steps, reads a cache that grows while it trains, averages weights and may stop at any step.
paper/methods/fit.py counts epochs of a fixed set of slices and scores a test fold. All else they do in the same way, here.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from .datasets.volume import DataError
from .files import whole


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


def descend(loss: Callable[[], torch.Tensor], opt: torch.optim.Optimizer, on: Machine, scaler: torch.amp.GradScaler, clip_norm: float = math.inf) -> torch.Tensor:
    """One optimiser step on the loss, which is computed under autocast. Gradients are clipped to clip_norm over all parameters.
    Returns the loss of before the step."""
    with on.autocast():
        value = loss()
    opt.zero_grad(set_to_none=True)
    scaler.scale(value).backward()
    if clip_norm < math.inf:
        scaler.unscale_(opt)
        torch.nn.utils.clip_grad_norm_([p for group in opt.param_groups for p in group["params"]], clip_norm)
    scaler.step(opt)
    scaler.update()
    return value.detach()


def scaler_of(on: Machine) -> torch.amp.GradScaler:
    """float16 loses small gradients unless they are scaled; with the other types the scaler does nothing."""
    return torch.amp.GradScaler(enabled=on.dtype == torch.float16)


def check_finite(loss: float, out: Path, what: str) -> None:
    """Raises DataError when a training has diverged."""
    if not math.isfinite(loss):
        raise DataError(out, f"{what}: loss {loss}", "lower the learning rate")


class Checkpoint:
    """The state of a run in one file: the parts (net, optimiser, ...) by name, and facts such as the number of steps done.

    A run that is interrupted and continued gives the same weights as one that is not. Besides the parts and facts that takes the number of
    threads, on which the rounding of sums depends, so that is saved too.
    """

    def __init__(self, path: Path, parts: dict, every_s: float):
        self.path, self.parts, self.every_s, self.saved_at = path, parts, every_s, time.monotonic()

    def resume(self, threads: int = 0) -> dict:
        """Loads the parts and returns the facts; {} where there is no file. `threads` that are asked for win over those saved."""
        if not self.path.exists():
            return {}
        state = load(self.path)
        torch.set_num_threads(threads or state.get("threads", torch.get_num_threads()))
        for key, part in self.parts.items():
            part.load_state_dict(state.pop(key))
        return state

    def due(self) -> bool:
        return time.monotonic() - self.saved_at > self.every_s

    def save(self, **facts: object) -> None:
        save(self.path, {k: v.state_dict() for k, v in self.parts.items()} | facts | {"threads": torch.get_num_threads()})
        self.saved_at = time.monotonic()


def save(path: Path, state: dict) -> None:
    with whole(path) as part:
        torch.save(state, part)


def load(path: Path) -> dict:
    """What `save` wrote. Raises DataError when it is not that."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(path, "no such file", "give a file that a training wrote") from None
    except Exception as err:  # torch, pickle and zipfile raise many kinds on damaged files
        raise DataError(path, f"not weights of a run ({type(err).__name__})", "give a file that a training wrote, or delete this one and run again") from None


def weights(path: Path) -> dict[str, torch.Tensor]:
    """Weights of a finished run, by name. Raises DataError when the file holds none."""
    state = load(path)
    net = state.get("net") if isinstance(state, dict) else None
    if not isinstance(net, dict) or not all(isinstance(v, torch.Tensor) for v in net.values()):
        raise DataError(path, "holds no weights of a network", "give the net.pt that `ich pretrain --out` wrote")
    return net
