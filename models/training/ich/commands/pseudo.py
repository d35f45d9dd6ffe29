"""pseudo: label a site's own scans with a network, review them, write training data."""

from __future__ import annotations

from pathlib import Path

from . import natural


def add(sub) -> None:
    p = sub.add_parser("pseudo", help="label your own scans with a bundle, review them, and write training data")
    step = p.add_subparsers(dest="step", required=True, metavar="STEP")
    q = step.add_parser("label", help="label scans; confident parts only")
    q.add_argument("--scan", type=Path, action="append", help="series folder or NIfTI; may repeat")
    q.add_argument("--bundle", type=Path, help="bundle of ichor's own kind that labels the scans")
    q.add_argument("--results", type=Path, help="results of `ichor analyze --all --scans`, of any bundle, nnU-Net too, in the place of --scan and --bundle")
    q.add_argument("--scans", type=Path, help="the folder that was analysed")
    q.add_argument("--out", type=Path, required=True, help="folder for labels and pictures")
    q.add_argument("--sure", type=float, default=0.85, help="least mean probability of a confident part (default 0.85)")
    q.add_argument("--min-ml", type=float, default=0.5, help="smaller parts are doubtful (default 0.5)")
    q.set_defaults(run=_label)
    q = step.add_parser("review", help="show each labelled scan on a local page for a yes or a no")
    q.add_argument("folder", type=Path, help="that label wrote")
    q.add_argument("--port", type=natural, default=8765, help="on 127.0.0.1 (default 8765)")
    q.set_defaults(run=_review)
    q = step.add_parser("write", help="write the accepted scans as training data")
    q.add_argument("folder", type=Path, help="that label wrote")
    q.add_argument("--cache", type=Path, help="cache of `ich train`")
    q.add_argument("--nnunet", type=Path, help="folder nnUNet_raw/DatasetNNN_Name")
    q.set_defaults(run=_write)


def _label(args) -> int:
    import sys

    from ..bundles.bring import SHIPPED
    from ..datasets.volume import DataError
    from ..product import pseudo
    from ..product.reader import Reader
    from ..product.scan import read_scan

    if bool(args.scan) == bool(args.results) or bool(args.results) != bool(args.scans):
        print("give --scan, or --results with --scans", file=sys.stderr)
        return 2
    if args.results:
        items = pseudo.of_results(args.results, args.scans, args.min_ml)
    else:
        from ..bundles import manifest

        bundle = args.bundle or SHIPPED
        if any("nnunet" in n for n in manifest.read(bundle)["networks"]):
            raise DataError(bundle, "a bundle of nnU-Net", "run `ichor analyze --all SCANS --bundle BUNDLE --out RESULTS`, and give --results RESULTS --scans SCANS")
        reader = Reader.of_bundle(bundle)
        items = ((str(path), pseudo.label(read_scan(path), reader, args.sure, args.min_ml)) for path in args.scan)
    for name, item in items:
        if isinstance(item, str):
            print(f"{name}: left out: {item}", file=sys.stderr)
            continue
        ml = pseudo.keep(args.out, item)
        shown = ", ".join(f"{k} {v:.1f} mL" for k, v in ml.items() if v and k != "total") or "no hemorrhage"
        print(f"{item.scan.name}: {shown}; doubtful {item.scan.ml(item.doubtful):.1f} mL", flush=True)
    print(f"now: python -m ich pseudo review {args.out}")
    return 0


def _review(args) -> int:
    from ..product.review import serve

    with serve(args.folder, args.port) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}/ (Ctrl-C ends)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
    return 0


def _write(args) -> int:
    import sys

    from ..product import pseudo

    if not (args.cache or args.nnunet):
        print("nothing to write: give --cache, --nnunet or both", file=sys.stderr)
        return 2
    accepted = pseudo.write(args.folder, args.cache, args.nnunet)
    print(f"{len(accepted)} scans: {', '.join(accepted)}")
    return 0
