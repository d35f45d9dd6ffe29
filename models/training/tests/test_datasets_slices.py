"""The store of 2D samples, and synthetic heads as a data set."""

import json
import pickle

import numpy as np
import pytest
import torch
import trees

from ich.__main__ import main
from ich.datasets import DataError, open_dataset, slices, synthetic
from ich.datasets.slices import SliceStore, nearest
from ich.product.window import Resampler, window


@pytest.fixture()
def volumes(tmp_path):
    trees.segcq500(tmp_path / "data")
    return open_dataset("seg-cq500", tmp_path / "data")


def store(tmp_path, volumes, **kw):
    return SliceStore(tmp_path / "store", volumes, **{"size": 16, "progress": False, **kw})


def test_store_holds_what_the_paper_trains_on(tmp_path, volumes):
    s = store(tmp_path, volumes)
    scans = [v.read() for v in volumes]
    assert len(s) == 24 == len(s.images) and s.images.shape == (24, 16, 16) and s.images.dtype == np.uint8
    assert s.volume.tolist() == [0] * 12 + [1] * 12 and [v.name for v in s.volumes] == [v.name for v in volumes]
    for i, scan in enumerate(scans):
        to = Resampler(scan.hu, scan.spacing, 16, 0.0)
        want = to.down(window(scan.hu, -50, 150)) * 255
        assert np.abs(s.images[s.volume == i] - want).max() <= 0.5 + 1e-3
        assert np.array_equal(s.labels[s.volume == i], scan.labels)
        at = np.ix_(np.arange(12), nearest(26, 16), nearest(22, 16))
        assert np.array_equal(s.masks[s.volume == i], scan.mask[at]) and np.array_equal(s.cavities[s.volume == i], scan.cavity[at])
        assert s.voxel_ml[s.volume == i] * 256 == pytest.approx(scan.voxel_ml() * 26 * 22)  # the plane keeps its area
    assert s.has_mask.all() and s.has_cavity.all()


def test_nearest_is_the_pixel_under_the_centre():
    assert nearest(8, 4).tolist() == [1, 3, 5, 7] and nearest(4, 4).tolist() == [0, 1, 2, 3] and nearest(2, 4).tolist() == [0, 0, 1, 1]


def test_opening_again_reads_nothing(tmp_path, volumes, monkeypatch):
    first = np.array(store(tmp_path, volumes).images)
    monkeypatch.setattr("ich.datasets.nifti.read", lambda *a, **k: pytest.fail("read again"))
    assert np.array_equal(store(tmp_path, volumes).images, first)


def test_settings_and_changed_files_make_another_store(tmp_path, volumes):
    folders = {store(tmp_path, volumes).folder, store(tmp_path, volumes, size=32).folder, store(tmp_path, volumes, window=(0.0, 80.0)).folder,
               store(tmp_path, volumes[:1]).folder}
    volumes[0].files[0].touch()
    folders.add(store(tmp_path, volumes).folder)
    assert len(folders) == 5


@pytest.mark.parametrize("torn", ["before the journal", "in the journal", "in the pixels"])
def test_an_interrupted_build_continues(tmp_path, volumes, monkeypatch, torn):
    whole = SliceStore(tmp_path / "whole", volumes, size=16, progress=False)
    real, calls = slices.sample, []

    def once(v, *settings):
        if calls:
            raise KeyboardInterrupt
        calls.append(v.name)
        return real(v, *settings)

    monkeypatch.setattr(slices, "sample", once)
    with pytest.raises(KeyboardInterrupt):
        store(tmp_path, volumes)
    monkeypatch.setattr(slices, "sample", lambda v, *settings: calls.append(v.name) or real(v, *settings))
    folder = next((tmp_path / "store").iterdir())
    journal = folder / "journal.jsonl"
    if torn == "in the journal":
        journal.write_text(journal.read_text() + '{"slices": 12, "mas')
    if torn == "in the pixels":
        with (folder / "images.u8").open("ab") as f:
            f.write(b"\7" * 100)
    s = store(tmp_path, volumes)
    assert calls == [v.name for v in volumes]  # the first was not read twice
    assert np.array_equal(s.images, whole.images) and np.array_equal(s.masks, whole.masks) and np.array_equal(s.voxel_ml, whole.voxel_ml)


def test_worker_processes_build_the_same(tmp_path, volumes):
    one, two = store(tmp_path, volumes), SliceStore(tmp_path / "two", volumes, size=16, progress=False, workers=2)
    assert np.array_equal(one.images, two.images) and np.array_equal(one.masks, two.masks) and one.folder.name == two.folder.name


def test_a_broken_volume_stops_the_build_or_is_named(tmp_path, volumes):
    volumes[0].files[1].unlink()
    with pytest.raises(DataError, match="ICH_mask.nii.gz: missing"):
        store(tmp_path, volumes)
    s = store(tmp_path, volumes, lenient=True)
    assert [v.name for v in s.volumes] == [volumes[1].name] and set(s.volume) == {0} and len(s) == 12
    assert "ICH_mask.nii.gz: missing" in s.skipped[volumes[0].name]
    with pytest.raises(DataError, match="no volume could be read"):
        store(tmp_path, volumes[:1], lenient=True)
    with pytest.raises(DataError, match="list of volumes is empty"):
        store(tmp_path, [])


def test_weak_sets_have_labels_but_no_masks(tmp_path):
    trees.rsna(tmp_path / "data")
    s = store(tmp_path, open_dataset("rsna", tmp_path / "data", tmp_path / "cache"))
    assert not s.has_mask.any() and not s.masks.any() and s.labels[:, 0].sum() == 4


class Slices(torch.utils.data.Dataset):
    def __init__(self, store):
        self.store = store

    def __len__(self):
        return len(self.store)

    def __getitem__(self, i):
        return torch.from_numpy(self.store.images[i] / np.float32(255))


def test_worker_processes_read_the_same(tmp_path, volumes):
    s = store(tmp_path, volumes)
    loader = torch.utils.data.DataLoader(Slices(s), batch_size=5, num_workers=2, multiprocessing_context="fork")
    assert np.array_equal(torch.cat(list(loader)).numpy(), s.images / np.float32(255))
    sent = pickle.dumps(s)
    assert len(sent) < s.images.nbytes and np.array_equal(pickle.loads(sent).masks, s.masks)  # the maps are opened anew, not sent


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic")
    assert main(["data", "synthetic", "--out", str(folder), "--count", "2", "--size", "48", "--slices", "5", "--normal", "0"]) == 0
    return folder


def test_synthetic_heads_are_a_data_set(heads, capsys):
    volumes = open_dataset("synthetic", heads)
    assert [v.name for v in volumes] == ["s5000000", "s5000001"] and any(v.bleeding for v in volumes)
    for v in volumes:
        scan = v.read()
        assert scan.hu.shape == (5, 48, 48) and scan.hu.min() >= -1024 and scan.cavity.any() and not (scan.mask[~scan.cavity]).any()
        assert {i for i in range(1, 6) if scan.labels[:, i].any()} == {i for i, k in enumerate(("IPH", "IVH", "SAH", "SDH", "EDH"), 1) if k in v.types}
        assert 100 < scan.spacing[0] * 48 < 400  # the field of view stays that of a head
    assert main(["data", "check", str(heads)]) == 0


def test_synthetic_heads_repeat_and_continue(heads, tmp_path, monkeypatch):
    settings = synthetic.Settings(2, size=48, slices=5, normal=0.0)
    name = "s5000001-48-5-0.npz"
    index = json.loads((heads / "synthetic.json").read_text())
    for f in heads.glob("*"):
        if f.name != name:
            (tmp_path / f.name).write_bytes(f.read_bytes())
    rendered = []
    real = synthetic.render
    monkeypatch.setattr(synthetic, "render", lambda seed, s: rendered.append(seed) or real(seed, s))
    synthetic.write(tmp_path, settings)
    assert rendered == [5_000_001] and json.loads((tmp_path / "synthetic.json").read_text()) == index
    one, two = np.load(heads / name), np.load(tmp_path / name)
    assert all(np.array_equal(one[k], two[k]) for k in one)


def test_synthetic_heads_by_workers_are_the_same(heads, tmp_path):
    synthetic.write(tmp_path, synthetic.Settings(2, size=48, slices=5, normal=0.0), workers=2)
    assert (tmp_path / "synthetic.json").read_text() == (heads / "synthetic.json").read_text()
    for f in heads.glob("*.npz"):
        one, two = np.load(f), np.load(tmp_path / f.name)
        assert all(np.array_equal(one[k], two[k]) for k in one)


def test_damaged_synthetic_heads_are_named(heads, tmp_path):
    for f in heads.glob("*"):
        (tmp_path / f.name).write_bytes(f.read_bytes())
    volumes = open_dataset("synthetic", tmp_path)
    volumes[0].files[0].write_bytes(b"no archive")
    volumes[1].files[0].unlink()
    with pytest.raises(DataError, match="unreadable.*delete it and run `ich data synthetic` again"):
        volumes[0].read()
    with pytest.raises(DataError, match="missing; run `ich data synthetic` again"):
        volumes[1].read()
    (tmp_path / "synthetic.json").write_text("{")
    with pytest.raises(DataError, match="not an index of synthetic heads"):
        open_dataset("synthetic", tmp_path)


def test_wrong_numbers_are_usage_errors(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["data", "synthetic", "--out", str(tmp_path / "x"), "--count", "0"])
    assert end.value.code == 2
    assert not (tmp_path / "x").exists() and "--count" in capsys.readouterr().err
