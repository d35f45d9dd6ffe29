import pytest
import torch

from ich.product.unet import Probabilities, UNet, logits_of, parameters


@pytest.mark.parametrize("base, factor, want", [(32, 1, 7_765_409), (32, 2, 5_409_089)])
def test_parameter_count_of_the_paper(base, factor, want):
    assert parameters(UNet(1, 1, base, factor)) == want


def test_keys_are_those_of_the_first_release():
    keys = set(UNet(1, 1, 4).state_dict())
    for want in ("down_block.0.conv1.weight", "down_block.3.bn2.running_var", "bottleneck_block.conv2.bias", "up_samp.0.weight",
                 "up_block.3.bn1.weight", "final_conv.bias"):
        assert want in keys


def test_widest_first_up_block_takes_skip_then_up():
    net = UNet(1, 1, 4)
    assert net.up_block[0].conv1.in_channels == 64 and net.up_block[3].conv1.in_channels == 8


def test_bleed_outputs_are_probabilities_of_disjoint_subtypes():
    outputs = ("any", "IPH", "IVH", "SAH", "SDH", "EDH")
    net = UNet(3, logits_of(outputs), 4)
    p = Probabilities(net, "bleed").eval()(torch.rand(2, 3, 32, 32))
    assert p.shape == (2, 6, 32, 32)
    assert (p >= 0).all() and (p <= 1).all() and (p[:, 1:].sum(1) <= 1.00001).all()
