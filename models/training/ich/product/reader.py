"""Reads a scan the way the product does: three networks, the cavity, the blood in it, its subtypes.

`Reader` mirrors the Go pipeline (window, cavity, bleed, post-processing), so what is measured here holds there. The
networks come from checkpoints while training goes on, or from a bundle, as shipped, through ONNX Runtime.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from scipy import ndimage

from .config import ROLES, SHIPPED, SUBTYPES, Post, Settings, settings_for
from ..datasets.volume import DataError
from .evidence import ALWAYS_ML, Evidence
from .naming import names_of
from .parts import CORNERS, Parts, parts_of
from .scan import Scan
from .window import Resampler, channels, slabs, window

IN_BRAIN = [SUBTYPES.index(k) + 2 for k in ("IPH", "IVH")]
FACES = ndimage.generate_binary_structure(3, 1)  # 6-connected: cavity
CAVITY_HU = (-200.0, 200.0)
BATCH = 8  # slices at a time

Run = Callable[[np.ndarray], np.ndarray]  # (B, C, N, N) -> probabilities (B, K, N, N), float32


@dataclass(frozen=True)
class Reading:
    """What the networks see in a scan: cavity bool, label (0 outside, 1 cavity, 2.. subtypes) and the probability of any
    hemorrhage, (S, rows, columns) each."""

    cavity: np.ndarray
    label: np.ndarray
    any: np.ndarray | None


class Reader:
    """Three networks and their post-processing."""

    def __init__(self, nets: dict[str, tuple[Run, Settings]], post: Post = Post(), counts: dict | None = None):
        self.nets, self.post, self.counts = nets, post, counts or {}

    @classmethod
    def of_runs(cls, runs: Path, post: Post = SHIPPED) -> "Reader":
        """Networks of checkpoints <runs>/<role>.pt; those that are missing are left out."""
        from .train import load_net

        nets, counts = {}, {}
        for role in ROLES:
            path = Path(runs) / f"{role}.pt"
            if path.exists():
                net, cfg, counts[role] = load_net(path)
                nets[role] = (_torch_run(net, cfg), cfg)
        if not nets:
            raise DataError(runs, "no checkpoints", f"give the folder that `ich train --out` wrote ({ROLES[0]}.pt, ...)")
        return cls(nets, post, counts)

    @classmethod
    def of_bundle(cls, bundle: Path, threads: int = 1, point: str = "balanced") -> "Reader":
        """Networks and post-processing of a bundle, at an operating point."""
        path = Path(bundle) / "manifest.json"
        try:
            manifest = json.loads(path.read_text())
            entries = {n["role"]: n for n in manifest["networks"]}
        except FileNotFoundError:
            raise DataError(path, "missing", "give the folder of a bundle") from None
        except (ValueError, KeyError, TypeError) as err:
            raise DataError(path, f"not a manifest ({type(err).__name__})", "give the folder of a bundle") from None
        if "nnunet" in entries.get("bleed", {}):
            raise DataError(bundle, "a bundle of nnU-Net, which only the ichor program runs", "use ichor analyze --all and ichor score")
        nets = {role: (_onnx_run(Path(bundle), n, threads), settings_of(n)) for role, n in entries.items() if role in ROLES}
        post = Post()
        if "bleed" in entries:
            known = {f.name for f in fields(Post)}
            wanted = {"sure_threshold": 0.0, **entries["bleed"]["post"]}  # older bundles: as the threshold
            wanted["evidence"] = Evidence.of(wanted.get("evidence"))
            post = Post(entries["bleed"]["threshold"], **{k: v for k, v in wanted.items() if k in known}, operating_point=point)
        return cls(nets, post, {"bundle": f"{manifest.get('name')} {manifest.get('version')}"})

    def probabilities(self, scan: Scan, role: str) -> np.ndarray:
        """(K, S, rows, columns) on the source grid."""
        run, cfg = self.nets[role]
        x, to, of = prepare(scan, cfg)
        out = np.concatenate([run(np.ascontiguousarray(x[i : i + BATCH], dtype=np.float32)) for i in range(0, len(x), BATCH)])
        return to.up(out)[of].transpose(1, 0, 2, 3)

    def cavity(self, scan: Scan) -> np.ndarray:
        mask = np.zeros(scan.hu.shape, bool)
        for role in ("cavity-tissue", "cavity-bone"):
            if role in self.nets:
                mask |= self.probabilities(scan, role)[0] >= 0.5
        return clean_cavity(mask, scan.hu)

    def read(self, scan: Scan) -> Reading:
        """The whole analysis; without a bleed network only the cavity."""
        cavity = self.cavity(scan)
        if "bleed" not in self.nets:
            return Reading(cavity, cavity.astype(np.uint8), None)
        prob = self.probabilities(scan, "bleed")
        return Reading(cavity, apply_post(scan, cavity, prob, self.post), prob[0])


def settings_of(entry: dict) -> Settings:
    """What the manifest says about a network's input, as settings."""
    at = entry["input"]
    return settings_for(entry["role"], size=int(at["shape"][2]), window_hu=tuple(at["window_hu"]), pixel_mm=float(at["pixel_mm"]),
                        neighbours=int(at["neighbours"]), slab_mm=float(at["slab_mm"]), base_width=int(entry.get("base_width", 0)))


def _onnx_run(bundle: Path, entry: dict, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    path = bundle / entry["file"]
    if not path.is_file():
        raise DataError(path, "missing", "restore the bundle")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    give, take = entry["input"]["name"], entry["output"]["name"]
    return lambda x: session.run([take], {give: x})[0]


def _torch_run(net, cfg: Settings) -> Run:
    import torch

    from .unet import Probabilities

    model = Probabilities(net, cfg.role).eval().to(memory_format=torch.channels_last)

    def run(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(x)).numpy()

    return run


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


def box_of(mask: np.ndarray, margin: int = 1) -> tuple[slice, slice, slice]:
    """Where a mask (S, rows, columns) lies, a pixel more in the plane: what is outside need not be looked at."""
    out = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        m = margin if axis else 0
        out.append(slice(max(int(hit[0]) - m, 0), int(hit[-1]) + 1 + m) if len(hit) else slice(0, 0))
    return tuple(out)


def apply_post(scan: Scan, cavity: np.ndarray, prob: np.ndarray, post: Post) -> np.ndarray:
    """Threshold inside the cavity, then clots kept, by evidence where the bundle has it, and named, by anatomy where it says so."""
    label = cavity.astype(np.uint8)
    if post.subtype_per == "anatomy":
        box, parts = marked(scan, cavity, prob, post)
        if post.evidence is not None:
            kept = post.evidence.kept(parts.clots, post.operating_point)
        else:
            kept = _enough(scan, np.append(0, parts.clot + 1)[parts.parts], prob[(0, *box)], box, post, len(parts.clots.ml))
        names = names_of(parts.kind, parts.clot, parts.signs, parts.clots, parts.contact)
        value = np.append(0, np.where(kept[parts.clot], names + 2, 0)).astype(np.uint8)[parts.parts]
        label[box] = end_clots(np.where(value > 0, value, label[box]), prob[(0, *box)], post.edge)
        return label
    box = box_of(cavity)
    inside, prob = cavity[box], prob[(slice(None), *box)]
    mask = (prob[0] >= post.threshold) & inside
    if post.opening_mm > 0:
        ball = disc(post.opening_mm, scan.spacing)
        for z in np.flatnonzero(mask.any(axis=(1, 2))):
            opened = ndimage.binary_opening(mask[z], ball)
            if post.rim_mm > 0:
                opened |= mask[z] & (ndimage.distance_transform_edt(inside[z], sampling=scan.spacing) > post.rim_mm)
            mask[z] = opened
    parts, n = ndimage.label(mask, CORNERS)
    weight = np.broadcast_to(scan.slice_ml()[box[0]][:, None, None], parts.shape)
    keep = np.append(False, _enough(scan, parts, prob[0], box, post, n))
    kind = prob[1:].argmax(0)
    if post.subtype_per == "component":
        _settle(kind, parts, weight)
    elif post.subtype_per == "extra-axial":
        _settle(kind, ndimage.label(keep[parts] & (kind >= SUBTYPES.index("SDH")), CORNERS)[0], weight)
    label[box] = end_clots(np.where(keep[parts], kind + 2, label[box]), prob[0], post.edge)
    return label


def _enough(scan: Scan, clots: np.ndarray, any_: np.ndarray, box: tuple, post: Post, count: int) -> np.ndarray:
    """Which of the clots 1 .. count are reported: those of min_component_ml of which the network is sure, and those of ALWAYS_ML."""
    weight = np.broadcast_to(scan.slice_ml()[box[0]][:, None, None], clots.shape)
    ml, sure_ml = (np.bincount(clots.ravel(), weights=w.ravel(), minlength=count + 1)[1:] for w in (weight, weight * (any_ >= post.sure_threshold)))
    return (sure_ml >= post.min_component_ml) | (ml >= ALWAYS_ML)


def end_clots(label: np.ndarray, any_: np.ndarray, edge: float) -> np.ndarray:
    """Label (S, rows, columns) in which blood in the brain is cavity where it does not reach a share of the probability in the core of its
    clot, which a tenth of the clot reaches. In whole 255ths, as the Go program keeps them (pipeline/bleed/edge.go)."""
    if not edge:
        return label
    clots, n = ndimage.label(label > 1, CORNERS)
    at = np.flatnonzero(clots)
    of, chance = clots.ravel()[at], np.floor(np.clip(any_.ravel()[at], 0, 1) * np.float32(255) + np.float32(0.5)).astype(int)
    least = np.zeros(n + 1)
    for clot in range(1, n + 1):
        values = np.sort(chance[of == clot])
        least[clot] = float(np.float32(edge)) * float(values[(9 * len(values) + 9) // 10 - 1])
    out = label.copy()
    out.ravel()[at[(chance < least[of]) & np.isin(label.ravel()[at], IN_BRAIN)]] = 1
    return out


def marked(scan: Scan, cavity: np.ndarray, prob: np.ndarray, post: Post) -> tuple[tuple, Parts]:
    """The box of the cavity, and what reaches the threshold in it."""
    box = box_of(cavity)
    inside, prob = cavity[box], prob[(slice(None), *box)]
    return box, parts_of((prob[0] >= post.threshold) & inside, prob[1:].argmax(0), prob[0], scan.hu[box], inside, scan.spacing,
                         np.asarray(scan.positions, float)[box[0]], scan.slice_ml()[box[0]], post.min_component_ml)


def _settle(kind: np.ndarray, parts: np.ndarray, weight: np.ndarray) -> None:
    """Gives each part (1.., 0 is none) the subtype that has most volume in it, in place."""
    inside = parts > 0
    ml = np.zeros((parts.max(initial=0) + 1, len(SUBTYPES)))  # no voxel where no cavity was found
    np.add.at(ml, (parts[inside], kind[inside]), weight[inside])
    kind[inside] = ml.argmax(1)[parts[inside]]
