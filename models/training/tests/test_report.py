"""The written report of seeded random experiments: what it says follows from the numbers, and damaged folders are named."""

import csv
import itertools
import json

import experiments
import numpy as np
import pytest
from PIL import Image

from ich.__main__ import main
from ich.datasets.volume import DataError
from ich.paper.paper import METHODS, PAPER_TABLE3, PRETEXTS
from ich.paper.report import document, experiment, figures, findings, look, stats, table, write
from ich.paper.report.experiment import Part
from ich.paper.report.metrics import dice, precision, recall

ICH = Part("synthetic", True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A whole experiment on synthetic heads, its report written."""
    path = experiments.write(tmp_path_factory.mktemp("study"), {"synthetic": {"volumes": 24, "normal": 9, "folds": 2}}, slices=24)
    assert write(path) == path / "report.md"
    return path


@pytest.fixture(scope="module")
def read(folder):
    return experiment.read(folder)


def made(tmp_path, rows, about=None):
    """The experiment of these rows."""
    experiments.write_csv(tmp_path / "volumes.csv", rows, experiment.COLUMNS)
    (tmp_path / "methods.json").write_text(json.dumps(about or {}))
    return experiment.read(tmp_path)


def row(method, volume, tp, fp, fn, **other):
    return {"dataset": "synthetic", "method": method, "seed": 0, "fold": 0, "volume": volume, "bleeding": int(tp + fn > 0), "types": "", "voxel_ml": 0.01,
            "tp": tp, "fp": fp, "fn": fn, "truth_ml": 0.01 * (tp + fn), "found_ml": 0.01 * (tp + fp)} | other


def test_report_holds_everything(folder):
    text = (folder / "report.md").read_text()
    assert "| `network.base` | `8` | `32` |" in text and "2 settings deviate from the paper" in text
    assert "| `metrics.grid` | the network's | not said | ours |" in text  # at every scale: no setting that deviates
    assert text.count("Research use only. Not for clinical use.") == 1
    for m in METHODS:
        assert text.count(f"| {experiment.title(m)} |") >= 3
    for words in ("n = 24", "n = 15", "2-fold", "Seeds: 1", "One training seed", "The heads are synthetic", "Scale `small`", "| `size` | `64` | `256` |",
                  "(Table 2): nothing (U-Net 2D ICH-only,", "binary slice labels (Binary classification); multi-label slice labels (Multi-label"):
        assert words in text, words
    pictures = [line.split("](")[1].rstrip(")") for line in text.splitlines() if line.startswith("![")]
    assert len(pictures) == 6
    for name in pictures:
        with Image.open(folder / name) as picture:
            assert picture.width >= 1000 and np.asarray(picture.convert("L")).std() > 5, name
    assert "nan" not in text.lower().replace("significan", "") and "None" not in text.replace("None of the settings", "")


def test_table_against_the_rows(folder):
    with (folder / "volumes.csv").open() as f:
        rows = list(csv.DictReader(f))
    with (folder / "table.csv").open() as f:
        cells = list(csv.DictReader(f))
    assert len(cells) == 10 * 3 * 2
    for c in cells:
        part = [r for r in rows if r["method"] == c["method"] and (c["volumes"] == "all" or r["bleeding"] == "1")]
        values = [{"dice": dice, "precision": precision, "recall": recall}[c["metric"]](int(r["tp"]), int(r["fp"]), int(r["fn"])) for r in part]
        assert int(c["n"]) == len(part) == (24 if c["volumes"] == "all" else 15)
        assert float(c["mean"]) == pytest.approx(100 * np.mean(values), abs=0.006) and float(c["sd"]) == pytest.approx(100 * np.std(values, ddof=1), abs=0.006)
        key = c["metric"] + ("_ich" if c["volumes"] == "ich" else "")
        assert (float(c["paper_mean"]), float(c["paper_sd"])) == PAPER_TABLE3["hssayeni"][c["method"]][key]


def test_pairs_against_scipy(folder, read):
    from scipy.stats import ttest_ind, ttest_rel

    with (folder / "pairs.csv").open() as f:
        pairs = list(csv.DictReader(f))
    assert len(pairs) == 45 * 3 * 2
    values = read.values(ICH, "recall")
    for p in (p for p in pairs if (p["volumes"], p["metric"]) == ("ich", "recall")):
        a, b = list(values[p["a"]].values()), list(values[p["b"]].values())
        assert float(p["welch_p"]) == pytest.approx(ttest_ind(a, b, equal_var=False).pvalue, rel=1e-4)
        assert float(p["paired_p"]) == pytest.approx(ttest_rel(a, b).pvalue, rel=1e-4)
        assert float(p["difference"]) == pytest.approx(np.mean(b) - np.mean(a), rel=1e-4) and float(p["paired_p_holm"]) >= float(p["paired_p"])


def test_bold_is_the_highest(read):
    lines = [line.split(" | ") for line in table.markdown(read, ICH).splitlines()[2:]]
    for column in (1, 3, 5):
        means = [float(c[column].strip("*| ").split(" ")[0]) for c in lines]
        assert [i for i, c in enumerate(lines) if "**" in c[column]] == [int(np.argmax(means))]


def test_paper_of_the_same_set_stands_beside(tmp_path):
    """Seg-CQ500 has no volumes without hemorrhage: one half of the table, and its own numbers of the paper."""
    e = experiment.read(experiments.write(tmp_path, {"hssayeni": {"volumes": 20, "normal": 8, "folds": 10}, "seg-cq500": {"volumes": 15, "normal": 0, "folds": 5}}, scale="paper", slices=8))
    assert [p.title for p in e.all_parts()] == ["Hssayeni et al., all volumes", "Hssayeni et al., ICH volumes", "Seg-CQ500, ICH volumes"]
    text = table.markdown(e, e.all_parts()[2])
    assert "| hssayeni, Table 1 of the paper | 75 | 36 | 2,814 | 318 |" in document._run(e)
    assert "63.23 ± 29.44" in text and "Dice [%], paper |" in text and (e.folds("hssayeni"), e.folds("seg-cq500")) == (10, 5)
    notes = "\n".join(findings.caveats(e, e.all_parts()[2], table.all_pairs(e)))
    assert "synthetic" not in notes and "Scale" not in notes and "n = 15" in notes


def test_claims_on_known_numbers(tmp_path):
    """Mixed finds 40 % with 60 % precision in every volume, weak supervision 80 % with 80 %; the cavity mask does nothing."""
    rng = np.random.default_rng(3)
    rows = []
    for v in range(40):
        truth = int(rng.integers(500, 5000))
        for m in METHODS:
            share = {"ich-only": 0.3, "ich-only-icm": 0.3, "mixed": 0.4, "mixed-icm": 0.4, "binary": 0.8, "multilabel-ce": 0.8, "multilabel-dl": 0.8}.get(m, 0.4)
            noise = 0 if m.startswith(("ich", "mixed")) else rng.normal(0, 0.05)
            tp = int(truth * min(max(share + noise, 0), 1))
            rows.append(row(m, str(v), tp, int(0.25 * tp) if share == 0.8 else int(0.67 * tp), truth - tp))
    e = made(tmp_path, rows)
    verdicts = {a.claim.text: a for a in findings.answers(e, ICH)}
    of = lambda start: next(a for text, a in verdicts.items() if text.startswith(start))  # noqa: E731
    weak = of("Weakly-supervised transfer raises Dice")
    assert weak.verdict == "seen here too" and weak.n == 40 and 0.2 < weak.difference < 0.5 and weak.interval[0] > 0
    assert of("The cavity mask raises").verdict == "not shown: no difference" and of("The cavity mask changes").verdict == "holds"
    assert of("Self-supervised").verdict.startswith("not shown") and of("Multi-label").verdict.startswith("not shown")
    assert of("Transfer changes recall").verdict == "contradicted"  # by 20 points
    turned = made(tmp_path, [r | {"method": {"binary": "mixed", "mixed": "binary"}.get(r["method"], r["method"])} for r in rows])
    assert next(a for a in findings.answers(turned, ICH) if a.claim.text.startswith("Self-supervised")).verdict == "contradicted"


def test_claims_of_the_paper_agree_with_its_table():
    """Every claim of a higher mean holds in the paper's own numbers, on both sets."""
    for claim, d in itertools.product(findings.CLAIMS, PAPER_TABLE3):
        difference = findings.paper_difference(claim, d)
        assert difference > 0 if not claim.margin else abs(difference) < 100 * claim.margin, (claim.text, d, difference)


def test_nothing_is_claimed_of_noise(tmp_path):
    """Ten equal methods: no claim of a difference is seen or contradicted, and all stand beside the best."""
    rng = np.random.default_rng(8)
    rows = []
    for v, m in itertools.product(range(30), METHODS):
        tp = int(rng.integers(0, 1000))
        rows.append(row(m, str(v), tp, int(rng.integers(0, 500)), 1000 - tp))
    e = made(tmp_path, rows)
    assert not [a for a in findings.answers(e, ICH) if a.verdict.startswith(("seen", "contradicted"))]
    assert len(findings.ranking(e, ICH, stats.pairs(e.values(ICH, "dice"))).not_apart) == 9


def test_ranking_and_its_agreement_with_the_paper(tmp_path):
    theirs = sorted(METHODS, key=lambda m: PAPER_TABLE3["hssayeni"][m]["dice_ich"][0])
    rows = [row(m, str(v), 100 + 50 * i + v, 10, 600 - 50 * i) for i, m in enumerate(theirs) for v in range(6)]
    e = made(tmp_path, rows)
    r = findings.ranking(e, ICH, stats.pairs(e.values(ICH, "dice")))
    assert r.methods == theirs[::-1] and r.against["hssayeni"][0] == pytest.approx(1.0) and r.moved == {}
    swapped = made(tmp_path, [x | {"method": {theirs[0]: theirs[-1], theirs[-1]: theirs[0]}.get(x["method"], x["method"])} for x in rows])
    r = findings.ranking(swapped, ICH, stats.pairs(swapped.values(ICH, "dice")))
    assert r.moved == {theirs[0]: (1, 10), theirs[-1]: (10, 1)} and r.against["hssayeni"][0] < 0.5


def test_seeds_are_not_volumes(tmp_path):
    rows = [r | {"seed": s} for s in range(3) for r in experiments.volume_rows(volumes=20, normal=5, seed=s)]
    for r in rows:  # truth is the same for all seeds
        r["types"], r["bleeding"] = "", int(r["volume"] >= "005")
    e = made(tmp_path, rows)
    m = e.mean(ICH, "mixed", "dice")
    assert m.n == 15 and m.spread > 0 and e.seeds() == [0, 1, 2]
    assert stats.pairs(e.values(ICH, "dice"))[0].n == 15
    assert any("3 training seeds" in c for c in findings.caveats(e, ICH, table.all_pairs(e)))


def test_what_is_absent_is_said(tmp_path, capsys):
    """Two methods, no logs, one volume missing: no crash, no claim, the gap is named; and the command writes the same again."""
    rows = [r for r in experiments.volume_rows(methods=("mixed", "binary"), volumes=12, normal=4) if (r["method"], r["volume"]) != ("binary", "011")]
    made(tmp_path, rows)
    text = write(tmp_path).read_text()
    assert "binary has 7 of 8 volumes" in text and "not tested" in text and "Figure 5" not in text and "n = 8" in text
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert {p.suffix for p in before} == {".md", ".csv", ".json", ".png"}
    assert main(["report", str(tmp_path)]) == 0 and capsys.readouterr().out.strip() == str(tmp_path / "report.md")
    assert {p: p.read_bytes() for p in before} == before


def test_one_method_on_one_volume(tmp_path):
    made(tmp_path, [row("mixed", "1", 5, 1, 2)])
    text = write(tmp_path).read_text()
    assert "n = 1" in text and "nan" not in text.replace("significan", "")


def test_unknown_method_comes_last(tmp_path):
    e = made(tmp_path, [row(m, v, 5, 1, 2) for m in ("ours", "mixed") for v in "12"])
    assert e.methods() == ["mixed", "ours"] and "| ours | " in table.markdown(e, ICH)


def test_training_that_had_not_ended(tmp_path):
    e = made(tmp_path, [row("mixed", "1", 5, 1, 2)])
    e.logs = {"mixed": [{"epoch": k, "phase": "segmentation", "loss": 1 - 0.02 * k} for k in range(20)],
              "binary": [{"epoch": k, "phase": "pretext", "loss": 1 / (k + 1)} for k in range(20)],  # a pretext, not asked about
              "ich-only": [{"epoch": k, "phase": "segmentation", "loss": 0.3} for k in range(20)]}
    assert findings.still_learning(e) == {"mixed": pytest.approx(0.08 / 0.71, abs=0.01)}


def test_a_pretext_has_curves_of_its_own(read, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(figures, "_curves", lambda logs, lines, path, shared: drawn.update({path.stem: logs}))
    figures.learning_curves(read, tmp_path)
    segmented, pretexts = drawn["learning-synthetic"], drawn["learning-pretexts"]
    assert set(pretexts) == set(PRETEXTS) and {r["phase"] for rows in segmented.values() for r in rows} == {"segmentation"}
    assert all("val_loss" in r and "fold" not in r for rows in pretexts.values() for r in rows)


def test_nets_that_found_nothing(tmp_path):
    e = made(tmp_path, [row("mixed", str(v), 0 if v else 9, 3, 20) for v in range(4)] + [row("binary", str(v), 9, 3, 20) for v in range(4)])
    assert findings.blind(e, ICH) == {"mixed": 0.75}


def test_nets_that_mark_everything(tmp_path):
    e = made(tmp_path, [row("mixed", str(v), 20, 5000, 0) for v in range(4)] + [row("binary", str(v), 9, 3, 20) for v in range(4)], {"cavity_dice": {"synthetic": 0.4}})
    assert list(findings.flooding(e, ICH)) == ["mixed"] and "n = 4: far too few" in (said := "\n".join(findings.caveats(e, ICH, table.all_pairs(e))))
    assert "Dice of 0.40 only" in said and "hardly learnt" not in said


def test_a_task_hardly_learnt_is_said(tmp_path):
    e = made(tmp_path, [row(m, str(v), 20 + v, 900, 5) for v in range(12) for m in ("mixed", "binary")])
    assert any("hardly learnt" in c for c in findings.caveats(e, ICH, table.all_pairs(e)))


def test_separation_of_what_is_apart(rng):
    labels = rng.random(200) < 0.5
    assert figures.separation(rng.normal(0, 1, (200, 16)), labels) == pytest.approx(0.5, abs=0.15)
    assert figures.separation(rng.normal(0, 1, (200, 16)) + 5 * labels[:, None], labels) > 0.99
    assert figures.separation(rng.normal(0, 1, (5, 16)), np.array([True] * 3 + [False] * 2)) is None
    assert figures.separation(rng.normal(0, 1, (200, 16)), np.arange(200) == 0) is None


def test_t_sne_is_seeded_and_keeps_clusters(rng):
    labels = np.arange(60) % 2
    vectors = rng.normal(0, 1, (60, 8)) + 20 * labels[:, None]
    a = figures.t_sne(vectors)
    assert np.array_equal(a, figures.t_sne(vectors)) and a.shape == (60, 2)
    middle = np.array([a[labels == k].mean(axis=0) for k in (0, 1)])
    near = np.argmin(np.linalg.norm(a[:, None] - middle, axis=2), axis=1)
    assert (near == labels).mean() > 0.95


def test_unknown_labels_are_left_out(tmp_path):
    z = experiments.embedding("binary", 20)
    z["bleeding"][:5] = 255
    z["types"][7] = 255
    (tmp_path / "binary").mkdir()
    np.savez(tmp_path / "binary" / "embedding.npz", **z)
    e = made(tmp_path, [row("binary", "1", 5, 1, 2)])
    assert len(e.embeddings["binary"]["vectors"]) == 15 and not e.embeddings["binary"]["types"][2].any()


def test_colours_differ_for_all_eyes():
    """Families are told apart by lightness too, as in print without colour."""
    def lightness(c):
        r, g, b = (int(c[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return 0.2126 * r**2.2 + 0.7152 * g**2.2 + 0.0722 * b**2.2

    grey, sky, orange = sorted(lightness(c) for _, c in look.FAMILIES.values())
    assert sky - grey > 0.1 and {look.colour(m) for m in METHODS} == {c for _, c in look.FAMILIES.values()} and orange > grey
    assert [look.short(m) for m in ("ich-only-icm", "mixed", "multilabel-dl")] == ["ICH-only + ICM", "Mixed", "Multi-label (DL)"]


HEAD = ",".join(experiment.COLUMNS) + "\n"
GOOD = "synthetic,mixed,0,0,1,1,IPH,0.1,5,1,2,0.7,0.6\n"


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("volumes.csv", None, "volumes.csv: no such file"),
        ("volumes.csv", "", "no column dataset"),
        ("volumes.csv", HEAD, "no rows"),
        ("volumes.csv", "dataset,method\nsynthetic,mixed\n", "no column seed"),
        ("volumes.csv", HEAD + GOOD + "synthetic,mixed,0,0", "line 3 ends early"),
        ("volumes.csv", HEAD + GOOD.replace(",5,", ",five,"), "line 2 holds a value that cannot be read"),
        ("volumes.csv", HEAD + GOOD.replace(",5,", ",-5,"), "line 2 holds a value out of range"),
        ("volumes.csv", HEAD + GOOD.replace("0.7", "nan"), "line 2 holds a value out of range"),
        ("volumes.csv", HEAD + GOOD.replace("IPH", "XYZ"), "line 2 holds a value out of range"),
        ("volumes.csv", HEAD + GOOD + GOOD, "line 3: volume 1 a second time"),
        ("volumes.csv", HEAD + GOOD + GOOD.replace("mixed", "binary").replace("1,1,IPH", "1,0,"), "line 3: volume 1 is once with and once without"),
        ("volumes.csv", b"\xff\xfe\x00" * 9, "not a CSV file"),
        ("methods.json", None, "methods.json: no such file"),
        ("methods.json", "{", "not JSON"),
        ("methods.json", "[]", "not a JSON object"),
        ("mixed/log.csv", "epoch,loss\n1,1\n", "no column phase"),
        ("mixed/log.csv", "epoch,phase,loss\n1,segmentation,low\n", "line 2 holds a value that cannot be read"),
        ("mixed/embedding.npz", b"PK\x03\x04", "not an embedding"),
        ("mixed/embedding.npz", b"", "not an embedding"),
    ],
)
def test_damaged_folders_are_named(tmp_path, capsys, name, content, message):
    made(tmp_path, [row("mixed", "1", 5, 1, 2)])
    (tmp_path / "mixed").mkdir()
    (tmp_path / name).unlink(missing_ok=True)
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message.replace(".", r"\.")) as err:
        write(tmp_path)
    assert "\n" not in str(err.value) and ";" in str(err.value)
    assert main(["report", str(tmp_path)]) == 1 and str(err.value) in capsys.readouterr().err
