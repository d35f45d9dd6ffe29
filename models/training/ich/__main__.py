"""python -m ich phantom|montage|train|evaluate|export|sample"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="ich", description=__doc__)
    sub = parser.add_subparsers(dest="command", required=True)
    p = sub.add_parser("phantom", help="render training phantoms into a cache folder")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--seeds", type=int, nargs=2, default=(0, 1200), metavar=("FROM", "TO"))
    p = sub.add_parser("montage", help="PNG of one phantom with its label")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--out", type=Path, required=True)
    p = sub.add_parser("train", help="train one network; continues from its checkpoint")
    p.add_argument("--role", required=True, choices=("cavity-tissue", "cavity-bone", "bleed"))
    p.add_argument("--cache", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--visits", type=int)
    p.add_argument("--base", type=int)
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--minutes", type=float, default=0.0, help="stop (resumable) after this long")
    p = sub.add_parser("evaluate", help="measure checkpoints on held-out phantoms, samples and scans")
    p.add_argument("--runs", type=Path, required=True)
    p.add_argument("--phantoms", type=int, default=6)
    p.add_argument("--samples", type=Path)
    p.add_argument("--dicom", type=Path, help="folder of one CT series, for false positives")
    p.add_argument("--out", type=Path)
    p = sub.add_parser("export", help="write the bundle")
    p.add_argument("--runs", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--version", default="0.1.0")
    p.add_argument("--metrics", type=Path, help="JSON of evaluate")
    p = sub.add_parser("sample", help="write the sample studies")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--name", action="append")
    args = parser.parse_args(argv)
    if args.command == "phantom":
        for k in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ.setdefault(k, "1")
        from .data import write_phantoms

        write_phantoms(args.out, range(*args.seeds))
    elif args.command == "montage":
        from .montage import montage, save
        from .phantom.study import generate

        ph = generate(args.seed)
        save(args.out, montage(ph.hu, ph.label))
    elif args.command == "train":
        from .config import settings_for
        from .train import train

        changes = {k: v for k, v in (("visits", args.visits), ("base_width", args.base)) if v}
        train(settings_for(args.role, **changes), args.cache, args.out, threads=args.threads, minutes=args.minutes)
    elif args.command == "evaluate":
        from .evaluate import report

        report(args.runs, args.phantoms, args.samples, args.dicom, args.out)
    elif args.command == "export":
        from .export import export

        export(args.runs, args.out, args.version, args.metrics)
    elif args.command == "sample":
        from .phantom.sample import write_samples

        write_samples(args.out, args.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
