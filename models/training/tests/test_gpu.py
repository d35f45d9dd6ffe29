"""What a GPU run does differently, checked without one: fake tensors know their device, autocast exists on the CPU too."""

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ich.paper import paper
from ich.datasets.volume import DataError
from ich.paper.methods import cavity, segmentation
from ich.paper.methods.augment import augment
from ich.paper.methods.contrastive import info_nce
from ich.loop import Machine, machine
from ich.paper.methods.fit import Task
from ich.paper.methods.scales import TINY
from ich.paper.methods.slices import Batch
from ich.paper.methods.steps import pretext_task

LABELS = np.array([[1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]], np.uint8)


def task(name: str) -> Task:
    if name == "segmentation":
        return segmentation.task(TINY.other, TINY.network)
    if name == "cavity":
        return cavity.task("tissue", TINY.tissue, TINY.network)
    return pretext_task(name, TINY, LABELS, {})


def to_gpu(net: nn.Module) -> None:
    """What net.to("cuda") does, which refuses fake tensors."""
    for m in net.modules():
        m._parameters.update({k: nn.Parameter(torch.empty(p.shape, device="cuda"), p.requires_grad) for k, p in m._parameters.items() if p is not None})
        m._buffers.update({k: torch.empty(b.shape, dtype=b.dtype, device="cuda") for k, b in m._buffers.items() if b is not None})


@pytest.mark.parametrize("name", [*paper.PRETEXTS, "segmentation", "cavity"])
def test_every_loss_stays_on_the_device_of_its_batch(name):
    t = task(name)
    with FakeTensorMode(allow_non_fake_inputs=True):  # raises where two devices meet
        to_gpu(t.net)
        x, mask = torch.rand(2, 1, 32, 32, device="cuda"), torch.rand(2, 1, 32, 32, device="cuda") > 0.5
        batch = Batch(x, mask, mask, torch.ones(2, 6, dtype=torch.uint8, device="cuda"))
        assert t.loss(t.net, batch, torch.Generator().manual_seed(1), 0).device.type == "cuda"


def test_autocast_leaves_augmentation_and_similarities_alone():
    x, mask = torch.rand(3, 1, 64, 64), torch.rand(3, 1, 64, 64) > 0.5
    a, b = torch.randn(4, 8), torch.randn(4, 8)
    new = lambda: torch.Generator().manual_seed(3)  # noqa: E731
    want, loss = augment(x, mask, paper.GLOBAL_VIEWS, new()), info_nce(a, b, 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        assert (a @ b.T).dtype == torch.bfloat16  # autocast acts here
        got = augment(x, mask, paper.GLOBAL_VIEWS, new())
        assert torch.equal(got[0], want[0]) and torch.equal(got[1], want[1])
        assert torch.equal(info_nce(a, b, 0.1), loss)


def test_a_gpu_that_multiplies_bfloat16_gets_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for able, dtype in ((True, torch.bfloat16), (False, torch.float16)):  # emulation would be slower than float32
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True, able=able: able or including_emulation)
        assert machine() == Machine("cuda", dtype, machine().workers) and machine().workers >= 1
    assert machine("cuda:1", 3) == Machine("cuda:1", torch.float16, 3)
    with pytest.raises(DataError, match="cuda:2 is not there, PyTorch sees 2 GPUs"):
        machine("cuda:2")


def test_a_device_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert machine() == machine("cpu") == Machine("cpu", None, 0)
    with pytest.raises(DataError, match="--device: cuda is not there, PyTorch sees 0 GPUs; leave it out"):
        machine("cuda")
    for unknown in ("tpu", "gpu", "cuda:", "cuda:x", "mps"):
        with pytest.raises(DataError, match=f"{unknown} is not known; give auto, cpu, cuda"):
            machine(unknown)
