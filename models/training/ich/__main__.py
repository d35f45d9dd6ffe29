"""python -m ich COMMAND: synthetic heads, training, the paper's study, measurement, bundles. Each command has --help."""

from __future__ import annotations

import argparse
import sys

from .commands import phantom, product

COMMANDS = (phantom, product)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="ich", description=__doc__)
    sub = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add(sub)
    args = parser.parse_args(argv)
    return args.run(args) or 0


if __name__ == "__main__":
    sys.exit(main())
