"""The reader against the vectors that the Go program is tested with, and the rules of naming and evidence by themselves."""

import base64
import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from ich.product.config import SUBTYPES, Post
from ich.product.evidence import POINTS, Evidence, Point
from ich.product.naming import EDH, IPH, IVH, SAH, SDH, names_of
from ich.product.reader import apply_post, marked
from ich.product.scan import Scan
from ich.product.signs import NAMES, Signs, middle_of

CASES = json.loads((Path(__file__).resolve().parents[3] / "pipeline" / "testdata" / "reading.json").read_text())


def unpacked(text: str, dtype) -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype)


@pytest.mark.parametrize("case", CASES, ids=[c["name"] for c in CASES])
def test_reading_is_that_of_the_go_program(case):
    shape = tuple(case["shape"])
    scan = Scan(unpacked(case["hu"], "<i2").reshape(shape).astype(np.float32), tuple(case["spacing_mm"]), np.array(case["positions_mm"]))
    cavity = unpacked(case["cavity"], np.uint8).reshape(shape) > 0
    prob = unpacked(case["probabilities"], np.uint8).reshape(6, *shape).astype(np.float32) / np.float32(255)
    for point in case["labels"]:
        post = Post(case["threshold"], case["min_component_ml"], case["sure_threshold"], edge=case["edge"], subtype_per="anatomy", evidence=Evidence.of(case["evidence"]), operating_point=point)
        label = apply_post(scan, cavity, prob, post)
        want = unpacked(case["labels"][point], np.uint8).reshape(shape)
        assert ((label > 1) == (want > 0)).all() and (label[want > 0] == want[want > 0] + 1).all(), point
    _, parts = marked(scan, cavity, prob, post)
    order = np.argsort(-parts.clots.ml, kind="stable")
    for key in ("ml", "contrast", "depth_mm", "opposite"):
        assert getattr(parts.clots, key)[order] == pytest.approx([c[key] for c in case["clots"]], abs=1e-6)
    if case["evidence"]:
        found = {point: (unpacked(case["labels"][point], np.uint8) > 0).sum() for point in POINTS}
        assert found["sensitive"] > found["balanced"] > found["specific"]


def signs(n: int = 1, **values) -> Signs:
    """Signs of blood deep in the brain, where nothing else is said."""
    usual = dict(ml=10.0, mass=9.0, mean=0.9, peak=1.0, contrast=25.0, thickness_mm=20.0, depth_mm=25.0, table=0.0, falx=0.0,
                 asymmetry=25.0, liquor=0.0, opposite=0.0)
    return Signs(**{k: np.broadcast_to(np.asarray(values.get(k, v), float), n).copy() for k, v in usual.items()})


@pytest.mark.parametrize("what, kinds, parts, want", [
    ("thalamic blood is not in a ventricle", (IPH, IVH), dict(ml=(2.0, 5.0)), (IPH, IPH)),
    ("blood that reaches a ventricle is both", (IPH, IVH), dict(ml=(20.0, 5.0), opposite=(0.0, 0.8)), (IPH, IVH)),
    ("a sliver of another name joins what it touches", (IPH, SAH), dict(ml=(20.0, 0.4), liquor=(0.0, 0.5)), (IPH, IPH)),
    ("two large parts in a huge clot are both clear", (IPH, IVH), dict(ml=(100.0, 3.5), opposite=(0.0, 0.8)), (IPH, IVH)),
    ("what touches neither table nor falx is no subdural", (SDH,), dict(ml=(2.0,)), (IPH,)),
    ("at the falx it may be", (SDH,), dict(ml=(2.0,), falx=(0.6,)), (SDH,)),
    ("what lies along the table is not in the brain", (IPH,), dict(ml=(4.0,), table=(0.8,), depth_mm=(3.0,)), (SDH,)),
    ("thin blood in a sulcus", (SAH,), dict(ml=(0.5,), thickness_mm=(4.0,)), (SAH,)),
    ("a contusion called subarachnoid here and there", (SAH, IPH, IVH), dict(ml=(3.0, 2.5, 0.5)), (IPH, IPH, IPH)),
    ("most of a clot needs less to be ventricular", (IVH, IPH), dict(ml=(8.0, 0.8), opposite=(0.6, 0.1)), (IVH, IVH)),
    ("a large part needs less, too", (IPH, IVH), dict(ml=(60.0, 14.0), opposite=(0.1, 0.6)), (IPH, IVH)),
    ("a smaller part of one needs more", (IPH, IVH), dict(ml=(20.0, 4.0), opposite=(0.1, 0.6)), (IPH, IPH)),
    ("some liquor beside it and opposite to it", (IPH, IVH), dict(ml=(26.0, 4.0), opposite=(0.2, 0.48), liquor=(0.0, 0.14)), (IPH, IVH)),
    ("a small epidural", (EDH,), dict(ml=(0.6,), table=(0.9,), depth_mm=(3.0,)), (EDH,)),
])
def test_names(what, kinds, parts, want):
    n = len(kinds)
    own = signs(n, **parts)
    whole = signs(1, ml=own.ml.sum(), **{k: np.average(getattr(own, k), weights=own.ml) for k in ("table", "falx", "depth_mm", "liquor", "opposite")},
                  thickness_mm=own.thickness_mm.max())
    contact = np.ones((n, n)) - np.eye(n)
    assert [SUBTYPES[k] for k in names_of(np.array(kinds), np.zeros(n, int), own, whole, contact)] == [SUBTYPES[k] for k in want], what


def test_evidence_keeps_what_is_large_whatever_it_looks_like():
    e = Evidence(-50.0, (0.0,) * len(NAMES), {k: Point(0.5) for k in POINTS})
    clots = signs(3, ml=(4.9, 5.0, 80.0))
    assert e.kept(clots, "specific").tolist() == [False, True, True]
    assert Evidence.of(json.loads(json.dumps(e.entry()))) == e


def test_middle_follows_a_turned_head():
    y, x = np.mgrid[:120, :100] - np.array([60, 50]).reshape(2, 1, 1)
    plane = ((x - 4 - 0.1 * y) / 36.0) ** 2 + (y / 50.0) ** 2 < 1
    middle = middle_of(np.stack([plane] * 4), (1.0, 1.0), np.arange(4) * 5.0)
    assert middle.columns(np.array([30.0, 90.0]), np.zeros(2)) == pytest.approx([51, 57], abs=0.7)
