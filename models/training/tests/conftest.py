"""Shared phantoms: rendering one takes two seconds, so every test uses the same."""

import numpy as np
import pytest
import torch

from ich.heads.phantom.study import Plan, generate
from ich.product.scan import Bleed, Scan

torch.set_num_threads(2)


@pytest.fixture(scope="session")
def bleeding():
    """A whole head with 25 mL IPH and 40 mL EDH wanted."""
    return generate(7, Plan((("IPH", 25.0, 70.0), ("EDH", 40.0, 70.0))))


@pytest.fixture(scope="session")
def small_head(bleeding):
    """The middle of a phantom with bleeds, as a cached held-out head."""
    part = slice(len(bleeding.hu) // 2 - 4, len(bleeding.hu) // 2 + 4)
    known = (Bleed("IPH", 70.0, 25.0), Bleed("EDH", 70.0, 40.0))
    return Scan(np.round(bleeding.hu[part]), (bleeding.pixel, bleeding.pixel), np.asarray(bleeding.positions[part]), bleeding.label[part], "head000",
                "phantom", known)


@pytest.fixture(scope="session")
def stretches():
    """Two stretches of seven slices, as training uses them."""
    return generate(11, runs=2, slices=7)


@pytest.fixture()
def rng():
    return np.random.default_rng(5)


@pytest.fixture(scope="module")
def one_thread():
    """Networks of a few channels: on a busy machine two threads wait for each other longer than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
