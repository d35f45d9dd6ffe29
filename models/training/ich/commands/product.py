"""train, evaluate: the networks of the shipped bundle."""

from __future__ import annotations

from pathlib import Path


def add(sub) -> None:
    p = sub.add_parser("train", help="train one network of the bundle; continues from its checkpoint")
    p.add_argument("--role", required=True, choices=("cavity-tissue", "cavity-bone", "bleed"))
    p.add_argument("--cache", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--visits", type=int)
    p.add_argument("--base", type=int)
    p.add_argument("--lr", type=float, help="peak learning rate")
    p.add_argument("--no-rim", action="store_true", help="no rim along bone as augmentation, for ablation")
    p.add_argument("--from", dest="start", type=Path, metavar="ONNX", help="begin with an exported network, e.g. of the shipped bundle")
    p.add_argument("--held-out", type=Path, help="folder of phantoms that are never trained on; their Dice goes into the log")
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--minutes", type=float, default=0.0, help="stop (resumable) after this long")
    p.set_defaults(run=_train)
    p = sub.add_parser("evaluate", help="measure checkpoints or a bundle on held-out heads, samples, real and painted scans")
    nets = p.add_mutually_exclusive_group(required=True)
    nets.add_argument("--runs", type=Path, help="folder of checkpoints")
    nets.add_argument("--bundle", type=Path, help="folder of a bundle, read through ONNX Runtime as shipped")
    p.add_argument("--phantoms", type=int, default=0, help="how many held-out synthetic heads")
    p.add_argument("--wide", action="store_true", help="heads from ranges 12 %% wider at both ends than training draws from")
    p.add_argument("--samples", type=Path, help="folder of sample studies")
    p.add_argument("--scan", type=Path, action="append", default=[], help="real head without acute blood: series folder or NIfTI; may repeat")
    p.add_argument("--painted", type=int, default=0, help="how often to paint hemorrhages into each --scan")
    p.add_argument("--cache", type=Path, help="keeps rendered heads; rerun = continue (default: <out>/heads)")
    p.add_argument("--processes", type=int, default=2)
    p.add_argument("--out", type=Path, required=True)
    p.set_defaults(run=_evaluate)


def _train(args) -> None:
    from ..config import settings_for
    from ..train import train

    changes = {k: v for k, v in (("visits", args.visits), ("base_width", args.base), ("lr", args.lr)) if v}
    if args.no_rim:
        changes["rim"] = False
    train(settings_for(args.role, **changes), args.cache, args.out, threads=args.threads, minutes=args.minutes, start=args.start,
          held_out=args.held_out)


def _evaluate(args) -> None:
    from ..evaluate import Source, Wanted, evaluate
    from ..heads import WIDEN

    wanted = Wanted(args.phantoms, WIDEN if args.wide else 0.0, args.samples, tuple(args.scan), args.painted, args.cache)
    evaluate(Source(args.runs, args.bundle), wanted, args.out, args.processes)
