"""A bundle on disk: manifest.json, ONNX files, reference inputs and outputs. What `models/bundle` in Go reads, and no more."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np

from ..datasets.volume import DataError
from ..files import whole

FILE = "manifest.json"
OURS = "ichor-synthetic"  # name of the bundle that ichor ships
MOST_BYTES = 1 << 20  # models/bundle/bundle.go
INTENDED_USE = "Research use only. Not for clinical use."
TOLERANCE = 0.002  # of a reference output: float32 convolutions in another order
BATCH = 4  # slices at a time; more is no faster on a CPU


def read(bundle: Path) -> dict:
    """manifest.json of a folder, its networks by role under "networks" as written."""
    path = Path(bundle) / FILE
    try:
        manifest = json.loads(path.read_text())
        {n["role"]: n["file"] for n in manifest["networks"]}  # what every user of it takes for granted
    except FileNotFoundError:
        raise DataError(path, "missing", "give the folder of a bundle") from None
    except (ValueError, KeyError, TypeError) as err:
        raise DataError(path, f"not a manifest ({type(err).__name__})", "give the folder of a bundle") from None
    return manifest


def write(bundle: Path, manifest: dict) -> Path:
    """Writes manifest.json whole or not at all."""
    path = Path(bundle) / FILE
    text = json.dumps(manifest, indent=1, allow_nan=False) + "\n"
    if len(text.encode()) > MOST_BYTES:
        raise DataError(path, f"{len(text) >> 10} KiB, above the {MOST_BYTES >> 10} that ichor reads", "give --metrics without the rows of single scans")
    with whole(path) as part:
        part.write_text(text)
    return path


def network(manifest: dict, role: str) -> dict:
    return next(n for n in manifest["networks"] if n["role"] == role)


def stem(role: str) -> str:
    """Name of a network's files: cavity-tissue -> cavity_tissue."""
    return role.replace("-", "_")


def sha256(path: Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def commit_of(folder: Path) -> str:
    """Last commit that touched the training code; "unknown" outside a checkout."""
    try:
        run = subprocess.run(["git", "log", "-1", "--format=%H", "--", "."], cwd=folder, capture_output=True, text=True)
    except FileNotFoundError:
        return "unknown"
    return run.stdout.strip() or "unknown"


def copied(bundle: Path, entry: dict | None, role: str, folder: Path) -> dict:
    """A network of another bundle with all its files, checked against their digests."""
    if entry is None:
        raise DataError(bundle, f"no network {role}", "give a whole bundle")
    files = [(entry["file"], entry["sha256"])]
    files += [(entry["reference"][k], entry["reference"][f"{k}_sha256"]) for k in ("input", "output")]
    if q := entry.get("int8"):
        files += [(q["file"], q["sha256"]), (q["reference"]["output"], q["reference"]["output_sha256"])]
    for q in entry.get("nnunet", {}).get("further_folds", ()):
        files += [(q["file"], q["sha256"]), (q["reference"]["output"], q["reference"]["output_sha256"])]
    for name, digest in files:
        source, target = Path(bundle) / name, folder / name
        if not source.is_file() or sha256(source) != digest:
            raise DataError(source, "missing or not what its manifest says", "copy the bundle again")
        if not target.resolve().is_relative_to(folder.resolve()):
            raise DataError(source, "lies outside its bundle", "give a bundle that `ichor models verify` accepts")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return entry


def store(bundle: Path, name: str, data: np.ndarray) -> tuple[str, str]:
    """Writes reference/<name>.f32, raw little-endian float32; returns its path in the bundle and its digest."""
    path = Path(bundle) / "reference" / f"{name}.f32"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(np.ascontiguousarray(data, dtype="<f4").tobytes())
    return f"reference/{path.name}", sha256(path)


def load(bundle: Path, entry: dict, kind: str) -> np.ndarray:
    """Reference input or output of a network; kind is "input" or "output"."""
    ref = entry["reference"]
    return np.fromfile(Path(bundle) / ref[kind], "<f4").reshape(ref[f"{kind}_shape"])


def reference(bundle: Path, role: str, x: np.ndarray, y: np.ndarray, tolerance: float = TOLERANCE) -> dict:
    """Stores both and returns the manifest's entry."""
    out: dict = {}
    for kind, data in (("input", x), ("output", y)):
        name, digest = store(bundle, f"{stem(role)}.{kind}", data)
        out |= {kind: name, f"{kind}_sha256": digest, f"{kind}_shape": list(data.shape)}
    return out | {"tolerance": tolerance}


def session(path: Path, fused: bool = True, threads: int = 1):
    """ONNX Runtime as the product runs it; fused=False computes the graph node by node as it is written."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    if not fused:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(of, x: np.ndarray, batch: int = BATCH) -> np.ndarray:
    """(S, C, N, N) -> (S, K, N, N), so many slices at a time."""
    name = of.get_inputs()[0].name
    x = np.ascontiguousarray(x, dtype=np.float32)
    return np.concatenate([of.run(None, {name: x[i : i + batch]})[0] for i in range(0, len(x), batch)])
