"""python -m ich COMMAND: synthetic heads, training, the paper's study, measurement, bundles. Each command has --help."""

from __future__ import annotations

import argparse
import sys

from .commands import bundle, data, paint, phantom, product, pseudo, report, study

COMMANDS = (bundle, data, paint, phantom, product, pseudo, report, study)


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(prog="ich", description=__doc__)
    sub = out.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add(sub)
    return out


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        return args.run(args) or 0
    except Exception as err:
        from .datasets.volume import DataError  # imports what reads files: only when there is something to tell

        if isinstance(err, OSError) and err.filename is not None:  # what a user gave: a folder that is a file, no rights, a full disk
            err = DataError(err.filename, err.strerror or type(err).__name__, "give another path, or make room and rights for it")
        if not isinstance(err, DataError):
            raise
        print(err, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
