"""What came out of an experiment, written so that a scientist can judge it.

    experiment.py  the folder, read and checked        metrics.py   Dice, precision, recall (2.4)      stats.py    which differences are chance
    table.py       Table 3 beside the paper's          figures.py   Figures 3 to 5, learning curves    findings.py claims, ranking, caveats
    volumes.py     millilitres of the ten methods      document.py  report.md                          look.py     how figures look

    clinical.py    volumes as clinicians judge them, of any net with truth; agreement.py, calibration.py, conformal.py count for it,
                   clinical_figures.py draws it
"""

from __future__ import annotations

from pathlib import Path


def write(folder: Path) -> Path:
    """Reads volumes.csv, methods.json, logs and embeddings of an experiment's folder; writes report.md, table.csv, pairs.csv and figures/
    beside them and returns the path of report.md. Raises DataError for what is missing or damaged."""
    from . import document  # matplotlib and scikit-learn: only when there is something to write

    return document.write(Path(folder))
