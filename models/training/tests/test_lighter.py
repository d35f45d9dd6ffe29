"""Lighter operators: the same outputs, none of the slow ones left."""

import numpy as np
import onnx
import torch

from brought import SIZE, to_onnx
from ich.bundles import manifest
from ich.bundles.export import torch_to_onnx
from ich.bundles.lighter import without_softmax, without_transposed
from ich.product.config import Settings
from ich.product.unet import Probabilities, UNet


def kinds(path):
    return {n.op_type for n in onnx.load(str(path)).graph.node}


def test_same_outputs(tmp_path):
    torch.manual_seed(0)
    cfg = Settings(base_width=4, size=SIZE)
    plain, deep, light = (tmp_path / f"{name}.onnx" for name in ("plain", "deep", "light"))
    torch_to_onnx(Probabilities(UNet(cfg.channels, 7, 4), "bleed").eval(), cfg.channels, SIZE, plain)
    without_transposed(plain, deep)
    without_softmax(deep, light)
    assert {"Softmax", "ConvTranspose"} <= kinds(plain) and not {"Softmax", "ConvTranspose"} & kinds(light)
    x = np.random.default_rng(1).normal(0, 30, (3, cfg.channels, SIZE, SIZE)).astype(np.float32)  # far beyond the window: large logits
    one, two = (manifest.run(manifest.session(p), x) for p in (plain, light))
    assert np.abs(one - two).max() < 1e-4 and one[:, 1:].std() > 0.01


def test_others_stay(tmp_path):
    """A transposed convolution of another kernel, and a softmax of an opset whose reductions differ."""

    class Other(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.up = torch.nn.ConvTranspose2d(1, 2, 4, stride=2, padding=1)

        def forward(self, x):
            return torch.softmax(self.up(torch.max_pool2d(x, 2)), 1)

    path = tmp_path / "net.onnx"
    torch_to_onnx(Other().eval(), 1, SIZE, path)
    without_transposed(path, tmp_path / "new.onnx")
    assert "ConvTranspose" in kinds(tmp_path / "new.onnx")
    old = to_onnx(Other().eval(), tmp_path / "old.onnx")
    model = onnx.load(str(old))
    model.opset_import[0].version = 17
    onnx.save(model, str(old))
    without_softmax(old, tmp_path / "new.onnx")
    assert "Softmax" in kinds(tmp_path / "new.onnx")
