"""The paper's settings are the defaults, and its tables hold together."""

import re
from dataclasses import FrozenInstanceError, asdict
from pathlib import Path

import pytest
import torch

from ich.paper import paper
from ich.paper.methods.nets import unet
from ich.loop import Machine
from ich.paper.methods.deviations import changed, deviations
from ich.paper.methods.scales import PAPER, SCALES, SMALL
from ich.product.unet import parameters


def test_every_row_of_table_3_has_numbers():
    for name, rows in paper.PAPER_TABLE3.items():
        assert tuple(rows) == paper.METHODS and set(paper.TITLES) == set(paper.METHODS), name
        for row in rows.values():
            assert set(row) == {*paper.METRICS, *paper.ICH_METRICS}
            assert all(0 < mean < 100 and 0 < sd < 50 for mean, sd in row.values())


def test_best_numbers_of_the_text():
    """Section 3: 50.06 % on Hssayeni with CE, 63.23 % on Seg-CQ500 with DL, are the best Dice on volumes with hemorrhage."""
    for dataset, method, value in (("hssayeni", "multilabel-ce", 50.06), ("seg-cq500", "multilabel-dl", 63.23)):
        dice = {m: row["dice_ich"][0] for m, row in paper.PAPER_TABLE3[dataset].items()}
        assert max(dice, key=dice.get) == method and dice[method] == value


def test_table_1_adds_up():
    for row in paper.PAPER_TABLE1.values():
        assert row["volumes"] == row["normal"] + row["ich"]
        assert row["slices"] == row["normal_slices"] + row["ich_slices"]


def test_all_volumes_follow_from_hemorrhage_and_normal_ones():
    """On volumes without hemorrhage recall is 1 by definition (epsilon), which fixes recall over all of Hssayeni."""
    for method, row in paper.PAPER_TABLE3["hssayeni"].items():
        assert row["recall"][0] == pytest.approx((36 * row["recall_ich"][0] + 39 * 100) / 75, abs=0.01), method


def test_network_of_the_paper():
    assert parameters(unet(paper.Network(), 0.5)) == 7_765_409
    assert parameters(unet(paper.Network(factor=2), 0.0)) == 5_409_089  # the authors' classification runs


@pytest.mark.parametrize("field, value", [
    ("segmentation.hssayeni.epochs", 100), ("segmentation.hssayeni.batch", 16), ("segmentation.hssayeni.folds", 10),
    ("segmentation.seg-cq500.epochs", 40), ("segmentation.seg-cq500.batch", 32), ("segmentation.seg-cq500.folds", 5),
    ("segmentation.hssayeni.alpha", 0.2), ("segmentation.hssayeni.normal_per_ich", 2.0), ("segmentation.hssayeni.bce_epochs", 0),
    ("optimiser.lr", 1e-3), ("optimiser.decay", 0.96), ("optimiser.weight_decay", 1e-6), ("size", 256), ("window", (-50.0, 150.0)),
    ("restoration.epochs", 50), ("restoration.batch", 32), ("restoration.swaps", 20), ("restoration.patch", 20),
    ("global_contrastive.epochs", 50), ("global_contrastive.batch", 60), ("global_contrastive.temperature", 0.1),
    ("global_contrastive.head", (512, 128)), ("global_contrastive.augment.rotate", 90.0), ("global_contrastive.augment.translate", 0.15),
    ("local_contrastive.epochs", 50), ("local_contrastive.batch", 24), ("local_contrastive.head", (128, 32)),
    ("local_contrastive.regions", 20), ("local_contrastive.region", 3), ("local_contrastive.augment.flip", 0.0),
    ("classification.epochs", 50), ("classification.batch", 64), ("classification.head", (1024, 256)), ("pretext.validation", 5000),
    ("tissue.window", (0.0, 600.0)), ("tissue.batch", 20), ("bone.window", (150.0, 650.0)), ("bone.batch", 16), ("bone.epochs", 50),
])
def test_default(field, value):
    """Read off sections 2.3 to 2.6 a second time."""
    at = asdict(paper.Study())
    for key in field.split("."):
        at = at[key]
    assert at == value


def test_settings_cannot_be_changed_in_place():
    with pytest.raises(FrozenInstanceError):
        paper.Optimiser().lr = 1.0


def test_reduced_runs_name_what_they_change():
    assert changed(PAPER, ["hssayeni", "seg-cq500"]) == []
    small = {d["setting"]: (d["here"], d["paper"]) for d in changed(SMALL, ["synthetic"])}
    assert small["network.base"] == (8, 32) and small["segmentation.synthetic.bce_epochs"][1] == 0
    for study in SCALES.values():  # what makes a method that method is never reduced
        assert study.optimiser == paper.Optimiser() and study.global_contrastive.augment == paper.GLOBAL_VIEWS
        assert study.local_contrastive.regions == 20 and study.other.alpha == 0.2


def test_what_the_paper_does_not_say_is_listed_at_every_scale():
    for study in SCALES.values():
        rows = {d["setting"]: d for d in deviations(study, ["hssayeni"]) if "by" in d}
        assert {"slices", "views.order", "augment.order", "pos_weight", "metrics.grid", "network.factor", "segmentation.hssayeni.smoothing",
                "global_contrastive.augment.crop", "local_contrastive.augment.brightness"} <= set(rows)
        assert "0.78 HU" in rows["slices"]["here"] and f"{study.size} x {study.size}" in rows["metrics.grid"]["here"]
        assert "autocast" not in rows  # the CPU computes in float32
        assert ("network.dropout" in rows) == (study is PAPER)  # the reduced runs have none: a setting that they changed
        assert len({d["setting"] for d in deviations(study, ["hssayeni"])}) == len(deviations(study, ["hssayeni"]))
    on_gpu = {d["setting"]: d for d in deviations(PAPER, [], Machine("cuda", torch.bfloat16))}
    assert on_gpu["autocast"]["here"].startswith("bfloat16")


# Rows of the map that stand for settings of several parts of the study.
GROUPS = {"dropout": r"\.dropout", "smoothing": r"\.smoothing", "ranges of views": r"_contrastive\.augment\.(contrast|blur|crop|ratio|brightness)",
          "`widths`": r"(^widths|^network\.factor)", "augmentation of restoration and cavity": r"(restoration|tissue|bone)\.augment"}


def test_the_map_lists_the_same_deviations():
    """All that a study writes into methods.json is on the map, and the map has nothing else."""
    section = (Path(paper.__file__).parent / "README.md").read_text().split("## Where this is not the paper")[1]
    rows = [row.strip() for row in re.findall(r"^\| ([^|]+) \|", section, re.M)[1:]]
    pattern = {row: GROUPS[row] + "$" if row in GROUPS else re.escape(row.strip("`")) + "$" for row in rows}
    written = {d["setting"] for d in deviations(PAPER, ["hssayeni"], Machine("cuda", torch.bfloat16))}
    of = {row: {s for s in written if (re.search if row in GROUPS else re.match)(pattern[row], s)} for row in rows}
    assert len(rows) > 15 and [row for row in rows if not of[row]] == [], "on the map only"
    assert written - set().union(*of.values()) == set(), "in methods.json only"


def test_every_setting_marked_as_code_or_ours_is_a_deviation():
    """What paper.py marks in its comments, deviations() lists."""
    source, listed = Path(paper.__file__).read_text().splitlines(), {d["setting"].split(".")[-1] for d in deviations(PAPER, ["hssayeni"])}
    marked = [line for line in source if re.search(r"  # (code|ours)\b", line)]
    names = {name for line in marked for name in re.findall(r"(\w+)(?:: [\w\[\], .]+)? ?=", line)}
    assert {"factor", "dropout", "smoothing", "crop", "brightness"} <= names <= listed
