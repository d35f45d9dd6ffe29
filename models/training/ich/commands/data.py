"""data: what the public sets are, whether a folder holds one, and synthetic heads in their stead."""

from __future__ import annotations

import sys
from pathlib import Path

from . import natural, positive


def add(sub) -> None:
    p = sub.add_parser("data", help="data sets: list, check, make synthetic ones")
    parts = p.add_subparsers(dest="part", required=True, metavar="PART")
    p = parts.add_parser("list", help="the sets, where they come from, their licences, what they are for")
    p.add_argument("--json", action="store_true", help="for programs")
    p.set_defaults(run=_list)
    p = parts.add_parser("check", help="read a folder and say what is missing or wrong; exit code 1 when it cannot be used",
                         epilog="example: python -m ich data check ~/data/Seg-CQ500")
    p.add_argument("folder", type=Path)
    p.add_argument("--set", dest="name", help="name of the set, when the folder holds several")
    p.add_argument("--quick", action="store_true", help="list the volumes without reading their voxels")
    p.add_argument("--workers", type=positive, default=1, help="processes that read")
    p.add_argument("--cache", type=Path, help="folder for the index of RSNA and the subtypes of BHSD (default: the user's cache)")
    p.add_argument("--json", action="store_true", help="for programs")
    p.set_defaults(run=_check)
    p = parts.add_parser("synthetic", help="render synthetic heads as a data set; run again to continue")
    p.add_argument("--out", type=Path, required=True, help="folder")
    p.add_argument("--count", type=positive, default=24, help="heads (default 24)")
    p.add_argument("--first-seed", type=natural, help="heads of different seeds are different")
    p.add_argument("--size", type=positive, default=256, help="pixels a side (default 256)")
    p.add_argument("--slices", type=natural, default=0, help="only so many consecutive slices, at the blood where there is any; 0: the whole head")
    p.add_argument("--normal", type=float, default=0.25, help="share of heads without blood")
    p.add_argument("--workers", type=positive, default=1, help="processes that render")
    p.set_defaults(run=_synthetic)


def _list(args) -> None:
    import json
    from dataclasses import asdict

    from ..datasets import LOADERS

    if args.json:
        print(json.dumps({name: asdict(m.ABOUT) for name, m in LOADERS.items()}, indent=1))
        return
    for name, module in LOADERS.items():
        a = module.ABOUT
        size = f"{a.volumes} volumes" + (f", {a.bleeding} with hemorrhage" if a.bleeding else "") if a.volumes else ""
        lines = (("", a.title), ("volumes", size), ("from", a.source), ("licence", a.licence), ("for", a.use), ("holds", a.layout))
        print(name)
        print("".join(f"  {k:8s}{v}\n" for k, v in lines if v))


def _check(args) -> int:
    import json

    from ..datasets.check import check

    if args.name is not None:
        from ..datasets import LOADERS

        if args.name not in LOADERS:
            print(f"--set {args.name}: no such data set; choose one of {', '.join(LOADERS)}", file=sys.stderr)
            return 2
    report = check(args.folder, args.name, args.cache, args.quick, args.workers, progress=not args.json)
    if args.json:
        print(json.dumps(report.as_dict(), indent=1))
    else:
        print("\n".join(_lines(report, args.quick)))
    return 0 if report.usable else 1


def _lines(r, quick: bool) -> list[str]:
    """The report as text: facts, then one line for each problem and note."""
    out = []
    if r.dataset and r.volumes:
        of = f" of {r.published}" if r.published else ""
        out = [f"{r.dataset}: {r.title}", f"  licence     {r.licence}", f"  volumes     {r.volumes}{of}, {r.patients} patients"]
        if not quick:
            gaps = f", {r.gap_mm[0]:g} to {r.gap_mm[1]:g} mm apart" if r.gap_mm else ""
            out.append(f"  readable    {r.readable}, {r.slices} slices{gaps}")
        out.append(f"  hemorrhage  {r.bleeding} with, {r.not_bleeding} without, {r.unknown} unknown")
        out.append("  subtypes    " + "  ".join(f"{k} {n}" for k, n in r.types.items()))
        if not quick:
            blood = ", {} to {} mL, median {}".format(r.blood_ml[0], r.blood_ml[2], r.blood_ml[1]) if r.blood_ml else ""
            out.append(f"  masks       {r.masks} of blood{blood}; {r.cavities} of the cavity; {r.bleeding_slices} slices with blood")
    out += [f"problem: {p}" for p in r.problems] + [f"note: {n}" for n in r.notes]
    if r.usable:
        out.append("usable" + (" as far as listed; voxels were not read" if quick else ""))
    elif r.volumes:
        out.append(f"not usable as it is: {len(r.problems)} problem{'s' if len(r.problems) > 1 else ''}")
    return out


def _synthetic(args) -> int:
    from tqdm import tqdm

    from ..datasets import synthetic

    if not 16 <= args.size <= 1024 or not 0 <= args.normal <= 1:
        print("--size must be 16 to 1024, --normal 0 to 1", file=sys.stderr)
        return 2
    first = synthetic.FIRST_SEED if args.first_seed is None else args.first_seed
    settings = synthetic.Settings(args.count, first, args.size, args.slices, args.normal)
    synthetic.write(args.out, settings, lambda seeds: tqdm(seeds, desc="heads", unit="head", disable=None), args.workers)
    print(f"{args.count} heads in {args.out}")
    return 0
