"""The learning curve of a bundle as a picture."""

from __future__ import annotations

import csv
from pathlib import Path

FILE = "curve.png"
MOST_BYTES = 100_000


def draw(logs: list[Path], bundle: Path) -> Path | None:
    """Loss and, where it was logged, held-out Dice of <role>.csv files of training as one small picture; None where there is nothing to draw."""
    series = {}
    for log in logs:
        if log.is_file():
            with log.open(newline="") as f:
                series[log.stem] = list(csv.DictReader(f))
    series = {k: rows for k, rows in series.items() if len(rows) > 1}
    if not series:
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    losses = {role: _points(rows, "loss") for role, rows in series.items()}
    dices = {f"{role} {name.removeprefix('dice_')}".replace("bleed ", ""): points for role, rows in series.items() for name in rows[0]
             if name and name.startswith("dice_") and (points := _points(rows, name))[0]}
    panels = [("loss", losses)] + ([("Dice on held-out heads", dices)] if dices else [])  # training without --held-out has no Dice
    figure = Figure(figsize=(4.5 * len(panels), 3.2), layout="constrained")
    shown = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (label, lines) in zip(shown, panels):
        for name, line in lines.items():
            axes.plot(*line, label=name, linewidth=1, marker="." if len(line[0]) < 10 else None)
        axes.set(xlabel="slices seen", ylabel=label)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, ncols=2)
    shown[0].set_yscale("log")
    path = Path(bundle) / FILE
    for dpi in (110, 80, 50):
        FigureCanvasAgg(figure).figure.savefig(path, dpi=dpi, metadata={"Software": None})
        if path.stat().st_size <= MOST_BYTES:
            break
    return path


def _points(rows: list[dict], key: str) -> tuple[list[float], list[float]]:
    pairs = [(float(r["visits"]), float(r[key])) for r in rows if r.get(key) and r.get("visits")]
    return [p[0] for p in pairs], [p[1] for p in pairs]
