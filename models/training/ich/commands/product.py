"""train, evaluate, ablate: the networks of the shipped bundle."""

from __future__ import annotations

import sys
from pathlib import Path

from . import natural, positive


def add(sub) -> None:
    p = sub.add_parser("train", help="train one network of the bundle; continues from its checkpoint")
    p.add_argument("--role", required=True, choices=("cavity-tissue", "cavity-bone", "bleed"))
    p.add_argument("--cache", type=Path, required=True, help="folder that phantom wrote; may still be growing")
    p.add_argument("--out", type=Path, required=True, help="folder for <role>.pt and <role>.csv")
    p.add_argument("--visits", type=positive, help="slices to see (default: the recipe's)")
    p.add_argument("--base", type=positive, help="base width (default: the recipe's)")
    p.add_argument("--lr", type=float, help="peak learning rate")
    p.add_argument("--no-rim", action="store_true", help="no rim along bone as augmentation, for ablation")
    p.add_argument("--from", dest="start", type=Path, metavar="FILE", help="begin with an exported network, e.g. of the shipped bundle, or with a checkpoint")
    p.add_argument("--tissues", action="store_true", help="bleed: learn to name healthy tissue too; the exported network does not")
    p.add_argument("--held-out", type=Path, help="folder of phantoms that are never trained on; their Dice goes into the log")
    p.add_argument("--threads", type=natural, default=0, help="0 (default): as many as PyTorch takes")
    p.add_argument("--minutes", type=float, default=0.0, help="stop (resumable) after this long")
    p.set_defaults(run=_train)
    p = sub.add_parser("evaluate", help="measure checkpoints or a bundle on held-out heads, samples, real and painted scans")
    nets = p.add_mutually_exclusive_group(required=True)
    nets.add_argument("--runs", type=Path, help="folder of checkpoints")
    nets.add_argument("--bundle", type=Path, help="folder of a bundle, read through ONNX Runtime as shipped")
    p.add_argument("--phantoms", type=natural, default=0, help="how many held-out synthetic heads")
    p.add_argument("--wide", action="store_true", help="heads from ranges 12 %% wider at both ends than training draws from")
    p.add_argument("--mix", type=natural, default=0, help="how many held-out heads with a real-like mix of hemorrhages: the headline")
    p.add_argument("--bleeding", type=Path, action="append", default=[], help="folder of real heads with labelled blood; may repeat")
    p.add_argument("--point", choices=("balanced", "sensitive", "specific"), default="balanced", help="operating point of the bundle (default balanced)")
    p.add_argument("--samples", type=Path, help="folder of sample studies")
    p.add_argument("--scan", type=Path, action="append", default=[], help="real head without acute blood: series folder or NIfTI; may repeat")
    p.add_argument("--painted", type=natural, default=0, help="how often to paint hemorrhages into each --scan")
    p.add_argument("--calcified", type=natural, default=0, help="how many heads without blood, but with large calcifications")
    p.add_argument("--cache", type=Path, help="keeps rendered heads; rerun = continue (default: <out>/heads)")
    p.add_argument("--processes", type=positive, default=2, help="scans at a time (default 2)")
    p.add_argument("--out", type=Path, required=True, help="folder for evaluate.json and pictures")
    p.set_defaults(run=_evaluate)
    _add_ablate(sub)


def _add_ablate(sub) -> None:
    p = sub.add_parser("ablate", help="what beam hardening and rims in the synthetic heads are good for: each left out in turn",
                       description="Trains small networks on the same heads with one fault of the scanner left out at a time, and measures "
                                   "false hemorrhage on held-out heads that have all faults and on real heads. Run again to continue; the "
                                   "defaults take about half an hour of one core.")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--scan", type=Path, action="append", default=[], help="real head without acute blood: series folder or NIfTI; may repeat")
    p.add_argument("--bundle", type=Path, help="bundle whose cavity networks find the cavity of real heads; without it, what bone encloses")
    p.add_argument("--heads", type=positive, default=48, help="training heads (default 48)")
    p.add_argument("--visits", type=positive, default=8_000, help="slices each network sees (default 8000)")
    p.add_argument("--base", type=positive, default=8, help="base width of the networks (default 8)")
    p.add_argument("--phantoms", type=natural, default=18, help="held-out heads to measure on, a third of them normal (default 18)")
    p.add_argument("--repeats", type=positive, default=1, help="networks a row, each from another seed (default 1)")
    p.set_defaults(run=_ablate)


def _train(args) -> None:
    from ..heads.phantom.scanner import TISSUES
    from ..product.config import settings_for
    from ..product.train import train

    changes = {k: v for k, v in (("visits", args.visits), ("base_width", args.base), ("lr", args.lr)) if v}
    if args.no_rim:
        changes["rim"] = False
    if args.tissues and args.role == "bleed":
        changes["tissues"] = len(TISSUES)
    train(settings_for(args.role, **changes), args.cache, args.out, threads=args.threads, minutes=args.minutes, start=args.start,
          held_out=args.held_out)


def _evaluate(args) -> int:
    from ..datasets.volume import DataError
    from ..product.evaluate import Source, Wanted, evaluate, jobs_of
    from ..heads.heads import WIDEN

    wanted = Wanted(args.phantoms, WIDEN if args.wide else 0.0, args.samples, tuple(args.scan), args.painted, args.calcified, args.mix,
                    tuple(args.bleeding), args.cache)
    if args.samples and not any(args.samples.glob("*.zip")):
        raise DataError(args.samples, "holds no sample studies", "write them with `ich sample --out`")
    if args.painted and not args.scan:
        print("--painted: give the heads to paint into with --scan", file=sys.stderr)
        return 2
    if not jobs_of(wanted):
        print("nothing to measure: give --phantoms, --mix, --bleeding, --calcified, --samples or --scan", file=sys.stderr)
        return 2
    evaluate(Source(args.runs, args.bundle, args.point), wanted, args.out, args.processes)
    return 0


def _ablate(args) -> int:
    from ..product.ablate import Wanted, ablate, table

    wanted = Wanted(args.heads, args.visits, args.base, args.phantoms, args.repeats, tuple(args.scan), args.bundle)
    print(table(ablate(wanted, args.out, lambda text: print(text, flush=True))))
    return 0
