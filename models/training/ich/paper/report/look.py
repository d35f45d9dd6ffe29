"""How figures look: 183 mm wide, as two columns of a journal; 7 to 8 pt; Okabe and Ito's colours, which differ for all eyes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import numpy as np

from ...files import whole
from ..paper import BASELINES, SELF_SUPERVISED, WEAKLY_SUPERVISED
from .experiment import title

WIDTH = 7.2  # inches
DPI = 200
BLACK, ORANGE, SKY, GREEN, BLUE, RED, PURPLE = "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"
GREY, PALE = "#7F7F7F", "#D9D9D9"
FAMILIES = {"no transfer": (BASELINES, GREY), "self-supervised": (SELF_SUPERVISED, SKY), "weakly supervised": (WEAKLY_SUPERVISED, ORANGE)}
SUBTYPE_COLOURS = {"IPH": RED, "IVH": BLUE, "SAH": GREEN, "SDH": PURPLE, "EDH": ORANGE, "total": BLACK}
RC = {
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 7, "axes.titlesize": 8, "axes.labelsize": 7, "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5, "legend.fontsize": 6.5, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.major.size": 2.5, "ytick.major.size": 2.5, "lines.linewidth": 1.1,
    "grid.linewidth": 0.4, "grid.color": "#E5E5E5", "axes.axisbelow": True, "legend.frameon": False, "figure.dpi": DPI, "svg.hashsalt": "ich",
}


def short(method: str) -> str:
    """Name of a method that fits beside an axis."""
    name = title(method).removeprefix("U-Net 2D ").replace(" classification", "")
    return name[:1].upper() + name[1:]


def colour(method: str) -> str:
    """Of the method's family."""
    return next((c for methods, c in FAMILIES.values() if method in methods), PURPLE)


@contextmanager
def canvas(rows: int, columns: int, height: float, width: float = WIDTH, **subplots) -> Iterator[tuple]:
    """Figure and array of axes, drawn without a display and closed at the end."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with matplotlib.rc_context(RC):
        figure, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False, layout="constrained", **subplots)
        try:
            yield figure, axes
        finally:
            plt.close(figure)


def save(figure, path: Path) -> Path:
    """PNG that appears whole; the same figure gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        figure.savefig(part, format="png", dpi=DPI, metadata={"Software": None})
    return path


def legend(figure, handles: list, columns: int | None = None) -> None:
    """Below everything."""
    figure.legend(handles=handles, loc="outside lower center", ncols=columns or len(handles), handlelength=1.4, columnspacing=1.6)


def patch(colour: str, label: str):
    from matplotlib.patches import Patch

    return Patch(facecolor=colour, edgecolor=BLACK, linewidth=0.4, label=label)


def line(colour: str, label: str, **style):
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, label=label, **style)


def signed_root(x):
    """Scale for millilitres and their differences: errors of volumes grow about as the root of the volume."""
    return np.sign(x) * np.sqrt(np.abs(x))


def root_axis(axis, low: float, high: float) -> None:
    """Gives an x or y axis the scale `signed_root`, limits and round ticks that do not touch each other."""
    which = axis.axis_name
    getattr(axis.axes, f"set_{which}scale")("function", functions=(signed_root, lambda y: np.sign(y) * np.square(y)))
    getattr(axis.axes, f"set_{which}lim")(low, high)
    ends, ticks = signed_root(np.array([low, high])), [0.0]
    for step in (m * 10.0**e for e in range(-3, 5) for m in (1, 2, 5)):
        if signed_root(step) - signed_root(ticks[-1]) > 0.13 * np.ptp(ends) and step <= max(high, -low):
            ticks.append(step)
    axis.set_ticks([t for t in {*ticks, *(-t for t in ticks)} if low <= t <= high])
    axis.set_major_formatter(lambda v, _: f"{v:g}".replace("-", "\N{MINUS SIGN}"))


def hide(axes) -> None:
    """Panels of a grid that nothing is drawn in."""
    for ax in axes:
        ax.set_axis_off()


