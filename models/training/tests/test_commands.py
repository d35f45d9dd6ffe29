"""The command line: every command explains itself, and wrong arguments get one line with what to do."""

import argparse
from pathlib import Path

import pytest
import torch

from ich.__main__ import COMMANDS, main
from sets import heads

BUNDLE = Path(__file__).parents[2] / "bundles/ichor-synthetic"


def parsers() -> list[tuple[str, argparse.ArgumentParser]]:
    top = argparse.ArgumentParser()
    sub = top.add_subparsers()
    for module in COMMANDS:
        module.add(sub)
    out = []
    for name, p in sub.choices.items():
        parts = [a for a in p._actions if isinstance(a, argparse._SubParsersAction)]
        out += [(f"{name} {k}", q) for a in parts for k, q in a.choices.items()] or [(name, p)]
    return out


@pytest.mark.parametrize("name, parser", parsers(), ids=lambda v: v if isinstance(v, str) else "")
def test_help_is_written(name, parser):
    assert len(parser.format_help()) > 100
    counts = [a.option_strings[0] for a in parser._actions if a.type is int]
    assert not counts, f"{counts} take negative numbers"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Things to give to the wrong option."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "empty").mkdir()
    (folder / "text").write_text("hi")
    (folder / "torn.onnx").write_bytes((BUNDLE / "cavity_bone.onnx").read_bytes()[:9999])
    heads(folder / "heads", 4)
    torch.save({"a": 1}, folder / "dict.pt")
    torch.save([1], folder / "list.pt")
    torch.save({"net": {"other.weight": torch.zeros(2)}}, folder / "other.pt")
    torch.save({"net": {"final_conv.weight": torch.zeros(1, 9, 1, 1)}}, folder / "wide.pt")
    return folder


SEGMENT = "segment --scale tiny --data {}/heads --out {}/out --device cpu "
WRONG = {
    SEGMENT + "--init {}/dict.pt": "dict.pt: holds no weights of a network; give the net.pt that",
    SEGMENT + "--init {}/list.pt": "list.pt: holds no weights of a network; give the net.pt that",
    SEGMENT + "--init {}/text": "text: not weights of a run",
    SEGMENT + "--init {}/other.pt": "has no layer of the U-Net 2D; give the net.pt",
    SEGMENT + "--init {}/wide.pt": "final_conv.weight is (1, 9, 1, 1) there and (1, 4, 1, 1) here; use the same --scale",
    SEGMENT + "--device cuda:x": "--device: cuda:x is not known; give auto, cpu",
    "segment --scale tiny --data {}/heads --out {}/text": "Not a directory; give another path",
    "segment --data {}/nowhere --out {}/out": "nowhere: no such folder; check the path",
    "pretrain --task local-contrastive --encoder {}/dict.pt --data {}/heads --out {}/out --scale tiny": "dict.pt: holds no weights",
    "data synthetic --count 1 --out {}/text": "text: File exists; give another path",
    "train --role bleed --cache {}/empty --out {}/runs --from {}/torn.onnx": "torn.onnx: not an ONNX file (DecodeError); give a network of a bundle",
    f"train --role bleed --base 4 --cache {{}}/empty --out {{}}/runs --from {BUNDLE}/bleed.onnx": "give the bundle's base width and channels",
    f"evaluate --bundle {BUNDLE} --out {{}}/look --samples {{}}/empty": "empty: holds no sample studies; write them with",
    "evaluate --bundle {}/empty --out {}/look --phantoms 1": "manifest.json: missing; give the folder of a bundle",
}
USAGE = {
    f"evaluate --bundle {BUNDLE} --out {{}}/look": "nothing to measure: give --phantoms",
    f"evaluate --bundle {BUNDLE} --out {{}}/look --painted 3": "--painted: give the heads to paint into with --scan",
    f"evaluate --bundle {BUNDLE} --out {{}}/look --phantoms -1": "argument --phantoms: -1 is not a whole number of 0 or more",
    SEGMENT + "--epochs 0": "argument --epochs: 0 is not a whole number of 1 or more",
    SEGMENT + "--batch many": "argument --batch: many is not a whole number of 1 or more",
    "phantom --out {}/out --seeds 5 5": "--seeds 5 5: TO must be above FROM",
    "sample --out {}/out --name nosuch": "--name nosuch: choose of normal, mixed, epidural",
    "train --role bleed --cache {}/empty --out {}/runs --visits -3": "argument --visits: -3 is not a whole number of 1 or more",
}


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong_is_one_line(line, place, capsys):
    assert main(line.format(*[place] * line.count("{}")).split()) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert WRONG[line] in said and said.count(";") == 1


@pytest.mark.parametrize("line", USAGE)
def test_wrong_usage_is_told(line, place, capsys):
    try:
        code = main(line.format(*[place] * line.count("{}")).split())
    except SystemExit as err:  # argparse
        code = err.code
    assert code == 2 and USAGE[line] in capsys.readouterr().err.splitlines()[-1]
    assert not (place / "look").exists()
