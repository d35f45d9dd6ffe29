"""What a network must be and do before it goes into a bundle. Ours and a user's pass the same door.

`examine` reads the graph and runs it; each refusal is one line that ends in what to do. What it lets through, the Go program
loads, and its reference is reproduced there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import manifest
from ..datasets.volume import DataError

OPSETS = range(7, 31)  # as models/bundle/check.go
DOMAINS = {"", "ai.onnx", "com.microsoft"}  # operators that ONNX Runtime brings
OVERSHOOT = 1e-4  # of a probability beyond 0 and 1: rounding
INDEPENDENT = 1e-3  # difference of a slice alone and in a batch: other kernels, same numbers
LEAST_ANSWER = 1e-5  # a network whose output moves less than this does not look at its input
MAX_BYTES = 1 << 30


@dataclass(frozen=True)
class Examined:
    """Facts of a network that passed."""

    input: str
    output: str
    opset: int
    base_width: int  # output channels of the first convolution
    parameters: int
    y: np.ndarray  # (B, K, N, N): what the graph answers to x, computed node by node
    difference: float  # of y and of what the product's session answers


def examine(path: Path, x: np.ndarray, outputs: int) -> Examined:
    """Checks the ONNX file at path with slices x (B, C, N, N), B at least 2, as the product would feed it."""
    import onnx

    path = Path(path)
    model = open_onnx(path)
    opset = opset_of(path, model)
    give, take = ends(path, model)
    _shape(path, "input", give, x.shape[1], x.shape[2])
    _shape(path, "output", take, outputs, x.shape[2])
    y, difference = _answers(path, x, outputs)
    weights = [i for i in model.graph.initializer if i.data_type == onnx.TensorProto.FLOAT]
    return Examined(give.name, take.name, opset, first_width(model), max(1, sum(int(np.prod(i.dims)) for i in weights)), y, difference)


def open_onnx(path: Path):
    """The model with its weights inside, checked by the rules of ONNX."""
    import onnx
    from google.protobuf.message import DecodeError

    if not path.is_file():
        raise DataError(path, "no such file", "give a network: net.onnx, or net.pt")
    try:
        model = onnx.load(str(path))  # takes external weights in
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError, OSError) as err:
        raise DataError(path, f"not a valid ONNX model ({str(err).splitlines()[0][:160]})", "export it again") from None
    if model.ByteSize() > MAX_BYTES:
        raise DataError(path, f"{model.ByteSize() >> 20} MiB", "a bundle takes networks up to 1024 MiB; use a narrower one")
    return model


def opset_of(path: Path, model) -> int:
    foreign = {o.domain for o in model.opset_import} - DOMAINS
    foreign &= {n.domain for n in model.graph.node}
    if foreign:
        raise DataError(path, f"operators of {', '.join(sorted(foreign))}", "export with ONNX's own operators; custom ones cannot be loaded")
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset not in OPSETS:
        raise DataError(path, f"opset {opset}", f"export with an opset from {OPSETS[0]} to {OPSETS[-1]}, such as 17")
    return opset


def ends(path: Path, model):
    """The one input and the one output."""
    known = {i.name for i in model.graph.initializer}
    given = [i for i in model.graph.input if i.name not in known]
    for what, found in (("inputs", given), ("outputs", model.graph.output)):
        if len(found) != 1:
            raise DataError(path, f"{len(found)} {what} ({', '.join(f.name for f in found)[:80]})", f"export a network with one of the {what} alone")
    return given[0], model.graph.output[0]


def first_width(model) -> int:
    """Output channels of the first convolution; 1 in a network without."""
    shapes = {i.name: i.dims for i in model.graph.initializer}
    for n in model.graph.node:
        if n.op_type == "Conv" and n.input[1] in shapes:
            return int(shapes[n.input[1]][0])
    return 1


def _shape(path: Path, what: str, value, channels: int, size: int) -> None:
    """Float32 [batch, channels, size, size], the batch free."""
    import onnx

    tensor = value.type.tensor_type
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        raise DataError(path, f"{what} {value.name} is {kind}", "export it with float32 ends (keep_io_types for float16)")
    dims = [d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim]
    if not tensor.HasField("shape") and what == "output":
        return  # running tells
    if len(dims) != 4:
        raise DataError(path, f"{what} {value.name} has shape {dims}", "a network takes and gives [batch, channels, N, N]")
    if dims[0] != -1:
        raise DataError(path, f"{what} {value.name} has a fixed batch of {dims[0]}",
                        f"export with dynamic_axes={{'{value.name}': {{0: 'batch'}}}} for input and output")
    if dims[1] not in (-1, channels):
        more = "--neighbours n makes 2 n + 1 of them" if what == "input" else "name each of them, in order, with --channels"
        raise DataError(path, f"{what} {value.name} has {dims[1]} channels, not {channels}", more)
    if any(d not in (-1, size) for d in dims[2:]):
        remedy = f"say --size {dims[2]}, or export with free height and width" if what == "input" else "the output has the size of the input"
        raise DataError(path, f"{what} {value.name} is {dims[2]} x {dims[3]}, not {size} x {size}", remedy)


def _answers(path: Path, x: np.ndarray, outputs: int) -> tuple[np.ndarray, float]:
    """Runs the network every way the product may; returns what it answers node by node, and how far the fused session is off."""
    try:
        plain, fused = manifest.session(path, fused=False), manifest.session(path)
    except Exception as err:  # onnxruntime's classes share no base
        raise DataError(path, f"ONNX Runtime cannot load it ({_first_line(err)})", "export with another opset, or without the operator it names") from None
    y = _run(path, plain, x)
    want = (len(x), outputs, *x.shape[2:])
    if y.shape != want:
        raise DataError(path, f"{list(x.shape)} in gives {list(y.shape)} out, not {list(want)}", "the output has the size of the input and one channel a name in --channels")
    if not np.isfinite(y).all():
        raise DataError(path, "output holds values that are no numbers", "look for a division by zero or an overflow in the network")
    if y.min() < -OVERSHOOT or y.max() > 1 + OVERSHOOT:
        raise DataError(path, f"output lies between {y.min():.3g} and {y.max():.3g}", "these are no probabilities: say --activation sigmoid or softmax")
    again, alone = _run(path, fused, x), np.concatenate([_run(path, fused, x[i : i + 1]) for i in range(len(x))])
    if not np.array_equal(again, _run(path, fused, x)):
        raise DataError(path, "the same slices twice give different outputs", "export in evaluation mode: net.eval(), no dropout, no random operators")
    if (off := float(np.abs(alone - again).max())) > INDEPENDENT:
        raise DataError(path, f"a slice alone and in a batch differ by {off:.2g}", "export in evaluation mode: batch statistics must not be used")
    three = _run(path, fused, np.concatenate([x, x[:1]]))
    if three.shape[0] != len(x) + 1:
        raise DataError(path, f"a batch of {len(x) + 1} gives {three.shape[0]}", "export with a dynamic batch")
    if np.abs(y - _run(path, plain, np.zeros_like(x))).max() < LEAST_ANSWER:
        raise DataError(path, "output does not depend on the input", "was it exported with its trained weights?")
    return y, float(np.abs(y - again).max())


def _run(path: Path, session, x: np.ndarray) -> np.ndarray:
    try:
        return session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(x, dtype=np.float32)})[0]
    except Exception as err:
        raise DataError(path, f"a batch of {len(x)} slices of {x.shape[1]} x {x.shape[2]} x {x.shape[3]} fails ({_first_line(err)})",
                        "export for this size and with a dynamic batch") from None


def _first_line(err: Exception) -> str:
    return " ".join(str(err).split())[:200]
