"""The command line: one module a group of commands, `add(sub)` declares them, and each imports what it needs when run."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    """Type of an option that counts something there must be."""
    return _number(text, 1)


def natural(text: str) -> int:
    """Type of an option that may be 0."""
    return _number(text, 0)


def _number(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of {least} or more")
    return value
