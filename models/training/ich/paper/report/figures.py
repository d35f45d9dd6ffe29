"""Figures 3 to 5 of the paper, and the learning curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...product.config import SUBTYPES
from ..paper import METRICS, PRETEXTS
from . import look
from .experiment import Experiment, Part, pretext_rows
from .metrics import NAMES
from .stats import Pair, find

T_SNE_SEED = 0
T_SNE_MOST = 5_000  # slices, the paper's number
NEIGHBOURS = 15  # of `separation`
STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
LEVELS = ((0.001, "#08306B"), (0.01, "#2171B5"), (0.05, "#6BAED6"), (0.1, "#DEEBF7"), (1.01, "#F7F7F7"))  # p below, colour


def boxplots(e: Experiment, dataset: str, path: Path) -> Path:
    """Figure 3: volume Dice of the volumes with hemorrhage, all of them and by subtype. A volume with two subtypes is in both."""
    part = Part(dataset, True)
    values = e.values(part, "dice")
    types = {r.volume: r.types for r in e.select(part)}
    panels = {"All ICH": list(types)} | {k: [v for v in types if k in types[v]] for k in SUBTYPES}
    methods = e.methods(dataset)
    jitter = np.random.default_rng(0)
    with look.canvas(2, 3, max(0.55 + 0.42 * len(methods), 2.4), sharex=True, sharey=True) as (figure, axes):
        for ax, (name, volumes) in zip(axes.flat, panels.items()):
            ax.set_title(f"{name} (n = {len(volumes)})")
            ax.grid(axis="x")
            for y, m in enumerate(methods):
                d = np.array([100 * values[m][v] for v in volumes if v in values[m]])
                if not len(d):
                    continue
                if len(d) >= 5:  # fewer points need no box
                    ax.boxplot(d, positions=[y], orientation="horizontal", widths=0.62, whis=1.5, showfliers=False, patch_artist=True, showmeans=True,
                               boxprops={"facecolor": look.colour(m), "linewidth": 0.5, "alpha": 0.75}, whiskerprops={"linewidth": 0.5},
                               capprops={"linewidth": 0.5}, medianprops={"color": look.BLACK, "linewidth": 1.1}, manage_ticks=False,
                               meanprops={"marker": "D", "markersize": 2.6, "markerfacecolor": "white", "markeredgecolor": look.BLACK, "markeredgewidth": 0.5})
                ax.plot(d, y + jitter.uniform(-0.22, 0.22, len(d)), ".", color=look.BLACK, alpha=0.6, markersize=2.8, markeredgewidth=0)
            ax.set_xlim(-3, 103)
        axes[0, 0].set_yticks(range(len(methods)), [look.short(m) for m in methods])
        axes[0, 0].set_ylim(len(methods) - 0.4, -0.6)
        for ax in axes[-1]:
            ax.set_xlabel("volume Dice [%]")
        there = [(name, c) for name, (family, c) in look.FAMILIES.items() if set(family) & set(methods)]
        look.legend(figure, [look.patch(c, name) for name, c in there] + [look.line(look.BLACK, "mean", marker="D", markerfacecolor="white", linestyle="",
                    markersize=3.5, markeredgewidth=0.6), look.line(look.BLACK, "a volume", marker=".", linestyle="", markersize=3)])
        return look.save(figure, path)


def heat_maps(parts: list[Part], compared: dict[tuple[Part, str], list[Pair]], methods: list[str], path: Path) -> Path:
    """Figure 4: p-values of every pair. Above the diagonal Welch's test, as in the paper; below it the paired one after Holm."""
    names = [look.short(m) for m in methods]
    n = len(methods)
    with look.canvas(len(parts), 3, max(0.75 + len(parts) * (0.32 + 0.175 * n), 2.4), sharex=True, sharey=True) as (figure, axes):
        for row, part in zip(axes, parts):
            for ax, metric in zip(row, METRICS):
                _heat_map(ax, compared[part, metric], methods)
                ax.set_title(f"{NAMES[metric]}: {part.title}", fontsize=7)
        for ax in axes[:, 0]:
            ax.set_yticks(range(n), names)
        for ax in axes[-1]:
            ax.set_xticks(range(n), names, rotation=90)
        figure.suptitle("Above the diagonal: Welch's t-test, as in the paper. Below it: paired t-test after Holm's correction.", fontsize=7)
        bounds = ("p < 0.001 (***)", "p < 0.01 (**)", "p < 0.05 (*)", "p < 0.1", "p ≥ 0.1")
        look.legend(figure, [look.patch(c, text) for text, (_, c) in zip(bounds, LEVELS)])
        return look.save(figure, path)


def _heat_map(ax, compared: list[Pair], methods: list[str]) -> None:
    from matplotlib.patches import Rectangle

    for i, a in enumerate(methods):
        for j, b in enumerate(methods):
            pair = find(compared, a, b) if i != j else None
            p = None if pair is None else pair.welch if j > i else pair.paired_holm
            colour = look.PALE if i == j else "white" if p is None else next(c for level, c in LEVELS if p < level)
            ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=colour, edgecolor="white", linewidth=0.6))
            text = "" if p is None else next((s for level, s in STARS if p < level), "")
            ax.text(j, i + 0.12, text, ha="center", va="center", fontsize=5.5, color="white" if p is not None and p < 0.01 else look.BLACK)
    ax.set_xlim(-0.5, len(methods) - 0.5)
    ax.set_ylim(len(methods) - 0.5, -0.5)
    ax.set_aspect("equal")
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)


def t_sne(vectors: np.ndarray, seed: int = T_SNE_SEED) -> np.ndarray:
    """(N, 2) map of vectors (N, C); the same for the same vectors."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(30.0, max((len(vectors) - 1) / 3, 1.0))
    with threadpool_limits(1):  # sums in one order on every machine; and its threads wait for each other at every step on a busy one
        return TSNE(2, perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed).fit_transform(vectors.astype(np.float32))


def separation(vectors: np.ndarray, labels: np.ndarray) -> float | None:
    """How well a slice's nearest neighbours tell its label: area under the ROC curve of the share of NEIGHBOURS with the label, the
    slice itself left out. 0.5 is chance. A map can mislead, this number is of the vectors themselves. None below two of each kind, or
    where the neighbours are a large part of all slices."""
    from sklearn.metrics import roc_auc_score
    from sklearn.neighbors import NearestNeighbors

    if min(labels.sum(), (~labels).sum()) < 2 or len(labels) < 4 * NEIGHBOURS:
        return None
    scaled = vectors / np.maximum(vectors.std(axis=0), 1e-9)
    near = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(scaled).kneighbors(return_distance=False)  # without arguments: never itself
    return float(roc_auc_score(labels, labels[near].mean(axis=1)))


def embeddings(e: Experiment, path: Path) -> Path | None:
    """Figure 5: t-SNE of the pooled bottleneck on the pretext's validation slices, by hemorrhage and by subtype."""
    methods = [m for m in PRETEXTS if len(e.embeddings.get(m, {"vectors": ()})["vectors"]) >= 4]
    if not methods:
        return None
    rows = ("ICH", *SUBTYPES)
    with look.canvas(len(rows), len(methods), 0.5 + 1.15 * len(rows), width=max(0.4 + 1.13 * len(methods), 4.0)) as (figure, axes):
        for column, m in zip(axes.T, methods):
            z = e.embeddings[m]
            some = np.random.default_rng(T_SNE_SEED).permutation(len(z["vectors"]))[:T_SNE_MOST]  # also the order they are drawn in
            xy = t_sne(z["vectors"][some])
            for ax, labels, name in zip(column, (z["bleeding"], *z["types"].T), rows):
                on = labels[some]
                size = 9.0 if len(some) < 1000 else 2.5
                ax.scatter(*xy[~on].T, s=size, c=look.PALE if name != "ICH" else look.BLUE, alpha=0.7, linewidths=0)
                ax.scatter(*xy[on].T, s=size, c=look.ORANGE, alpha=0.8, linewidths=0)
                ax.set_xticks([])
                ax.set_yticks([])
                for side in ax.spines.values():
                    side.set(visible=True, linewidth=0.4, color=look.GREY)
                auc = separation(z["vectors"][some], on)
                ax.set_xlabel(f"n = {on.sum()}" + ("" if auc is None else f", AUC {auc:.2f}"), fontsize=6, labelpad=1.5)
            column[0].set_title(look.short(m), fontsize=7)
        for ax, name in zip(axes[:, 0], rows):
            ax.set_ylabel(name, fontsize=8)
        dot = {"marker": "o", "linestyle": "", "markersize": 3.5}
        look.legend(figure, [look.line(look.ORANGE, "with ICH, or with the subtype", **dot), look.line(look.BLUE, "without ICH", **dot),
                             look.line(look.PALE, "without the subtype", **dot)])
        return look.save(figure, path)


def learning_curves(e: Experiment, folder: Path) -> list[Path]:
    """Segmentation: loss and Dice of the test fold, a panel a method. Pretexts: loss on training and on held-out slices."""
    out, parts = [], {m: pretext_rows(log) for m, log in e.logs.items()}
    for dataset in e.datasets():
        logs = {m: [r for r in parts.get(m, ((), ()))[1] if r.get("dataset", dataset) == dataset]
                for m in e.methods(dataset) if not m.endswith("-icm")}  # the cavity mask changes no training
        lines = (("loss", look.BLUE, "training loss"), ("test_dice", look.ORANGE, "Dice of all voxels of the test fold"))
        out.append(_curves({m: rows for m, rows in logs.items() if rows}, lines, folder / f"learning-{dataset}.png", True))
    pretexts = {m: parts[m][0] for m in PRETEXTS if m in parts}
    lines = (("loss", look.BLUE, "loss on training slices"), ("val_loss", look.ORANGE, "loss on held-out slices"))
    out.append(_curves({m: rows for m, rows in pretexts.items() if rows}, lines, folder / "learning-pretexts.png", False))
    return [path for path in out if path]


def _curves(logs: dict[str, list[dict]], lines, path: Path, shared: bool) -> Path | None:
    """A panel a method: thin lines are folds and seeds, thick ones their mean."""
    if not logs:
        return None
    columns = min(4 if shared else 3, len(logs))
    rows = -(-len(logs) // columns)
    with look.canvas(rows, columns, 0.6 + 1.45 * rows, sharex=shared, sharey=shared) as (figure, axes):
        for ax, (m, log) in zip(axes.flat, logs.items()):
            ax.set_title(look.short(m))
            ax.grid(axis="y")
            ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
            for key, colour, _ in lines:
                runs: dict[tuple, dict[float, float]] = {}
                for r in log:
                    if key in r:
                        runs.setdefault((r.get("seed"), r.get("fold")), {})[r["epoch"]] = r[key]
                for run in runs.values():
                    ax.plot(list(run), list(run.values()), color=colour, alpha=0.3, linewidth=0.6)
                epochs = sorted(set.intersection(*map(set, runs.values()))) if runs else []
                ax.plot(epochs, [np.mean([run[k] for run in runs.values()]) for k in epochs], color=colour, linewidth=1.5,
                        marker="o" if len(epochs) < 12 else None, markersize=2.5)
            if not shared:
                low, high = min(0.0, ax.get_ylim()[0]), ax.get_ylim()[1]
                ax.set_ylim(low, high + 0.05 * (high - low))
        if shared:
            axes[0, 0].set_ylim(bottom=0)
        look.hide(list(axes.flat)[len(logs) :])
        for ax in list(axes.flat)[max(len(logs) - columns, 0) : len(logs)]:
            ax.set_xlabel("epoch")
            ax.tick_params(labelbottom=True)
        look.legend(figure, [look.line(c, text, linewidth=1.5) for _, c, text in lines])
        return look.save(figure, path)
