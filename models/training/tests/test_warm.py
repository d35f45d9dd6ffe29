"""A network taken from its exported file computes the same, before and after its normalisations are given back."""

import pytest
import torch
from ich.product.config import Settings
from ich.bundles.export import write_onnx
from ich.product.unet import Probabilities, UNet
from ich.bundles.warm import WarmStartError, load_checkpoint, load_onnx, settle
from ich.product.train import without_tissues


def exported(tmp_path, cfg: Settings) -> tuple[UNet, str]:
    torch.manual_seed(0)
    net = UNet(cfg.channels, 7, cfg.base_width)
    net(torch.rand(8, cfg.channels, 32, 32))  # statistics other than the identity
    path = tmp_path / "bleed.onnx"
    write_onnx(Probabilities(net.eval(), "bleed").eval(), cfg, path)
    return net, path


def test_same_output(tmp_path):
    cfg = Settings(base_width=4, size=32)
    net, path = exported(tmp_path, cfg)
    again = UNet(cfg.channels, 7, 4)
    load_onnx(again, path)
    x = torch.rand(4, cfg.channels, 32, 32)
    with torch.no_grad():
        want = net(x)
        torch.testing.assert_close(again.eval()(x), want, atol=1e-4, rtol=1e-4)
        settle(again, [torch.rand(8, cfg.channels, 32, 32) for _ in range(3)])
        torch.testing.assert_close(again.eval()(x), want, atol=1e-4, rtol=1e-4)
    bn = again.down_block[0].bn1
    assert not torch.allclose(bn.running_mean, torch.zeros_like(bn.running_mean))


class Mirrored(torch.nn.Module):
    """As bundles up to 0.7.0 were exported: the mean with the mirrored head."""

    def __init__(self, one: torch.nn.Module):
        super().__init__()
        self.one = one

    def forward(self, x):
        both, n = self.one(torch.cat([x, x.flip(3)])), x.shape[0]
        return (both[:n] + both[n:].flip(3)) / 2


def test_goes_on_from_a_bundle_that_mirrors(tmp_path):
    cfg = Settings(base_width=4, size=32)
    net, path = exported(tmp_path, cfg)
    write_onnx(Mirrored(Probabilities(net, "bleed")).eval(), cfg, path)
    again = UNet(cfg.channels, 7, 4)
    load_onnx(again, path)
    x = torch.rand(2, cfg.channels, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(x), net(x), atol=1e-4, rtol=1e-4)


def test_another_width_is_refused(tmp_path):
    _, path = exported(tmp_path, Settings(base_width=4, size=32))
    with pytest.raises(WarmStartError, match="base width"):
        load_onnx(UNet(3, 7, 8), path)


def test_goes_on_from_a_checkpoint_that_named_no_tissue(tmp_path):
    net = UNet(3, 7, 4)
    torch.save({"net": net.state_dict()}, tmp_path / "bleed.pt")
    more = UNet(3, 14, 4)
    load_checkpoint(more, tmp_path / "bleed.pt")
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(more.eval()(x)[:, :7], net.eval()(x))
    less = UNet(3, 7, 4)
    less.load_state_dict(without_tissues(more.state_dict(), 7))
    with pytest.raises(WarmStartError, match="base width"):
        load_checkpoint(UNet(3, 7, 8), tmp_path / "bleed.pt")
