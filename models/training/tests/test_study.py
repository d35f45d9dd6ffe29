"""reproduce, pretrain and segment from end to end, on sets so small that all ten methods take seconds."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from ich.paper import paper, report
from ich.__main__ import main
from ich.datasets import synthetic
from ich.paper.methods import scales
from ich.paper.methods.nets import unet
from ich.paper.methods.score import COLUMNS
from sets import heads
from trees import hssayeni, rsna, segcq500

pytestmark = pytest.mark.usefixtures("one_thread")
MINI = replace(  # what the commands call tiny, smaller still
    scales.TINY, network=paper.Network(base=2, dropout=0.0), other=replace(scales.TINY.other, epochs=1),
    tissue=replace(scales.TINY.tissue, epochs=1, scans=2), bone=replace(scales.TINY.bone, epochs=1, scans=2))


@pytest.fixture(autouse=True)
def mini(monkeypatch):
    monkeypatch.setitem(scales.SCALES, "tiny", MINI)


@pytest.fixture()
def unreported(monkeypatch):
    """The report takes longer than all the nets; one test writes it."""
    return lambda: monkeypatch.setattr(report, "write", lambda folder: folder / "report.md")


def ich(*args) -> int:
    """A command at scale tiny in this process."""
    tiny = [] if "--scale" in args else ["--scale", "tiny"]
    one = ["--processes", "1"] if args[0] == "reproduce" else []
    return main([*map(str, args), "--device", "cpu", *tiny, *one])


def table(path) -> list[dict]:
    with path.open(newline="") as f:
        return list(csv.DictReader(f))


def written(folder) -> dict:
    return {p: p.stat().st_mtime_ns for p in (folder / "runs").rglob("*") if p.is_file()}


# ---- reproduce ----


def test_the_ten_methods_on_seg_cq500_and_rsna(tmp_path, capsys, unreported):
    """Folders as the public sets unzip: all rows of Table 3, the report, and a second call that finds everything done."""
    segcq500(tmp_path / "a")
    rsna(tmp_path / "b")
    out = tmp_path / "study"
    args = ("reproduce", "--data", tmp_path / "a", tmp_path / "b", "--out", out)
    assert ich(*args) == 0
    said = capsys.readouterr().out
    assert "10 methods, sets seg-cq500, 1 seed: 25 steps, 0 done already; cpu, 1 process" in said  # 3 cavity, 6 pretexts, 8 nets x 2 folds
    assert said.splitlines()[-1] == str(out / "report.md") and (out / "report.md").stat().st_size > 1000

    rows = table(out / "volumes.csv")
    assert tuple(rows[0]) == COLUMNS
    assert {(r["method"], r["volume"]) for r in rows} == {(m, v) for m in paper.METHODS for v in ("CQ500-CT-243", "CQ500-CT-61")} and len(rows) == 20
    for r in rows:
        ml, tp, fp, fn = (float(r[k]) for k in ("voxel_ml", "tp", "fp", "fn"))
        assert float(r["truth_ml"]) == pytest.approx((tp + fn) * ml) and float(r["found_ml"]) == pytest.approx((tp + fp) * ml) and tp + fn > 0
    for m in ("ich-only", "mixed"):  # within the cavity nothing is found that was not found before
        for v in ("CQ500-CT-243", "CQ500-CT-61"):
            plain, icm = (next(r for r in rows if (r["method"], r["volume"]) == (k, v)) for k in (m, f"{m}-icm"))
            assert int(icm["tp"]) <= int(plain["tp"]) and int(icm["fp"]) <= int(plain["fp"]) and plain["fold"] == icm["fold"]
    assert {r["fold"] for r in rows if r["method"] == "binary"} == {"0", "1"}

    for m in paper.METHODS:
        log = table(out / m / "log.csv")
        phases = {r["phase"] for r in log}
        assert any(r["test_dice"] for r in log if r["phase"] == "segmentation")  # of the test fold, and named so
        assert phases == {"segmentation"} | ({"pretext"} if m in paper.PRETEXTS else set())
        assert (out / m / "embedding.npz").exists() == (m in paper.PRETEXTS)
    assert {f.name for f in (out / "figures").glob("learning-*")} == {"learning-seg-cq500.png", "learning-pretexts.png"}
    with np.load(out / "binary" / "embedding.npz") as z:
        assert z["vectors"].shape[1] == 32 and len(z["vectors"]) == len(z["bleeding"]) == len(z["types"]) > 0 and np.isfinite(z["vectors"]).all()
    facts = json.loads((out / "methods.json").read_text())
    assert set(facts["sets"]) == {"seg-cq500", "rsna (pretext)"} and "network.base" in {d["setting"] for d in facts["deviations"]}
    assert len(facts["seconds"]) == 25 and 0 < facts["cavity_dice"]["seg-cq500"] <= 1

    unreported()
    before, volumes = written(out), (out / "volumes.csv").read_bytes()
    assert ich(*args) == 0
    assert "25 steps, 25 done already" in capsys.readouterr().out
    assert written(out) == before and (out / "volumes.csv").read_bytes() == volumes

    lost = out / "runs" / "seg-cq500" / "binary-seed0-fold1"
    for f in lost.iterdir():
        f.unlink()
    assert ich(*args) == 0
    assert "25 steps, 24 done already" in capsys.readouterr().out
    assert (out / "volumes.csv").read_bytes() == volumes  # the fold that was made again is the same, to the voxel


def test_synthetic_heads_where_no_folder_is_given(tmp_path, monkeypatch, unreported):
    unreported()
    monkeypatch.setitem(scales.HEADS, "tiny", scales.Heads(labelled=4, normal=0.5, pretext=3, slices=6, pretext_slices=6))
    drawn = []

    def render(seed, settings):
        drawn.append(seed)
        with np.load(sample / f"s{seed % 6}.npz") as z:
            return synthetic._scan(z["hu"], z["label"], (5.0, 5.0), z["positions"])

    sample = heads(tmp_path / "sample")
    monkeypatch.setattr(synthetic, "render", render)
    args = ("reproduce", "--out", tmp_path / "study", "--methods", "mixed,context-restoration", "--seeds", "2")
    assert ich(*args) == 0
    assert len(drawn) == len(set(drawn)) == 7 and max(drawn[:4]) < min(drawn[4:])  # the pretext never sees a head that is measured
    rows = table(tmp_path / "study" / "volumes.csv")
    assert {(r["method"], r["seed"]) for r in rows} == {(m, s) for m in ("mixed", "context-restoration") for s in "01"} and len(rows) == 16
    assert ich(*args) == 0 and len(drawn) == 7  # nothing is rendered twice


def test_other_settings_in_the_same_folder_are_refused(tmp_path, capsys, unreported):
    unreported()
    args = ("reproduce", "--data", heads(tmp_path / "heads"), "--methods", "mixed", "--out", tmp_path / "study")
    assert ich(*args) == 0
    capsys.readouterr()
    assert ich(*args, "--scale", "small") == 1
    assert capsys.readouterr().err == f"{tmp_path / 'study' / 'settings.json'}: the study in this folder has other settings; give another --out, or delete the folder\n"


# ---- pretrain and segment ----


@pytest.mark.parametrize("task", ["context-restoration", "multilabel-dl"])
def test_pretrain_then_segment(task, tmp_path, capsys):
    data = heads(tmp_path / "heads")
    pre, cv, one = tmp_path / "pre", tmp_path / "cv", tmp_path / "one"
    assert ich("pretrain", "--task", task, "--data", data, "--out", pre, "--epochs", "2", "--batch", "6") == 0
    assert capsys.readouterr().out == f"{pre / 'net.pt'}\n" and len(table(pre / "log.csv")) == 2
    assert ich("segment", "--data", data, "--init", pre / "net.pt", "--out", cv) == 0
    assert capsys.readouterr().out == f"{cv / 'volumes.csv'}\n"
    rows = table(cv / "volumes.csv")
    assert sorted(r["volume"] for r in rows) == [f"s{i}" for i in range(6)] and {r["method"] for r in rows} == {"mixed"}
    assert ich("segment", "--data", data, "--init", pre / "net.pt", "--out", one, "--folds", "0", "--slices", "ich-only") == 0
    state = torch.load(one / "net.pt", weights_only=True)
    unet(MINI.network, 0.0).load_state_dict(state["net"])
    shared = set(state["transferred"])
    assert all(k.startswith(("down_block", "bottleneck_block")) for k in shared) == (task == "multilabel-dl") and shared


def test_local_contrastive_begins_with_the_global_encoder(tmp_path, capsys):
    data = heads(tmp_path / "heads")
    first, second = tmp_path / "g", tmp_path / "l"
    assert ich("pretrain", "--task", "local-contrastive", "--data", data, "--out", second) == 2
    assert ich("pretrain", "--task", "global-contrastive", "--data", data, "--out", first, "--encoder", "x") == 2
    said = capsys.readouterr().err.splitlines()
    assert said == ["--encoder: local-contrastive needs the net.pt of global-contrastive, no other task takes one"] * 2
    assert ich("pretrain", "--task", "global-contrastive", "--data", data, "--out", first) == 0
    assert ich("pretrain", "--task", "local-contrastive", "--data", data, "--out", second, "--encoder", first / "net.pt") == 0
    a, b = (torch.load(p / "net.pt", weights_only=True)["net"] for p in (first, second))
    shared = [k for k in b if k.startswith(("down_block", "bottleneck_block"))]
    assert shared and all(torch.equal(a[k], b[k]) for k in shared)


# ---- errors: one line, what and what to do ----


@pytest.mark.parametrize("name, args, line", [
    ("empty set", ("reproduce", "--data", "{empty}"), "{empty}: no known data set; give the unzipped folder of one of "),
    ("no hemorrhage", ("segment", "--data", "{normal}"), "{normal}: no slice has hemorrhage; check the masks with `ich data check`"),
    ("no hemorrhage in the study", ("reproduce", "--data", "{normal}", "--methods", "mixed"), "{normal}: no slice has hemorrhage;"),
    ("nothing to classify", ("pretrain", "--task", "binary", "--data", "{normal}"), "{normal}: the pretext set has no slice labels, which binary learns from; give RSNA"),
    ("no cavity", ("reproduce", "--data", "{hssayeni}", "--methods", "mixed,mixed-icm"), "{hssayeni}: no set has cavity masks, which the ICM rows need; add Seg-CQ500"),
    ("no pretext set", ("reproduce", "--data", "{heads}", "--methods", "binary"), "{heads}: no pretext set among the folders; give RSNA too, or --pretext DIR"),
    ("no segmentation set", ("reproduce", "--data", "{rsna}"), "{rsna}: no segmentation set among the folders; give Hssayeni, Seg-CQ500"),
    ("the same set twice", ("reproduce", "--data", "{heads}", "{normal}"), "{normal}: a second set of synthetic; give each set once"),
    ("too many folds", ("segment", "--data", "{heads}", "--folds", "9"), "{heads}: 4 patients with hemorrhage, fewer than the 9 folds"),
    ("no weights", ("segment", "--data", "{heads}", "--init", "{empty}/net.pt"), "{empty}/net.pt: no such file; give a file that a training wrote"),
    ("no data at full scale", ("reproduce", "--scale", "paper"), "--data: missing; give the folders of the data sets, or --scale small for synthetic heads"),
])
def test_errors_are_one_line(name, args, line, tmp_path, capsys):
    places = {"empty": tmp_path / "empty", "normal": tmp_path / "normal", "heads": tmp_path / "heads", "hssayeni": tmp_path / "h", "rsna": tmp_path / "r"}
    places["empty"].mkdir()
    make = {"normal": lambda p: heads(p, 2, ((),)), "heads": heads, "hssayeni": hssayeni, "rsna": rsna}
    for k, build in make.items():
        if any(f"{{{k}}}" in a for a in args):
            build(places[k])
    assert ich(*(a.format(**places) for a in args), "--out", tmp_path / "out") == 1
    lines = [s for s in capsys.readouterr().err.splitlines() if s.startswith((str(tmp_path), "--"))]
    assert len(lines) == 1 and lines[0].startswith(line.format(**places))


@pytest.mark.parametrize("args", [("segment",), ("pretrain", "--task", "binary"), ("reproduce", "--methods", "mixed")])
def test_a_damaged_volume_is_left_out_and_named(args, tmp_path, capsys):
    data = heads(tmp_path / "heads", 9)
    (data / "s6.npz").write_bytes(b"torn")
    assert ich(*args, "--data", data, "--out", tmp_path / "out") == 0
    said = [s for s in capsys.readouterr().out.splitlines() if s.startswith("left out: ")]
    assert len(said) == 1 and "s6.npz: unreadable" in said[0] and "; delete it and run" in said[0]


def test_unknown_methods_are_named(tmp_path, capsys):
    assert ich("reproduce", "--methods", "mixed,bests", "--out", tmp_path) == 2
    assert capsys.readouterr().err.startswith("--methods mixed,bests: choose of ich-only, ich-only-icm,")
