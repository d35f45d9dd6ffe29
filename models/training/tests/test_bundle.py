"""A user's network becomes a bundle, or is refused with one line that says what to do."""

import json

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from brought import SIZE, Bright, heads, to_onnx, wish
from ich.bundles import bring, export, manifest
from ich.commands import bundle as command
from ich.product.config import SUBTYPES, settings_for
from ich.datasets.volume import DataError
from ich.heads.phantom.scanner import TISSUES
from ich.bundles.head import PRODUCT
from ich.product.train import make_net
from ich.product.unet import UNet


@pytest.fixture(autouse=True)
def quick_heads(monkeypatch):
    monkeypatch.setattr(bring, "reference_stretches", heads)


def made(tmp_path, net, **changes) -> tuple:
    """Manifest, entry of the bleed network, and what ONNX Runtime answers to its reference input."""
    m = json.loads(bring.bring(wish(net, **changes), tmp_path / "out").read_text())
    entry = manifest.network(m, changes.get("role", "bleed"))
    y = manifest.run(manifest.session(tmp_path / "out" / entry["file"]), manifest.load(tmp_path / "out", entry, "input"))
    assert np.abs(y - manifest.load(tmp_path / "out", entry, "output")).max() <= entry["reference"]["tolerance"]
    return m, entry, y


def lively(net: nn.Module, channels: int) -> nn.Module:
    """Random weights whose normalisations know their statistics; without, nothing of the input arrives at the output."""
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.momentum = None  # the plain mean of all batches
    with torch.no_grad():
        for _ in range(5):
            net.train()(torch.rand(2, channels, SIZE, SIZE))
    return net


def scripted(tmp_path, net) -> object:
    torch.jit.script(net).save(str(tmp_path / "net.pt"))
    return tmp_path / "net.pt"


def test_one_channel_onnx(tmp_path):
    m, entry, y = made(tmp_path, to_onnx(Bright(sigmoid=True), tmp_path / "net.onnx"), limits=("small",))
    assert entry["output"]["channels"] == ["any"] and "subtype_per" not in entry["post"] and entry["base_width"] == 4
    assert entry["input"]["shape"] == [-1, 1, SIZE, SIZE] and entry["parameters"] == 45 and entry["opset"] == 18
    assert y[0].max() > 0.9 > 0.1 > y.min(), "blood is told from brain"
    assert [n["role"] for n in m["networks"]] == ["cavity-tissue", "cavity-bone", "bleed"]
    for n in m["networks"]:
        for name, digest in ((n["file"], n["sha256"]), (n["reference"]["input"], n["reference"]["input_sha256"])):
            assert manifest.sha256(tmp_path / "out" / name) == digest
    assert m["training"]["data"].startswith("bleed: nothing; cavity-tissue, cavity-bone: synthetic")
    assert m["training"]["limits"] == [bring.UNKNOWN, "small"]
    assert manifest.sha256(tmp_path / "out" / "manifest.json") in (tmp_path / "out" / "CARD.md").read_text()


def test_torchscript_with_neighbours(tmp_path):
    _, entry, y = made(tmp_path, scripted(tmp_path, Bright(3)), neighbours=1, activation="sigmoid", slab_mm=5.0)
    assert entry["input"]["shape"][1] == 3 and entry["input"]["neighbours"] == 1 and y.shape == (2, 1, SIZE, SIZE)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"net": {}, "ema": s}, lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}}])
def test_state_dict_of_the_papers_unet(tmp_path, wrap):
    torch.manual_seed(1)
    net = lively(UNet(1, 1, 4), 1)
    torch.save(wrap(net.state_dict()), tmp_path / "net.pt")
    _, entry, y = made(tmp_path, tmp_path / "net.pt", arch="unet", activation="sigmoid")
    with torch.inference_mode():
        want = torch.sigmoid(net.eval()(torch.from_numpy(manifest.load(tmp_path / "out", entry, "input"))))
    assert entry["base_width"] == 4 and np.abs(y - want.numpy()).max() < 1e-4


def test_checkpoint_of_ich_train_brings_its_settings(tmp_path):
    torch.manual_seed(2)
    cfg = settings_for("bleed", base_width=4, size=SIZE, train_size=SIZE)
    net = lively(make_net(cfg), 3)
    torch.save({"net": {}, "ema": net.state_dict(), "opt": {}, "step": 1, "visits": 2, "phantoms": 3, "settings": cfg.as_dict()}, tmp_path / "net.pt")
    _, entry, y = made(tmp_path, tmp_path / "net.pt", window_hu=(0.0, 1.0))
    assert entry["output"]["channels"] == list(PRODUCT) and entry["input"]["window_hu"] == [-50.0, 150.0] and entry["post"]["subtype_per"] == bring.Post().subtype_per
    assert y[:, 1:].sum(1).max() <= 1 + 1e-5, "a softmax with background"


def test_export_says_which_tissues_were_named_in_training(tmp_path, monkeypatch):
    """The network of the bundle names blood only; the record of its training is that of the checkpoint."""
    monkeypatch.setattr(export, "reference_heads", heads)
    monkeypatch.setattr(manifest, "copied", lambda bundle, entry, role, folder: entry)
    cfg = settings_for("bleed", base_width=4, size=SIZE, train_size=SIZE, tissues=len(TISSUES))
    net = lively(make_net(cfg), 3)
    torch.save({"ema": net.state_dict(), "visits": 2, "phantoms": 3, "settings": cfg.as_dict()}, tmp_path / "bleed.pt")
    m = json.loads(export.export(tmp_path, tmp_path / "out", others=bring.SHIPPED).read_text())
    assert m["training"]["settings"]["bleed"]["tissues"] == len(TISSUES) == 7
    y = manifest.load(tmp_path / "out", manifest.network(m, "bleed"), "output")
    assert y.shape[1] == 6 and manifest.network(m, "bleed")["output"]["channels"] == list(PRODUCT)
    assert "| bleed | 4 | 2 | 3 | 0.002 | 16 | 7 | random weights |" in (tmp_path / "out" / "CARD.md").read_text()


@pytest.mark.parametrize("names, activation", [
    (("EDH", "IPH", "IVH", "SAH", "SDH", "any"), "sigmoid"), (("background", *reversed(SUBTYPES)), "softmax"), (SUBTYPES, "sigmoid"), (PRODUCT, "sigmoid"),
])
def test_outputs_in_another_order(tmp_path, names, activation):
    net = Bright(1, len(names))
    _, entry, y = made(tmp_path, to_onnx(net, tmp_path / "net.onnx"), channels=names, activation=activation)
    x = torch.from_numpy(manifest.load(tmp_path / "out", entry, "input"))
    with torch.inference_mode():
        own = (torch.sigmoid(net(x)) if activation == "sigmoid" else torch.softmax(net(x), 1)).numpy()
    own = dict(zip(names, np.moveaxis(own, 1, 0)))
    own.setdefault("any", 1 - own["background"] if "background" in own else np.max([own[k] for k in SUBTYPES], 0))
    assert entry["output"]["channels"] == list(PRODUCT)
    assert np.abs(y - np.stack([own[k] for k in PRODUCT], 1)).max() < 1e-5


def test_two_channels_become_one(tmp_path):
    _, entry, y = made(tmp_path, to_onnx(Bright(1, 2), tmp_path / "net.onnx"), channels=("background", "any"), activation="softmax")
    assert entry["output"]["channels"] == ["any"] and y.shape[1] == 1


def test_cavity_network(tmp_path):
    m, entry, _ = made(tmp_path, to_onnx(Bright(sigmoid=True), tmp_path / "net.onnx"), role="cavity-bone", channels=("cavity",), window_hu=(-1000.0, 0.0))
    assert entry["post"]["fill_holes"] and manifest.network(m, "bleed")["output"]["channels"] == list(PRODUCT)


def test_command_line(tmp_path, capsys):
    from ich.__main__ import main

    net = to_onnx(Bright(sigmoid=True), tmp_path / "net.onnx")
    options = ["--data", "nothing", "--size", str(SIZE), "--pixel-mm", "7", "--window", "-50", "150", "--threshold", "0.4"]
    assert main(["bundle", "--net", str(net), "--name", "tiny", *options, "--out", str(tmp_path / "out")]) == 0
    assert manifest.network(manifest.read(tmp_path / "out"), "bleed")["threshold"] == 0.4
    assert main(["bundle", "--net", str(net), "--name", "tiny", *options, "--out", str(tmp_path / "out")]) == 1
    assert "exists already" in capsys.readouterr().err
    assert command.EXAMPLE.count("python -m ich bundle") == 4


class Noisy(Bright):
    def forward(self, x):
        return torch.sigmoid(super().forward(x) + torch.randn_like(x[:, :1]))


class Half(Bright):
    def forward(self, x):
        return torch.sigmoid(super().forward(x))[:, :, ::2, ::2]


class Mean(Bright):
    """Looks at the other slices of its batch."""

    def forward(self, x):
        return torch.sigmoid(super().forward(x + x.mean((0, 2, 3), keepdim=True)))


class Blind(nn.Module):
    def forward(self, x):
        return torch.sigmoid(x * 0)


class Broken(nn.Module):
    def forward(self, x):
        return torch.log(x - 2)


@pytest.mark.parametrize("net, says", [
    (Bright(), "say --activation sigmoid"), (Noisy(), "net.eval()"), (Half(), "has the size of the input"), (Mean(), "batch statistics"),
    (Blind(), "does not depend on the input"), (Broken(), "no numbers"), (Bright(3, sigmoid=True), "--neighbours"), (Bright(1, 6, True), "--channels"),
], ids=lambda v: type(v).__name__ if isinstance(v, nn.Module) else "")
def test_networks_that_are_refused(tmp_path, net, says):
    path = tmp_path / "net.onnx"
    to_onnx(net, path, net.blur.in_channels if isinstance(net, Bright) else 1)
    with pytest.raises(DataError, match="net.onnx: ") as err:
        bring.bring(wish(path), tmp_path / "out")
    assert says in str(err.value) and "\n" not in str(err.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.onnx"], "a refused network leaves nothing behind"


def edited(tmp_path, edit) -> object:
    model = onnx.load(str(to_onnx(Bright(sigmoid=True), tmp_path / "net.onnx")))
    edit(model)
    onnx.save(model, str(tmp_path / "net.onnx"))
    return tmp_path / "net.onnx"


def fix_batch(model) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def old_opset(model) -> None:
    model.opset_import[0].version = 6


def two_outputs(model) -> None:
    value = onnx.ValueInfoProto()
    value.CopyFrom(model.graph.value_info[0] if model.graph.value_info else model.graph.output[0])
    value.name = model.graph.node[0].output[0]
    model.graph.output.append(value)


def doubles(model) -> None:
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE


@pytest.mark.parametrize("edit, says", [(fix_batch, "dynamic_axes"), (old_opset, "opset 6"), (two_outputs, "2 outputs"), (doubles, "double")])
def test_graphs_that_are_refused(tmp_path, edit, says):
    with pytest.raises(DataError, match=says):
        bring.bring(wish(edited(tmp_path, edit)), tmp_path / "out")


def test_files_that_are_refused(tmp_path):
    def refused(says: str, data: bytes | object, name: str = "net.pt", **changes) -> None:
        path = tmp_path / name
        if isinstance(data, bytes):
            path.write_bytes(data)
        else:
            torch.save(data, path)
        with pytest.raises(DataError, match=says):
            bring.bring(wish(path, **changes), tmp_path / "out")

    refused("not a valid ONNX", b"no network", "net.onnx")
    refused("pickled module", Bright())  # runs no code of the file
    refused("not a PyTorch file|pickled module", b"no network")
    refused("say --arch unet", UNet(1, 1, 4).state_dict())
    refused("not the weights of ich.unet.UNet", {"a": torch.zeros(3)}, arch="unet")
    refused("no state_dict", {"a": 3}, arch="unet")
    refused("--channels", UNet(1, 6, 4).state_dict(), arch="unet", activation="sigmoid")
    with pytest.raises(DataError, match="no such file"):
        bring.bring(wish(tmp_path / "none.onnx"), tmp_path / "out")


@pytest.mark.parametrize("changes, says", [
    ({"name": "a b"}, "--name"), ({"data": " "}, "--data"), ({"window_hu": (150.0, -50.0)}, "--window"), ({"size": 100}, "--size"), ({"pixel_mm": 50.0}, "--pixel-mm"),
    ({"neighbours": 9}, "--neighbours"), ({"slab_mm": -1.0}, "--slab-mm"), ({"post": bring.Post(threshold=1.0)}, "--threshold"), ({"post": bring.Post(sure_threshold=0.2)}, "--sure"),
    ({"post": bring.Post(min_component_ml=5.1)}, "no rule may drop a clot of 5 mL"),
    ({"version": "x" * 40}, "--version"), ({"channels": ("IPH",)}, "all five"), ({"channels": ("blood",)}, "--channels"), ({"channels": ("background",)}, "any"),
    ({"channels": ("any", "any")}, "once"), ({"role": "cavity-bone"}, "cavity"),
])
def test_wishes_that_are_refused(tmp_path, changes, says):
    with pytest.raises(DataError, match=says):
        bring.bring(wish(tmp_path / "none.onnx", **changes), tmp_path / "out")


def test_other_networks_must_be_whole(tmp_path):
    net = to_onnx(Bright(sigmoid=True), tmp_path / "net.onnx")
    with pytest.raises(DataError, match="give the folder of a bundle"):
        bring.bring(wish(net, others=tmp_path), tmp_path / "out")
    made(tmp_path, net)
    (tmp_path / "out" / "cavity_bone.onnx").write_bytes(b"other")
    with pytest.raises(DataError, match="copy the bundle again"):
        bring.bring(wish(net, others=tmp_path / "out"), tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_weights_beside_the_graph_are_taken_in(tmp_path):
    model = onnx.load(str(to_onnx(Bright(sigmoid=True), tmp_path / "a.onnx")))
    onnx.save(model, str(tmp_path / "net.onnx"), save_as_external_data=True, location="weights.bin", size_threshold=0)
    made(tmp_path, tmp_path / "net.onnx")
    assert not list((tmp_path / "out").glob("*.bin"))
