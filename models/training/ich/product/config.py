"""All settings of a training run in one place; saved with every checkpoint and in the bundle."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .evidence import Evidence

SUBTYPES = ("IPH", "IVH", "SAH", "SDH", "EDH")
ROLES = ("cavity-tissue", "cavity-bone", "bleed")


@dataclass(frozen=True)
class Settings:
    """Settings of one network."""

    role: str = "bleed"
    window_hu: tuple[float, float] = (-50.0, 150.0)  # paper 2.3.1; cavity nets: 2.3.3
    size: int = 256  # 256 mm at 1 mm: holds any head; divisible by 16 for the four poolings
    train_size: int = 160  # crop of 160 mm seen in training: the net is convolutional, air around the head teaches nothing
    pixel_mm: float = 1.0  # at 1.5 mm a subdural of 2 mm is one pixel of bone, blood and brain
    neighbours: int = 1  # one slice either side tells a calcification or a rim from blood
    slab_mm: float = 5.0  # thin slices are averaged to what the net was trained on (3 to 6 mm)
    base_width: int = 16  # the paper's 32 needs a GPU; halving it cost little on phantoms
    outputs: tuple[str, ...] = ("any", *SUBTYPES)
    batch: int = 16
    visits: int = 200_000  # training slices seen, the measure of effort that does not depend on epochs
    lr: float = 2e-3  # AdamW with cosine decay: learns in a tenth of the steps of the paper's Adam 1e-3
    weight_decay: float = 1e-4
    warmup: int = 100  # steps
    clip_norm: float = 1.0
    ema: float = 0.995  # averaged weights, about 200 steps: false rims swing from step to step; 0.998 lags behind
    amp: bool = True  # bfloat16 on CPUs that have it: 1.6 times faster; elsewhere it is emulated, ten times slower, and not used
    rim: bool = True  # a bright rim along bone as augmentation
    positive_share: float = 0.6  # of slices with blood in a batch; the rest teach restraint
    subtype_share: tuple[float, ...] = (1.0, 1.0, 2.0, 2.5, 1.0)  # how often slices of a subtype are drawn: thin layers learn last
    tissues: int = 0  # classes of healthy tissue that the net names while it trains (`scanner.TISSUES`); the bundle has none of them
    seed: int = 20261123

    @property
    def channels(self) -> int:
        return 2 * self.neighbours + 1

    def as_dict(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class Post:
    """Post-processing of the bleed net; goes into the manifest.

    Chosen on 24 held-out phantoms that are not among those the model card reports, and looking at two real heads: 1 mL of blood
    at 0.75 is the least at which nothing is left of the specks on heads without any; a connected collection of subdural and
    epidural voxels is one lesion; naming whole components swallows an IVH that touches an IPH; opening near the rim cost thin
    subdurals.
    """

    threshold: float = 0.5
    min_component_ml: float = 1.0
    sure_threshold: float = 0.75  # so much of a component below 5 mL must reach it: specks are as large as small bleeds, but hardly sure anywhere
    opening_mm: float = 0.0
    rim_mm: float = 0.0
    subtype_per: str = "extra-axial"  # or "voxel", "component", "anatomy" (naming.py)
    evidence: Evidence | None = None  # decides in the place of sure_threshold
    operating_point: str = "balanced"  # of the evidence; no part of the manifest's rules, but a choice of who runs it
    edge: float = 0.0  # share of the probability in the core of a clot that IPH and IVH in it must reach; 0: the threshold is enough


SHIPPED = Post(subtype_per="anatomy")


def settings_for(role: str, **changes) -> Settings:
    """The shipped recipe of a role."""
    if role == "bleed":
        base = {}
    else:
        low, high = {"cavity-tissue": (0.0, 600.0), "cavity-bone": (150.0, 650.0)}[role]
        base = dict(role=role, window_hu=(low, high), neighbours=0, base_width=8, outputs=("cavity",))
        base |= dict(visits=8_000, positive_share=0.0, size=160, train_size=160, pixel_mm=1.5)
    return Settings(**{**base, **changes})


def settings_from(saved: dict) -> Settings:
    """Settings of a checkpoint; lists become tuples again."""
    saved = {"train_size": saved["size"], **saved}  # checkpoints from before there was one
    known = {f.name for f in fields(Settings)}
    return Settings(**{k: tuple(v) if isinstance(v, list) else v for k, v in saved.items() if k in known})
