"""The training loop: an interrupted run, a run of one epoch a call and a run with workers give the very weights of an uninterrupted one."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from ich.paper import paper
from ich.datasets.volume import DataError
from ich.loop import Machine, load, save
from ich.paper.methods.fit import fit
from ich.paper.methods.scales import TINY
from ich.paper.methods.segmentation import task as segmentation
from ich.paper.methods.sets import Source
from ich.paper.methods.slices import Slices
from ich.paper.methods.steps import pretext_task
from sets import heads

pytestmark = pytest.mark.usefixtures("one_thread")
NET = paper.Network(base=2, dropout=0.5)  # dropout: its random numbers must be restored too
STUDY = replace(TINY, network=NET, restoration=replace(TINY.restoration, epochs=3, batch=6, dropout=0.5))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Slices:
    folder = tmp_path_factory.mktemp("fit")
    return Source("synthetic", heads(folder / "heads", 3), folder / "slices", 32).slices(STUDY.window)


def new(name: str):
    """A task with the same first weights at every call."""
    torch.manual_seed(0)
    if name == "segmentation":
        return segmentation(replace(STUDY.other, epochs=3, batch=6, bce_epochs=2), NET)
    return pretext_task(name, STUDY, np.zeros((1, 6), np.uint8), None)


def run(name: str, data: Slices, out, seed: int = 4, on: Machine = Machine(), stop_after: int | None = None) -> dict:
    return fit(new(name), data, np.arange(len(data)), STUDY.optimiser, out, seed, on, False, stop_after).state_dict()


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def without_seconds(path) -> list[dict]:
    with path.open(newline="") as f:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(f)]


@pytest.mark.parametrize("name", ["segmentation", "context-restoration"])
def test_an_interrupted_run_gives_the_same_weights(name, data, tmp_path):
    whole = run(name, data, tmp_path / "whole")
    for i in range(3):  # three calls of one epoch, each as if the process had been new
        assert (tmp_path / "parts" / "last.pt").exists() == (i > 0)
        assert not (tmp_path / "parts" / "net.pt").exists()
        torch.manual_seed(1000 + i)  # whatever was drawn between the calls
        parts = run(name, data, tmp_path / "parts", stop_after=1)
    assert same(whole, parts)
    assert same(whole, load(tmp_path / "parts" / "net.pt")["net"])
    assert not (tmp_path / "parts" / "last.pt").exists()
    log = without_seconds(tmp_path / "whole" / "log.csv")
    assert [r["epoch"] for r in log] == ["1", "2", "3"] and log == without_seconds(tmp_path / "parts" / "log.csv")
    assert not same(whole, run(name, data, tmp_path / "other", seed=5))  # else equality says nothing


def test_an_interrupted_run_goes_on_with_as_many_threads(data, tmp_path):
    """Rounding depends on them: at base 8 two threads give other weights than one after the first step."""
    whole = run("segmentation", data, tmp_path / "whole")
    run("segmentation", data, tmp_path / "parts", stop_after=1)
    torch.set_num_threads(2)
    try:
        assert same(whole, run("segmentation", data, tmp_path / "parts")) and torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(1)


def test_a_finished_run_is_read_not_repeated(data, tmp_path):
    first = run("segmentation", data, tmp_path)
    written = (tmp_path / "net.pt").stat().st_mtime_ns
    assert same(first, run("segmentation", data, tmp_path, seed=77))  # the seed would matter if it trained
    assert (tmp_path / "net.pt").stat().st_mtime_ns == written


def test_workers_that_read_change_nothing(data, tmp_path):
    alone = run("segmentation", data, tmp_path / "0", stop_after=2)
    shared = run("segmentation", data, tmp_path / "2", on=Machine(workers=2), stop_after=2)
    assert same(alone, shared)
    assert without_seconds(tmp_path / "0" / "log.csv") == without_seconds(tmp_path / "2" / "log.csv")


def test_rate_decays_at_every_epoch(data, tmp_path):
    run("segmentation", data, tmp_path)
    rates = [float(r["lr"]) for r in without_seconds(tmp_path / "log.csv")]
    assert rates == pytest.approx([1e-3, 0.96e-3, 0.9216e-3])


def test_what_goes_wrong_is_one_line(data, tmp_path):
    with pytest.raises(DataError, match="no slices for segmentation"):
        fit(new("segmentation"), data, np.arange(0), STUDY.optimiser, tmp_path, 0, Machine(), False)
    with pytest.raises(DataError, match="diverged in epoch 1: loss (nan|inf)"):
        broken = replace(STUDY.optimiser, lr=float("inf"))
        task = replace(new("segmentation"), batch=3)
        fit(task, data, np.arange(len(data)), broken, tmp_path / "nan", 0, Machine(), False)
    assert not (tmp_path / "nan" / "net.pt").exists()
    (tmp_path / "net.pt").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"net\.pt: not weights of a run"):
        run("segmentation", data, tmp_path)
    with pytest.raises(DataError, match="no such file"):
        load(tmp_path / "absent.pt")


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    save(tmp_path / "a.pt", {"epoch": 1})
    with pytest.raises(AttributeError):
        save(tmp_path / "a.pt", {"epoch": lambda: None})  # cannot be written
    assert load(tmp_path / "a.pt") == {"epoch": 1} and [p.name for p in tmp_path.iterdir()] == ["a.pt"]
