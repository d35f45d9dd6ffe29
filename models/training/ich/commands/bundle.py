"""export, decide, edge, quantize, bundle, card: from trained networks to the folder that `ichor` loads."""

from __future__ import annotations

from pathlib import Path

from . import natural, positive

EXAMPLE = """examples:
  python -m ich bundle --net net.onnx --name ours --data "CQ500, 491 heads" --window -50 150 --pixel-mm 0.9 --size 256 --out ours
  python -m ich bundle --net net.pt --arch unet --name paper --data "Hssayeni, fold 3" --activation sigmoid --out paper
  python -m ich bundle --net rsna.onnx --channels EDH,IPH,IVH,SAH,SDH,any --activation sigmoid --name rsna --data "RSNA 2019" --out rsna
  python -m ich bundle --nnunet nnUNet_results/Dataset150/nnUNetTrainer__nnUNetPlans__3d_fullres --classes 1=any --name bleed --data "our heads" --out bleed"""


def add(sub) -> None:
    p = sub.add_parser("export", help="write the bundle of our own networks")
    p.add_argument("--runs", type=Path, required=True, help="folder that train wrote")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--version", default="0.1.0")
    p.add_argument("--metrics", type=Path, help="JSON of evaluate; goes into manifest and card")
    p.add_argument("--others-from", type=Path, help="bundle whose networks stay as they are where there is no checkpoint")
    p.set_defaults(run=_export)

    p = sub.add_parser("quantize", help="add int8 networks to a bundle and measure what they change")
    p.add_argument("--bundle", type=Path, required=True)
    p.add_argument("--heads", type=positive, default=12, help="held-out synthetic heads to measure on")
    p.add_argument("--cache", type=Path, help="keeps rendered heads; that of evaluate will do")
    p.set_defaults(run=_quantize)

    p = sub.add_parser("card", help="write the model card of a bundle anew")
    p.add_argument("--bundle", type=Path, required=True)
    p.add_argument("--runs", type=Path, help="folder that train wrote: draws its learning curves")
    p.add_argument("--metrics", type=Path, help="JSON of evaluate; goes into manifest and card")
    p.set_defaults(run=_card)

    p = sub.add_parser("decide", help="fit what a bundle decides by: evidence for each clot and the operating points",
                       description="Reads held-out heads, fits the chance that a clot is blood, and writes it with three operating points into "
                                   "the manifest. Run it after export, before quantize and evaluate; run again = continue.")
    p.add_argument("--bundle", type=Path, required=True)
    p.add_argument("--cache", type=Path, required=True, help="keeps rendered heads and the networks' answers")
    p.add_argument("--heads", type=positive, default=90, help="held-out heads to fit on, a third of them without blood (default 90)")
    p.add_argument("--threshold", type=float, help="probability from which a voxel is marked (default: the manifest's)")
    p.set_defaults(run=_decide)

    p = sub.add_parser("edge", help="fit where a clot ends, on a few real heads with masks",
                       description="Chooses the share of the probability in the core of a clot that its voxels must reach, by the Dice of the named heads, "
                                   "and writes it and their names into the manifest: evaluate leaves them out of the figures that judge. Run it after decide.")
    p.add_argument("--bundle", type=Path, required=True)
    p.add_argument("--bleeding", type=Path, required=True, help="folder of real heads with labelled blood, as for evaluate")
    p.add_argument("--heads", nargs="+", required=True, metavar="NAME", help="heads of it to choose on")
    p.set_defaults(run=_edge)

    _add_bundle(sub)


def _add_bundle(sub) -> None:
    import argparse

    p = sub.add_parser("bundle", help="turn your own PyTorch, ONNX or nnU-Net network into a bundle", epilog=EXAMPLE,
                       formatter_class=argparse.RawDescriptionHelpFormatter)
    what = p.add_mutually_exclusive_group(required=True)
    what.add_argument("--net", type=Path, help="net.onnx, TorchScript, or a state_dict with --arch")
    what.add_argument("--nnunet", type=Path, metavar="FOLDER", help="result folder of nnU-Net v2: plans.json, dataset.json, fold_*/checkpoint_final.pth")
    p.add_argument("--name", required=True)
    p.add_argument("--data", required=True, help="what it was trained on, in a line; shown wherever the bundle is")
    p.add_argument("--out", type=Path, required=True, help="folder that does not exist yet")
    p.add_argument("--role", default="bleed", choices=("bleed", "cavity-tissue", "cavity-bone"))
    p.add_argument("--window", type=float, nargs=2, default=(-50.0, 150.0), metavar=("LOW", "HIGH"), help="HU that become 0 and 1 (default -50 150)")
    p.add_argument("--pixel-mm", type=float, default=0.0, help="pixel of the network, mm; 0 (default): the whole image is resized")
    p.add_argument("--size", type=positive, default=256, help="pixels a side, a multiple of 16 (default 256)")
    p.add_argument("--neighbours", type=natural, default=0, help="slices either side that are input channels too (default 0)")
    p.add_argument("--slab-mm", type=float, default=0.0, help="thin slices are averaged to this thickness; 0 (default): slices as they are")
    p.add_argument("--channels", default=None, help="what the outputs are, in order: any, background, IPH, IVH, SAH, SDH, EDH (default: any)")
    p.add_argument("--activation", default="none", choices=("none", "sigmoid", "softmax"), help="what turns the outputs into probabilities")
    p.add_argument("--arch", choices=("unet",), help="network of a state_dict: the paper's U-Net, its widths are read off the weights")
    p.add_argument("--threshold", type=float, default=0.5)
    p.add_argument("--min-ml", type=float, default=0.0, help="smaller connected parts are dropped (at most 5)")
    p.add_argument("--sure", type=float, default=0.0, help="probability that so much of a connected part must reach (default: the threshold)")
    p.add_argument("--opening-mm", type=float, default=0.0, help="radius of an opening along the border of the cavity; it drops thin layers of any volume")
    p.add_argument("--rim-mm", type=float, default=0.0, help="how far inside the border it acts")
    p.add_argument("--subtype-per", default="voxel", choices=("voxel", "component", "extra-axial"))
    p.add_argument("--cavity-from", "--others-from", type=Path, dest="others", help="bundle of the other networks (default: the one that comes with ichor)")
    p.add_argument("--version", default="1.0.0")
    p.add_argument("--licence", default="not stated")
    p.add_argument("--description", default="")
    p.add_argument("--commit", default="unknown", help="of the code that trained it")
    p.add_argument("--limit", action="append", default=[], help="what it is known not to do; may repeat")
    p.add_argument("--metrics", type=Path, help="JSON of evaluate")
    n = p.add_argument_group("nnU-Net")
    n.add_argument("--classes", help="what each class is: 1=IPH,2=IVH, 1=any, - for what is not blood (default: by the names of the labels)")
    n.add_argument("--folds", help="folds to average, as 0,1,2 (default: all that were trained)")
    n.add_argument("--checkpoint", help="file in each fold (default: checkpoint_final.pth, else checkpoint_best.pth)")
    n.add_argument("--configuration", help="refuse checkpoints of another one")
    n.add_argument("--no-mirroring", action="store_true", help="one run a patch: four to eight times as fast, slightly less accurate")
    n.add_argument("--orientation", help="where columns, rows and slices of the training images rise to: LPS (default, as DICOM), LAS, RPS or RAS")
    n.add_argument("--subtypes-from", type=Path, metavar="BUNDLE", help="bundle whose bleed network names the subtypes of what nnU-Net finds")
    p.set_defaults(run=_bundle)


def _export(args) -> None:
    from ..bundles.export import export

    print(export(args.runs, args.out, args.version, args.metrics, others=args.others_from))


def _quantize(args) -> int:
    import os

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from ..bundles.quantize import quantize

    print(quantize(args.bundle, args.heads, args.cache))
    return 0


def _decide(args) -> None:
    from ..bundles.decide import decide

    decide(args.bundle, args.cache, args.heads, args.threshold, lambda text: print(text, flush=True))


def _edge(args) -> None:
    from ..bundles.edge import fit

    fit(args.bundle, args.bleeding, args.heads, lambda text: print(text, flush=True))


def _card(args) -> None:
    from ..bundles import card, curve
    from ..product.config import ROLES

    if args.metrics:
        from ..bundles.export import record

        record(args.bundle, args.metrics)
    if args.runs:
        curve.draw([args.runs / f"{role}.csv" for role in ROLES], args.bundle)
    print(card.write(args.bundle))


def _bundle(args) -> None:
    from ..bundles.bring import SHIPPED, Wish, bring
    from ..product.config import Post

    if args.nnunet:
        return _nnunet(args)
    channels = args.channels or ("any" if args.role == "bleed" else "cavity")
    post = Post(args.threshold, args.min_ml, args.sure, args.opening_mm, args.rim_mm, args.subtype_per)
    wish = Wish(net=args.net, name=args.name, data=args.data, role=args.role, window_hu=tuple(args.window), pixel_mm=args.pixel_mm, size=args.size,
                neighbours=args.neighbours, slab_mm=args.slab_mm, channels=tuple(c.strip() for c in channels.split(",")), activation=args.activation,
                arch=args.arch, post=post, version=args.version, licence=args.licence, description=args.description, commit=args.commit,
                limits=tuple(args.limit), metrics=args.metrics, others=args.others or SHIPPED)
    path = bring(wish, args.out)
    print(f"{path}\nnow: ichor models verify {args.out}, and ichor analyze --bundle {args.out} on heads that you know")


def _nnunet(args) -> None:
    from ..bundles.bring import SHIPPED
    from ..bundles.nnunet.bundle import Wish, bring
    from ..product.config import Post

    post = Post(args.threshold, args.min_ml, args.sure, args.opening_mm, args.rim_mm, args.subtype_per)
    wish = Wish(folder=args.nnunet, name=args.name, data=args.data, classes=args.classes, configuration=args.configuration,
                folds=tuple(f.strip() for f in args.folds.split(",")) if args.folds else None, checkpoint=args.checkpoint,
                mirror=not args.no_mirroring, orientation=args.orientation, post=post, version=args.version, licence=args.licence,
                description=args.description, limits=tuple(args.limit), others=args.others or SHIPPED, subtypes=args.subtypes_from)
    path = bring(wish, args.out)
    print(f"{path}\nnow: ichor models verify {args.out}, and ichor analyze --bundle {args.out} on heads that you know")
