"""Losses against hand-computed values and second implementations, augmentation, transfer, folds."""

import itertools
import math

import numpy as np
import pytest
import torch

from ich.paper import paper
from ich.datasets.volume import DataError
from ich.paper.methods.losses import dice
from ich.paper.methods import classification, contrastive, restoration, segmentation
from ich.paper.methods.augment import affine, augment, blur
from ich.paper.methods.folds import folds
from ich.paper.methods.nets import EncoderMLP, PartialUNet, encode, transfer, unet
from ich.paper.methods.slices import Batch, Order, balanced, hold_out, seed_of

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = paper.Network(base=2, dropout=0.0)


@pytest.fixture()
def gen():
    return torch.Generator().manual_seed(3)


# ---- losses ----


def test_segmentation_loss_by_hand():
    """Eq. 4 and 5 on three slices of four pixels."""
    p = torch.tensor([[0.5, 0.5, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.0]]).view(3, 1, 2, 2)
    t = torch.tensor([[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]).view(3, 1, 2, 2)
    first = 1 - (2 * 0.5 + 1) / (0.5 + 1 + 1)
    empty = 1 - 1 / (0.25 + 1)
    assert dice(p, t, 0.2, 1.0).item() == pytest.approx((first + 0.0 + 0.2 * empty) / 3)


def test_segmentation_loss_as_monai():
    from monai.losses import DiceLoss

    p, t = torch.rand(4, 1, 8, 8), torch.rand(4, 1, 8, 8) > 0.5
    theirs = DiceLoss(squared_pred=True, smooth_nr=1.0, smooth_dr=1.0)(p, t.float())
    assert dice(p, t, 1.0, 1.0).item() == pytest.approx(theirs.item(), abs=1e-6)


def test_info_nce_by_loop():
    a, b = torch.randn(5, 7), torch.randn(5, 7)
    z = [v / v.norm() for v in (*a, *b)]
    total = 0.0
    for i in range(10):
        partner = (i + 5) % 10
        below = sum(math.exp(float(z[i] @ z[k]) / 0.1) for k in range(10) if k != i)
        total -= math.log(math.exp(float(z[i] @ z[partner]) / 0.1) / below)
    assert contrastive.info_nce(a, b, 0.1).item() == pytest.approx(total / 10, rel=1e-5)


def test_info_nce_as_monai():
    from monai.losses import ContrastiveLoss

    a, b = torch.randn(6, 16), torch.randn(6, 16)
    assert contrastive.info_nce(a, b, 0.1).item() == pytest.approx(ContrastiveLoss(temperature=0.1)(a, b).item(), rel=1e-5)


def test_info_nce_of_sets_is_the_mean_over_sets():
    a, b = torch.randn(3, 4, 5), torch.randn(3, 4, 5)
    each = [contrastive.info_nce(a[i], b[i], 0.1).item() for i in range(3)]
    assert contrastive.info_nce(a, b, 0.1).item() == pytest.approx(np.mean(each), rel=1e-5)


def test_regions_are_squares_at_the_same_places(gen):
    f = torch.arange(2 * 9 * 9, dtype=torch.float).view(2, 1, 9, 9)  # the second view is the first plus 81
    a, b = contrastive.regions(f, 5, 3, gen)
    assert a.shape == (1, 5, 9) and torch.equal(a + 81, b)
    seen = a.flatten().tolist()
    assert len(set(seen)) == len(seen)  # they do not overlap
    corner = a[0, 0, 0]
    assert a[0, 0].tolist() == [corner + 9 * i + j for i in range(3) for j in range(3)]
    with pytest.raises(ValueError, match="9 regions of 3 x 3, 10 are wanted"):
        contrastive.regions(f, 10, 3, gen)


def test_multilabel_losses_by_hand():
    labels = torch.tensor([[1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]], dtype=torch.uint8)
    t, known = classification.targets(labels)
    assert t.tolist() == [[0, 1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0]] and known.all()
    logits = torch.zeros(2, 7)  # every output 0.5
    first = 1 - 2 * (0.5 + 0.5) / (7 * 0.25 + 2)
    second = 1 - 2 * 0.5 / (7 * 0.25 + 1)
    assert classification._dice(logits, labels).item() == pytest.approx((first + second) / 2)


def test_multilabel_dice_as_monai():
    from monai.losses import DiceLoss

    labels = torch.tensor([[1, 1, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 1]], dtype=torch.uint8)
    logits = torch.randn(3, 7)
    t, _ = classification.targets(labels)
    theirs = DiceLoss(sigmoid=True, squared_pred=True, smooth_nr=0.0, smooth_dr=0.0)(logits[:, None], t[:, None])
    assert classification._dice(logits, labels).item() == pytest.approx(theirs.item(), abs=1e-6)


def test_multilabel_cross_entropy_is_the_weighted_one_and_skips_unknown():
    labels = torch.tensor([[1, 1, 0, 255, 0, 0], [0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 1]], dtype=torch.uint8)
    weights = classification.class_weights(labels)
    assert weights.tolist() == [2, 0.5, 2, 3, 2, 3, 2]  # unknown counts for neither side
    logits = torch.randn(3, 7)
    p, (t, known) = torch.sigmoid(logits), classification.targets(labels)
    each = -(weights * t * p.log() + (1 - t) * (1 - p).log())
    assert classification._cross_entropy(weights)(logits, labels).item() == pytest.approx((each * known).sum().item() / 20, rel=1e-5)


# ---- augmentation ----


def test_mask_follows_the_slice(gen):
    """A disc and its mask stay together under every transformation."""
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    disc = (((y - 25) ** 2 + (x - 38) ** 2) < 100).repeat(16, 1, 1, 1)
    image, mask = augment(disc.float(), disc, paper.Augmentation(), gen)
    assert image.shape == (16, 1, 64, 64) and mask.dtype == torch.bool
    assert not torch.equal(mask, disc)
    differ = ((image > 0.5) != mask).flatten(1).sum(1)
    assert (differ <= 20).all()  # pixels of the edge, by interpolation; a shift by one pixel makes 40
    area = mask.flatten(1).sum(1) / disc.flatten(1).sum(1)
    assert 0.75 < area.min() < 1 < area.max() < 1.27  # scaled by 0.9 to 1.1 each way


def test_affine_steps_come_in_the_order_of_the_paper(gen):
    """Moved by t, turned by a, scaled by s, mirrored: a point of the slice lands where doing that by hand puts it."""
    a = paper.Augmentation(flip=1.0)
    theta = affine(1, a, gen)[0].double()
    again = torch.Generator().manual_seed(3)
    move = 2 * (-0.1 + 0.2 * torch.rand(1, 2, generator=again))[0].double()
    angle = math.radians(-15 + 30 * torch.rand(1, generator=again).item())
    scale = 0.9 + 0.2 * torch.rand(1, generator=again).item()
    point = torch.tensor([0.3, -0.2], dtype=torch.double)
    x, y = (point + move).tolist()
    x, y = math.cos(angle) * x - math.sin(angle) * y, math.sin(angle) * x + math.cos(angle) * y
    landed = torch.tensor([-scale * x, scale * y], dtype=torch.double)
    assert torch.allclose(theta[:, :2] @ landed + theta[:, 2], point, atol=1e-6)


@pytest.mark.parametrize("a", [paper.Augmentation(), paper.GLOBAL_VIEWS, paper.LOCAL_VIEWS])
def test_ranges(a, gen):
    theta = affine(4000, a, gen)
    scale = theta[:, :, :2].det().abs()  # area of the slice that is seen
    crop = a.crop or (1.0, 1.0)
    assert scale.min() >= crop[0] / a.scale[1] ** 2 * 0.99 and scale.max() <= 1 / a.scale[0] ** 2 * 1.01
    mirrored = (theta[:, :, :2].det() < 0).float().mean()
    assert mirrored == pytest.approx(a.flip, abs=0.04)
    if a.crop is None:
        turned = torch.rad2deg(torch.atan2(theta[:, 0, 1], theta[:, 1, 1]))
        assert a.rotate * 0.97 < turned.abs().max() <= a.rotate + 1e-3
        assert 2 * a.translate * 0.97 < theta[:, :, 2].abs().max() <= 2 * a.translate + 1e-6


def test_nothing_is_changed_without_augmentation(gen):
    x = torch.rand(2, 1, 16, 16)
    assert augment(x, None, paper.NO_AUGMENTATION, gen)[0] is x


def test_views_stay_in_range_and_repeat_with_the_seed():
    x = torch.rand(8, 1, 32, 32)
    a, b, c = (augment(x, None, paper.GLOBAL_VIEWS, torch.Generator().manual_seed(s))[0] for s in (1, 1, 2))
    assert a.min() >= 0 and a.max() <= 1 and torch.equal(a, b) and not torch.equal(a, c)


def test_blur_as_scipy():
    from scipy.ndimage import gaussian_filter

    x = torch.rand(3, 1, 20, 20)
    ours = blur(x, torch.tensor([0.0, 0.6, 1.4]).view(3, 1, 1, 1), 5)
    assert torch.allclose(ours[0], x[0], atol=1e-6)
    for i, sigma in ((1, 0.6), (2, 1.4)):
        theirs = gaussian_filter(x[i, 0].numpy(), sigma, mode="nearest", radius=5)
        assert np.allclose(ours[i, 0].numpy(), theirs, atol=1e-5)


def test_swapped_patches_are_a_permutation(gen):
    x = torch.arange(3 * 32 * 32, dtype=torch.float).view(3, 1, 32, 32)
    y = restoration.swap_patches(x, 6, 5, gen)
    for a, b in zip(x, y):
        assert torch.equal(a.flatten().sort().values, b.flatten().sort().values) and not torch.equal(a, b)
    assert not torch.equal(y[0] - x[0], y[1] - x[1])  # other places on every slice


def test_one_swap_exchanges_two_squares(gen):
    x = torch.arange(32 * 32, dtype=torch.float).view(1, 1, 32, 32)
    y = restoration.swap_patches(x, 1, 5, gen)
    at = (x != y)[0, 0].nonzero()
    assert len(at) == 2 * 25
    shift = (y - x)[0, 0][tuple(at.T)]
    assert sorted(set(shift.tolist())) == [-shift.abs().max(), shift.abs().max()]  # each goes where the other was
    with pytest.raises(ValueError, match="do not fit"):
        restoration.swap_patches(x, 1, 17, gen)


# ---- transfer ----


def keys(*prefixes):
    return {k for k in unet(SMALL, 0).state_dict() if k.startswith(prefixes)}


@pytest.mark.parametrize("name, expected", [
    ("context-restoration", keys("")),  # the whole U-Net
    ("global-contrastive", keys("down_block", "bottleneck_block")),
    ("local-contrastive", keys("down_block", "bottleneck_block", *(f"up_{p}.{i}." for p in ("samp", "block") for i in range(3)))),
    ("binary", keys("down_block", "bottleneck_block")),
    ("multilabel-ce", keys("down_block", "bottleneck_block")),
    ("multilabel-dl", keys("down_block", "bottleneck_block")),
])
def test_each_pretext_learns_and_transfers_what_the_paper_says(name, expected, gen):
    from ich.paper.methods.scales import TINY
    from ich.paper.methods.steps import pretext_task
    from dataclasses import replace

    study = replace(TINY, network=SMALL)
    labels = torch.randint(0, 2, (8, 6)).to(torch.uint8)
    encoder = pretext_task("global-contrastive", study, labels, None).net.state_dict()
    task = pretext_task(name, study, labels, encoder)
    before = {k: v.clone() for k, v in task.net.state_dict().items()}
    task.net.train()
    opt = torch.optim.Adam([p for p in task.net.parameters() if p.requires_grad])
    loss = task.loss(task.net, Batch(torch.rand(8, 1, 32, 32), None, None, labels), gen, 0)
    loss.backward()
    opt.step()
    trained = "up_block.0.conv1.weight" if name == "local-contrastive" else "down_block.0.conv1.weight"
    after = task.net.state_dict()
    assert loss.isfinite() and not torch.equal(before[trained], after[trained])
    if name == "local-contrastive":  # its encoder is frozen, running statistics too
        assert all(torch.equal(after[k], encoder[k]) for k in keys("down_block", "bottleneck_block"))
    cfg = study.other
    target = segmentation.task(cfg, SMALL, after)
    assert set(target.facts["transferred"]) == expected
    state = target.net.state_dict()
    assert all(torch.equal(state[k], after[k]) for k in expected)
    assert all(p.requires_grad for p in target.net.parameters())  # nothing frozen


def test_transfer_refuses_another_width():
    with pytest.raises(DataError, match="base and factor"):
        transfer(unet(paper.Network(base=4), 0).state_dict(), unet(SMALL, 0))


def test_shapes():
    x = torch.rand(2, 1, 32, 32)
    features, skips = encode(unet(SMALL, 0), x)
    assert features.shape == (2, 32, 2, 2) and [s.shape[1:] for s in skips] == [(2, 32, 32), (4, 16, 16), (8, 8, 8), (16, 4, 4)]
    assert EncoderMLP(SMALL, 0.0, (512, 128))(x).shape == (2, 128)
    assert PartialUNet(SMALL, 0.0, 3, (128, 32))(x).shape == (2, 32, 16, 16)


def test_heads_of_the_paper():
    net = EncoderMLP(paper.Network(), 0.0, (*paper.Classification().head, 7))
    assert [m.in_features for m in net.mlp_head[::2]] == [512, 1024, 256] and net.mlp_head[-1].out_features == 7
    partial = PartialUNet(paper.Network(), 0.0, 3, paper.LocalContrastive().head)
    assert [(m.in_channels, m.out_channels) for m in partial.conv_head[::2]] == [(64, 128), (128, 32)]


# ---- folds and rows ----


def test_folds_keep_patients_whole_and_spread_hemorrhage():
    rng = np.random.default_rng(0)
    for k, seed in itertools.product((2, 5, 10), range(6)):
        count = int(rng.integers(40, 90))
        groups = [f"p{rng.integers(count * 2 // 3)}" for _ in range(count)]
        bleeding = rng.random(count) < 0.5
        of = folds(groups, bleeding, k, seed)
        assert set(of) == set(range(k))
        for name in set(groups):
            assert len({of[i] for i in range(count) if groups[i] == name}) == 1
        patients = [{g for g, f, b in zip(groups, of, bleeding) if f == i and b} for i in range(k)]
        sizes = [len(p) for p in patients]
        assert min(sizes) >= 1 and max(sizes) - min(sizes) <= 1
    assert np.array_equal(folds(groups, bleeding, k, 1), folds(groups, bleeding, k, 1))
    assert not np.array_equal(folds(groups, bleeding, k, 1), folds(groups, bleeding, k, 2))


def test_too_few_patients_bleed():
    with pytest.raises(DataError, match="1 patients with hemorrhage, fewer than the 2 folds"):
        folds(["a", "b", "c"], np.array([True, False, False]), 2, 0)


def test_training_rows_hold_all_ich_and_twice_as_many_normal():
    ich = np.arange(100) < 12
    rows = segmentation.training_rows(ich, np.arange(90), 2.0, 5)
    assert ich[rows].sum() == 12 and len(rows) == 36 and rows.max() < 90 and len(set(rows)) == 36
    assert segmentation.training_rows(ich, np.arange(90), 0.0, 5).tolist() == list(range(12))


def test_balanced_and_held_out_by_patient():
    labels = np.zeros((60, 6), np.uint8)
    labels[:20, 0] = 1
    labels[50:, 0] = 255
    rows = balanced(labels, 0)
    assert (labels[rows, 0] == 1).sum() == 20 == (labels[rows, 0] == 0).sum()
    assert len(balanced(np.full((7, 6), 255, np.uint8), 0)) == 7  # a set without labels serves the self-supervised tasks whole
    groups = np.array([f"p{i // 5}" for i in rows])
    train, held = hold_out(rows, groups, 8, 0)
    assert len(held) == 8 and not {r // 5 for r in train} & {r // 5 for r in held}


def test_order_visits_every_row_once_and_differs_by_epoch():
    order = Order(np.arange(10, 33), 5, seed_of(1, "x"), False)
    first = np.concatenate(list(order))
    assert sorted(first) == list(range(10, 33)) and len(order) == 5
    assert np.array_equal(first, np.concatenate(list(order)))
    order.epoch = 1
    assert not np.array_equal(first, np.concatenate(list(order)))
    order.drop_last = True
    assert len(order) == 4 and [len(b) for b in order] == [5] * 4
