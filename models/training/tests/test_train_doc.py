"""The commands in docs/train.md are ones that exist, with options that exist."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from ich.__main__ import parser

TEXT = (Path(__file__).parents[3] / "docs/train.md").read_text()
COMMANDS = [line.strip() for block in TEXT.split("```")[1::2] for line in block.splitlines() if line.strip().startswith("python -m ich ")]


def test_there_are_some():
    assert len(COMMANDS) >= 9


@pytest.mark.parametrize("line", COMMANDS)
def test_command(line):
    args = parser().parse_args(shlex.split(line)[3:])
    assert callable(args.run)
