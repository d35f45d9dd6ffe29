"""int8: what is quantised, what is measured, what is refused."""

import json

import numpy as np
import onnx
import pytest
import torch

from brought import SIZE, Bright, head, heads, to_onnx, wish
from ich.bundles import bring, manifest, means, quantize
from ich.product.config import ROLES, Settings
from ich.datasets.volume import DataError
from ich.bundles.export import write_onnx
from ich.bundles.lighter import without_transposed
from ich.product.scan import Scan
from ich.product.unet import Probabilities, UNet


def scan(blood: bool) -> Scan:
    h = head(blood)
    return Scan(h.hu, (h.pixel, h.pixel), h.positions, h.label)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Three tiny networks, each brought into the bundle of the one before."""
    folder = tmp_path_factory.mktemp("bundles")
    net, others = to_onnx(Bright(sigmoid=True), folder / "net.onnx"), bring.SHIPPED
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bring, "reference_stretches", heads)
        for role in ROLES:
            channels = ("any",) if role == "bleed" else ("cavity",)
            bring.bring(wish(net, role=role, channels=channels, others=others), folder / role)
            others = folder / role
    return others


def test_every_network_gets_int8(bundle, monkeypatch):
    monkeypatch.setattr(quantize, "_stretch", lambda seed: scan(seed % 2 == 0))
    monkeypatch.setattr(quantize, "held_out", lambda i, widen, cache: scan(i % 2 == 0))
    before = manifest.read(bundle)
    m = json.loads(quantize.quantize(bundle, heads=2, seeds=range(2), progress=False).read_text())
    assert "int8" not in before["networks"][0] and set(m["training"]["metrics"]["int8"]) == set(ROLES)
    for n in m["networks"]:
        q = n["int8"]
        for name, digest in ((q["file"], q["sha256"]), (q["reference"]["output"], q["reference"]["output_sha256"])):
            assert manifest.sha256(bundle / name) == digest
        x = manifest.load(bundle, n, "input")
        y = np.fromfile(bundle / q["reference"]["output"], "<f4").reshape(n["reference"]["output_shape"])
        assert np.abs(manifest.run(manifest.session(bundle / q["file"]), x) - y).max() <= q["reference"]["tolerance"] <= 0.1
        assert 0 < np.abs(y - manifest.load(bundle, n, "output")).max() <= q["deviation"]["max_abs"] + 1e-3
        assert q["deviation"]["heads"] == 2 and q["deviation"]["dice"] > 0.95 and q["deviation"]["speed_ratio"] > 0
        weights = [i for i in onnx.load(str(bundle / q["file"])).graph.initializer if i.data_type == onnx.TensorProto.INT8 and len(i.dims) == 4]
        assert [list(w.dims) for w in weights] == [[4, 1, 3, 3]], "the last convolution stays in float32"
        assert max(abs(onnx.numpy_helper.to_array(w).astype(int)).max() for w in weights) <= 64, "7 bits: no saturation without VNNI"
    card = (bundle / "CARD.md").read_text()
    assert "times as fast" in card and manifest.sha256(bundle / "manifest.json") in card


def test_refuses_another_network(bundle, tmp_path, monkeypatch):
    """Ranges that were never calibrated: the masks are not those of float32."""
    entry = manifest.network(manifest.read(bundle), "bleed")
    dark, bright = np.zeros((2, 1, SIZE, SIZE), np.float32), np.random.default_rng(1).random((4, 1, SIZE, SIZE), np.float32)
    with pytest.raises(DataError, match="keep this bundle in float32"):
        quantize.quantized(bundle, {**entry, "role": "bleed"}, dark + 0.01, bright, 1)


def test_deviation_by_hand():
    a = np.zeros((1, 6, 2, 2), np.float32)
    b = a.copy()
    a[0, 0] = [[0.9, 0.9], [0.9, 0.1]]
    b[0, 0] = [[0.9, 0.8], [0.4, 0.1]]  # one pixel of three is lost
    a[0, 1], b[0, 2, 0, 0], b[0, 1, 0, 1] = 0.5, 0.6, 0.5  # IPH everywhere; one pixel becomes IVH
    found, details = quantize.deviation(a, b, {"threshold": 0.5})
    assert found == {"max_abs": 0.6, "flipped": 0.25, "dice": 0.8}
    assert details["renamed"] == 0.5 and details["dice"]["IPH"] == pytest.approx(0.5) and details["dice"]["IVH"] == 0 and details["dice"]["EDH"] == 1
    assert details["volume_ratio"] == pytest.approx(2 / 3) and details["max_abs_mask"] == pytest.approx(0.5)


def test_what_stays_in_float32(tmp_path):
    path = to_onnx(Bright(sigmoid=True), tmp_path / "net.onnx")
    kinds = {n.name: n.op_type for n in onnx.load(str(path)).graph.node}
    assert [kinds[n] for n in quantize.in_float32(path)] == ["Conv", "Sigmoid"]


def test_first_and_last_block_stay_in_float32(tmp_path):
    whole, deep = tmp_path / "whole.onnx", tmp_path / "deep.onnx"
    write_onnx(Probabilities(UNet(3, 7, 4), "bleed").eval(), Settings(base_width=4, size=SIZE), whole)
    without_transposed(whole, deep)
    kept = [n.split("/")[2] for n in quantize.in_float32(deep) if n.endswith("/Conv")]
    assert kept == ["down_block.0"] * 2 + ["up_block.3"] * 2 + ["final_conv"]


def test_processor_is_named():
    assert "VNNI" in quantize.cpu() and "\n" not in quantize.cpu()


def test_means_of_convolutions_are_kept(tmp_path, monkeypatch):
    torch.manual_seed(3)
    cfg, path = Settings(base_width=4, size=SIZE), tmp_path / "bleed.onnx"
    write_onnx(Probabilities(UNet(cfg.channels, 7, 4), "bleed").eval(), cfg, path)
    x = np.random.default_rng(3).random((7, cfg.channels, SIZE, SIZE), np.float32)
    ready = []

    def off(correct: bool, name: str) -> dict[str, float]:
        """Largest difference of a channel's mean from float32, by convolution."""
        monkeypatch.setattr(quantize, "keep_means", lambda source, made, x: (ready.append(onnx.load(str(source))), correct and means.keep_means(source, made, x)))
        quantize.write_int8(path, tmp_path / name, x)
        int8, names = onnx.load(str(tmp_path / name)), [n.name for n in ready[-1].graph.node if n.op_type == "Conv"]
        a, b = means._means(ready[-1], names, x[::quantize.EVERY]), means._means(int8, names, x[::quantize.EVERY])
        return {k: float(np.abs(a[k] - b[k]).max()) for k in names}

    without, corrected = off(False, "without.onnx"), off(True, "with.onnx")
    first, rest = list(corrected)[: quantize.BLOCK], list(corrected)[quantize.BLOCK :]
    assert max(without[k] for k in first) < 1e-5, "these stay in float32"
    assert len(rest) == 21 and all(corrected[k] < 0.3 * without[k] for k in rest), (without, corrected)
