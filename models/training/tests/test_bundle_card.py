"""The model card says what was recorded, and of the rest that it was not measured."""

import json

import numpy as np
import pytest
from PIL import Image

from ich.bundles import card, curve, export, manifest
from ich.product import judge
from ich.datasets.volume import DataError
from ich.product.measure import measure
from ich.paper.report.clinical import HeadResult, clinical, head_row
from ich.product.scan import Bleed, Scan

NETWORK = {"role": "bleed", "file": "bleed.onnx", "parameters": 1234567, "threshold": 0.5, "output": {"channels": ["any"]},
           "input": {"shape": [-1, 1, 32, 32], "window_hu": [-50, 150], "pixel_mm": 0}}


def content(metrics, **changes) -> dict:
    return {"name": "tiny", "version": "2", "licence": "MIT", "intended_use": manifest.INTENDED_USE, "description": "d", "networks": [NETWORK],
            "training": {"data": "nothing", "seed": 7, "commit": "abc", "settings": {}, "metrics": metrics, "limits": ["thin blood"]}, **changes}


@pytest.fixture(scope="module")
def measured():
    """evaluate.json of three heads, made by the code that makes it."""
    label = np.ones((6, 40, 40), np.uint8)
    label[2:4, 10:30, 10:30] = 2
    found = label.copy()
    found[3, 10:20] = 1
    scans = []
    for name, truth, kind in (("a", label, "phantom"), ("b", np.ones_like(label), "phantom"), ("real", None, "scan")):
        bleeds = (Bleed("IPH", 70.0, 8.0),) if truth is label else ()
        scans.append(Scan(np.zeros(label.shape, np.float32), (2.0, 2.0), np.arange(6) * 5.0, truth, name, kind, bleeds))
    rows = [measure(s, np.ones(label.shape, bool), f) for s, f in zip(scans, (found, np.ones_like(label), found))]
    results = [head_row(HeadResult(s.name, s.label, f, s.slice_ml())) for s, f in zip(scans[:2], (found, np.ones_like(label)))]
    return {"summary": judge.summary(rows), "judged": judge.judged(rows), "clinical": clinical(results), "generator": {"widen": 0.12},
            "phantoms": judge.of_kind(rows, "phantom"), "scans": judge.of_kind(rows, "scan")}


def test_nothing_measured():
    text = card.text(content({}), "f" * 64, curve=False)
    assert text.count("Not measured.") == 9 and "There are no int8 files" in text and "f" * 64 in text
    assert text.count(manifest.INTENDED_USE) == 2 and "thin blood" in text and "1,234,567" in text and "whole image" in text
    for word in ("Chronic", "contrast", "Children", "clinical decision"):
        assert word in text


def test_figures_of_evaluate(measured):
    text = card.text(content(json.loads(json.dumps(measured))), "f" * 64, curve=True)
    assert "not measured ± " not in text and "![" in text and "12 % wider" in text
    dice = measured["summary"]["phantom"]["dice"]["IPH"]["mean"]
    assert f"| IPH | {card._number(dice)} ± 0 |" in text
    bias = measured["clinical"]["agreement"]["IPH"]["bias_ml"]
    assert bias < 0 and f"| IPH | 1 | {card._number(bias)} |" in text
    assert "| real | " in text and "met |" in text


@pytest.mark.parametrize("drop", ["summary", "judged", "clinical", "scans", "generator"])
def test_any_key_may_be_missing(measured, drop):
    metrics = {k: v for k, v in measured.items() if k != drop}
    assert "Not measured." in card.text(content(metrics), "f" * 64, False)


def test_parts_may_be_missing(measured):
    """Whatever is cut out of the figures, the card is written."""
    def cut(x, depth=0):
        for key in list(x) if isinstance(x, dict) and depth < 4 else ():
            kept = x.pop(key)
            assert card.text(content(whole), "f" * 64, False)
            x[key] = None
            assert card.text(content(whole), "f" * 64, False)
            x[key] = kept
            cut(kept, depth + 1)

    whole = json.loads(json.dumps({k: measured[k] for k in ("summary", "clinical")}))
    cut(whole)


def test_metrics_leave_single_heads_out(measured, tmp_path):
    path = tmp_path / "evaluate.json"
    path.write_text(json.dumps({**measured, "x": float("nan")}))
    kept = export.metrics_of(path)
    assert "phantoms" not in kept and kept["x"] is None and kept["judged"] == json.loads(json.dumps(measured["judged"]))
    assert "rim_slices_ml" not in kept["scans"][0] and kept["scans"][0]["name"] == "real"
    for text in ("[1]", "{", ""):
        path.write_text(text)
        with pytest.raises(DataError, match="evaluate.json"):
            export.metrics_of(path)
    assert export.metrics_of(None) == {}


def test_curve(tmp_path):
    log = tmp_path / "bleed.csv"
    rows = [f"{i},{i * 16},3,1e-3,{1 / (i + 1):.4f},5" + (f",{i / 3000:.4f}" if i % 5 == 0 else "") for i in range(0, 2000)]
    log.write_text("\n".join(["step,visits,phantoms,lr,loss,seconds,dice_any", *rows]))
    path = curve.draw([log, tmp_path / "none.csv"], tmp_path)
    assert path.name == curve.FILE and path.stat().st_size <= curve.MOST_BYTES and Image.open(path).width > 300
    assert curve.draw([tmp_path / "none.csv"], tmp_path) is None


def test_curve_without_held_out_heads_is_one_panel(tmp_path):
    head, rows = "step,visits,phantoms,lr,loss,seconds,dice_any", [f"{i},{i * 16},3,1e-3,0.5,5," for i in range(20)]
    (tmp_path / "bleed.csv").write_text("\n".join([head, *rows]))
    narrow = Image.open(curve.draw([tmp_path / "bleed.csv"], tmp_path)).size
    (tmp_path / "bleed.csv").write_text("\n".join([head, *rows[:-1], rows[-1] + "0.8"]))
    wide = Image.open(curve.draw([tmp_path / "bleed.csv"], tmp_path)).size
    assert narrow[0] == wide[0] // 2 and narrow[1] == wide[1]


def test_card_names_its_manifest(tmp_path):
    manifest.write(tmp_path, content({}))
    digest = manifest.sha256(tmp_path / manifest.FILE)
    assert digest in card.write(tmp_path).read_text() and manifest.sha256(tmp_path / manifest.FILE) == digest


def test_manifest_must_fit(tmp_path):
    with pytest.raises(DataError, match="KiB"):
        manifest.write(tmp_path, content({"x": "y" * (1 << 20)}))
    with pytest.raises(DataError, match="give the folder of a bundle"):
        manifest.read(tmp_path)


def test_measured_on_names_the_real_heads():
    metrics = {"summary": {"bleeding": {"sets": {"site-a": 12, "site-b": 3}}, "painted": {"n": 40}, "mix": {"n": 120}}, "scans": [{"name": "x"}]}
    text = card.text(content(metrics), "f" * 64, False)
    assert "15 real heads with blood (12 of site-a, 3 of site-b), 1 real heads without, 40 paintings" in text and "fitted to statistics of real blood" in text
    metrics["painted"] = [{"name": f"{scan}-table{i}"} for scan in ("head-a", "head-b") for i in range(20)]
    assert "40 paintings of blood into 2 real heads" in card.text(content(metrics), "f" * 64, False)
    assert "no real head with blood" in card.text(content({}), "f" * 64, False)


def test_real_heads_tell_their_name():
    rows = [{"set": "s", "name": "a", "found_ml": {"total": 4.0, "IPH": 3.0, "IVH": 1.0}}, {"set": "s", "name": "b", "found_ml": {"total": 0.0, "IPH": 0.0}}]
    text = card.text(content({"bleeding": rows}), "f" * 64, False)
    assert "| s | a | not measured | 4 | IPH 75 % |" in text and "| s | b | not measured | 0 | none |" in text


def test_paintings_are_shown_by_size_and_density(measured):
    group = measured["summary"]["phantom"]
    for metrics, times in (({"painted": group}, 1), ({"painted": group, "mix": group}, 2), ({"painted": {"n": 3}}, 0)):
        text = card.text(content({"summary": metrics}), "f" * 64, False)
        assert text.count("| IPH | all | 100 % [21, 100] of 1 |") == times
        assert ("Painted hemorrhages found, by subtype" in text) == (times > 0)


def test_only_our_bundle_names_what_was_tried():
    assert "models/training/TRIED.md" in card.text(content({}, name=manifest.OURS), "f" * 64, False)
    assert "TRIED" not in card.text(content({}), "f" * 64, False)


@pytest.mark.parametrize("post, says", [
    ({"min_component_ml": 1.0, "sure_threshold": 0.75}, "A clot is kept that has 1 mL or more at a probability of 0.75 or more, or 5 mL in all."),
    ({"min_component_ml": 0.5}, "A clot is kept that has 0.5 mL or more at a probability of 0.5 or more, or 5 mL in all."),
    ({}, "Every clot of voxels with a probability of 0.5 or more is kept, however small."),
])
def test_the_rule_of_a_bundle_without_evidence(post, says):
    assert says in card.text(content({}, networks=[NETWORK | {"post": post}]), "f" * 64, False)


@pytest.mark.parametrize("chose, says", [([], "12 real bleeding heads."), ([True, False, True], "12 real bleeding heads, 2 of which chose where blood ends.")])
def test_what_was_measured_is_recorded_afterwards(chose, says, tmp_path):
    limits = [export.FIRST_LIMIT + "no real hemorrhage was seen.", "thin blood"]
    m = content({"int8": {"bleed": {"dice": 0.99}}, "judged": []})
    m["training"]["limits"] = limits
    manifest.write(tmp_path, m)
    bleeding = [{"name": "a", "set": "site", "chose_edge": c} for c in chose]
    found = {"summary": {"bleeding": {"sets": {"site": 12}}}, "mix": [{"name": "left out"}], "bleeding": bleeding}
    (tmp_path / "evaluate.json").write_text(json.dumps(found))
    export.record(tmp_path, tmp_path / "evaluate.json")
    training = manifest.read(tmp_path)["training"]
    assert training["limits"] == [export.FIRST_LIMIT + "measured on " + says, "thin blood"]
    assert set(training["metrics"]) == {"summary", "int8", "bleeding"}


def test_operating_points_are_shown():
    points = {k: {"cut": c, "sensitivity": 0.95, "false_ml": 0.12, "heads": 90} for k, c in (("sensitive", 0.2), ("balanced", 0.5), ("specific", 0.9))}
    network = NETWORK | {"post": {"evidence": {"always_ml": 5.0, "operating_points": points}}}
    text = card.text(content({}, networks=[network]), "f" * 64, False)
    assert "| balanced | 0.5 | 95 % | 0.12 | 90 |" in text and "from 5 mL on it is always reported" in text
    assert "has none" in card.text(content({}), "f" * 64, False)
