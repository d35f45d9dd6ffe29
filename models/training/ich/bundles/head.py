"""The end of a brought network's graph: from its own outputs to those that the product reads.

    activation   none, sigmoid, or softmax over the channels
    any          the channel of that name; else 1 - background; else the largest of the five subtypes
    subtypes     in the product's order
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..product.config import SUBTYPES
from .examine import ends

PRODUCT = ("any", *SUBTYPES)
SOFTMAX_OPSET = 13  # before, softmax flattened all that follows the axis
PREFIX = "ichor_head_"


def finish(path: Path, model, channels: tuple[str, ...], activation: str, size: int):
    """The model with the operators that are needed behind its output; as it is where none are."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    wanted = channels if channels == ("cavity",) else PRODUCT if set(SUBTYPES) <= set(channels) else PRODUCT[:1]
    if activation == "none" and channels == wanted:
        return model
    graph, last = model.graph, ends(path, model)[1].name

    def node(op: str, inputs: list[str], **attributes) -> str:
        name = f"{PREFIX}{len(graph.node)}"
        graph.node.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def constant(value: np.ndarray) -> str:
        name = f"{PREFIX}constant_{len(graph.initializer)}"
        graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def pick(names) -> str:
        return node("Gather", [last, constant(np.array([channels.index(n) for n in names], np.int64))], axis=1)

    if activation == "sigmoid":
        last = node("Sigmoid", [last])
    elif activation == "softmax":
        last = node("Softmax", [last], axis=1)
    if channels != wanted:
        if "any" in channels:
            parts = [pick(["any"])]
        elif "background" in channels:
            parts = [node("Sub", [constant(np.ones((1, 1, 1, 1), np.float32)), pick(["background"])])]
        else:
            parts = [node("Max", [pick([k]) for k in SUBTYPES])]
        if len(wanted) > 1:
            parts.append(pick(SUBTYPES))
        last = node("Concat", parts, axis=1) if len(parts) > 1 else parts[0]
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(last, TensorProto.FLOAT, ["batch", len(wanted), size, size]))
    onnx.checker.check_model(model)
    return model
