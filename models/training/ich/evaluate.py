"""Measures checkpoints the way the product uses them: whole scans, source grid, millilitres.

`Reader` mirrors the Go pipeline (window, cavity, bleed, post-processing), so what is tuned here holds there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from .config import SUBTYPES, Post, Settings
from .train import load_net
from .unet import Probabilities
from .window import Resampler, channels, slabs, window

FACES = ndimage.generate_binary_structure(3, 1)  # 6-connected: cavity
CORNERS = ndimage.generate_binary_structure(3, 3)  # 26-connected: lesions
CAVITY_HU = (-200.0, 200.0)


@dataclass
class Scan:
    """hu (S, rows, columns) canonical; spacing (row, column) mm; positions mm."""

    hu: np.ndarray
    spacing: tuple[float, float]
    positions: np.ndarray
    label: np.ndarray | None = None
    name: str = ""

    def voxel_ml(self) -> float:
        return self.spacing[0] * self.spacing[1] * float(np.median(np.diff(self.positions))) / 1000


class Reader:
    """Three networks and their post-processing."""

    def __init__(self, runs: Path):
        self.nets = {}
        self.counts = {}
        for role in ("cavity-tissue", "cavity-bone", "bleed"):
            path = Path(runs) / f"{role}.pt"
            if path.exists():
                net, cfg, self.counts[role] = load_net(path)
                self.nets[role] = (Probabilities(net, role).eval().to(memory_format=torch.channels_last), cfg)

    def probabilities(self, scan: Scan, role: str) -> np.ndarray:
        """(K, S, rows, columns) on the source grid."""
        net, cfg = self.nets[role]
        x, to, of = prepare(scan, cfg)
        with torch.inference_mode():
            out = torch.cat([net(torch.from_numpy(x[i : i + 8])) for i in range(0, len(x), 8)]).numpy()
        return to.up(out)[of].transpose(1, 0, 2, 3)

    def cavity(self, scan: Scan) -> np.ndarray:
        mask = np.zeros(scan.hu.shape, bool)
        for role in ("cavity-tissue", "cavity-bone"):
            if role in self.nets:
                mask |= self.probabilities(scan, role)[0] >= 0.5
        return clean_cavity(mask, scan.hu)

    def bleed(self, scan: Scan, cavity: np.ndarray, prob: np.ndarray, post: Post) -> np.ndarray:
        """Label as in `phantom`: 1 cavity, 2.. subtypes."""
        return apply_post(scan, cavity, prob, post)


def prepare(scan: Scan, cfg: Settings) -> tuple[np.ndarray, Resampler, np.ndarray]:
    """Network input (T, C, N, N), the way back, and each slice's slab."""
    stack, of = slabs(scan.hu, scan.positions, cfg.slab_mm)
    to = Resampler(scan.hu, scan.spacing, cfg.size, cfg.pixel_mm)
    return channels(to.down(window(stack, *cfg.window_hu)), cfg.neighbours), to, of


def clean_cavity(mask: np.ndarray, hu: np.ndarray) -> np.ndarray:
    """HU range, largest 3D component, holes of each slice filled."""
    mask = mask & (hu >= CAVITY_HU[0]) & (hu <= CAVITY_HU[1])
    parts, n = ndimage.label(mask, FACES)
    if n == 0:
        return mask
    mask = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    return np.stack([ndimage.binary_fill_holes(m) for m in mask])


def disc(radius_mm: float, spacing: tuple[float, float]) -> np.ndarray:
    """Pixels within radius_mm of the centre, at source spacing."""
    ry, rx = int(radius_mm / spacing[0]), int(radius_mm / spacing[1])
    y, x = np.mgrid[-ry : ry + 1, -rx : rx + 1]
    return (y * spacing[0]) ** 2 + (x * spacing[1]) ** 2 <= radius_mm**2 + 1e-6


def apply_post(scan: Scan, cavity: np.ndarray, prob: np.ndarray, post: Post) -> np.ndarray:
    """Threshold inside the cavity, opening near its border, small components dropped, subtypes named."""
    mask = (prob[0] >= post.threshold) & cavity
    if post.opening_mm > 0:
        ball = disc(post.opening_mm, scan.spacing)
        for z in np.flatnonzero(mask.any(axis=(1, 2))):
            opened = ndimage.binary_opening(mask[z], ball)
            if post.rim_mm > 0:
                inner = ndimage.distance_transform_edt(cavity[z], sampling=scan.spacing) > post.rim_mm
                opened |= mask[z] & inner
            mask[z] = opened
    parts, n = ndimage.label(mask, CORNERS)
    sizes = np.bincount(parts.ravel(), minlength=n + 1) * scan.voxel_ml()
    keep = sizes >= post.min_component_ml
    keep[0] = False
    mask = keep[parts]
    kind = prob[1:].argmax(0)
    if post.subtype_per == "component":
        for i in np.flatnonzero(keep):
            where = parts == i
            kind[where] = np.bincount(kind[where], minlength=5).argmax()
    return np.where(mask, kind + 2, cavity.astype(np.uint8)).astype(np.uint8)


def volumes(label: np.ndarray, voxel_ml: float) -> dict[str, float]:
    out = {k: float((label == i + 2).sum() * voxel_ml) for i, k in enumerate(SUBTYPES)}
    return {"total": sum(out.values()), **out}


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Paper, Eq. 1, over a volume; empty against empty is 1."""
    return float((2 * (a & b).sum() + 1) / (a.sum() + b.sum() + 1))


def held_out(n: int, normals: int = 3) -> list[Scan]:
    """Held-out phantoms: the first ones normal, the others with one or two known bleeds of at least 6 mL in turn."""
    from .data import HELD_OUT
    from .phantom.bleeds import draw_ml
    from .phantom.study import Plan, generate

    out = []
    for i in range(n):
        rng = np.random.default_rng(HELD_OUT + i)
        kinds: list[str] = []
        if i >= normals:
            kinds = [SUBTYPES[(i - normals) % 5]]
            other = SUBTYPES[(i - normals + 1 + i // 5) % 5]
            if i % 2 and other not in kinds:
                kinds = sorted([*kinds, other])
        p = generate(HELD_OUT + i, Plan(tuple((k, max(draw_ml(rng, k), 6.0), None) for k in kinds)))
        out.append(Scan(p.hu, (p.pixel, p.pixel), p.positions, p.label, f"phantom{i}:" + ("+".join(kinds) or "normal")))
    return out


def read_sample(path: Path) -> Scan:
    from .phantom.sample import read

    study, hu, label = read(path)
    return Scan(hu, tuple(study["pixel_spacing_mm"]), np.array([p[2] for p in study["positions_mm"]]), label, path.stem)


def read_dicom(folder: Path) -> Scan:
    """One axial series sorted by position."""
    import pydicom

    files = sorted((pydicom.dcmread(f) for f in Path(folder).iterdir() if f.is_file()), key=lambda d: float(d.ImagePositionPatient[2]))
    hu = np.stack([d.pixel_array.astype(np.float32) * float(d.RescaleSlope) + float(d.RescaleIntercept) for d in files])
    z = np.array([float(d.ImagePositionPatient[2]) for d in files])
    return Scan(hu, tuple(float(v) for v in files[0].PixelSpacing), z, None, "real head")


def report(runs: Path, phantoms: int, samples: Path | None, dicom: Path | None, out: Path | None, post: Post = Post()) -> dict:
    """Prints a line per scan; returns and writes the numbers."""
    from .montage import montage, save

    reader = Reader(runs)
    scans = [read_dicom(dicom)] if dicom else []
    scans += [read_sample(p) for p in sorted(Path(samples).glob("*.zip"))] if samples else []
    scans += held_out(phantoms)
    rows = []
    for scan in scans:
        cavity = reader.cavity(scan)
        row = {"name": scan.name, "cavity_ml": float(cavity.sum() * scan.voxel_ml())}
        label = cavity.astype(np.uint8)
        if "bleed" in reader.nets:
            prob = reader.probabilities(scan, "bleed")
            label = reader.bleed(scan, cavity, prob, post)
            row["found_ml"] = volumes(label, scan.voxel_ml())
        if scan.label is not None:
            row["truth_ml"] = volumes(scan.label, scan.voxel_ml())
            row["cavity_dice"] = dice(cavity, scan.label > 0)
            row["dice"] = {"any": dice(label > 1, scan.label > 1)}
            row["dice"] |= {k: dice(label == i + 2, scan.label == i + 2) for i, k in enumerate(SUBTYPES) if (scan.label == i + 2).any()}
        rows.append(row)
        print(line(row), flush=True)
        if out:
            k = 1 if scan.hu.shape[1] < 400 else 2
            crop = scan.hu[:, ::k, ::k] if scan.spacing[0] < 0.8 else scan.hu
            lab = label[:, ::k, ::k] if scan.spacing[0] < 0.8 else label
            save(Path(out) / f"{scan.name.replace(':', '-')}.png", montage(crop, lab, limit=48))
    result = {"counts": reader.counts, "summary": summary(rows), "scans": rounded(rows)}
    print(json.dumps(result["summary"]))
    if out:
        (Path(out) / "evaluate.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def summary(rows: list[dict]) -> dict:
    """Over the held-out phantoms: mean Dice of each subtype where it occurs, false millilitres of normal heads."""
    rows = [r for r in rows if r["name"].startswith("phantom") and "found_ml" in r]
    if not rows:
        return {}
    out: dict = {"phantoms": len(rows), "cavity_dice": np.mean([r["cavity_dice"] for r in rows])}
    sick = [r for r in rows if r["truth_ml"]["total"] > 0]
    normal = [r["found_ml"]["total"] for r in rows if r["truth_ml"]["total"] == 0]
    for k in ("any", *SUBTYPES):
        d = [r["dice"][k] for r in sick if k in r["dice"]]
        if d:
            out[f"dice_{k}"] = np.mean(d)
    if normal:
        out |= {"normal_ml_mean": np.mean(normal), "normal_ml_max": np.max(normal)}
    if sick:
        out["total_error_median"] = np.median([abs(r["found_ml"]["total"] / r["truth_ml"]["total"] - 1) for r in sick])
    return rounded(out)


def rounded(x):
    """Three decimals everywhere: enough to read, and the same on every machine."""
    if isinstance(x, dict):
        return {k: rounded(v) for k, v in x.items()}
    if isinstance(x, list):
        return [rounded(v) for v in x]
    return x if isinstance(x, (str, int)) else round(float(x), 3)


def line(row: dict) -> str:
    parts = [f"{row['name']:28s} cavity {row['cavity_ml']:6.0f} mL"]
    if "cavity_dice" in row:
        parts.append(f"dice {row['cavity_dice']:.3f}")
    if "found_ml" in row:
        truth = row.get("truth_ml")
        shown = [k for k, v in row["found_ml"].items() if v > 0.05 or (truth and truth[k] > 0.05)]
        parts.append("found/true " + " ".join(f"{k} {row['found_ml'][k]:.1f}" + (f"/{truth[k]:.1f}" if truth else "") for k in shown))
    if "dice" in row:
        parts.append("dice " + " ".join(f"{k} {v:.2f}" for k, v in row["dice"].items()))
    return "  ".join(parts)
