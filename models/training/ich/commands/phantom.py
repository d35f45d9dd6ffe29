"""phantom, montage, sample: synthetic heads."""

from __future__ import annotations

import sys
from pathlib import Path

from . import natural


def add(sub) -> None:
    p = sub.add_parser("phantom", help="render training phantoms into a cache folder")
    p.add_argument("--out", type=Path, required=True, help="cache folder")
    p.add_argument("--seeds", type=natural, nargs=2, default=(0, 1200), metavar=("FROM", "TO"), help="one head a seed, TO not included (default 0 1200); those that are there stay")
    p.add_argument("--without", nargs="+", default=(), choices=("hardening", "rim"), help="leave out a fault of the scanner, for ablation")
    p.set_defaults(run=_phantom)
    p = sub.add_parser("montage", help="PNG of one phantom with its label")
    p.add_argument("--seed", type=natural, default=1, help="of the phantom (default 1)")
    p.add_argument("--out", type=Path, required=True, help="picture to write")
    p.set_defaults(run=_montage)
    p = sub.add_parser("sample", help="write the sample studies")
    p.add_argument("--out", type=Path, required=True, help="folder")
    p.add_argument("--name", action="append", help="only this one, e.g. mixed; may repeat")
    p.set_defaults(run=_sample)


def _phantom(args) -> int:
    from tqdm import tqdm

    from ..product.data import write_phantoms

    seeds = range(*args.seeds)
    if not seeds:
        print(f"--seeds {args.seeds[0]} {args.seeds[1]}: TO must be above FROM", file=sys.stderr)
        return 2
    write_phantoms(args.out, tqdm(seeds, desc="phantoms", unit="head", mininterval=5), tuple(args.without))
    return 0


def _montage(args) -> None:
    from ..product.montage import montage, save
    from ..heads.phantom.study import generate

    ph = generate(args.seed)
    save(args.out, montage(ph.hu, ph.label))


def _sample(args) -> int:
    from ..heads.phantom.sample import SAMPLES, write_samples
    from ..heads.phantom.study import one_thread

    known = [s.name for s in SAMPLES]
    if unknown := sorted(set(args.name or ()) - set(known)):
        print(f"--name {unknown[0]}: choose of {', '.join(known)}", file=sys.stderr)
        return 2

    one_thread(write_samples)(args.out, args.name)  # byte for byte on every machine
    return 0
