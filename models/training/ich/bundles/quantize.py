"""int8 beside float32: ONNX Runtime's static quantisation, and what it changes, measured on heads that nothing was fitted to.

U8S8, one weight scale a channel, QDQ (quantise-dequantise pairs around the operators). Chosen by measurement on the shipped
bleed network, eight held-out heads:

    weights of 7 bits (reduce_range)   as close to float32 as 8 bits, and processors without VNNI, which add pairs of
                                       products in 16 bits, cannot saturate: one file gives the same masks everywhere
    the last convolution in float32    costs nothing (1 x 1), and a logit in 256 steps flips pixels at the threshold
    the first two convolutions and     the window in 256 steps is 0.8 HU each, which the skip at full resolution carries to the end: Dice
    the two before the last, too       0.9951 for 0.9925 on twelve heads, for a third more time; the first two alone 0.9948, as fast as none
    range from the extremes            a moving average cuts off the rare bright voxels: differences of 0.7
    means kept                         masks of 8-bit weights were closer, but only those of 7 bits are the same everywhere: means.py
"""

from __future__ import annotations

import logging
import platform
import tempfile
import time
from pathlib import Path

import numpy as np

from . import card, manifest
from .lighter import without_softmax, without_transposed
from .means import keep_means
from ..product.config import ROLES, SUBTYPES
from ..datasets.volume import DataError
from ..heads.heads import WIDEN, held_out
from ..product.reader import prepare, settings_of
from ..product.scan import Scan

CALIBRATION_SEEDS = range(4_000_000, 4_000_024)  # seven slices each, drawn as training draws them, never trained on
CALIBRATION_SLICES = 7
EVERY = 7  # calibration slice takes part in the correction of the means
BLOCK, MANY = 2, 8  # convolutions of a block; a network has a first and a last block from so many convolutions on
HEADS = 12  # held out, to measure on
LEAST_TOLERANCE, MOST_TOLERANCE = 0.02, 0.1  # of the reference; models/bundle/check.go refuses more
LEAST_DICE = 0.95  # of int8 against float32 masks; below, the file would be another network
NO_NNUNET = "keep it in float32: measured, int8 made such networks slower (docs/performance.md)"
ROUNDS = 5  # of the timing, both networks in turn


def quantize(bundle: Path, heads: int = HEADS, cache: Path | None = None, seeds: range = CALIBRATION_SEEDS, progress: bool = True) -> Path:
    """Adds int8 to every network of a bundle, in place; returns the manifest's path."""
    from tqdm import tqdm

    bundle = Path(bundle)
    content = manifest.read(bundle)
    if any("nnunet" in n for n in content["networks"]):
        raise DataError(bundle, "a bundle of nnU-Net", NO_NNUNET)
    calibration = [_stretch(s) for s in tqdm(seeds, desc="calibration", unit="stretch", disable=None if progress else True)]
    scans = [held_out(i, WIDEN, cache) for i in tqdm(range(heads), desc="held-out heads", unit="head", disable=None if progress else True)]
    details = {}
    for role in ROLES:
        entry = manifest.network(content, role)
        cfg = settings_of(entry)
        inputs = lambda of: np.concatenate([prepare(s, cfg)[0] for s in of])  # noqa: E731,B023
        entry["int8"], details[role] = quantized(bundle, entry, inputs(calibration), inputs(scans), heads)
        if progress:
            print(line(role, entry["int8"]["deviation"]))
    content["training"].setdefault("metrics", {})["int8"] = details
    path = manifest.write(bundle, content)
    card.write(bundle)
    return path


def line(role: str, d: dict) -> str:
    return (f"{role:14s} Dice {d['dice']:.4f}  flipped {d['flipped']:.2e}  largest difference {d['max_abs']:.3f}  "
            f"{d['speed_ratio']:.2f} times as fast on {d['cpu']}")


def quantized(bundle: Path, entry: dict, calibration: np.ndarray, test: np.ndarray, heads: int) -> tuple[dict, dict]:
    """The int8 part of a network's entry, its files written; and the deviation in detail."""
    source = bundle / entry["file"]
    path = source.with_name(f"{source.stem}.int8.onnx")
    write_int8(source, path, calibration)
    plain, fast = manifest.session(source), manifest.session(path)
    found, details = deviation(manifest.run(plain, test), manifest.run(fast, test), entry)
    if found["dice"] < LEAST_DICE:
        path.unlink()
        raise DataError(source, f"int8 masks have a Dice of {found['dice']:.3f} against float32, below {LEAST_DICE}", "keep this bundle in float32")
    x = manifest.load(bundle, entry, "input")
    y = manifest.run(fast, x)
    off = float(np.abs(y - manifest.run(manifest.session(path, fused=False), x)).max())
    if 2 * off > MOST_TOLERANCE:
        raise DataError(path, f"two ways to compute it differ by {off:.2g}", "keep this bundle in float32")
    name, digest = manifest.store(bundle, f"{manifest.stem(entry['role'])}.int8.output", y)
    float_ms, int8_ms = times(plain, fast, test[len(test) // 2 : len(test) // 2 + 1])
    found = {"heads": heads, **found, "speed_ratio": round(float_ms / int8_ms, 2), "cpu": cpu()}
    details |= {"ms_float32": round(float_ms, 2), "ms_int8": round(int8_ms, 2)}
    part = {"file": path.name, "sha256": manifest.sha256(path),
            "reference": {"output": name, "output_sha256": digest, "tolerance": round(max(LEAST_TOLERANCE, 2 * off), 4)}, "deviation": found}
    return part, details


def write_int8(source: Path, path: Path, calibration: np.ndarray) -> None:
    """source -> path, ranges of the activations from calibration (S, C, N, N)."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    logging.getLogger().setLevel(logging.ERROR)  # ONNX Runtime advises to pre-process after that was done
    with tempfile.TemporaryDirectory() as folder:
        ready, deep, light = (Path(folder) / name for name in ("ready.onnx", "deep.onnx", "light.onnx"))
        without_transposed(source, deep)
        without_softmax(deep, light)
        quant_pre_process(str(light), str(ready), skip_symbolic_shape=True)  # which does not know the reductions of opset 18
        quantize_static(str(ready), str(path), _Slices(ready, calibration), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=True,
                        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, nodes_to_exclude=in_float32(ready),
                        calibrate_method=CalibrationMethod.MinMax)
        keep_means(ready, path, calibration[::EVERY])


def in_float32(path: Path) -> list[str]:
    """Of a network of many convolutions the first two and the two before the last, which are the first and the last block of ours; of
    any the last convolution and all that follows it: sigmoid, softmax, and how their channels are put together."""
    import onnx

    nodes = onnx.load(str(path)).graph.node
    convolutions = [n for n in nodes if n.op_type == "Conv"]
    if not convolutions:
        raise DataError(path, "no convolution", "int8 is for convolutional networks; keep this bundle in float32")
    last = convolutions[-1]
    blocks = convolutions[:BLOCK] + convolutions[-1 - BLOCK : -1] if len(convolutions) >= MANY else []
    reached, out = set(last.output), [n.name for n in [*blocks, last]]
    for n in nodes:
        if reached & set(n.input):
            out.append(n.name)
            reached |= set(n.output)
    return out


class _Slices:
    """Calibration data as quantize_static asks for it: one slice at a time."""

    def __init__(self, model: Path, x: np.ndarray):
        name = manifest.session(model, fused=False).get_inputs()[0].name
        self._rest = ({name: np.ascontiguousarray(x[i : i + 1], dtype=np.float32)} for i in range(len(x)))

    def get_next(self) -> dict | None:
        return next(self._rest, None)


def deviation(a: np.ndarray, b: np.ndarray, entry: dict) -> tuple[dict, dict]:
    """Of int8 outputs b from float32 outputs a (S, K, N, N), on the network's own grid."""
    ma, mb = a[:, 0] >= entry["threshold"], b[:, 0] >= entry["threshold"]
    found = {"max_abs": round(float(np.abs(a - b).max()), 4), "flipped": float(f"{np.mean(ma != mb):.3g}"), "dice": round(overlap(ma, mb), 5)}
    details: dict = {"max_abs_mask": float(np.abs(a[:, 0] - b[:, 0]).max()), "mean_abs_mask": float(np.abs(a[:, 0] - b[:, 0]).mean()),
                     "volume_ratio": float(mb.sum() / ma.sum()) if ma.any() else None}
    if a.shape[1] > 1:
        ka, kb = a[:, 1:].argmax(1), b[:, 1:].argmax(1)
        both = ma & mb
        details["renamed"] = float(np.mean((ka != kb)[both])) if both.any() else 0.0
        details["dice"] = {k: overlap(ma & (ka == i), mb & (kb == i)) for i, k in enumerate(SUBTYPES)}
    return found, details


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Dice of two masks, 1 where both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def times(plain, fast, x: np.ndarray) -> tuple[float, float]:
    """Processor milliseconds a slice of both, the least of several rounds in turn: others on the machine only add."""
    name, least = plain.get_inputs()[0].name, [np.inf, np.inf]
    for _ in range(ROUNDS):
        for i, session in enumerate((plain, fast)):
            begun = time.process_time()
            session.run(None, {name: np.ascontiguousarray(x, dtype=np.float32)})
            least[i] = min(least[i], 1000 * (time.process_time() - begun))
    return least[0], least[1]


def cpu() -> str:
    """Model of the processor and whether it multiplies 8-bit numbers by VNNI."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    value = lambda key: next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")  # noqa: E731
    flags = set(value("flags").split())
    vnni = "VNNI" if flags & {"avx512_vnni", "avx_vnni"} else "no VNNI"
    return f"{value('model name') or platform.machine()} ({vnni})"


def _stretch(seed: int) -> Scan:
    from ..heads.phantom.study import generate

    p = generate(seed, slices=CALIBRATION_SLICES, runs=1)[0]
    return Scan(p.hu, (p.pixel, p.pixel), np.asarray(p.positions, float), p.label)
