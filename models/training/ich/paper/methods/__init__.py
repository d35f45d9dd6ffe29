"""The ten rows of Table 3: pretexts, transfer, segmentation, cross-validation. Read study.py first, then fit.py.

    study.py           the whole study, step after step           commands/study.py declares its commands
    fit.py             training, the same for every task           scales.py   what small and tiny runs change
    restoration.py     contrastive.py     classification.py       the pretexts of section 2.6
    segmentation.py    the U-Net 2D of sections 2.5.2 and 2.5.3   cavity.py   the two nets of section 2.3.3
    losses.py          the Dice loss, Eq. 4 and 5                 nets.py     encoder, heads, transfer
    augment.py  folds.py  slices.py  score.py                     deviations.py  where a run is not the paper, or the paper is silent
"""
