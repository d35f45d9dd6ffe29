"""Every hyper-parameter of the paper, in one place, as defaults. Numbers in brackets are its sections.

"code" marks what the paper leaves out and the authors' first release says; "ours" what neither says. Where both speak, the
paper wins. Nothing here is scaled down: the reductions of `reproduce --scale small` and `tiny` live in methods/scales.py.

The paper's own results (Tables 1 to 3) stand at the end, for the report.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SELF_SUPERVISED = ("context-restoration", "global-contrastive", "local-contrastive")  # [2.6.1] no labels
WEAKLY_SUPERVISED = ("binary", "multilabel-ce", "multilabel-dl")  # [2.6.2] slice labels
PRETEXTS = SELF_SUPERVISED + WEAKLY_SUPERVISED
BASELINES = ("ich-only", "ich-only-icm", "mixed", "mixed-icm")  # [2.5.3]
METHODS = BASELINES + PRETEXTS  # the rows of Table 3


@dataclass(frozen=True)
class Network:
    """The U-Net 2D, the same for all experiments [2.5.1]."""

    base: int = 32  # channels of the first block [2.5.1]
    factor: int = 1  # code: 1 for the baselines (7,765,409 parameters). The example of [2.5.1], 32 -> 32 -> 64, read to the letter is 2
    dropout: float = 0.5  # code: after each encoding block


@dataclass(frozen=True)
class Optimiser:
    """Adam with its default betas and an exponentially decayed rate, the same for every task [2.3.3, 2.5.3, 2.6.1, 2.6.2]."""

    lr: float = 1e-3
    decay: float = 0.96  # of the rate, at every epoch
    weight_decay: float = 1e-6  # L2


@dataclass(frozen=True)
class Augmentation:
    """Ranges, uniformly drawn; in this order [2.3.2]. The fill is the window's lower end (code)."""

    translate: float = 0.10  # of the side, each axis [2.3.2]
    rotate: float = 15.0  # degrees [2.3.2]
    scale: tuple[float, float] = (0.9, 1.1)  # [2.3.2]
    flip: float = 0.5  # probability [2.3.2]
    contrast: tuple[float, float] | None = None  # gain about the slice's mean
    brightness: tuple[float, float] | None = None  # gain
    blur: tuple[float, float] | None = None  # sigma of a Gaussian, pixels at 256 x 256
    chance: float = 0.5  # of each of the three above [2.6.1.2]
    crop: tuple[float, float] | None = None  # share of the area that is kept and resized
    ratio: tuple[float, float] = (0.8, 1.25)  # code: of the crop's sides


NO_AUGMENTATION = Augmentation(0.0, 0.0, (1.0, 1.0), 0.0)

GLOBAL_VIEWS = Augmentation(  # T_G [2.6.1.2]
    translate=0.15, rotate=90.0, scale=(0.8, 1.2), flip=0.5,
    contrast=(0.7, 1.3), blur=(0.1, 1.5), crop=(0.5, 1.0),  # code
    brightness=(0.7, 1.3))  # ours: as the contrast
LOCAL_VIEWS = Augmentation(  # T_L [2.6.1.3]: no flip, which would break the correspondence of regions
    translate=0.15, rotate=45.0, scale=(0.8, 1.2), flip=0.0,
    contrast=(0.7, 1.3), blur=(0.1, 1.5), crop=(0.7, 1.0),  # code
    brightness=(0.7, 1.3))  # ours


@dataclass(frozen=True)
class Segmentation:
    """The U-Net 2D on labelled slices, alone or after a pretext [2.5.2, 2.5.3]."""

    epochs: int
    batch: int
    folds: int
    alpha: float = 0.2  # weight of slices without hemorrhage, Eq. 5 [2.5.3]
    normal_per_ich: float = 2.0  # slices without hemorrhage a slice with, drawn once a fold [2.5.3]
    threshold: float = 0.5  # [2.5.2]
    smoothing: float = 1.0  # code: in Eq. 4, so that an empty slice that is found empty costs nothing
    augment: Augmentation = Augmentation()  # [2.3.2]
    bce_epochs: int = 0  # not in the paper: epochs at the start in which cross-entropy is added to the Dice loss


HSSAYENI = Segmentation(epochs=100, batch=16, folds=10)  # [2.5.2, 2.5.3]
SEG_CQ500 = Segmentation(epochs=40, batch=32, folds=5)  # [2.5.2, 2.5.3]


@dataclass(frozen=True)
class Restoration:
    """Context restoration [2.6.1.1]: the slice is to be made from itself with patches swapped, mean square error."""

    epochs: int = 50
    batch: int = 32
    swaps: int = 20
    patch: int = 20  # side, pixels at 256 x 256
    dropout: float = 0.5  # code
    augment: Augmentation = Augmentation()  # code, [2.3.2]


@dataclass(frozen=True)
class GlobalContrastive:
    """Encoder and projection head tell which of 2 N - 1 views shows the same slice, Eq. 6 [2.6.1.2]."""

    epochs: int = 50
    batch: int = 60  # slices; twice as many views
    temperature: float = 0.1
    head: tuple[int, ...] = (512, 128)  # after the encoder's 512
    dropout: float = 0.5  # code
    augment: Augmentation = GLOBAL_VIEWS


@dataclass(frozen=True)
class LocalContrastive:
    """Decoder on the frozen encoder of the global task, regions of one slice against each other, Eq. 7 [2.6.1.3]."""

    epochs: int = 50
    batch: int = 24
    temperature: float = 0.1
    blocks: int = 3  # decoding blocks before the head
    head: tuple[int, ...] = (128, 32)  # 1 x 1 convolutions after the 64 channels of the third block
    regions: int = 20
    region: int = 3  # side in cells of the feature map
    dropout: float = 0.5  # code
    augment: Augmentation = LOCAL_VIEWS


@dataclass(frozen=True)
class Classification:
    """Encoder, average pooling and MLP on slice labels [2.6.2]. The same settings for the three tasks."""

    epochs: int = 50
    batch: int = 64
    head: tuple[int, ...] = (1024, 256)  # then 2 classes (softmax) or 7 (sigmoid)
    dropout: float = 0.0  # code
    augment: Augmentation = Augmentation()  # [2.3.2]


@dataclass(frozen=True)
class Pretext:
    """The slices of the pretext tasks: every slice with hemorrhage and as many without [2.6]."""

    validation: int = 5_000  # slices held out [2.6]; ours: of patients that are not trained on
    window: tuple[float, float] = (-50.0, 150.0)  # [2.3.1]


@dataclass(frozen=True)
class CavityNet:
    """One of the two nets whose union is the intracranial cavity [2.3.3]. Dice loss, every slice weighs the same."""

    window: tuple[float, float]
    batch: int
    epochs: int = 50
    scans: int = 10  # half of them with hemorrhage
    smoothing: float = 1.0  # code: in Eq. 4
    dropout: float = 0.5  # code
    augment: Augmentation = Augmentation()  # code


TISSUE = CavityNet(window=(0.0, 600.0), batch=20)  # [2.3.3]
BONE = CavityNet(window=(150.0, 650.0), batch=16)  # [2.3.3]


@dataclass(frozen=True)
class Study:
    """All settings of a run of the ten methods. The defaults are the paper's."""

    scale: str = "paper"
    size: int = 256  # pixels a side [2.3.2]
    window: tuple[float, float] = (-50.0, 150.0)  # [2.3.1]
    network: Network = Network()
    optimiser: Optimiser = Optimiser()
    segmentation: dict[str, Segmentation] = field(default_factory=lambda: {"hssayeni": HSSAYENI, "seg-cq500": SEG_CQ500})
    other: Segmentation = HSSAYENI  # a set that the paper does not use
    pretext: Pretext = Pretext()
    restoration: Restoration = Restoration()
    global_contrastive: GlobalContrastive = GlobalContrastive()
    local_contrastive: LocalContrastive = LocalContrastive()
    classification: Classification = Classification()
    tissue: CavityNet = TISSUE
    bone: CavityNet = BONE
    cavity: str = "given"  # masks a set brings are used, the nets' union where it brings none; "trained": the union always [2.3.3]

    def segmentation_of(self, dataset: str) -> Segmentation:
        return self.segmentation.get(dataset, self.other)


# ---- What the paper reports ----

TITLES = {  # rows of Table 3
    "ich-only": "U-Net 2D ICH-only", "ich-only-icm": "U-Net 2D ICH-only + ICM",
    "mixed": "U-Net 2D mixed", "mixed-icm": "U-Net 2D mixed + ICM",
    "context-restoration": "Context restoration", "global-contrastive": "Global contrastive", "local-contrastive": "Local contrastive",
    "binary": "Binary classification",
    "multilabel-ce": "Multi-label classification (CE)", "multilabel-dl": "Multi-label classification (DL)",
}

METRICS = ("dice", "precision", "recall")  # over all volumes
ICH_METRICS = ("dice_ich", "precision_ich", "recall_ich")  # over the volumes with hemorrhage

_HSSAYENI = {  # mean, SD in percent: METRICS, then ICH_METRICS
    "ich-only": ((15.73, 25.22), (14.79, 24.13), (73.49, 35.85), (32.64, 27.92), (30.67, 27.05), (44.77, 32.96)),
    "ich-only-icm": ((18.51, 27.60), (19.22, 27.92), (73.49, 35.85), (38.31, 28.91), (39.78, 28.49), (44.77, 32.96)),
    "mixed": ((38.36, 39.43), (46.24, 41.56), (72.18, 36.54), (42.17, 29.60), (58.58, 31.13), (42.04, 32.04)),
    "mixed-icm": ((38.39, 39.43), (46.29, 41.56), (72.18, 36.54), (42.22, 29.62), (58.68, 31.09), (42.05, 32.05)),
    "context-restoration": ((47.17, 41.70), (56.36, 41.57), (72.87, 36.71), (44.36, 31.34), (63.51, 29.55), (43.47, 33.75)),
    "global-contrastive": ((60.41, 40.22), (68.48, 38.73), (73.34, 35.56), (44.98, 29.57), (61.78, 31.72), (44.45, 31.99)),
    "local-contrastive": ((58.62, 41.17), (69.31, 38.20), (73.37, 36.02), (45.42, 32.22), (67.71, 29.66), (44.53, 33.12)),
    "binary": ((56.00, 41.29), (61.34, 41.20), (76.14, 33.72), (48.32, 31.52), (59.44, 32.99), (50.29, 32.90)),
    "multilabel-ce": ((62.95, 39.63), (67.31, 38.95), (77.03, 32.32), (50.06, 30.77), (59.15, 32.08), (52.14, 31.35)),
    "multilabel-dl": ((63.85, 39.96), (69.33, 38.78), (76.45, 33.23), (49.50, 31.95), (60.92, 33.04), (50.95, 32.37)),
}
_SEG_CQ500 = {  # mean, SD in percent: METRICS; every volume has hemorrhage
    "ich-only": ((51.74, 29.78), (54.17, 29.25), (59.04, 31.93)),
    "ich-only-icm": ((53.74, 30.01), (57.13, 29.53), (59.03, 31.94)),
    "mixed": ((56.12, 31.95), (68.77, 28.49), (56.46, 32.90)),
    "mixed-icm": ((56.22, 31.89), (69.35, 27.68), (56.46, 32.90)),
    "context-restoration": ((56.97, 29.88), (64.77, 27.80), (59.76, 30.87)),
    "global-contrastive": ((58.26, 31.22), (82.50, 21.36), (53.44, 31.87)),
    "local-contrastive": ((56.27, 33.78), (79.44, 27.62), (51.32, 33.66)),
    "binary": ((61.19, 29.63), (78.52, 25.16), (59.14, 31.29)),
    "multilabel-ce": ((61.00, 30.53), (82.93, 20.73), (57.33, 31.74)),
    "multilabel-dl": ((63.23, 29.44), (79.77, 23.33), (59.64, 30.74)),
}

# PAPER_TABLE3[dataset][method][metric] = (mean, SD), percent; metrics METRICS and ICH_METRICS. Method order as METHODS.
PAPER_TABLE3: dict[str, dict[str, dict[str, tuple[float, float]]]] = {
    "hssayeni": {m: dict(zip(METRICS + ICH_METRICS, _HSSAYENI[m])) for m in METHODS},
    "seg-cq500": {m: dict(zip(METRICS + ICH_METRICS, _SEG_CQ500[m] * 2)) for m in METHODS},
}

PAPER_TABLE1 = {  # volumes and slices of the two sets
    "hssayeni": {"volumes": 75, "normal": 39, "ich": 36, "IPH": 16, "IVH": 5, "SAH": 7, "SDH": 4, "EDH": 21,
                 "slices": 2814, "normal_slices": 2496, "ich_slices": 318},
    "seg-cq500": {"volumes": 51, "normal": 0, "ich": 51, "IPH": 42, "IVH": 12, "SAH": 12, "SDH": 15, "EDH": 5,
                  "slices": 11175, "normal_slices": 7675, "ich_slices": 3500},
}

PAPER_TABLE2 = {  # what each method needs besides the segmentation labels
    **{m: "nothing" for m in BASELINES}, **{m: "unlabelled slices" for m in SELF_SUPERVISED},
    "binary": "binary slice labels", "multilabel-ce": "multi-label slice labels", "multilabel-dl": "multi-label slice labels",
}
