"""Biases of an int8 network, moved so that every convolution has the mean it has in float32 (bias correction: Nagel and others, Data-Free
Quantization through Weight Equalization and Bias Correction, ICCV 2019). Rounding shifts the mean of each output channel a little, and the
shifts add up from layer to layer. Measured on a bleed network of which int8 drew masks 0.8 % larger, twelve held-out heads: Dice against
float32 0.9947 without, 0.9960 with it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from . import manifest


def keep_means(source: Path, path: Path, x: np.ndarray) -> None:
    """Changes the int8 network path, made of source, in place; x (S, C, N, N) are slices of calibration."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(path))
    weights = {i.name: i for i in model.graph.initializer}
    made_by = {o: n for n in model.graph.node for o in n.output}
    convolutions = [n for n in model.graph.node if n.op_type == "Conv" and len(n.input) > 2]
    want = _means(onnx.load(str(source)), [n.name for n in convolutions], x)
    for node in convolutions:  # in the order of the data: each sees what was corrected before it
        off = want[node.name] - _means(model, [node.name], x)[node.name]
        bias, scale = node.input[2], np.float32(1)
        if bias not in weights:  # whole numbers, dequantised
            by = made_by[bias]
            bias, scale = by.input[0], numpy_helper.to_array(weights[by.input[1]])
        was = numpy_helper.to_array(weights[bias])
        shift = off / scale
        new = was + (np.round(shift) if np.issubdtype(was.dtype, np.integer) else shift)
        weights[bias].CopyFrom(numpy_helper.from_array(new.astype(was.dtype), bias))
    onnx.save(model, str(path))


def _means(model, names: list[str], x: np.ndarray) -> dict[str, np.ndarray]:
    """Mean of each output channel of the named convolutions, over all pixels of all slices."""
    import onnx

    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    outputs = {n.name: n.output[0] for n in model.graph.node}
    del shown.graph.output[:]
    shown.graph.output.extend(onnx.helper.make_tensor_value_info(outputs[k], onnx.TensorProto.FLOAT, None) for k in names)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shown.onnx"
        onnx.save(shown, str(path))
        session = manifest.session(path, fused=False)
    name, total = session.get_inputs()[0].name, None
    for i in range(len(x)):
        found = [y.mean((0, 2, 3), dtype=np.float64) for y in session.run(None, {name: np.ascontiguousarray(x[i : i + 1], dtype=np.float32)})]
        total = found if total is None else [a + b for a, b in zip(total, found)]
    return {k: t / len(x) for k, t in zip(names, total)}
