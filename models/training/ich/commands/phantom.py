"""phantom, montage, sample: synthetic heads."""

from __future__ import annotations

from pathlib import Path


def add(sub) -> None:
    p = sub.add_parser("phantom", help="render training phantoms into a cache folder")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--seeds", type=int, nargs=2, default=(0, 1200), metavar=("FROM", "TO"))
    p.add_argument("--without", nargs="+", default=(), choices=("hardening", "rim"), help="leave out a fault of the scanner, for ablation")
    p.set_defaults(run=_phantom)
    p = sub.add_parser("montage", help="PNG of one phantom with its label")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--out", type=Path, required=True)
    p.set_defaults(run=_montage)
    p = sub.add_parser("sample", help="write the sample studies")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--name", action="append")
    p.set_defaults(run=_sample)


def _phantom(args) -> None:
    from ..data import write_phantoms

    write_phantoms(args.out, range(*args.seeds), tuple(args.without))


def _montage(args) -> None:
    from ..montage import montage, save
    from ..phantom.study import generate

    ph = generate(args.seed)
    save(args.out, montage(ph.hu, ph.label))


def _sample(args) -> None:
    from ..phantom.sample import write_samples

    write_samples(args.out, args.name)
