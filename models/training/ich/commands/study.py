"""reproduce, pretrain, segment: the paper's ten methods, as one study or one at a time."""

from __future__ import annotations

import sys
from pathlib import Path

from . import natural, positive

TASKS = ("context-restoration", "global-contrastive", "local-contrastive", "binary", "multilabel-ce", "multilabel-dl")


def add(sub) -> None:
    p = sub.add_parser("reproduce", help="the whole study of the paper: ten methods, cross-validation, report; run again to continue",
                       epilog="example: python -m ich reproduce --data ~/data/ct-ich ~/data/Seg-CQ500 ~/data/rsna --out ~/study")
    p.add_argument("--data", type=Path, nargs="+", default=[], metavar="DIR", help="segmentation sets and the pretext set (default: synthetic heads)")
    p.add_argument("--pretext", type=Path, metavar="DIR", help="the pretext set, when it is not RSNA or CQ500")
    p.add_argument("--scale", choices=("paper", "small", "tiny"), default="paper", help="small: within an hour on two cores; tiny: a minute, for tests")
    p.add_argument("--methods", help="comma-separated rows of Table 3 (default: all ten)")
    p.add_argument("--seeds", type=positive, default=1, metavar="N", help="repeat everything with N seeds")
    p.add_argument("--processes", type=positive, help="steps at a time (default: one on a GPU, else one a core)")
    _machine(p)
    p.set_defaults(run=_reproduce)

    p = sub.add_parser("pretrain", help="one pretext on the slices of a set; run again to continue",
                       epilog="example: python -m ich pretrain --task multilabel-dl --data ~/data/rsna --out ~/runs/dl")
    p.add_argument("--task", choices=TASKS, required=True)
    p.add_argument("--data", type=Path, required=True, metavar="DIR")
    p.add_argument("--encoder", type=Path, metavar="NET", help="net.pt of global-contrastive, which local-contrastive begins with")
    _single(p)
    p.set_defaults(run=_pretrain)

    p = sub.add_parser("segment", help="train the U-Net on a labelled set: by cross-validation, or one net on all of it",
                       epilog="example: python -m ich segment --data ~/data/Seg-CQ500 --init ~/runs/dl/net.pt --out ~/runs/dl-cq500")
    p.add_argument("--data", type=Path, required=True, metavar="DIR")
    p.add_argument("--init", type=Path, metavar="NET", help="net.pt of a pretext")
    p.add_argument("--slices", choices=("mixed", "ich-only"), default="mixed", help="training slices without hemorrhage too, or not")
    p.add_argument("--folds", type=natural, help="folds of the cross-validation (default: the paper's; 0: one net on all volumes, not measured)")
    _single(p)
    p.set_defaults(run=_segment)


def _machine(p) -> None:
    p.add_argument("--out", type=Path, required=True, metavar="DIR")
    p.add_argument("--device", default="auto", help="auto (default: a GPU where there is one), cpu, cuda, cuda:1")
    p.add_argument("--workers", type=natural, help="processes that read slices (default: 0 on a CPU, up to 8 on a GPU)")


def _single(p) -> None:
    p.add_argument("--scale", choices=("paper", "small", "tiny"), default="paper", help="settings: the paper's, or reduced ones")
    p.add_argument("--seed", type=natural, default=0, help="of weights, order, folds and augmentation (default 0)")
    p.add_argument("--epochs", type=positive, help="in the place of the scale's")
    p.add_argument("--batch", type=positive, help="slices, in the place of the scale's")
    _machine(p)


def _reproduce(args) -> int:
    import os

    from ..loop import machine
    from ..paper.methods.scales import HEADS, SCALES
    from ..paper.methods.study import Wanted, reproduce
    from ..paper.paper import METHODS

    methods = tuple(dict.fromkeys((args.methods or ",".join(METHODS)).replace(" ", "").split(",")))
    if not set(methods) <= set(METHODS):
        return _usage(f"--methods {args.methods}: choose of {', '.join(METHODS)}")
    on = machine(args.device, args.workers)
    processes = args.processes or (1 if on.device != "cpu" else min(os.cpu_count() or 1, 8))
    ordered = tuple(m for m in METHODS if m in methods)
    print(reproduce(Wanted(args.data, args.out, SCALES[args.scale], HEADS[args.scale], args.pretext, ordered, args.seeds, processes), on, _say))
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


def _pretrain(args) -> int:
    from dataclasses import replace

    from ..datasets import detect
    from ..loop import machine, weights
    from ..paper.methods.scales import SCALES
    from ..paper.methods.sets import Source, tell_left_out
    from ..paper.methods.steps import pretrain

    if (args.encoder is None) == (args.task == "local-contrastive"):
        return _usage("--encoder: local-contrastive needs the net.pt of global-contrastive, no other task takes one")
    study, changes = SCALES[args.scale], _changes(args)
    fields = {"context-restoration": "restoration", "global-contrastive": "global_contrastive", "local-contrastive": "local_contrastive"}
    field = fields.get(args.task, "classification")
    study = replace(study, **{field: replace(getattr(study, field), **changes)})
    on = machine(args.device, args.workers)
    source = Source(detect(args.data), args.data, args.out / "slices", study.size, True, max(on.workers, 1))
    encoder = weights(args.encoder) if args.encoder else None
    tell_left_out(source.slices(study.pretext.window, True).store)
    pretrain(args.task, source, study, args.out, args.seed, on, True, encoder)
    print(args.out / "net.pt")
    return 0


def _segment(args) -> int:
    from dataclasses import replace

    from ..datasets import detect
    from ..loop import machine, weights
    from ..paper.methods.scales import SCALES
    from ..paper.methods.sets import Source, labelled, tell_left_out
    from ..paper.methods.steps import cross_validate, segment

    study, changes, on = SCALES[args.scale], _changes(args), machine(args.device, args.workers)
    part = labelled(Source(detect(args.data), args.data, args.out / "slices", study.size, False, max(on.workers, 1)), study.window, True)
    tell_left_out(part.data.store)
    if args.folds:
        changes["folds"] = args.folds
    study = replace(study, segmentation={part.name: replace(study.segmentation_of(part.name), **changes)})
    init = weights(args.init) if args.init else None
    if args.folds == 0:
        segment(args.slices, part, study, part.data.rows_of(part.usable), None, args.out, ("all", 0), args.seed, on, True, init)
        print(args.out / "net.pt")
        return 0
    print(cross_validate(args.slices, part, study, args.out, args.seed, on, init))
    return 0


def _changes(args) -> dict:
    return {k: v for k, v in (("epochs", args.epochs), ("batch", args.batch)) if v}


def _usage(line: str) -> int:
    print(line, file=sys.stderr)
    return 2
