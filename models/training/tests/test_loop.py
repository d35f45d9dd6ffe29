"""What both trainings share: the optimiser step, checkpoints, the warp of images and labels."""

import pytest
import torch
from torch import nn

from ich.datasets.volume import DataError
from ich.loop import Checkpoint, Machine, check_finite, descend, scaler_of
from ich.warp import warp

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("clip_norm, step", [(float("inf"), 5.0), (2.0, 2.0), (10.0, 5.0)])
def test_gradients_are_clipped_to_the_norm(clip_norm, step):
    net = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(net.weight)
    opt = torch.optim.SGD(net.parameters(), lr=1.0)
    loss = descend(lambda: net(torch.tensor([3.0, 4.0])).sum() + 7, opt, Machine(), scaler_of(Machine()), clip_norm)  # the gradient is (3, 4)
    assert loss.item() == 7 and not loss.requires_grad
    assert net.weight[0].tolist() == pytest.approx([-3 * step / 5, -4 * step / 5])


def test_the_loss_is_computed_under_autocast():
    net, seen = nn.Linear(2, 1), []

    def loss():
        y = net(torch.ones(1, 2))
        seen.append(y.dtype)
        return y.float().sum()

    for on in (Machine(), Machine(dtype=torch.bfloat16)):
        descend(loss, torch.optim.SGD(net.parameters(), lr=0.1), on, scaler_of(on))
    assert seen == [torch.float32, torch.bfloat16]


def test_a_checkpoint_brings_back_parts_facts_and_threads(tmp_path):
    a, b = nn.Linear(2, 1), nn.Linear(2, 1)
    assert Checkpoint(tmp_path / "c.pt", {"net": a}, 60).resume() == {}
    Checkpoint(tmp_path / "c.pt", {"net": a}, 60).save(step=3)
    torch.set_num_threads(2)
    state = Checkpoint(tmp_path / "c.pt", {"net": b}, 60).resume()
    assert state["step"] == 3 and torch.get_num_threads() == 1 and torch.equal(a.weight, b.weight)
    Checkpoint(tmp_path / "c.pt", {"net": b}, 60).resume(threads=2)  # the caller asked for two
    assert torch.get_num_threads() == 2


def test_a_checkpoint_is_due_after_its_time(tmp_path):
    assert Checkpoint(tmp_path / "c.pt", {}, -1.0).due() and not Checkpoint(tmp_path / "c.pt", {}, 3600).due()


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_divergence_is_one_line(loss, tmp_path):
    with pytest.raises(DataError, match=f"bleed diverged: loss {loss}; lower the learning rate"):
        check_finite(loss, tmp_path, "bleed diverged")
    check_finite(0.5, tmp_path, "bleed diverged")


def test_images_and_labels_move_alike():
    """The map reads two pixels further right, so that all moves two pixels left, and what comes in is 0."""
    x, labels = torch.zeros(1, 2, 8, 8), torch.zeros(1, 1, 8, 8, dtype=torch.long)
    x[0, :, 3, 5], labels[0, 0, 3, 5] = 0.75, 6
    theta = torch.tensor([[[1.0, 0, 2 * 2 / 8], [0, 1, 0]]])
    moved, where = warp(x, labels, theta, (8, 8))
    assert moved[0, :, 3, 3].tolist() == pytest.approx([0.75, 0.75]) and moved.sum() == pytest.approx(1.5)
    assert where.nonzero().tolist() == [[0, 0, 3, 3]] and where.max() == 6
    assert warp(x, None, theta, (4, 6))[0].shape == (1, 2, 4, 6) and warp(x, None, theta, (4, 6))[1] is None
