"""What of rendered blood is labelled: one slice of gray matter at 38 HU in a skull, 1 mm pixels."""

from __future__ import annotations

import numpy as np
import pytest

from ich.heads.phantom.visible import seen

GRAY, BONE = 38.0, 900.0


def slice_of(blood: np.ndarray, hu: np.ndarray | float, cavity: np.ndarray | None = None):
    """Arguments of `seen` for an IPH of these shares and densities; cavity: its share of each pixel."""
    cavity = np.ones(blood.shape, np.float32) if cavity is None else cavity
    inner = (GRAY + blood * (hu - GRAY)) * cavity
    occ = np.zeros((6, *blood.shape), np.float32)
    occ[0], occ[1] = cavity, blood * cavity
    return occ, inner + BONE * (1 - cavity), inner, GRAY * cavity, 1.0, GRAY


@pytest.fixture
def disc() -> np.ndarray:
    y, x = np.mgrid[:64, :64]
    return (np.hypot(y - 32, x - 32) < 10).astype(np.float32)


@pytest.mark.parametrize("hu, labelled", [(60.0, 1.0), (49.0, 1.0), (44.0, 0.0), (36.0, 0.0)])
def test_a_clot_is_labelled_as_a_whole_or_not_at_all(disc, hu, labelled):
    got = seen(*slice_of(disc, hu))
    assert (got.label[disc > 0] == 2).mean() == labelled and (got.label[disc == 0] == 1).all()
    assert got.unseen[disc > 0].mean() == 1 - labelled and not got.unseen[disc == 0].any()


def test_the_fainter_part_of_a_clot_belongs_to_it(disc):
    half = np.where(np.arange(64) < 32, 60.0, 44.0)
    got = seen(*slice_of(disc, np.broadcast_to(half, disc.shape)))
    assert (got.label[disc > 0] == 2).all()
    plasma = np.where(np.arange(64) < 32, 60.0, 38.0)  # as dark as brain: nobody could say where it ends
    got = seen(*slice_of(disc, np.broadcast_to(plasma, disc.shape)))
    assert 0.4 < (got.label[disc > 0] == 2).mean() < 0.7 and got.unseen.any()


def test_bone_lends_no_contrast_to_a_dark_subdural():
    """A layer of 4 mm at 42 HU whose outermost pixel is a twentieth bone: 85 HU there in the image."""
    blood, cavity = np.zeros((64, 64), np.float32), np.ones((64, 64), np.float32)
    blood[:, 1:5], cavity[:, 0], cavity[:, 1] = 1, 0, 0.95
    got = seen(*slice_of(blood, 42.0, cavity))
    assert (got.label < 2).all() and got.unseen[:, 1:5].all()
    got = seen(*slice_of(blood, 58.0, cavity))
    assert (got.label[:, 1:5] == 2).all()
