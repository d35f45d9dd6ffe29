import numpy as np

from ich.__main__ import main
from ich.heads.phantom import statistics, table
from ich.heads.phantom.statistics import Part, compare, dilated, parts_of, text
from ich.heads.phantom.study import Phantom, Plan, generate


def phantom(label: np.ndarray, hu: np.ndarray | None = None) -> Phantom:
    hu = np.full(label.shape, 60.0, np.float32) if hu is None else hu
    return Phantom(hu, label, np.arange(len(label)) * 5.0, 1.0, (0, 0), 5.0, {}, Plan())


def test_labels_grow_by_the_margin_of_raters_within_the_cavity():
    label = np.zeros((1, 20, 20), np.uint8)
    label[0, 5:15, 5:15] = 1
    label[0, 9:11, 5:9] = 2
    grown = dilated(label, 1.0)[0]
    assert (grown[7:13, 5:9] == 2).sum() == 24 - 8  # one pixel up and down, 1.5 mm reaches no second
    assert grown[9, 9] == 2 and grown[8, 9] == 2 and grown[9, 10] == 1  # and across, and by the corner
    assert grown[9, 4] == 0  # bone stays


def test_parts_are_connected_across_slices_and_corners():
    label = np.ones((3, 40, 40), np.uint8)
    label[0, 5:10, 5:10] = label[1, 12:16, 12:16] = 5  # touch by a corner once dilated
    label[2, 30:33, 30:33] = 5
    parts = parts_of(phantom(label))
    assert [p.subtype for p in parts] == ["SDH", "SDH"]
    assert parts[0].ml > parts[1].ml > 9 * 0.005 and parts[0].median_hu == 60


def test_heads_that_are_the_table_are_near_it_and_others_apart():
    rng = np.random.default_rng(4)
    heads, companies = [], [c for c, n in table.COMPANY.items() for _ in range(n)]
    for _ in range(600):
        head = []
        for k in companies[rng.integers(len(companies))]:
            ml = float(np.exp(np.interp(rng.random(), table.LEVELS, np.log(table.ML[k]))))
            hu = float(np.interp(rng.uniform(0.05, 0.95), table.LEVELS[1:-1], table.HU[k]))
            head += [Part(k, ml / table.COMPONENTS[k], hu)] * table.COMPONENTS[k]
        heads.append(head)
    rows = compare(heads)
    judged = [r for r in rows if not r.name.startswith("HU") or r.n > 40]
    assert len(rows) == 36 and sum(r.near for r in judged) >= len(judged) - 2
    bright = compare([[Part(p.subtype, 4 * p.ml, p.median_hu + 12) for p in h] for h in heads])
    assert not any(r.near for r in bright if r.name.startswith(("HU", "mL")))
    assert "apart" in text(bright)


def test_statistics_command(tmp_path, capsys, monkeypatch):
    """Two heads of noise in the place of rendered ones: what is printed and drawn."""
    monkeypatch.setattr(statistics, "head", lambda seed: parts_of(phantom(np.random.default_rng(seed).integers(1, 7, (2, 12, 12)).astype(np.uint8))))
    assert main(["phantom", "--statistics", "2", "--processes", "1", "--picture", str(tmp_path / "s.png")]) in (0, None)
    out = capsys.readouterr().out
    assert "components a head, median" in out and "of 36 figures" in out
    assert (tmp_path / "s.png").stat().st_size > 1000


def test_a_head_is_drawn_and_rendered_from_its_seed():
    """Seed 3 draws IPH and SDH; raters' margins add to what is seen of them."""
    wanted = {k: ml for k, ml, _ in Plan.draw(np.random.default_rng((3, 5)), normal=0.0).bleeds}
    parts = statistics.head(3)
    assert {p.subtype for p in parts} == set(wanted) == {"IPH", "SDH"}
    for k, ml in wanted.items():
        assert 0.8 * ml < sum(p.ml for p in parts if p.subtype == k) < 1.5 * ml, k
    assert all(p.ml >= statistics.LEAST_ML and 38 < p.median_hu < 75 for p in parts)
    row = next(r for r in compare([parts]) if (r.subtype, r.name) == ("IPH", "components a head, median"))
    assert row.phantom == sum(p.subtype == "IPH" for p in parts) and row.n == 1


def test_a_rendered_head_has_only_slices_with_blood_and_their_neighbours():
    p = generate(12, Plan((("IPH", 8.0, 62.0),)), blood_only=True)
    empty = ~(p.label > 1).any(axis=(1, 2))
    assert 3 <= len(p.label) <= 20 and empty.sum() <= 6
    assert sum(part.ml for part in parts_of(p)) > 8
