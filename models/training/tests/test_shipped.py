"""The bundle and the sample studies in the repository are whole."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from ich.heads.phantom.sample import SAMPLES, read

ROOT = Path(__file__).parents[3]
BUNDLE = ROOT / "models/bundles/ichor-synthetic"
NETWORKS = json.loads((BUNDLE / "manifest.json").read_text())["networks"]


@pytest.mark.parametrize("n", NETWORKS, ids=lambda n: n["role"])
def test_network_reproduces_its_reference(n):
    ref = n["reference"]
    for name, digest in ((n["file"], n["sha256"]), (ref["input"], ref["input_sha256"]), (ref["output"], ref["output_sha256"])):
        assert hashlib.sha256((BUNDLE / name).read_bytes()).hexdigest() == digest
    x = np.fromfile(BUNDLE / ref["input"], "<f4").reshape(ref["input_shape"])
    y = np.fromfile(BUNDLE / ref["output"], "<f4").reshape(ref["output_shape"])
    session = onnxruntime.InferenceSession(str(BUNDLE / n["file"]))
    assert np.abs(session.run(None, {n["input"]["name"]: x})[0] - y).max() < ref["tolerance"]
    assert y[:, 0].max() > 0.9, "the reference shows nothing, so it proves nothing"


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.name)
def test_sample_study_agrees_with_its_truth(sample):
    study, hu, label = read(ROOT / f"pipeline/phantom/studies/{sample.name}.zip")
    assert study["seed"] == sample.seed and hu.shape == label.shape == (32, 512, 512)
    ml = study["pixel_spacing_mm"][0] * study["pixel_spacing_mm"][1] * 5.0 / 1000
    for i, k in enumerate(("IPH", "IVH", "SAH", "SDH", "EDH")):
        assert study["truth_ml"][k] == pytest.approx((label == i + 2).sum() * ml, abs=0.01)
        assert (study["truth_ml"][k] > 5) == any(kind == k for kind, _, _ in sample.plan.bleeds)
    assert hu[0, 0, 0] == -1000
