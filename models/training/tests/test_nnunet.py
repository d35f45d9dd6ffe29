"""Result folders of nnU-Net: what becomes a bundle, and what is refused in one line."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest
import torch

import golden_nnunet
import nnunet_folder
from ich.__main__ import main
from ich.bundles import manifest
from ich.bundles.export import OPSET
from ich.bundles.nnunet import checkpoint, plans
from ich.bundles.nnunet.bundle import Wish, bring
from ich.bundles.nnunet.unet import NNUNet, Norm, keep
from ich.datasets.volume import DataError
from ich.product.config import Post

TINY = dict(patch=[8, 16, 16], spacing=[5.0, 3.0, 3.0], stages=2)


@pytest.fixture(autouse=True)
def small_head(monkeypatch):
    """The reference input from noise: a rendered head takes seconds."""
    from types import SimpleNamespace

    rng = np.random.default_rng(1)
    heads = [SimpleNamespace(hu=rng.normal(35, 20, (7, 40, 40)), pixel=3.0, positions=np.arange(7) * 5.0) for _ in range(2)]
    monkeypatch.setattr("ich.bundles.nnunet.bundle.reference_stretches", lambda: heads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return nnunet_folder.write(tmp_path_factory.mktemp("nnunet") / "result", folds=2, **TINY)


def test_bundle(folder, tmp_path, capsys):
    out = tmp_path / "bundle"
    assert main(["bundle", "--nnunet", str(folder), "--classes", "1=any", "--name", "tiny", "--data", "one phantom", "--out", str(out)]) == 0
    found = manifest.read(out)
    n = manifest.network(found, "bleed")
    assert n["output"]["channels"] == ["background", "any"] and n["input"]["shape"] == [-1, 1, 8, 16, 16]
    assert n["nnunet"]["spacing_mm"] == [5.0, 3.0, 3.0] and n["nnunet"]["mirror_axes"] == [0, 1, 2] and len(n["nnunet"]["further_folds"]) == 1
    x, y = manifest.load(out, n, "input"), manifest.load(out, n, "output")
    assert np.abs(manifest.session(out / n["file"]).run(None, {"patch": x})[0] - y).max() < 1e-3
    assert "tiny" in (out / "CARD.md").read_text()


def test_combined_with_our_subtypes(folder, tmp_path):
    from ich.bundles.bring import SHIPPED

    bring(Wish(folder, "both", "one phantom", subtypes=SHIPPED), tmp_path / "b")
    found = manifest.read(tmp_path / "b")
    assert [n["role"] for n in found["networks"]] == ["cavity-tissue", "cavity-bone", "bleed", "subtype"]
    assert manifest.network(found, "bleed")["post"]["subtype_per"]


def test_no_rule_drops_a_clot_of_5_ml(folder, tmp_path):
    with pytest.raises(DataError, match="no rule may drop a clot of 5 mL"):
        bring(Wish(folder, "tiny", "one phantom", post=Post(min_component_ml=5.1)), tmp_path / "b")


def test_int8_is_refused(folder, tmp_path):
    from ich.bundles.quantize import quantize

    path = bring(Wish(folder, "tiny", "one phantom"), tmp_path / "b")
    before = path.read_bytes()
    with pytest.raises(DataError, match="keep it in float32"):
        quantize(tmp_path / "b", progress=False)
    assert path.read_bytes() == before


def test_older_plans(tmp_path):
    """Plans of nnU-Net v2.0 to v2.4 describe the same network in other words."""
    new = nnunet_folder.write(tmp_path / "new", **TINY)
    p = json.loads((new / "plans.json").read_text())
    c = p["configurations"]["3d_fullres"]
    k = c.pop("architecture")["arch_kwargs"]
    c |= {"UNet_class_name": "PlainConvUNet", "UNet_base_num_features": 4, "unet_max_num_features": 16, "n_conv_per_stage_encoder": k["n_conv_per_stage"],
          "n_conv_per_stage_decoder": k["n_conv_per_stage_decoder"], "num_pool_per_axis": [1, 1, 1], "pool_op_kernel_sizes": k["strides"], "conv_kernel_sizes": k["kernel_sizes"]}
    assert plans.architecture(new / "plans.json", c) == plans.read(new, "3d_fullres").arch


def changed(folder, tmp_path, file, change):
    """A copy of the folder with another plans.json or dataset.json."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    found = json.loads((copy / file).read_text())
    change(found)
    (copy / file).write_text(json.dumps(found))
    return copy


def of(found):
    return found["configurations"]["3d_fullres"]


@pytest.mark.parametrize("file, change, what", [
    ("plans.json", lambda p: of(p).update(previous_stage="3d_lowres"), "a cascade"),
    ("plans.json", lambda p: of(p).update(normalization_schemes=["ZScoreNormalization"]), "ichor reads CTNormalization"),
    ("plans.json", lambda p: of(p).update(resampling_fn_data="resample_torch_fornnunet"), "ichor resamples as nnU-Net's default does"),
    ("plans.json", lambda p: of(p).pop("patch_size"), "another version of nnU-Net"),
    ("plans.json", lambda p: of(p)["architecture"].update(network_class_name="mamba.UMamba"), "a network UMamba"),
    ("plans.json", lambda p: of(p)["architecture"]["arch_kwargs"].update(features_per_stage=[4, 12]), "the plans say"),
    ("plans.json", lambda p: of(p).update(spacing=[1.0, 3.5, 1.0]), "planes 3.5 mm apart across rows"),
    ("plans.json", lambda p: (of(p).update(spacing=[3.5, 1.0, 1.0]), p.update(transpose_forward=[2, 0, 1])), "planes 3.5 mm apart across columns"),
    ("plans.json", lambda p: of(p)["architecture"]["arch_kwargs"].update(features_per_stage=[4096, 4096], n_conv_per_stage=[32, 32]), "the plans say"),
    ("plans.json", lambda p: p["configurations"].update({"3d_fullres": {"inherits_from": "3d_fullres"}}), "in a circle"),
    ("plans.json", lambda p: p.update(configurations={}), "no configuration 3d_fullres"),
    ("dataset.json", lambda d: d.update(channel_names={"0": "CT", "1": "MR"}), "2 input channels"),
    ("dataset.json", lambda d: d.update(labels={"background": 0, "whole": [1, 2], "core": 2}), "regions that overlap"),
    ("dataset.json", lambda d: d.update(labels={"background": 0, "ICH": 2}), "without a gap"),
    ("dataset.json", lambda d: d.update(labels={"background": 0, "ICH": "one"}), "a whole number"),
    ("dataset.json", lambda d: d.update(labels={"background": 0, "IPH": 1, "IVH": 2}), "the plans say 3x"),
    ("dataset.json", lambda d: d.update(labels={"background": 0, "tumour": 1}), "map each class to"),
])
def test_refused(folder, tmp_path, file, change, what):
    with pytest.raises(DataError) as err:
        bring(Wish(changed(folder, tmp_path, file, change), "tiny", "one phantom"), tmp_path / "out")
    assert what in str(err.value) and "\n" not in str(err.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize("classes, what", [("2=IPH", "names no class"), ("1=blood", "map each class"), ("1=-", "none of them is blood"), ("1=any,1=any", "twice")])
def test_classes(folder, tmp_path, classes, what):
    with pytest.raises(DataError, match=what):
        bring(Wish(folder, "tiny", "one phantom", classes=classes), tmp_path / "out")


def test_folders(folder, tmp_path):
    for change, what in ((lambda f: (f / "plans.json").unlink(), "missing"), (lambda f: (f / "plans.json").write_text("{"), "JSON"),
                         (lambda f: (f / "plans.json").write_text("[" * 100_000), "JSON"),
                         (lambda f: shutil.rmtree(f / "fold_0") or shutil.rmtree(f / "fold_1"), "no fold_"),
                         (lambda f: (f / "fold_0/checkpoint_final.pth").write_bytes((f / "fold_0/checkpoint_final.pth").read_bytes()[:5000]), "damaged"),
                         (lambda f: ((f / "plans.json").unlink(), (f / "plans.pkl").touch()), "nnU-Net v1")):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        change(copy)
        with pytest.raises(DataError) as err:
            bring(Wish(copy, "tiny", "one phantom"), tmp_path / "out")
        assert what in str(err.value) and "\n" not in str(err.value)


JUNK = (None, -1, "x", [], {}, 1e9, True, float("nan"), float("inf"), [None], "9" * 5000, [1, 2, 3, 4])


@pytest.mark.parametrize("configuration, first", [("3d_fullres", 0), ("2d", 1)])
def test_any_value_may_be_wrong(tmp_path, configuration, first):
    """Each value of plans.json and dataset.json, left out or replaced: one short line, or it does not matter."""
    files = {"plans.json": nnunet_folder.plans(configuration, [8, 16, 16][first:], [5.0, 3.0, 3.0][first:], stages=2), "dataset.json": nnunet_folder.dataset({"background": 0, "IPH": 1})}
    for file, found in files.items():
        (tmp_path / file).write_text(json.dumps(found))
    refused = 0
    for file, found in files.items():
        for held, key in places(found):
            kept = held[key]
            for junk in JUNK:
                held[key] = junk
                (tmp_path / file).write_text(json.dumps(found))
                try:
                    plans.read(tmp_path, configuration)
                except DataError as err:
                    refused += 1
                    assert "\n" not in str(err) and len(str(err)) < 500 + len(str(tmp_path)), (key, junk)
            held[key] = kept
        (tmp_path / file).write_text(json.dumps(found))
    assert refused > 500
    plans.read(tmp_path, configuration)


def places(found):
    """Each list or object of a JSON file with each of its keys."""
    for key in found if isinstance(found, dict) else range(len(found)):
        yield found, key
        if isinstance(found[key], (dict, list)):
            yield from places(found[key])


def test_configuration_of_another_name(tmp_path):
    """3d_fullres_bs80 that inherits from 3d_fullres, as nnU-Net's documentation has it."""
    new = nnunet_folder.write(tmp_path / "new", **TINY)
    found = json.loads((new / "plans.json").read_text())
    found["configurations"]["3d_fullres_bs80"] = {"inherits_from": "3d_fullres", "batch_size": 80}
    (new / "plans.json").write_text(json.dumps(found))
    assert plans.read(new, "3d_fullres_bs80") == plans.read(new, "3d_fullres")
    for name, what in (("3d_lowres", "another resolution"), ("3d_cascade_fullres", "a cascade"), ("3d_other", "no configuration 3d_other among 3d_fullres, 3d_fullres_bs80")):
        with pytest.raises(DataError, match=what):
            plans.read(new, name)


@pytest.mark.parametrize("files, folds, name, want", [
    ("0/final 1/final", None, None, "0/final 1/final"),
    ("0/final 1/best", None, None, "its training has not ended .there is checkpoint_best.pth."),
    ("0/final 1/best", ("0",), None, "0/final"),
    ("0/final 1/best 1/final", None, "checkpoint_best.pth", "1/best"),
    ("0/best 1/best", None, None, "0/best 1/best"),
    ("0/final 1/latest", None, None, "0/final"),
    ("0/latest", None, None, "no fold holds checkpoint_final.pth"),
    ("0/latest", None, "checkpoint_latest.pth", "0/latest"),
    ("all/final", None, None, "all/final"),
    ("all/final 0/final", None, None, "0/final"),
    ("all/final 0/final", ("all",), None, "all/final"),
    ("0/final 0_old/final", None, None, "0/final"),
    ("2/final 10/final", None, None, "2/final 10/final"),
    ("0/final", ("3",), None, "there are 0: name them with --folds"),
    ("0/final", ("0", "0"), None, "0 twice"),
    ("0_old/final", None, None, "no fold_"),
])
def test_which_checkpoints(tmp_path, files, folds, name, want):
    for f in files.split():
        fold, kind = f.split("/")
        (tmp_path / f"fold_{fold}").mkdir(exist_ok=True)
        (tmp_path / f"fold_{fold}" / f"checkpoint_{kind}.pth").touch()
    if "/" in want:
        got = checkpoint.find(tmp_path, folds, name)
        assert " ".join(f"{p.parent.name[5:]}/{p.stem[11:]}" for p in got) == want
    else:
        with pytest.raises(DataError, match=want):
            checkpoint.find(tmp_path, folds, name)


def test_folder_above_or_below(folder):
    for given in (folder.parent, folder / "fold_0"):
        with pytest.raises(DataError, match="result") as err:
            bring(Wish(given, "tiny", "one phantom"), folder.parent / "out")
        assert str(err.value).endswith(f"give {folder}") or f"give {folder}" in str(err.value)


@pytest.mark.parametrize("change, what", [
    (lambda s: s.update(network_weights={k: v.to_sparse() if v.ndim > 1 else v for k, v in s["network_weights"].items()}), "no plain tensors"),
    (lambda s: s.update(network_weights={k: v.to("meta") for k, v in s["network_weights"].items()}), "no plain tensors"),
    (lambda s: s["network_weights"]["encoder.stages.0.0.convs.0.conv.weight"].fill_(float("nan")), "no numbers"),
    (lambda s: s["network_weights"].update(more=torch.zeros(2)), "is in no network of nnU-Net's own"),
    (lambda s: s.update(inference_allowed_mirroring_axes=(0, 0)), "mirroring axes"),
    (lambda s: s.update(inference_allowed_mirroring_axes=(0, 7)), "mirroring axes"),
    (lambda s: s.pop("init_args"), "does not say its configuration"),
])
def test_checkpoints(folder, tmp_path, change, what):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    path = copy / "fold_0/checkpoint_final.pth"
    saved = torch.load(path, weights_only=False)
    change(saved)
    torch.save(saved, path)
    with pytest.raises(DataError, match=what) as err:
        bring(Wish(copy, "tiny", "one phantom", folds=("0",)), tmp_path / "out")
    assert "\n" not in str(err.value) and not (tmp_path / "out").exists()


class Code:
    """What an attacker puts into a checkpoint."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_code_in_a_checkpoint_does_not_run(folder, tmp_path):
    copy, proof = tmp_path / "copy", tmp_path / "executed"
    shutil.copytree(folder, copy)
    path = copy / "fold_0/checkpoint_final.pth"
    saved = torch.load(path, weights_only=False)
    torch.save(saved | {"logging": Code(proof)}, path)
    for write in (lambda: None, lambda: path.write_bytes(pickle.dumps(Code(proof)))):
        write()
        with pytest.raises(DataError, match="could run code|damaged"):
            checkpoint.read(path)
        assert not proof.exists()


@pytest.mark.parametrize("name", golden_nnunet.NETWORKS)
def test_equal_to_nnunet(name):
    """Networks built from plans answer as those of nnU-Net's own code, and take from its checkpoints what they have."""
    with np.load(golden_nnunet.FILE) as golden:
        want, names = golden[name], json.loads(str(golden[f"{name} names"]))
    configuration = golden_nnunet.NETWORKS[name][0]
    a = nnunet_folder.arch(golden_nnunet.plans(name), configuration)
    net = NNUNet(a, golden_nnunet.CLASSES)
    assert set(keep(dict.fromkeys(names), len(a.features))) == set(net.state_dict())
    got = golden_nnunet.answer(name, net)
    assert want.std() > 0.05 and np.abs(got - want).max() < 1e-4 * np.abs(want).max()


def test_long_channels_are_normalised_exactly(tmp_path):
    """ONNX Runtime's own InstanceNormalization is off by 1.5e-4 here, enough to move logits of a whole network by 0.02."""
    norm, path = Norm(1, 1e-5), tmp_path / "norm.onnx"
    norm.long = True
    x = np.random.default_rng(0).normal(3, 1, (1, 1, 128, 128, 128)).astype(np.float32)
    with torch.inference_mode():
        torch.onnx.export(norm, (torch.from_numpy(x),), path, dynamo=False, opset_version=OPSET, input_names=["x"], output_names=["y"])
    y, d = manifest.session(path).run(None, {"x": x})[0], x.astype(np.float64)
    assert np.abs(y - (d - d.mean()) / np.sqrt(d.var() + 1e-5)).max() < 1e-5


@pytest.mark.parametrize("residual", [False, True])
def test_which_channels_are_long(residual):
    """Of a patch of 128 x 128 x 128 with strides 2 only those of the first stage, in the encoder and the decoder."""
    a = nnunet_folder.arch(nnunet_folder.plans("3d_fullres", [128] * 3, [1.0] * 3, residual=residual), "3d_fullres")
    net = NNUNet(a, 2)
    net.fit((128, 128, 128))
    long = {n for n, m in net.named_modules() if isinstance(m, Norm) and m.long}
    first = {n for n, m in net.named_modules() if isinstance(m, Norm) and n.startswith(("encoder.stem.", "encoder.stages.0.", "decoder.stages.1."))}
    assert long == first and len(long) >= 3
    net.fit((16, 64, 64))
    assert not any(m.long for m in net.modules() if isinstance(m, Norm))


def test_turned_axes():
    """A network whose plans turn the axes gives what the same network gives for the turned patch."""
    a = nnunet_folder.arch(golden_nnunet.plans("3d-plain"), "3d_fullres")
    for forward in ((1, 0, 2), (2, 0, 1), (1, 2, 0), (0, 2, 1)):
        net = NNUNet(a, 2, forward).eval()
        plain = NNUNet(a, 2).eval()
        plain.load_state_dict(net.state_dict())
        x = golden_nnunet.values(str(forward), (1, 1, 8, 8, 16))
        there = (0, 1, *(f + 2 for f in forward))
        with torch.inference_mode():
            want = plain(x.permute(there))
            assert torch.equal(net(x).permute(there), want)
