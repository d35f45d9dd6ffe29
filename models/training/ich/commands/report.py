"""report: the written report of an experiment, again."""

from __future__ import annotations

from pathlib import Path


def add(sub) -> None:
    p = sub.add_parser("report", help="write the report of an experiment again",
                       description="Reads volumes.csv, methods.json, logs and embeddings that `ich reproduce --out DIR` wrote; writes report.md, table.csv, "
                                   "pairs.csv and figures/ into the same folder.")
    p.add_argument("folder", type=Path, metavar="DIR")
    p.set_defaults(run=_report)


def _report(args) -> None:
    from ..paper import report

    print(report.write(args.folder))
