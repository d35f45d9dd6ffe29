"""paint: hemorrhages painted into real heads without labels."""

from __future__ import annotations

from pathlib import Path

from . import natural, positive


def add(sub) -> None:
    p = sub.add_parser("paint", help="paint hemorrhages into real normal heads, for training or evaluation",
                       description="Paints hemorrhages into real heads without labels. --out writes volumes and pictures to look at, "
                                   "--cache adds them to a cache that `ich train --cache` reads beside phantoms.")
    p.add_argument("--scan", type=Path, action="append", required=True, help="normal head: series folder or NIfTI; may repeat")
    p.add_argument("--out", type=Path, help="folder for <scan>-<seed>.npz (hu, label, spacing, positions) and .png")
    p.add_argument("--cache", type=Path, help="training cache to add to")
    p.add_argument("--seed", type=natural, default=0, help="of the first painting (default 0)")
    p.add_argument("--count", type=positive, default=1, help="paintings of each scan, from --seed on")
    p.add_argument("--type", choices=("IPH", "IVH", "SAH", "SDH", "EDH"), help="paint this subtype; without it, subtypes that come together in real heads")
    p.add_argument("--ml", type=float, help="millilitres of --type")
    p.add_argument("--bundle", type=Path, help="bundle whose cavity networks find the cavity; without it, what bone encloses")
    p.set_defaults(run=_paint)


def _paint(args) -> int:
    import numpy as np

    from ..heads import heads
    from ..datasets.volume import DataError
    from ..product.montage import compare, save
    from ..heads.paint import painting, wish, write_cache
    from ..product.reader import Reader
    from ..heads.room import bone_cavity, enter
    from ..product.scan import read_scan, volumes

    if not (args.out or args.cache):
        print("nothing to write: give --out, --cache or both")
        return 2
    if args.ml is not None and not (args.type and 0.3 <= args.ml <= 100):
        print("--ml needs --type, and 0.3 to 100 mL")
        return 2
    try:
        cavity_of = Reader.of_bundle(args.bundle).cavity if args.bundle else bone_cavity
        for path in args.scan:
            scan = read_scan(path)
            room = enter(scan, cavity_of(scan))
            for seed in range(args.seed, args.seed + args.count):
                wishes = (wish(np.random.default_rng((seed, 0)), args.type, args.ml),) if args.type else None
                painted = painting(room, seed, wishes)
                shown = ", ".join(f"{k} {v:.1f} mL" for k, v in volumes(painted.label, painted).items() if v and k != "total")
                print(f"{painted.name}: {shown}", flush=True)
                if args.out:
                    heads.save(args.out / f"{painted.name}.npz", painted)
                    save(args.out / f"{painted.name}.png", compare(painted, painted.label))
                if args.cache:
                    write_cache(args.cache, painted)
    except DataError as err:
        print(err)
        return 1
    return 0
