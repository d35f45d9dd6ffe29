"""Table 3 beside the paper's own numbers, as Markdown and as CSV; and the p-values of every pair of methods as CSV."""

from __future__ import annotations

import csv
import io

from ..paper import METRICS, PAPER_TABLE3
from .experiment import Experiment, Part, title
from .metrics import NAMES
from .stats import Pair, pairs

REFERENCE = "hssayeni"  # set of the paper that stands beside a set the paper does not have: it has volumes without hemorrhage too
TABLE_COLUMNS = ("dataset", "volumes", "method", "metric", "n", "mean", "sd", "seeds", "sd_between_seeds", "paper_dataset", "paper_mean", "paper_sd")
PAIR_COLUMNS = ("dataset", "volumes", "metric", "a", "b", "n", "difference", "low", "high", "welch_p", "welch_p_holm", "paired_p", "paired_p_holm")


def paper_set(part: Part) -> str:
    """Set of the paper whose numbers stand beside a part."""
    return part.dataset if part.dataset in PAPER_TABLE3 else REFERENCE


def paper_value(part: Part, method: str, metric: str) -> tuple[float, float] | None:
    """The paper's mean and SD, percent."""
    return PAPER_TABLE3[paper_set(part)].get(method, {}).get(metric + part.suffix)


def markdown(e: Experiment, part: Part) -> str:
    """One half of Table 3: mean ± SD in percent; the highest mean is bold, as in the paper."""
    means = {(m, k): e.mean(part, m, k) for m in e.methods(part.dataset) for k in METRICS}
    best = {k: max(v.mean for (_, name), v in means.items() if name == k) for k in METRICS}
    paper = "paper" if part.dataset in PAPER_TABLE3 else "paper, Hssayeni"
    head = ["Method", *(f"{NAMES[k]} [%]{which}" for k in METRICS for which in ("", f", {paper}"))]
    lines = [head, ["---", *("---:" for _ in head[1:])]]
    for m in e.methods(part.dataset):
        cells = [title(m)]
        for k in METRICS:
            here, theirs = means[m, k], paper_value(part, m, k)
            cells.append(f"**{here.percent()}**" if here.mean == best[k] else here.percent())
            cells.append("" if theirs is None else f"{theirs[0]:.2f} ± {theirs[1]:.2f}")
        lines.append(cells)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def table_csv(e: Experiment) -> str:
    """Every cell of Table 3, percent, one a line."""
    rows = []
    for part in e.all_parts():
        for m in e.methods(part.dataset):
            for k in METRICS:
                here, theirs = e.mean(part, m, k), paper_value(part, m, k)
                rows.append((part.dataset, _kind(part), m, k, here.n, _percent(here.mean), _percent(here.sd), len(e.seeds()), _percent(here.spread),
                             *((paper_set(part), *theirs) if theirs else ("", "", ""))))
    return _csv(TABLE_COLUMNS, rows)


def all_pairs(e: Experiment) -> dict[tuple[Part, str], list[Pair]]:
    """Every comparison of two methods, by part and metric."""
    return {(part, k): pairs(e.values(part, k)) for part in e.all_parts() for k in METRICS}


def pairs_csv(of: dict[tuple[Part, str], list[Pair]]) -> str:
    """Differences 0 to 1, b - a; p-values as they come and after Holm's correction within part and metric."""
    rows = [(part.dataset, _kind(part), metric, p.a, p.b, p.n, *map(_number, (p.difference, *(p.interval or (None, None)), p.welch, p.welch_holm,
            p.paired, p.paired_holm))) for (part, metric), found in of.items() for p in found]
    return _csv(PAIR_COLUMNS, rows)


def rows_markdown(head: list[str], rows: list[list[str]], left: int = 1) -> str:
    """A table; the first `left` columns are text."""
    lines = [head, ["---"] * left + ["---:"] * (len(head) - left), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _kind(part: Part) -> str:
    return "ich" if part.ich else "all"


def _percent(x: float | None) -> str:
    return "" if x is None else f"{100 * x:.2f}"


def _number(x: float | None) -> str:
    return "" if x is None else f"{x:.6g}"


def _csv(head: tuple[str, ...], rows: list[tuple]) -> str:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(head)
    table.writerows(rows)
    return out.getvalue()
