"""Writes the bundle: ONNX files, reference input and output, manifest. The Go side refuses what it does not know."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from .config import Post, Settings
from .train import load_net
from .unet import Probabilities, parameters

OPSET = 18
TOLERANCE = 0.002  # fp32 convolutions in another order
INPUT, OUTPUT = "slices", "probabilities"
CAVITY_POST = {"largest_component": True, "fill_holes": True, "hu_range": [-200, 200]}  # liquor to calcification; not air, not bone
DESCRIPTION = "Intracranial cavity and hemorrhage (IPH, IVH, SAH, SDH, EDH) on non-contrast head CT; U-Nets trained on synthetic heads."
LIMITS = [
    "Trained on synthetic heads only; no real hemorrhage was seen, neither in training nor in measurement.",
    "Acute blood only: chronic (dark) collections are not found, isodense ones often missed.",
    "A bright rim inside the skull from beam hardening can be taken for a thin subdural or epidural hematoma.",
    "Subtypes are less certain than the total; thin subarachnoid blood is often missed.",
    "Adults, axial, non-contrast, 1 to 6 mm slices; after craniotomy or with metal the result is unreliable.",
]


def write_onnx(net: torch.nn.Module, cfg: Settings, path: Path) -> None:
    """Dynamic batch; probabilities, not logits, so that the graph alone defines the output."""
    example = torch.zeros(2, cfg.channels, cfg.size, cfg.size)
    torch.onnx.export(net, (example,), path, dynamo=False, opset_version=OPSET, input_names=[INPUT], output_names=[OUTPUT],
                      dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}}, do_constant_folding=True)


def reference_heads() -> list:
    """The sample with several bleeds and the one without."""
    from .phantom.sample import SAMPLES, make

    return [make(SAMPLES[1]), make(SAMPLES[0])]


def reference_input(cfg: Settings, heads: list) -> np.ndarray:
    """The slice of each head with most blood, or its middle one, as the network gets them (2, C, N, N)."""
    from .evaluate import Scan, prepare

    rows = []
    for p in heads:
        x, _, _ = prepare(Scan(p.hu, (p.pixel, p.pixel), p.positions), cfg)
        rows.append(x[int((p.label > 1).sum(axis=(1, 2)).argmax()) or len(x) // 2])
    return np.ascontiguousarray(np.stack(rows), dtype="<f4")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def commit_of(folder: Path) -> str:
    """Last commit that touched the training code; "unknown" outside a checkout."""
    run = subprocess.run(["git", "log", "-1", "--format=%H", "--", "."], cwd=folder, capture_output=True, text=True)
    return run.stdout.strip() or "unknown"


def network_entry(checkpoint: Path, out: Path, post: Post, heads: list) -> tuple[dict, Settings, dict]:
    """Exports one network with its reference; returns its manifest entry, settings and counts."""
    net, cfg, counts = load_net(checkpoint)
    model = Probabilities(net, cfg.role).eval()
    name = cfg.role.replace("cavity-", "cavity_")
    path = out / f"{name}.onnx"
    write_onnx(model, cfg, path)
    x = reference_input(cfg, heads)
    with torch.inference_mode():
        y = np.ascontiguousarray(model(torch.from_numpy(x)).numpy(), dtype="<f4")
    files = {}
    for kind, data in (("input", x), ("output", y)):
        f = out / "reference" / f"{name}.{kind}.f32"
        f.parent.mkdir(parents=True, exist_ok=True)
        f.write_bytes(data.tobytes())
        files |= {kind: f"reference/{f.name}", f"{kind}_sha256": sha256(f), f"{kind}_shape": list(data.shape)}
    bleed = cfg.role == "bleed"
    entry = {
        "role": cfg.role, "file": path.name, "sha256": sha256(path), "opset": OPSET, "base_width": cfg.base_width,
        "parameters": parameters(net),
        "input": {"name": INPUT, "shape": [-1, cfg.channels, cfg.size, cfg.size], "layout": "NCHW", "window_hu": list(cfg.window_hu),
                  "pixel_mm": cfg.pixel_mm, "neighbours": cfg.neighbours, "slab_mm": cfg.slab_mm},
        "output": {"name": OUTPUT, "shape": [-1, len(cfg.outputs), cfg.size, cfg.size], "channels": list(cfg.outputs)},
        "threshold": post.threshold if bleed else 0.5,
        "post": {k: v for k, v in asdict(post).items() if k != "threshold"} if bleed else CAVITY_POST,
        "reference": {**files, "tolerance": TOLERANCE},
    }
    return entry, cfg, counts


def export(runs: Path, out: Path, version: str = "0.1.0", metrics: Path | None = None, post: Post = Post()) -> Path:
    """The whole bundle from <runs>/<role>.pt; returns the manifest's path."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    entries, settings, phantoms = [], {}, 0
    heads = reference_heads()
    for role in ("cavity-tissue", "cavity-bone", "bleed"):
        entry, cfg, counts = network_entry(Path(runs) / f"{role}.pt", out, post, heads)
        entries.append(entry)
        settings[role] = {**cfg.as_dict(), "visits_done": counts["visits"], "phantoms": counts["phantoms"]}
        phantoms = max(phantoms, counts["phantoms"])
    manifest = {
        "schema": 1, "name": "ichor-synthetic", "version": version, "licence": "Apache-2.0",
        "intended_use": "Research use only. Not for clinical use.",
        "description": DESCRIPTION,
        "training": {
            "data": f"synthetic heads: {phantoms} random phantoms rendered as CT, two stretches of seven slices each; no patient data",
            "seed": settings["bleed"]["seed"], "commit": commit_of(Path(__file__).parent), "settings": settings,
            "metrics": json.loads(Path(metrics).read_text()) if metrics else {}, "limits": LIMITS,
        },
        "networks": entries,
    }
    path = out / "manifest.json"
    path.write_text(json.dumps(manifest, indent=1) + "\n")
    return path
