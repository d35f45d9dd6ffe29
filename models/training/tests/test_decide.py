"""Evidence is fitted to clots, its operating points keep their order, and the bundle says what they do."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ich.bundles import decide, manifest
from ich.datasets.volume import DataError
from ich.heads import mix
from ich.product.evidence import POINTS, Evidence
from ich.product.reader import Reader
from ich.product.scan import Scan
from ich.product.signs import NAMES

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "ichor-synthetic"


def heads(rng, count=60, apart=2.5):
    """Blood is brighter and surer than what is none."""
    out = []
    for i in range(count):
        sick, n = i % 3 > 0, 6
        blood = (np.arange(n) < 2) & sick
        x = rng.normal(0, 1, (n, len(NAMES)))
        x[:, 1] += apart * blood
        x[:, 3] += apart * blood
        ml = np.where(blood, rng.uniform(1, 4, n), rng.uniform(0.1, 1.5, n))
        out.append(decide.Head(f"h{i}", x, ml, blood.astype(float), float(ml[blood].sum())))
    return out


def test_fit_tells_blood_from_what_is_none(rng):
    evidence = decide.fit(heads(rng))
    weights = dict(zip(NAMES, evidence.weights))
    assert weights["mean"] > 1 and weights["contrast"] > 1 and all(abs(weights[k]) < 0.7 for k in NAMES if k not in ("mean", "contrast"))
    cuts = [evidence.points[k].cut for k in POINTS]
    assert cuts == sorted(cuts)
    seen = [evidence.points[k] for k in POINTS]
    assert seen[0].sensitivity >= seen[2].sensitivity > 0.5 and seen[0].false_ml >= seen[2].false_ml and seen[0].heads == 60
    assert seen[2].false_ml <= 0.1


def test_what_is_neither_teaches_nothing(rng):
    given = heads(rng)
    for h in given:
        h.share[2:3] = np.nan
    clean = decide.fit(given)
    for h in given:
        h.features[2:3] += 100
    assert decide.fit(given).weights == clean.weights


def test_one_kind_of_clot_is_no_lesson(rng):
    given = [decide.Head(h.name, h.features, h.ml, np.ones(len(h.ml)), h.truth_ml) for h in heads(rng)]
    with pytest.raises(DataError, match="all blood or none"):
        decide.fit(given)


def test_a_bundle_gets_evidence(small_head, tmp_path, monkeypatch):
    """At tiny scale: the shipped networks read the same small head as if it were several, two of them without their blood's label."""
    bundle = Path(shutil.copytree(BUNDLE, tmp_path / "bundle"))

    def held_out(which, i, folder):
        label = small_head.label.copy() if i else np.minimum(small_head.label, 1)
        return Scan(small_head.hu, small_head.spacing, small_head.positions, label, f"h{i}", mix.KIND)

    monkeypatch.setattr(mix, "held_out", held_out)
    lines = []
    decide.decide(bundle, tmp_path / "cache", 3, report=lines.append)
    post = manifest.network(manifest.read(bundle), "bleed")["post"]
    assert set(post) == {"min_component_ml", "subtype_per", "evidence", "edge"} and set(post["evidence"]["operating_points"]) == set(POINTS)
    evidence = Reader.of_bundle(bundle, point="specific").post.evidence
    assert isinstance(evidence, Evidence) and json.loads(json.dumps(evidence.entry())) == post["evidence"]
    assert "operating_point" in (bundle / "CARD.md").read_text() and any(line.startswith("balanced: cut") for line in lines)
    again = []
    decide.decide(bundle, tmp_path / "cache", 3, report=again.append)  # from the kept answers
    assert again == lines
