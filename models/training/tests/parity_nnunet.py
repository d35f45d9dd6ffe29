"""Heads, small networks of nnU-Net, and what nnU-Net's own predictor makes of them, for the Go tests to reproduce.

    python tests/parity_nnunet.py --out CASES            # needs requirements-nnunet.lock; minutes
    ICHOR_NNUNET_CASES=CASES go test ./pipeline/nnunet -run Parity -v

A head is a folder: volume.json and hu.i16 (slices, rows, columns as in the series); beside it are the bundles, and for each of
them the certainty of blood of each voxel (.f32). The networks are trained for minutes on a phantom. What is in CASES already
stays: a run that was stopped goes on, and --only 3d-residual-folds,2d-plain makes a part.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

import nnunet_folder
from ich.bundles.nnunet.bundle import Wish, bring
from ich.heads.phantom.study import Plan, generate

SUBTYPES = {"background": 0, "IPH": 1, "IVH": 2, "SAH": 3, "SDH": 4, "EDH": 5}


@dataclass(frozen=True)
class Head:
    name: str
    hu: np.ndarray  # int16 (S, H, W), as in the series
    spacing: tuple[float, float, float]
    shear: float = 0.0  # rows that each slice lies further back than the one below
    oblique: bool = False

    def straight(self) -> np.ndarray:
        """What a program without tilt would be given: slices moved by whole pixels."""
        moves = [int(np.floor(self.shear * k + 0.5)) for k in range(len(self.hu))]
        out = np.full((len(self.hu), self.hu.shape[1] + max(moves), self.hu.shape[2]), -1024, np.int16)
        for k, m in enumerate(moves):
            out[k, m : m + self.hu.shape[1]] = self.hu[k]
        return out

    def back(self, p: np.ndarray) -> np.ndarray:
        moves = [int(np.floor(self.shear * k + 0.5)) for k in range(len(self.hu))]
        return np.stack([p[k, m : m + self.hu.shape[1]] for k, m in enumerate(moves)])


def phantom(cache: Path, seed: int, bleeds: tuple) -> SimpleNamespace:
    """A rendered head, kept beside the cases."""
    path = cache / f"{seed}.npz"
    if not path.exists():
        a = generate(seed, Plan(bleeds))
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(path, hu=a.hu, label=a.label, positions=a.positions, pixel=a.pixel)
    found = np.load(path)
    return SimpleNamespace(hu=found["hu"], label=found["label"], positions=found["positions"], pixel=float(found["pixel"]))


def zoomed(hu: np.ndarray, steps: tuple[float, float, float], order: int = 1) -> np.ndarray:
    from scipy.ndimage import zoom

    return zoom(hu, steps, order=order, mode="nearest", grid_mode=True)


def heads(tiny: bool, cache: Path) -> list[Head]:
    a = phantom(cache, 9_100_001, (("IPH", 40.0, 68.0), ("SDH", 30.0, 66.0), ("IVH", 8.0, 64.0)))
    gap = float(np.median(np.diff(a.positions)))
    as_int = lambda x: np.rint(x).astype(np.int16)  # noqa: E731
    if tiny:
        low = zoomed(a.hu, (0.5, 0.16, 0.16))
        return [Head("thick", as_int(low), (2 * gap, a.pixel / 0.16, a.pixel / 0.16)),
                Head("tilted", as_int(zoomed(a.hu, (0.8, 0.14, 0.15))), (gap / 0.8, a.pixel / 0.14, a.pixel / 0.15), shear=0.31)]
    thin, fine = zoomed(a.hu, (gap / 1.25, 0.35, 0.35)), zoomed(a.hu[6:], (gap / 7.0, 0.8, 0.8))
    noise = np.random.default_rng(1).normal(0, 3, thin.shape)
    return [
        Head("five-mm", as_int(zoomed(a.hu, (1.0, 0.5, 0.5))), (gap, a.pixel / 0.5, a.pixel / 0.5)),
        Head("thin", as_int(thin + noise), (1.25, a.pixel / 0.35, a.pixel / 0.35)),
        Head("tilted", as_int(zoomed(a.hu, (gap / 3.0, 0.4, 0.4))), (3.0, a.pixel / 0.4, a.pixel / 0.4), shear=0.57),
        Head("oblique", as_int(zoomed(a.hu, (1.0, 0.4, 0.4))), (gap, a.pixel / 0.4, a.pixel / 0.4), oblique=True),
        Head("anisotropic", as_int(fine), (7.0, a.pixel / 0.8, a.pixel / 0.8)),
        Head("small", as_int(zoomed(a.hu, (1.0, 0.25, 0.25))[5:16, 10:50, 14:50]), (gap, 4 * a.pixel, 4 * a.pixel)),
    ]


@dataclass(frozen=True)
class Model:
    name: str
    configuration: str
    patch: list
    spacing: list
    labels: dict
    mirror: tuple[bool, ...]  # how it is run: without mirroring, with, or both
    folds: int = 1
    changes: dict | None = None
    steps: int = 80


def models(tiny: bool) -> list[Model]:
    ich = {"background": 0, "ICH": 1}
    flat = {"strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]], "kernels": [[1, 3, 3], [3, 3, 3], [3, 3, 3]]}
    if tiny:
        return [Model("tiny-3d", "3d_fullres", [8, 32, 32], [8.0, 7.0, 7.0], ich, (True,), 2, {"residual": True, "stages": 2}, 200),
                Model("tiny-2d", "2d", [32, 32], [6.0, 6.0], SUBTYPES, (False,), 1, {"stages": 2}, 300),
                Model("tiny-2d-folds", "2d", [32, 32], [6.0, 6.0], ich, (True,), 2, {"stages": 2, "residual": True, "forward": (0, 2, 1)}, 80),
                Model("tiny-turned", "3d_fullres", [24, 8, 32], [7.0, 8.0, 6.5], ich, (True,), 1, {"stages": 2, "forward": (2, 0, 1)}, 80)]
    both = (False, True)
    return [
        Model("3d-plain", "3d_fullres", [12, 48, 48], [5.0, 3.0, 3.0], ich, both, 1, flat, 350),
        Model("3d-hardly-trained", "3d_fullres", [12, 48, 48], [5.0, 3.0, 3.0], ich, both, 1, flat, 60),
        Model("3d-residual-folds", "3d_fullres", [16, 32, 32], [4.0, 4.5, 4.5], SUBTYPES, both, 2, {"residual": True}, 600),
        Model("2d-plain", "2d", [64, 64], [2.2, 2.2], ich, both, 1, {}, 200),
        Model("2d-residual-folds", "2d", [48, 48], [3.5, 3.5], SUBTYPES, both, 2, {"residual": True}, 200),
        Model("3d-turned", "3d_fullres", [32, 12, 32], [4.0, 5.0, 4.0], ich, both, 1,
              {"forward": (1, 0, 2), "strides": [[1, 1, 1], [2, 1, 2], [2, 2, 2]], "kernels": [[3, 1, 3], [3, 3, 3], [3, 3, 3]]}, 100),
        Model("3d-turned-round", "3d_fullres", [12, 24, 32], [5.0, 5.0, 4.5], ich, both, 1, {"forward": (2, 0, 1)} | flat, 100),
    ]


def training_scan(m: Model, cache: Path) -> tuple[np.ndarray, np.ndarray]:
    """A phantom at the spacing of the plans, in nnU-Net's order of axes."""
    a = phantom(cache, 9_100_002, (("IPH", 45.0, 68.0), ("SDH", 40.0, 66.0), ("IVH", 10.0, 64.0), ("SAH", 10.0, 60.0), ("EDH", 30.0, 70.0)))
    gap = float(np.median(np.diff(a.positions)))
    forward = (m.changes or {}).get("forward", (0, 1, 2))
    ours = [0.0, 0.0, 0.0]
    for i, s in enumerate([gap, *m.spacing] if m.configuration == "2d" else m.spacing):
        ours[forward[i]] = s
    steps = (gap / ours[0], a.pixel / ours[1], a.pixel / ours[2])
    hu, label = zoomed(a.hu, steps), zoomed(a.label, steps, order=0)
    label = np.where(label > 1, label - 1 if len(m.labels) > 2 else 1, 0)
    return hu.transpose(forward), label.transpose(forward)


def predictor(folder: Path, mirror: bool):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    p = nnUNetPredictor(use_mirroring=mirror, device=torch.device("cpu"), allow_tqdm=False)
    p.initialize_from_trained_model_folder(str(folder), None)
    return p


def predict(p, head: Head, m: Model) -> tuple[np.ndarray, float]:
    """Certainty of blood (S, H, W) as the Go program defines it, at least 0.5 where nnU-Net's mask shows blood, and processor seconds."""
    image = head.straight() if m.configuration != "2d" else head.hu
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        mask, probability = p.predict_single_npy_array(image[None].astype(np.float32), {"spacing": list(head.spacing)}, None, None, True)
    took = time.process_time() - start
    probability = probability.astype(np.float32)
    most = probability[1:].max(0)
    certainty = most / np.maximum(most + probability[0], 1e-20)
    certainty = np.where(mask > 0, np.maximum(certainty, 0.5), np.minimum(certainty, np.nextafter(np.float32(0.5), np.float32(0))))
    return (head.back(certainty) if m.configuration != "2d" else certainty), took


@contextlib.contextmanager
def sums_in_float32():
    """nnU-Net keeps the sums of logits, their weights and what it resamples in half precision; here in float32."""
    from nnunetv2.inference import predict_from_raw_data as code

    half, gaussian = torch.half, code.compute_gaussian
    gaussian.cache_clear()
    torch.half, code.compute_gaussian = torch.float32, functools.partial(gaussian, dtype=torch.float32)
    code.compute_gaussian.cache_clear = gaussian.cache_clear
    try:
        yield
    finally:
        torch.half, code.compute_gaussian = half, gaussian
        gaussian.cache_clear()


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / max(float(a.sum() + b.sum()), 1)


def kept(head: Head, folder: Path) -> Head:
    """The head as it was written before, so that what was predicted of it still holds; otherwise it is written."""
    if not (folder / "volume.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "volume.json").write_text(json.dumps(geometry(head)) + "\n")
        (folder / "hu.i16").write_bytes(head.hu.astype("<i2").tobytes())
        return head
    g = json.loads((folder / "volume.json").read_text())
    hu = np.fromfile(folder / "hu.i16", "<i2").reshape(len(g["origins"]), g["rows"], g["columns"])
    step, down = np.subtract(g["origins"][1], g["origins"][0]), np.array(g["along_column"])
    gap = float(step @ np.cross(g["along_row"], down))
    return Head(head.name, hu, (gap, *g["spacing_mm"]), float(step @ down) / g["spacing_mm"][0], head.oblique)


def geometry(head: Head) -> dict:
    """Orientation and origins of a series with these slices."""
    along_row, along_column = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    if head.oblique:  # 12 degrees about x
        along_column = np.array([0, np.cos(0.21), np.sin(0.21)])
    normal = np.cross(along_row, along_column)
    origins = [(normal * head.spacing[0] + along_column * head.shear * head.spacing[1]) * k for k in range(len(head.hu))]
    return {"rows": head.hu.shape[1], "columns": head.hu.shape[2], "spacing_mm": list(head.spacing[1:]), "along_row": along_row.tolist(),
            "along_column": along_column.tolist(), "origins": [o.tolist() for o in origins]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tiny", action="store_true", help="those that the Go tests keep: pipeline/nnunet/testdata")
    parser.add_argument("--only", help="names of models, with commas")
    parser.add_argument("--float32", action="store_true", help="also predict with sums in float32, and say how far nnU-Net's half precision is from it")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    volumes = [kept(h, args.out / "heads" / h.name) for h in heads(args.tiny, args.out / "phantoms")]
    known = {m.name: m for m in models(args.tiny)}
    chosen = args.only.split(",") if args.only else list(known)
    if unknown := [n for n in chosen if n not in known]:
        parser.error(f"--only {','.join(unknown)}: there are {', '.join(known)}")
    for m in (known[n] for n in chosen):
        folder = args.out / "folders" / m.name
        if not folder.exists():
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            nnunet_folder.write(part, m.configuration, m.patch, m.spacing, m.labels, m.folds, any(m.mirror), m.steps, training_scan(m, args.out / "phantoms"), **(m.changes or {}))
            part.rename(folder)
        for mirror in m.mirror:
            name = m.name + ("-mirrored" if mirror and len(m.mirror) > 1 else "")
            if not (args.out / "bundles" / name).exists():
                bring(Wish(folder, name[:32], "one phantom", mirror=mirror), args.out / "bundles" / name)
            compute(args, name, folder, mirror, m, volumes)


def compute(args, name: str, folder: Path, mirror: bool, m: Model, volumes: list[Head]) -> None:
    """Writes what nnU-Net finds, and prints how far its half precision takes it from float32."""
    out = args.out / "expected" / name
    out.mkdir(parents=True, exist_ok=True)
    left = [h for h in volumes if not ((out / f"{h.name}.f32").exists() and (not args.float32 or (out / f"{h.name}.float32.f32").exists()))]
    if not left:
        return
    with contextlib.redirect_stdout(io.StringIO()):
        p = predictor(folder, mirror)
    for h in left:
        expected, took = predict(p, h, m)
        blood = expected >= 0.5
        line = f"{name} {h.name}: {100 * blood.mean():.2f} % blood, {100 * (np.abs(expected - 0.5) < 0.01).mean():.3f} % within 0.01 of 0.5, {took:.1f} s"
        if args.float32:
            with sums_in_float32():
                exact, _ = predict(p, h, m)
            store(out / f"{h.name}.float32.f32", exact)
            line += f"; beside float32: Dice {dice(blood, exact >= 0.5):.5f}, {100 * (np.abs(expected - exact) <= 0.01).mean():.3f} % within 0.01, at most {np.abs(expected - exact).max():.4f}"
        store(out / f"{h.name}.f32", expected)
        print(line, flush=True)


def store(path: Path, values: np.ndarray) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(values.astype("<f4").tobytes())
    part.rename(path)


if __name__ == "__main__":
    main()
