"""Writes the bundle: one ONNX file a fold, the cavity networks of another bundle, manifest, reference and card."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from .. import card, manifest
from ..bring import SHIPPED, UNKNOWN, common, reference_stretches, refuse
from ..examine import INDEPENDENT, open_onnx
from ..export import OPSET, bleed_post
from ...datasets.volume import DataError
from ...product.config import Post
from . import checkpoint, plans as plans_
from .unet import NNUNet, keep

INPUT, OUTPUT = "patch", "logits"
TOLERANCE = 0.05  # of a logit: float32 convolutions in another order
WIDE = 1 << 22  # values of the first feature maps of a patch: models/bundle/nnunet.go
SLACK = 0.005  # most that ONNX Runtime may be away from PyTorch when the file is made
ORIENTATIONS = ("LPS", "LAS", "RPS", "RAS")


@dataclass(frozen=True)
class Wish:
    """What the user says about the network. classes: "1=IPH,2=IVH"; None: the labels have our names."""

    folder: Path
    name: str
    data: str
    classes: str | None = None
    configuration: str | None = None  # None: what the checkpoints say
    folds: tuple[str, ...] | None = None
    checkpoint: str | None = None
    mirror: bool = True
    orientation: str | None = None
    post: Post = field(default_factory=lambda: Post(min_component_ml=0.0, sure_threshold=0.0))
    version: str = "1.0.0"
    licence: str = "not stated"
    description: str = ""
    limits: tuple[str, ...] = ()
    others: Path = SHIPPED  # bundle of the cavity networks
    subtypes: Path | None = None  # bundle whose bleed network names the subtypes


def bring(wish: Wish, out: Path) -> Path:
    """Writes the bundle into `out`, which must not exist, or refuses with one line; returns the manifest's path."""
    check(wish)
    out = Path(out)
    if out.exists():
        raise DataError(out, "exists already", "remove it, or choose another --out")
    if not Path(wish.folder).is_dir():
        raise DataError(wish.folder, "no such folder", plans_.V2)
    plans_.load(Path(wish.folder) / "plans.json")  # before the checkpoints: says best what is wrong with a folder
    folds = [checkpoint.read(p) for p in checkpoint.find(wish.folder, wish.folds, wish.checkpoint)]
    first = folds[0]
    for f in folds:
        if wish.configuration and f.configuration != wish.configuration:
            raise DataError(f.path, f"of configuration {f.configuration}, not {wish.configuration}", "give the folder of that configuration")
        if (f.configuration, f.mirror_axes) != (first.configuration, first.mirror_axes):
            raise DataError(f.path, f"of another training than {first.path.parent.name}", "give folds of one training, with --folds")
    p = plans_.read(wish.folder, first.configuration)
    if first.mirror_axes and not all(0 <= a < p.arch.dim for a in first.mirror_axes):
        raise DataError(first.path, f"mirroring axes {list(first.mirror_axes)} of {p.arch.dim}", "get the checkpoint as nnU-Net wrote it")
    channels = plans_.mapped(Path(wish.folder) / "dataset.json", p.classes, wish.classes)
    if wish.subtypes and "any" not in channels:
        raise DataError("--subtypes-from", "the network names subtypes itself", "map its classes to any, or leave the option out")
    others = manifest.read(wish.others)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as part:
        folder = Path(part) / out.name  # appears whole or not at all
        folder.mkdir()
        entries = [manifest.copied(wish.others, next((n for n in others["networks"] if n["role"] == r), None), r, folder) for r in ("cavity-tissue", "cavity-bone")]
        entries.append(network(wish, p, folds, channels, folder))
        if wish.subtypes:
            entries.append(subtype(wish.subtypes, folder))
        if wish.subtypes or "any" not in channels:
            entries[2]["post"]["subtype_per"] = wish.post.subtype_per
        manifest.write(folder, {
            "schema": 1, "name": wish.name, "version": wish.version, "licence": wish.licence, "intended_use": manifest.INTENDED_USE,
            "description": wish.description or f"nnU-Net {folds[0].configuration} of {p.dataset} for hemorrhage; cavity from {others['name']} {others['version']}",
            "training": record(wish, p, folds, others), "networks": entries,
        })
        card.write(folder)
        folder.rename(out)
    return out / manifest.FILE


def check(wish: Wish) -> None:
    p = wish.post
    refuse(
        *common(wish),
        (wish.orientation in (None, *ORIENTATIONS), "--orientation", wish.orientation, f"use one of {', '.join(ORIENTATIONS)}"),
        (0 < p.threshold < 1, "--threshold", p.threshold, "use a number between 0 and 1; 0.5 is nnU-Net's own decision"),
        (p.sure_threshold == 0 or p.threshold <= p.sure_threshold < 1, "--sure", p.sure_threshold, "use a number from the threshold to below 1, or 0"),
    )


def network(wish: Wish, p: plans_.Plans, folds: list, channels: list[str], folder: Path) -> dict:
    """Exports each fold and examines it; returns the manifest's entry."""
    x = patches(p)
    made = []
    for f in folds:
        fold = f.path.parent.name
        path = folder / f"nnunet.{fold}.onnx"
        net = build(f, p)
        net.fit(p.patch)
        export(net, x, path, f.path)
        made.append((fold, path, answers(f.path, path, net, x)))
    shape = lambda k: [-1, k, *(p.patch if p.arch.dim == 3 else p.patch[1:])]  # noqa: E731
    fold, path, y = made[0]
    entry = {
        "role": "bleed", "file": path.name, "sha256": manifest.sha256(path), "opset": OPSET, "base_width": p.arch.features[0],
        "parameters": sum(v.numel() for v in net.parameters()),
        "input": {"name": INPUT, "shape": shape(1), "layout": "NCDHW" if p.arch.dim == 3 else "NCHW", "window_hu": list(p.clip),
                  "pixel_mm": 0, "neighbours": 0, "slab_mm": 0},
        "output": {"name": OUTPUT, "shape": shape(len(channels)), "channels": channels},
        "threshold": wish.post.threshold, "post": bleed_post(wish.post, ("any",)),
        "reference": manifest.reference(folder, f"nnunet.{fold}", x[:1], y[:1], TOLERANCE),
    }
    further = []
    for fold, path, y in made[1:]:
        name, digest = manifest.store(folder, f"nnunet.{fold}.output", y[:1])
        further.append({"file": path.name, "sha256": manifest.sha256(path), "reference": {"output": name, "output_sha256": digest, "tolerance": TOLERANCE}})
    entry["nnunet"] = {
        "configuration": p.configuration, "spacing_mm": list(p.spacing), "mean": p.mean, "std": p.std,
        "orientation": wish.orientation or p.orientation or "LPS", "mirror_axes": p.ours(folds[0].mirror_axes) if wish.mirror else [],
        "further_folds": further,
    }
    return entry


def build(f: checkpoint.Checkpoint, p: plans_.Plans) -> NNUNet:
    """The network with the weights of a fold."""
    with torch.device("meta"):  # no memory for what damaged plans describe
        net = NNUNet(p.arch, len(p.classes), p.turn)
    weights = keep(f.weights, len(p.arch.features))
    mine = net.state_dict()
    for name, value in mine.items():
        if name not in weights:
            raise DataError(f.path, f"{name} is missing", "its plans.json belongs to another training, or the trainer changes the network")
        if weights[name].shape != value.shape:
            raise DataError(f.path, f"{name} is {'x'.join(map(str, weights[name].shape))}, the plans say {'x'.join(map(str, value.shape))}",
                            "give the plans.json and dataset.json of this very training")
    if more := sorted(set(weights) - set(mine)):
        raise DataError(f.path, f"{more[0]} is in no network of nnU-Net's own", "the trainer changes the network; ichor builds nnU-Net's own")
    net.load_state_dict({k: weights[k].float() for k in mine}, assign=True)
    return net.eval()


def patches(p: plans_.Plans) -> np.ndarray:
    """Two patches, from a head with blood and one without, as the product cuts them (2, 1, [D,] H, W)."""
    from scipy.ndimage import zoom

    out = []
    for head in reference_stretches():
        gap = float(np.median(np.diff(head.positions)))
        hu = np.clip(head.hu, *p.clip)
        steps = (gap / (p.spacing[0] or gap), head.pixel / p.spacing[1], head.pixel / p.spacing[2])
        values = (zoom(hu, steps, order=1) - p.mean) / p.std
        patch = np.zeros(p.patch, np.float32)
        from_, to = [], []
        for n, size in zip(values.shape, p.patch):
            taken = min(n, size)
            from_.append(slice((n - taken) // 2, (n - taken) // 2 + taken))
            to.append(slice((size - taken) // 2, (size - taken) // 2 + taken))
        patch[tuple(to)] = values[tuple(from_)]
        out.append(patch if p.arch.dim == 3 else patch[0])
    return np.ascontiguousarray(np.stack(out)[:, None], "<f4")


def export(net: NNUNet, x: np.ndarray, path: Path, source: Path) -> None:
    try:
        with torch.inference_mode():
            torch.onnx.export(net, (torch.from_numpy(x[:1]),), path, dynamo=False, opset_version=OPSET, input_names=[INPUT], output_names=[OUTPUT],
                              dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}}, do_constant_folding=True)
    except RuntimeError as err:
        raise DataError(source, f"its network does not take a patch of the plans ({' '.join(str(err).split())[:120]})", "copy the folder again") from None


def answers(source: Path, path: Path, net: NNUNet, x: np.ndarray) -> np.ndarray:
    """Logits of PyTorch for the first patch; refuses where ONNX Runtime answers otherwise, alone or in a batch, or the input does
    not matter. Patches that take much memory run one by one: ichor runs them so."""
    open_onnx(path)
    with torch.inference_mode():
        y = net(torch.from_numpy(x[:1])).numpy()
    if not np.isfinite(y).all():
        raise DataError(source, "the network answers values that are no numbers", "use another checkpoint")
    fused = manifest.session(path)
    got = manifest.run(fused, x, batch=1)
    if (off := float(np.abs(got[:1] - y).max())) > SLACK * max(1.0, float(np.abs(y).max()) / 10):
        raise DataError(source, f"ONNX Runtime is {off:.2g} away from PyTorch", "report it with the versions of torch and onnxruntime")
    wide = net.encoder.features * x[0].size >= WIDE
    if not wide and np.abs(manifest.run(fused, x, batch=len(x)) - got).max() > INDEPENDENT * max(1.0, float(np.abs(y).max())):
        raise DataError(source, "a patch alone and in a batch differ", "the network normalises across the batch, which ichor does not run")
    if np.abs(got[0] - got[1]).max() < INDEPENDENT:
        raise DataError(source, "output does not depend on the input", "was it trained?")
    return y


def subtype(bundle: Path, folder: Path) -> dict:
    """The bleed network of a bundle, to name what nnU-Net finds."""
    found = manifest.read(bundle)
    entry = next((n for n in found["networks"] if n["role"] == "bleed"), None)
    if entry is None or "nnunet" in entry or len(entry["output"]["channels"]) != 6:
        raise DataError(bundle, "its bleed network names no subtypes", "give a bundle of ichor's own networks")
    entry = manifest.copied(bundle, entry, "bleed", folder)
    return {**{k: v for k, v in entry.items() if k != "int8"}, "role": "subtype", "post": {}}


def record(wish: Wish, p: plans_.Plans, folds: list, others: dict) -> dict:
    return {
        "data": f"bleed: {wish.data.strip()}; cavity: {others['training']['data']}", "seed": 0, "commit": "unknown",
        "settings": {"bleed": {
            "nnunet": folds[0].configuration, "dataset": p.dataset, "plans": p.name, "trainer": folds[0].trainer, "labels": list(p.classes),
            "residual_encoder": p.arch.residual, "features": list(p.arch.features),
            "folds": [{"fold": f.path.parent.name, "file": f.path.name, "sha256": manifest.sha256(f.path), "epochs": f.epochs} for f in folds],
            "post": asdict(wish.post) | {"evidence": None},
        }, "others": {"bundle": f"{others['name']} {others['version']}", "roles": ["cavity-tissue", "cavity-bone"]}},
        "metrics": {}, "limits": [UNKNOWN, *wish.limits],
    }
