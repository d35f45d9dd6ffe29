"""Training of the shipped nets: streams phantoms, keeps averaged weights, can be stopped and continued at any time."""

from __future__ import annotations

import copy
import csv
import hashlib
import math
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from .config import Settings, settings_from
from .data import HELD_OUT, UNSEEN, Cache, augment, sample
from .losses import BLEED_LOGITS, bleed_loss, cavity_loss
from .unet import UNet, logits_of
from ..bundles.warm import load_checkpoint, load_onnx, settle
from ..loop import Checkpoint, Machine, check_finite, descend, load, scaler_of

SAVE_EVERY_S = 120.0
RESCAN_STEPS = 25  # heads arrive while training goes on
SETTLE_BATCHES = 20
VALIDATE_STEPS = 1000
VALIDATE_SLICES = 240


def make_net(cfg: Settings) -> UNet:
    return UNet(cfg.channels, logits_of(cfg.outputs) + cfg.tissues, cfg.base_width)


def rate(step: int, steps: int, cfg: Settings) -> float:
    """Learning rate: linear warm-up, then cosine to 1 % of the peak."""
    if step < cfg.warmup:
        return cfg.lr * (step + 1) / cfg.warmup
    done = min((step - cfg.warmup) / max(steps - cfg.warmup, 1), 1.0)
    return cfg.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def _bfloat16() -> bool:
    """Whether this processor multiplies bfloat16; torch emulates it on all others."""
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


@torch.no_grad()
def average(ema: UNet, net: UNet, decay: float) -> None:
    """Moves the averaged weights towards those of the net."""
    for a, b in zip(ema.state_dict().values(), net.state_dict().values()):
        if a.dtype.is_floating_point:
            a.lerp_(b, 1 - decay)
        else:
            a.copy_(b)


def _draw(cfg: Settings, step: int, gen: torch.Generator) -> np.random.Generator:
    """Each step has random numbers of its own, so that a run that was interrupted repeats one that was not."""
    rng = np.random.default_rng([cfg.seed, step % 2**32])
    gen.manual_seed(int(rng.integers(2**62)))
    return rng


def without_tissues(weights: dict, outputs: int) -> dict:
    """Weights of a net that names nothing but blood."""
    return {k: v[:outputs] if k.startswith("final_conv.") else v for k, v in weights.items()}


def load_net(path: Path) -> tuple[UNet, Settings, dict]:
    """Averaged weights of a checkpoint, ready for inference, with the settings of its training and counts. The net has no outputs for
    healthy tissue, whatever the settings say: those are for training only."""
    saved = load(path)
    cfg = settings_from(saved["settings"])
    net = make_net(replace(cfg, tissues=0))
    net.load_state_dict(without_tissues(saved["ema"], logits_of(cfg.outputs)))
    return net.eval(), cfg, {k: saved.get(k, "") for k in ("step", "visits", "phantoms", "start")}


class HeldOut:
    """Dice of the averaged weights on slices that are never trained on: the learning curve."""

    def __init__(self, folder: Path, cfg: Settings):
        cache = Cache(folder, cfg)
        if not cache.refresh():
            raise SystemExit(f"{folder}: no phantoms; run `python -m ich phantom --out {folder} --seeds {HELD_OUT} {HELD_OUT + 60}`")
        n, pool = cfg.neighbours, sorted(cache.bleeding + cache.other)
        picks = [pool[i] for i in np.linspace(0, len(pool) - 1, min(VALIDATE_SLICES, len(pool))).astype(int)]
        x = torch.from_numpy(np.stack([cache.images[i][s - n : s + n + 1] for i, s in picks]))
        y = torch.from_numpy(np.stack([cache.labels[i][s] for i, s in picks]))
        straight = torch.eye(2, 3).expand(1, 2, 3)
        each = [sample(a[None].float(), b[None], straight, cfg.size, cfg.pixel_mm) for a, b in zip(x, y)]
        self.x = torch.cat([a.round().byte() for a, _ in each])
        self.y = torch.cat([b for _, b in each]).byte()
        self.cfg = cfg

    def dice(self, net: UNet) -> list[float]:
        """One number an output, over all slices together."""
        counts = torch.zeros(len(self.cfg.outputs), 3)
        with torch.inference_mode():
            for i in range(0, len(self.x), 8):
                logits = net(self.x[i : i + 8].float() / 255)
                truth, found = _masks(self.y[i : i + 8], logits, self.cfg)
                counts += torch.stack([(truth & found).sum((0, 2, 3)), truth.sum((0, 2, 3)), found.sum((0, 2, 3))], 1)
        both, truth, found = counts.T
        return ((2 * both + 1) / (truth + found + 1)).tolist()


def _masks(label: torch.Tensor, logits: torch.Tensor, cfg: Settings) -> tuple[torch.Tensor, torch.Tensor]:
    """Truth and prediction (B, outputs, H, W) as the product decides: a voxel of blood has one subtype."""
    if cfg.role != "bleed":
        return (label > 0)[:, None], logits[:, :1] > 0
    seen = label != UNSEEN
    blood = (logits[:, 0] > 0) & (label > 0) & seen  # the cavity is another net's business
    kind = logits[:, 2:BLEED_LOGITS].argmax(1)
    truth = [(label > 1) & seen, *(label == k + 2 for k in range(5))]
    return torch.stack(truth, 1), torch.stack([blood, *(blood & (kind == k) for k in range(5))], 1)


def train(cfg: Settings, cache_dir: Path, out: Path, threads: int = 0, minutes: float = 0.0, progress: bool = True,
          start: Path | None = None, held_out: Path | None = None, pause_at: int = 0) -> Path:
    """Train until cfg.visits, or for so many minutes, or to step pause_at; writes <out>/<role>.pt and <role>.csv. A rerun
    continues, and gives the same weights as a run without the pause if the cache was complete from the start.
    `start` is an exported network or a checkpoint to begin with instead of random weights; `held_out` a folder of other phantoms, on
    which the Dice of the averaged weights goes into the log."""
    if threads:
        torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{cfg.role}.pt"
    torch.manual_seed(cfg.seed)
    net = make_net(cfg).to(memory_format=torch.channels_last)
    ema = copy.deepcopy(net)
    opt = torch.optim.AdamW(net.parameters(), lr=cfg.lr, weight_decay=cfg.weight_decay)
    checkpoint = Checkpoint(path, {"net": net, "ema": ema, "opt": opt}, SAVE_EVERY_S)
    saved = checkpoint.resume(threads)
    step, steps, begun_with = saved.get("step", 0), math.ceil(cfg.visits / cfg.batch), saved.get("start", "")
    on = Machine("cpu", torch.bfloat16 if cfg.amp and _bfloat16() else None)
    scaler = scaler_of(on)
    gen = torch.Generator()
    loss_fn = bleed_loss if cfg.role == "bleed" else cavity_loss
    cache = Cache(cache_dir, cfg)
    judge = HeldOut(held_out, cfg) if held_out else None
    if start is not None and not path.exists():
        begun_with = f"{start.name}, sha256 {hashlib.sha256(start.read_bytes()).hexdigest()}"
        if start.suffix == ".pt":
            load_checkpoint(net, start)
        else:
            load_onnx(net, start)
            cache.refresh()
            settle(net, (augment(*cache.batch(_draw(cfg, -1 - k, gen)), cfg, gen)[0] for k in range(SETTLE_BATCHES)))
        ema.load_state_dict(net.state_dict())
    facts = lambda: {"step": step, "visits": step * cfg.batch, "phantoms": phantoms, "settings": cfg.as_dict(), "start": begun_with}  # noqa: E731
    stop: list[int] = []  # a terminated run saves first
    signal.signal(signal.SIGTERM, lambda number, _: stop.append(number))
    begun = time.monotonic()
    new_log = not (out / f"{cfg.role}.csv").exists()
    with (out / f"{cfg.role}.csv").open("a", newline="") as f, tqdm(total=steps, initial=step, disable=not progress, mininterval=10) as bar:
        log = csv.writer(f)
        if new_log:
            log.writerow(["step", "visits", "phantoms", "lr", "loss", "seconds", *(f"dice_{name}" for name in cfg.outputs)])
        running: list[float] = []
        phantoms = cache.refresh()
        while step < steps:
            if step % RESCAN_STEPS == 0 or not phantoms:
                phantoms = cache.refresh()
            if not phantoms:
                raise SystemExit(f"{cache_dir}: no phantoms yet; run `python -m ich phantom --out {cache_dir}`")
            for group in opt.param_groups:
                group["lr"] = rate(step, steps, cfg)
            x, y = augment(*cache.batch(_draw(cfg, step, gen)), cfg, gen)
            x = x.contiguous(memory_format=torch.channels_last)
            running.append(float(descend(lambda: loss_fn(net(x).float(), y), opt, on, scaler, cfg.clip_norm)))  # noqa: B023
            average(ema, net, min(cfg.ema, (1 + step) / (10 + step)))
            step += 1
            bar.update()
            if step % 50 == 0 or step == steps:
                mean = sum(running) / len(running)
                running.clear()
                check_finite(mean, out, f"{cfg.role} diverged before step {step}")
                bar.set_postfix(loss=f"{mean:.3f}", phantoms=phantoms)
                spent = time.monotonic() - begun
                row = [step, step * cfg.batch, phantoms, f"{rate(step, steps, cfg):.2e}", f"{mean:.4f}", f"{spent:.0f}"]
                if judge and (step % VALIDATE_STEPS == 0 or step == steps):
                    row += [f"{d:.4f}" for d in judge.dice(ema.eval())]
                log.writerow(row)
                f.flush()
            if checkpoint.due():
                checkpoint.save(**facts())
            if stop or step == pause_at or (minutes and time.monotonic() - begun > 60 * minutes):
                break
    checkpoint.save(**facts())
    return path
