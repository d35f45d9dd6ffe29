"""Continue training from a shipped bundle, which holds ONNX files and no checkpoints.

Export folds each batch normalisation into the convolution before it. The fold is undone exactly: the normalisation gets
the mean and deviation that the convolution's outputs have on training slices, as statistics and as affine parameters alike,
so that the net computes what the file computes and its layers are normalised again when it trains.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from ..datasets.volume import DataError
from ..product.unet import UNet


class WarmStartError(DataError):
    """The file does not fit the network; one line, what and what to do."""


def load_onnx(net: UNet, path: Path) -> None:
    """Weights of an exported U-Net into `net`, whose normalisations become the identity."""
    try:
        graph = onnx.load(str(path)).graph
    except Exception as err:  # protobuf and onnx raise many kinds
        raise WarmStartError(path, f"not an ONNX file ({type(err).__name__})", "give a network of a bundle, such as bleed.onnx") from None
    values = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    nodes = [n for n in graph.node if n.op_type in ("Conv", "ConvTranspose")]
    layers = _in_order(net)
    if len(nodes) != len(layers):
        raise WarmStartError(path, f"{len(nodes)} convolutions, the network has {len(layers)}", "give a bundle exported by this program")
    with torch.no_grad():
        for node, layer in zip(nodes, layers):
            for name, target in zip(node.input[1:], (layer.weight, layer.bias)):
                value = torch.from_numpy(np.array(values[name], np.float32))
                mine = target[: len(value)] if layer is net.final_conv else target  # healthy tissues begin anew
                if value.shape != mine.shape:
                    raise WarmStartError(path, f"{name} is {tuple(value.shape)}, not {tuple(target.shape)}", "give the bundle's base width and channels")
                mine.copy_(value)
        for bn in _norms(net):
            bn.weight.fill_(1.0)
            bn.bias.zero_()
            bn.running_mean.zero_()
            bn.running_var.fill_(1.0 - bn.eps)


def load_checkpoint(net: UNet, path: Path) -> None:
    """Weights of a checkpoint of `train` into `net`; what it named beside blood need not be the same."""
    saved = torch.load(path, map_location="cpu", weights_only=True)["net"]
    own = net.state_dict()
    for name, value in saved.items():
        fits = min(len(value), len(own[name])) if value.dim() and name.startswith("final_conv.") else None
        try:
            own[name][:fits].copy_(value[:fits]) if fits else own[name].copy_(value)
        except (KeyError, RuntimeError):
            raise WarmStartError(path, f"{name} does not fit", "give a checkpoint of the same base width and channels") from None


def settle(net: UNet, batches) -> None:
    """Gives the normalisations their statistics on `batches`, an iterable of (B, C, H, W), without changing the output."""
    sums = {bn: [0.0, 0.0, 0] for bn in _norms(net)}

    def watch(bn, inputs):
        x = inputs[0].double()
        entry = sums[bn]
        entry[0] = entry[0] + x.sum((0, 2, 3))
        entry[1] = entry[1] + x.square().sum((0, 2, 3))
        entry[2] += x.numel() // x.shape[1]

    hooks = [bn.register_forward_pre_hook(watch) for bn in sums]
    net.eval()
    with torch.no_grad():
        for x in batches:
            net(x)
        for bn, (total, square, count) in sums.items():
            mean = total / count
            var = (square / count - mean.square()).clamp(min=1e-6)
            bn.running_mean.copy_(mean)
            bn.running_var.copy_(var)
            bn.weight.copy_((var + bn.eps).sqrt())
            bn.bias.copy_(mean)
    for hook in hooks:
        hook.remove()
    net.train()


def _norms(net: UNet) -> list[nn.BatchNorm2d]:
    return [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]


def _in_order(net: UNet) -> list[nn.Module]:
    """Convolutions as `UNet.forward` calls them."""
    both = lambda block: [block.conv1, block.conv2]  # noqa: E731
    out = [c for block in (*net.down_block, net.bottleneck_block) for c in both(block)]
    for up, block in zip(net.up_samp, net.up_block):
        out += [up, *both(block)]
    return [*out, net.final_conv]
