"""Every `python -m ich` command of docs/train.md, in order and at tiny scale. The `ichor` commands: cmd/ichor/train_doc_test.go."""

from __future__ import annotations

import functools
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.request import urlopen

import numpy as np
import pytest

import nnunet_folder
import trees
from ich.__main__ import main, parser
from ich.product import config
from test_pseudo import analysed

HERE = Path(__file__).parents[1]
TEXT = (HERE.parents[1] / "docs/train.md").read_text()
COMMANDS = [line.strip() for block in TEXT.split("```")[1::2] for line in block.splitlines() if line.strip().startswith("python -m ich ")]
SMALLER = {"phantom": ["--seeds", "0", "1"], "train": ["--visits", "1", "--threads", "1"]}  # given last: they count


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A user's home with what the document takes for granted."""
    home = tmp_path_factory.mktemp("home")
    trees.segcq500(home / "data")
    for folder, patch, spacing in (("nnUNet_results/Dataset950_ICH", [8, 16, 16], [5.0, 3.0, 3.0]),
                                   (".totalsegmentator/nnunet/results/Dataset150_icb_v0", [16, 16, 16], [1.5, 1.5, 1.5])):
        nnunet_folder.write(home / folder / "nnUNetTrainer__nnUNetPlans__3d_fullres", patch=patch, spacing=spacing, stages=2)
    (home / "scans").mkdir()
    first, second = trees.head(), trees.head(seed=1)
    first.spacing = second.spacing = (4.0, 4.0)
    trees.nifti(home / "scans/head1.nii.gz", first)
    trees.series(home / "scans/head2", second)
    values = np.zeros((22, 26, 9), np.uint8)
    values[5:12, 5:12, 3:6] = 1
    analysed(home / "results", "head1.nii.gz", values)
    return home


@pytest.fixture(autouse=True)
def small(monkeypatch):
    rng = np.random.default_rng(1)
    heads = [SimpleNamespace(hu=rng.normal(35, 20, (7, 60, 60)), label=np.zeros((7, 60, 60)), pixel=3.0, positions=np.arange(7) * 5.0) for _ in range(2)]
    monkeypatch.setattr("ich.bundles.nnunet.bundle.reference_stretches", lambda: heads)
    monkeypatch.setattr("ich.bundles.export.reference_heads", lambda: heads)
    monkeypatch.setattr(config, "settings_for", functools.partial(config.settings_for, batch=2, train_size=64))
    monkeypatch.chdir(HERE)


def test_there_are_all():
    assert [shlex.split(c)[3] for c in COMMANDS] == ["data", "phantom", "train", "export", "bundle", "bundle", "pseudo", "pseudo", "pseudo", "pseudo"]


@pytest.mark.parametrize("line", COMMANDS)
def test_command(home, line):
    args = shlex.split(line.replace("~/", f"{home}/"))[3:] + SMALLER.get(shlex.split(line)[3], [])
    if "review" in args:
        return review(args)
    assert main(args) == 0
    parsed = vars(parser().parse_args(args))
    for key in ("out", "cache", "nnunet"):
        assert parsed.get(key) is None or any(parsed[key].iterdir()), key


def review(args):
    """Says yes to all scans on the page, and ends the program as Ctrl-C does."""
    heard = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731 - tests in the background inherit that it is ignored
    server = subprocess.Popen([sys.executable, "-m", "ich", *args, "--port", "0"], stdout=subprocess.PIPE, text=True,
                              env=os.environ | {"PYTHONPATH": "."}, preexec_fn=heard)
    try:
        at = re.match(r"http://127\.0\.0\.1:\d+/", server.stdout.readline())[0]
        for name in ("head1", "head2"):
            page = urlopen(at, f"name={name}&answer=yes".encode()).read().decode()
        assert "2 accepted" in page
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0
    finally:
        server.kill()
        server.stdout.close()
