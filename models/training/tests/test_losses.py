import math

import pytest
import torch

from ich.heads.phantom.scanner import NO_TISSUE
from ich.paper.methods.losses import dice
from ich.product.data import UNSEEN
from ich.product.losses import bleed_loss, cavity_loss, present_dice


def image(*values):
    return torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)


@pytest.mark.parametrize("name, p, t, want", [
    ("perfect", (1, 1, 0, 0), (1, 1, 0, 0), 0.0),
    ("all wrong", (0, 0, 1, 1), (1, 1, 0, 0), 1 - 1 / 5),
    ("half sure", (0.5, 0.5, 0, 0), (1, 1, 0, 0), 1 - 3 / 3.5),
    ("empty, weighs a fifth", (1, 1, 0, 0), (0, 0, 0, 0), 0.2 * (1 - 1 / 3)),
])
def test_dice_by_hand(name, p, t, want):
    assert dice(image(*p), image(*t), alpha=0.2, smoothing=1.0).item() == pytest.approx(want, abs=1e-6)


def test_dice_of_a_batch_ignores_absent_classes():
    p, t = torch.zeros(1, 2, 1, 4), torch.zeros(1, 2, 1, 4)
    p[0, 0, 0, :2] = t[0, 0, 0, :2] = 1
    p[0, 1] = 0.9  # of a class that does not occur: for the cross-entropy to punish
    assert present_dice(p, t).item() == pytest.approx(0.0, abs=1e-6)


def test_dice_by_slice_weighs_a_thin_layer_as_much_as_a_hematoma():
    p, t = torch.zeros(3, 1, 1, 100), torch.zeros(3, 1, 1, 100)
    p[0, 0, 0, :99] = t[0, 0, 0, :99] = 1  # found whole
    t[1, 0, 0, :3] = 1  # overlooked; the third slice has nothing to find
    assert present_dice(p, t).item() == pytest.approx(1 - 199 / 202, abs=1e-6)
    assert present_dice(p, t, axes=(2, 3)).item() == pytest.approx(1 - (1 + 1 / 4) / 2, abs=1e-6)


def test_cavity_loss_of_indifference():
    label = torch.tensor([[[0, 1], [2, 6]]])  # any label above 0 is cavity
    want = (1 - (2 * 1.5 + 1) / (4 * 0.25 + 3 + 1)) + math.log(2)
    assert cavity_loss(torch.zeros(1, 1, 2, 2), label).item() == pytest.approx(want, abs=1e-5)


def test_bleed_loss_prefers_the_right_subtype():
    label = torch.full((1, 4, 4), 1)
    label[0, :2] = 5  # SDH: class 4 of the softmax, logit 5
    right, wrong = torch.full((1, 7, 4, 4), -4.0), torch.full((1, 7, 4, 4), -4.0)
    for x in (right, wrong):
        x[0, 0, :2] = 4
        x[0, 1, 2:] = 4
    right[0, 5, :2] = 4
    wrong[0, 6, :2] = 4
    assert bleed_loss(right, label) < 0.3 < 2 < bleed_loss(wrong, label)


def test_blood_that_nobody_could_see_counts_nowhere():
    label = torch.ones(2, 8, 8, dtype=torch.long)
    label[:, :3] = 4
    label[:, 5:] = UNSEEN
    logits = torch.randn(2, 7, 8, 8)
    other = logits.clone()
    other[:, :, 5:] = 9 * torch.randn(2, 7, 3, 8)
    assert bleed_loss(other, label).item() == pytest.approx(bleed_loss(logits, label).item(), rel=1e-5)
    other[:, :, 4] += 3
    assert bleed_loss(other, label).item() != pytest.approx(bleed_loss(logits, label).item(), rel=1e-3)


def test_healthy_tissue_is_learnt_beside_blood():
    label = torch.stack([torch.ones(2, 8, 8, dtype=torch.long), torch.full((2, 8, 8), 4)], 1)
    label[:, 1, 4:] = NO_TISSUE
    logits = torch.zeros(2, 14, 8, 8)
    named, elsewhere = logits.clone(), logits.clone()
    named[:, 7 + 4, :4] = 5  # dura, where it is
    elsewhere[:, 7 + 5, 4:] = 5  # where nothing is known
    assert bleed_loss(named, label) < bleed_loss(logits, label) - 0.5
    torch.testing.assert_close(bleed_loss(elsewhere, label), bleed_loss(logits, label))
