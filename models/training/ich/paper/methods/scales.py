"""What the reduced runs change of the paper's settings: nothing else is different from `--scale paper`.

small   all ten methods on synthetic heads on two cores within an hour: that the study runs from end to end
tiny    the same in a minute: the tests
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..paper import BONE, HSSAYENI, TISSUE, Classification, GlobalContrastive, LocalContrastive, Network, Pretext, Restoration, Study


@dataclass(frozen=True)
class Heads:
    """Synthetic heads in the place of the data sets."""

    labelled: int  # volumes of the segmentation set
    normal: float  # share of them without hemorrhage
    pretext: int  # volumes of the pretext set
    slices: int  # of a volume, consecutive
    pretext_slices: int


PAPER = Study()

SMALL = Study(
    scale="small", size=64, network=Network(base=8, dropout=0.0),
    other=replace(HSSAYENI, epochs=16, folds=3, bce_epochs=6), segmentation={},
    pretext=Pretext(validation=300),
    restoration=Restoration(epochs=10, dropout=0.0),
    global_contrastive=GlobalContrastive(epochs=10, dropout=0.0),
    local_contrastive=LocalContrastive(epochs=6, dropout=0.0),
    classification=Classification(epochs=10),
    tissue=replace(TISSUE, epochs=15, dropout=0.0), bone=replace(BONE, epochs=15, dropout=0.0), cavity="trained",
)
SMALL_HEADS = Heads(labelled=75, normal=0.4, pretext=240, slices=12, pretext_slices=10)

TINY = Study(
    scale="tiny", size=32, network=Network(base=4, dropout=0.0),
    other=replace(HSSAYENI, epochs=2, folds=2, bce_epochs=1), segmentation={},
    pretext=Pretext(validation=8),
    restoration=Restoration(epochs=1, swaps=4, dropout=0.0),
    global_contrastive=GlobalContrastive(epochs=1, batch=8, dropout=0.0),
    local_contrastive=LocalContrastive(epochs=1, batch=8, dropout=0.0),
    classification=Classification(epochs=1, batch=8),
    tissue=replace(TISSUE, epochs=4, scans=4, batch=4, dropout=0.0), bone=replace(BONE, epochs=4, scans=4, batch=4, dropout=0.0), cavity="trained",
)
TINY_HEADS = Heads(labelled=8, normal=0.25, pretext=10, slices=5, pretext_slices=5)

SCALES: dict[str, Study] = {"paper": PAPER, "small": SMALL, "tiny": TINY}
HEADS: dict[str, Heads | None] = {"paper": None, "small": SMALL_HEADS, "tiny": TINY_HEADS}
