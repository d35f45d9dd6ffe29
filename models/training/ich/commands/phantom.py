"""phantom, montage, sample: synthetic heads."""

from __future__ import annotations

import sys
from pathlib import Path

from . import natural, positive


def add(sub) -> None:
    p = sub.add_parser("phantom", help="render training phantoms into a cache folder")
    what = p.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, help="cache folder")
    what.add_argument("--statistics", type=positive, metavar="N", help="render N heads that bleed and print density, size and number of their hemorrhages beside those of real ones")
    p.add_argument("--picture", type=Path, help="of the statistics: PNG to write")
    p.add_argument("--processes", type=positive, default=2, help="heads at a time, for the statistics (default 2)")
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

    if args.statistics:
        return _statistics(args)
    seeds = range(*args.seeds)
    if not seeds:
        print(f"--seeds {args.seeds[0]} {args.seeds[1]}: TO must be above FROM", file=sys.stderr)
        return 2
    write_phantoms(args.out, tqdm(seeds, desc="phantoms", unit="head", mininterval=5), tuple(args.without))
    return 0


def _statistics(args) -> int:
    from multiprocessing import get_context

    from tqdm import tqdm

    from ..product.data import HELD_OUT
    from ..heads.phantom import statistics

    first = HELD_OUT + 900_000
    seeds, bar = range(first, first + args.statistics), dict(total=args.statistics, desc="heads", unit="head", mininterval=5)
    if args.processes == 1:
        heads = [statistics.head(seed) for seed in tqdm(seeds, **bar)]
    else:
        with get_context("spawn").Pool(args.processes) as pool:
            heads = list(tqdm(pool.imap(statistics.head, seeds), **bar))
    print(statistics.text(statistics.compare(heads)))
    if args.picture:
        statistics.picture(heads, args.picture)
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
