"""Writes the bundle of our own networks: ONNX files, reference input and output, manifest, model card."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from . import card, curve, manifest
from ..product.config import ROLES, SHIPPED, Post, Settings
from ..datasets.volume import DataError
from .examine import examine
from .lighter import without_softmax
from .manifest import TOLERANCE
from ..product.train import load_net
from ..product.unet import Probabilities, parameters

OPSET = 18
INPUT, OUTPUT = "slices", "probabilities"
CAVITY_POST = {"largest_component": True, "fill_holes": True, "hu_range": [-200, 200]}  # liquor to calcification; not air, not bone
DESCRIPTION = "Intracranial cavity and hemorrhage (IPH, IVH, SAH, SDH, EDH) on non-contrast head CT; U-Nets trained on synthetic heads."
LIMITS = [
    "How suspected hemorrhages are kept (by volume) and named (by anatomy) was decided with a view to 12 real heads, which hold intraparenchymal and intraventricular blood only.",
    "Acute blood only: chronic (dark) collections are not found, isodense ones often missed.",
    "A bright rim inside the skull from beam hardening can be taken for a thin subdural or epidural hematoma, the sagittal sinus of a head that lies turned for blood beside it.",
    "Found on real heads so far: intraparenchymal blood. On synthetic and painted heads of real density thin subarachnoid and subdural blood is often missed, and part of it is found.",
    "Subtypes are less certain than the total; a name says where blood lies, and thin blood at the inner table can be called subdural or epidural.",
    "Small or thin bleeds of which the network is nowhere sure are left out, so that heads without blood stay clean: of bleeds from 1 to 5 mL some are missed, and most below 1 mL.",
    "Adults, axial, non-contrast, 1 to 6 mm slices; after craniotomy or with metal the result is unreliable.",
]
FIRST_LIMIT = "Trained on synthetic heads fitted to statistics of real blood; "
PER_HEAD = ("phantoms", "calcified", "mix")  # rows of evaluate.json that the manifest leaves out: hundreds of heads, summed up beside them
BULKY = ("confusion_ml", "rim_slices_ml")  # of each row that stays


def write_onnx(net: torch.nn.Module, cfg: Settings, path: Path) -> None:
    """Dynamic batch; probabilities, not logits, so that the graph alone defines the output."""
    torch_to_onnx(net, cfg.channels, cfg.size, path)
    without_softmax(path, path)


def torch_to_onnx(net: torch.nn.Module, channels: int, size: int, path: Path) -> None:
    """The TorchScript exporter: it takes scripted modules too, and folds each batch normalisation into its convolution."""
    example = torch.zeros(2, channels, size, size)
    torch.onnx.export(net, (example,), path, dynamo=False, opset_version=OPSET, input_names=[INPUT], output_names=[OUTPUT],
                      dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}}, do_constant_folding=True)


def reference_heads() -> list:
    """The sample with several bleeds and the one without."""
    from ..heads.phantom.sample import SAMPLES, make

    return [make(SAMPLES[1]), make(SAMPLES[0])]


def reference_input(cfg: Settings, heads: list) -> np.ndarray:
    """The slice of each head with most blood, or its middle one, as the network gets them (2, C, N, N)."""
    from ..product.reader import prepare
    from ..product.scan import Scan

    rows = []
    for p in heads:
        x, _, _ = prepare(Scan(p.hu, (p.pixel, p.pixel), np.asarray(p.positions, float)), cfg)
        rows.append(x[int((p.label > 1).sum(axis=(1, 2)).argmax()) or len(x) // 2])
    return np.ascontiguousarray(np.stack(rows), dtype="<f4")


def entry_of(cfg: Settings, facts: dict, threshold: float, post: dict, reference: dict) -> dict:
    """A network in the manifest. facts: file, sha256, opset, base_width, parameters, input and output name."""
    shape = lambda channels: [-1, channels, cfg.size, cfg.size]  # noqa: E731
    return {
        "role": cfg.role, **{k: facts[k] for k in ("file", "sha256", "opset", "base_width", "parameters")},
        "input": {"name": facts["input"], "shape": shape(cfg.channels), "layout": "NCHW", "window_hu": list(cfg.window_hu),
                  "pixel_mm": cfg.pixel_mm, "neighbours": cfg.neighbours, "slab_mm": cfg.slab_mm},
        "output": {"name": facts["output"], "shape": shape(len(cfg.outputs)), "channels": list(cfg.outputs)},
        "threshold": threshold, "post": post, "reference": reference,
    }


def bleed_post(post: Post, outputs: tuple[str, ...]) -> dict:
    """Without subtypes there is none to settle."""
    out = {k: v for k, v in asdict(post).items() if k not in ("threshold", "evidence", "operating_point")}
    if post.evidence is not None:
        out["evidence"] = post.evidence.entry()
    if len(outputs) == 1:
        out.pop("subtype_per")
    return out


def network_entry(checkpoint: Path, out: Path, post: Post, heads: list) -> tuple[dict, Settings, dict]:
    """Exports one network with its reference, which PyTorch computes; returns its manifest entry, settings and counts."""
    net, cfg, counts = load_net(checkpoint)
    model = Probabilities(net, cfg.role).eval()
    path = out / f"{manifest.stem(cfg.role)}.onnx"
    write_onnx(model, cfg, path)
    x = reference_input(cfg, heads)
    seen = examine(path, x, len(cfg.outputs))
    with torch.inference_mode():
        y = model(torch.from_numpy(x)).numpy()
    if (off := float(np.abs(y - seen.y).max())) > TOLERANCE:
        raise DataError(path, f"ONNX Runtime is {off:.2g} away from PyTorch", "report it with the versions of torch and onnxruntime")
    facts = {"file": path.name, "sha256": manifest.sha256(path), "opset": OPSET, "base_width": cfg.base_width, "parameters": parameters(net),
             "input": INPUT, "output": OUTPUT}
    bleed = cfg.role == "bleed"
    entry = entry_of(cfg, facts, post.threshold if bleed else 0.5, bleed_post(post, cfg.outputs) if bleed else CAVITY_POST,
                     manifest.reference(out, cfg.role, x, y))
    return entry, cfg, counts


def metrics_of(path: Path | None) -> dict:
    """What `ich evaluate` wrote, without what only a debugger reads. Any key may be missing."""
    if path is None:
        return {}
    try:
        found = json.loads(Path(path).read_text(), parse_constant=lambda name: None)  # NaN is no JSON, and says "unknown"
    except (OSError, ValueError) as err:
        raise DataError(path, f"cannot be read as JSON ({type(err).__name__})", "give the evaluate.json of `ich evaluate`") from None
    if not isinstance(found, dict):
        raise DataError(path, "not a JSON object", "give the evaluate.json of `ich evaluate`")
    return {k: _slim(v) if isinstance(v, list) else v for k, v in found.items() if k not in PER_HEAD}


def limits_of(metrics: dict) -> list[str]:
    """What the weights are known not to do; the first one says what they were trained and measured on, and stands on every result."""
    sets = (metrics.get("summary") or {}).get("bleeding", {}).get("sets") or {}
    chose = sum(bool(r.get("chose_edge")) for r in metrics.get("bleeding") or [])
    real = (f"measured on {sum(sets.values())} real bleeding heads{f', {chose} of which chose where blood ends' if chose else ''}." if sets
            else "no real hemorrhage was seen, neither in training nor in measurement.")
    return [FIRST_LIMIT + real, *LIMITS]


def record(bundle: Path, metrics: Path) -> None:
    """Writes what `ich evaluate` measured into the manifest of a bundle that exists; what int8 changes stays recorded."""
    m = manifest.read(bundle)
    training = m["training"]
    kept = {k: v for k, v in (training.get("metrics") or {}).items() if k == "int8"}
    training["metrics"] = metrics_of(metrics) | kept
    if (training.get("limits") or [""])[0].startswith(FIRST_LIMIT):  # ours
        training["limits"][0] = limits_of(training["metrics"])[0]
    manifest.write(bundle, m)


def _slim(rows: list) -> list:
    return [{k: v for k, v in r.items() if k not in BULKY} if isinstance(r, dict) else r for r in rows]


def export(runs: Path, out: Path, version: str = "0.1.0", metrics: Path | None = None, post: Post = SHIPPED,
           others: Path | None = None) -> Path:
    """The whole bundle from <runs>/<role>.pt, with the learning curves beside them; returns the manifest's path. Networks
    without a checkpoint come unchanged from the bundle `others`."""
    out, runs = Path(out), Path(runs)
    measured = metrics_of(metrics)
    trained = [role for role in ROLES if (runs / f"{role}.pt").is_file()]
    older = manifest.read(others) if others else None
    for role in ROLES:
        if role not in trained and older is None:
            raise DataError(runs / f"{role}.pt", "missing", f"train it: python -m ich train --role {role} --out {runs}, or take it from a bundle with --others-from")
    out.mkdir(parents=True, exist_ok=True)
    entries, settings, phantoms = [], {}, 0
    heads = reference_heads()
    for role in ROLES:
        if role not in trained:
            entries.append(manifest.copied(others, manifest.network(older, role), role, out))
            settings[role] = older["training"]["settings"].get(role, {})
            continue
        entry, cfg, counts = network_entry(runs / f"{role}.pt", out, post, heads)
        entries.append(entry)
        settings[role] = {**cfg.as_dict(), "visits_done": counts["visits"], "phantoms": counts["phantoms"]}
        if counts.get("start"):
            settings[role]["began_with"] = counts["start"]
        phantoms = max(phantoms, counts["phantoms"])
    path = manifest.write(out, {
        "schema": 1, "name": manifest.OURS, "version": version, "licence": "Apache-2.0",
        "intended_use": manifest.INTENDED_USE, "description": DESCRIPTION,
        "training": {
            "data": f"synthetic heads fitted to statistics of real blood: {phantoms} random phantoms rendered as CT, two stretches of seven slices each; no patient data",
            "seed": settings["bleed"].get("seed", 0), "commit": manifest.commit_of(Path(__file__).parent), "settings": settings,
            "metrics": measured, "limits": limits_of(measured),
        },
        "networks": entries,
    })
    curve.draw([runs / f"{role}.csv" for role in ROLES], out)
    card.write(out)
    return path
