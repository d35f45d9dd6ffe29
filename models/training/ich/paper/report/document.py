"""report.md: what was run, Table 3, Figures 3 to 5, which differences are more than chance, what follows and what does not."""

from __future__ import annotations

import json
from pathlib import Path

from ...files import whole
from ..paper import PAPER_TABLE1, PAPER_TABLE2, PAPER_TABLE3
from . import figures, findings, volumes
from .experiment import DATASETS, Experiment, Part, read, title
from .stats import Pair, p_equals, p_text
from .table import all_pairs, markdown, pairs_csv, rows_markdown, table_csv

Compared = dict[tuple[Part, str], list[Pair]]
BANNER = "Research use only. Not for clinical use."
CITED = "Spahr, Ståhle, Wang and Kaijser, *Label-efficient deep semantic segmentation of intracranial hemorrhages in CT-scans*, Front. Neuroimaging 2 (2023) 1157565"


def write(folder: Path) -> Path:
    e = read(folder)
    compared = all_pairs(e)
    _save(folder / "table.csv", table_csv(e))
    _save(folder / "pairs.csv", pairs_csv(compared))
    parts = [_head(e), _short(e, compared), _run(e)]
    for dataset in e.datasets():
        parts.append(_dataset(e, dataset, compared))
    parts += [_pretexts(e), _conclusions(e, compared), _deviations(e), _files(e)]
    return _save(folder / "report.md", "\n\n".join(p for p in parts if p) + "\n")


def _save(path: Path, text: str) -> Path:
    """Appears whole or not at all."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")
    return path


def _named(dataset: str) -> str:
    return DATASETS.get(dataset, dataset)


def _main(e: Experiment, dataset: str) -> Part:
    """The volumes that a data set is judged by: those with hemorrhage (2.4), as long as there are any."""
    return e.parts(dataset)[-1]


def _head(e: Experiment) -> str:
    sets = " and ".join(_named(d) for d in e.datasets())
    return (f"# Ten methods to segment intracranial hemorrhage: scale `{e.about.get('scale', 'unknown')}`; {sets}\n\n**{BANNER}**\n\n"
            f"A run of the study of {CITED}. Methods, metrics and tests are the paper's where nothing else is said; what deviates is listed below.")


def _short(e: Experiment, compared: Compared) -> str:
    lines = ["## In short"]
    for d in e.datasets():
        part = _main(e, d)
        r = findings.ranking(e, part, compared[part, "dice"])
        best = e.mean(part, r.methods[0], "dice")
        same = ", ".join(title(m) for m in r.not_apart)
        lines.append(f"- {part.title}: highest mean Dice {best.percent()} % ({title(r.methods[0])}, n = {best.n}). "
                     + (f"Not told apart from it (paired test, Holm): {same}." if same else "Every other method is significantly lower (paired test, Holm)."))
        verdicts = [a.verdict for a in findings.answers(e, part)]
        count = lambda *starts: sum(v.startswith(starts) for v in verdicts)  # noqa: E731
        lines.append(f"- Of the paper's {len(verdicts)} claims checked on them, {count('seen', 'holds')} hold here, {count('contradicted')} are contradicted, "
                     f"{count('not shown', 'open')} are not shown either way" + (f", {count('not tested')} could not be tested." if count("not tested") else "."))
    first = findings.caveats(e, _main(e, e.datasets()[0]), compared)[0]
    return "\n".join([*lines, f"- {first}"])


def _run(e: Experiment) -> str:
    """Data, folds, seeds, machine."""
    lines = ["## What was run"]
    rows = []
    for name, s in e.about.get("sets", {}).items():
        rows.append([name, *(f"{s.get(k, 0):,}" for k in ("volumes", "bleeding", "slices", "ich_slices")), str(len(s.get("left_out", ())))])
        if theirs := PAPER_TABLE1.get(name):
            rows.append([f"{name}, Table 1 of the paper", *(f"{theirs[k]:,}" for k in ("volumes", "ich", "slices", "ich_slices")), ""])
    if rows:
        lines.append(rows_markdown(["Set", "volumes", "with hemorrhage", "slices", "with hemorrhage", "volumes left out"], rows))
    facts = []
    for d in e.datasets():
        both = [e.volumes(p) for p in e.parts(d)]
        facts.append(f"{_named(d)}: {e.folds(d)}-fold cross-validation by patient, every volume scored once a seed by a network that did not see it; "
                     f"n = {len(both[0])} volumes, {len(both[-1])} of them with hemorrhage." if len(both) > 1 else
                     f"{_named(d)}: {e.folds(d)}-fold cross-validation by patient, every volume scored once a seed; n = {len(both[0])} volumes.")
    dice = ", ".join(f"{_named(d)} {v:.3f}" for d, v in e.about.get("cavity_dice", {}).items())
    needs: dict[str, list[str]] = {}
    for m in dict.fromkeys(m for d in e.datasets() for m in e.methods(d)):
        needs.setdefault(PAPER_TABLE2.get(m, "not known"), []).append(title(m))
    facts.append("What the methods take besides segmentation labels (Table 2): " + "; ".join(f"{what} ({', '.join(which)})" for what, which in needs.items()) + ".")
    facts += [f"Seeds: {len(e.seeds())} ({', '.join(map(str, e.seeds()))})."] + ([f"Dice of the cavity nets' union (2.3.3) against the cavity masks: {dice}."] if dice else [])
    machine, seconds = e.about.get("machine", {}), e.about.get("seconds", {})
    if machine:
        facts.append(f"Machine: {machine.get('device')}, {machine.get('precision')}, PyTorch {machine.get('torch')}"
                     + (f"; {sum(seconds.values()) / 60:.0f} minutes of training and scoring, steps added up." if seconds else "."))
    facts.append("Values are mean ± sample SD over volumes, in percent, ε = 1 (Eqs. 1 to 3), voxels on the network's grid"
                 + ("; with several seeds a volume counts once, with its mean over the seeds." if len(e.seeds()) > 1 else "."))
    return "\n\n".join([*lines, "\n".join(f"- {f}" for f in facts)])


def _dataset(e: Experiment, d: str, compared: Compared) -> str:
    part, fig = _main(e, d), e.folder / "figures"
    figures.boxplots(e, d, fig / f"figure3-{d}.png")
    figures.heat_maps(e.parts(d), compared, e.methods(d), fig / f"figure4-{d}.png")
    volumes.figure(e, part, fig / f"volumes-{d}.png")
    out = [f"## {_named(d)}", "### Table 3"]
    if d not in PAPER_TABLE3:
        out.append("The paper has no such set. Its numbers for Hssayeni et al. stand beside ours for orientation; they are of other volumes and must not be compared cell by cell.")
    out += [f"**{p.title}, n = {len(e.volumes(p))}** (highest mean in bold)\n\n{markdown(e, p)}" for p in e.parts(d)]
    out += ["### Figure 3: volume Dice by subtype", f"![Boxplots of Dice](figures/figure3-{d}.png)",
            "Volumes with hemorrhage. Box: quartiles and median; whiskers: 1.5 interquartile ranges; no box below 5 volumes. A volume with two subtypes is in "
            "both panels, and its Dice is that of all its blood: a panel tells how volumes with a subtype fare, not how well the subtype is outlined."]
    out += ["### Figure 4: p-values of every pair", f"![Heat maps of p-values](figures/figure4-{d}.png)",
            "Pairs with p < 0.05 (all numbers in pairs.csv):"]
    for p in e.parts(d):
        head = ["Metric", "pairs", "Welch", "Welch, Holm", "paired", "paired, Holm"]
        out.append(f"**{p.title}**\n\n{rows_markdown(head, findings.metric_summary(compared, p))}")
    out += ["### The paper's claims", _claims(e, part), "### Ranking", _ranking(e, part, compared)]
    size_head, sizes = volumes.sensitivity(e, part)
    whole = e.parts(d)[0]
    out += ["### Volumes in millilitres", rows_markdown(volumes.HEAD, volumes.rows(e, whole)), f"![Bland-Altman plots](figures/volumes-{d}.png)",
            f"Found - truth; bias and limits over the volumes in which either is above zero, shares over those with hemorrhage, with Wilson's 95 % intervals. "
            f"The plots show {part.title}. Volumes with at least a tenth of their blood marked, by size:", rows_markdown(size_head, sizes)]
    return "\n\n".join(out)


def _claims(e: Experiment, part: Part) -> str:
    rows = []
    for a in findings.answers(e, part):
        here = "n/a" if a.difference is None else f"{100 * a.difference:+.1f} ({100 * a.interval[0]:+.1f} to {100 * a.interval[1]:+.1f})"
        paper = [f"{findings.paper_difference(a.claim, d):+.1f}" for d in ("hssayeni", "seg-cq500")]
        rows.append([a.claim.text, a.claim.metric, here, p_text(a.p), *paper, a.verdict])
    head = ["Claim", "metric", "here, points (95 %)", "p", "Hssayeni", "Seg-CQ500", "verdict"]
    lines = rows_markdown(head, rows, 2)
    return (f"{part.title}. Differences in percentage points, mean over the methods concerned, volume by volume; p from the paired test for any difference, Holm over the claims. "
            "Claims of a change below some points hold when the whole 95 % interval lies within. "
            f"The paper's columns are differences of its means; it tested pairs with Welch's test only.\n\n{lines}")


def _ranking(e: Experiment, part: Part, compared: Compared) -> str:
    r = findings.ranking(e, part, compared[part, "dice"])
    order = ", ".join(f"{i}. {title(m)} {100 * r.means[m]:.1f}" for i, m in enumerate(r.methods, 1))
    lines = [f"By mean Dice [%] ({part.title}): {order}."]
    for d, (tau, p) in r.against.items():
        lines.append(f"Agreement with the paper's order on {_named(d)} (ICH volumes): Kendall's τ = {tau:.2f}, {p_equals(p)}, {len(r.methods)} methods.")
    against = _named(part.dataset if part.dataset in PAPER_TABLE3 else "hssayeni").rstrip(".")
    if r.moved:
        moved = ", ".join(f"{title(m)} is {a}. here and {b}. there" for m, (a, b) in r.moved.items())
        lines.append(f"Three places or more from the paper's order on {against}: {moved}.")
    elif r.against:
        lines.append(f"No method is three places or more from the paper's order on {against}.")
    lines.append(_why(e, part, r))
    return "\n\n".join(line for line in lines if line)


def _why(e: Experiment, part: Part, r: findings.Ranking) -> str:
    """Candidates for a different order; none of them is isolated by a run like this."""
    why = []
    if r.not_apart:
        why.append(f"{len(r.not_apart)} of {len(r.methods) - 1} methods cannot be told from the best: among them the order is chance")
    if part.dataset == "synthetic":
        why.append("synthetic heads have sharper contrast and less variety than patients, and the pretext set is made by the same generator as the labelled one")
    n = sum("by" not in x for x in e.about.get("deviations", ()))
    if n:
        why.append(f"{n} settings deviate from the paper, fewer steps among them" if e.about.get("scale") != "paper" else f"{n} settings deviate from the paper")
    learning = findings.still_learning(e)
    if learning:
        worst = ", ".join(f"{title(m)} {100 * v:.0f} %" for m, v in sorted(learning.items(), key=lambda x: -x[1])[:4])
        why.append(f"the training loss was still falling over the last fifth of the epochs in {len(learning)} methods ({worst}), so the order may change with more")
    blind = findings.blind(e, part)
    if blind:
        why.append("some nets found nothing true in most ICH volumes: " + ", ".join(f"{title(m)} {100 * v:.0f} %" for m, v in blind.items()))
    flooding = findings.flooding(e, part)
    if flooding:
        why.append("some nets mark nearly everything; mean precision: " + ", ".join(f"{title(m)} {100 * v:.1f} %" for m, v in flooding.items()))
    if not why:
        return ""
    return "Where the order differs from the paper's, these are candidates, none of which this run isolates:\n\n" + "\n".join(f"- {w}." for w in why)


def _pretexts(e: Experiment) -> str:
    fig, out = e.folder / "figures", ["## What the pretexts learnt"]
    if figures.embeddings(e, fig / "figure5.png"):
        n = max(len(z["vectors"]) for z in e.embeddings.values())
        out += ["### Figure 5: bottleneck of the pretext nets", "![t-SNE of the pooled bottleneck](figures/figure5.png)",
                f"t-SNE (scikit-learn, seed {figures.T_SNE_SEED}, perplexity 30, less below 91 slices) of the pooled bottleneck of {min(n, figures.T_SNE_MOST):,} validation slices a method. "
                "Distances and densities in a t-SNE map mean little. AUC says how well a slice's "
                f"{figures.NEIGHBOURS} nearest neighbours in the full space tell its label (0.5 is chance); slices of one head are neighbours too, which raises it."]
    curves = figures.learning_curves(e, fig)
    if curves:
        out.append("### Learning curves")
        out += [f"![Learning curves](figures/{path.name})" for path in curves]
        out.append("Thin lines are folds and seeds, thick ones their mean.")
    return "\n\n".join(out) if len(out) > 1 else ""


def _conclusions(e: Experiment, compared: Compared) -> str:
    out = ["## What can and cannot be concluded"]
    for d in e.datasets():
        part = _main(e, d)
        can = [f"{a.claim.text} ({a.claim.metric}): {a.verdict}, {100 * a.difference:+.1f} points." for a in findings.answers(e, part)
               if a.verdict.startswith(("seen", "holds", "contradicted"))]
        out.append(f"**{part.title}.** " + ("On these volumes, with these settings:" if can else "No claim of the paper is shown or contradicted on these volumes."))
        if can:
            out.append("\n".join(f"- {c}" for c in can))
        out.append("Limits:\n\n" + "\n".join(f"- {c}" for c in findings.caveats(e, part, compared)))
    return "\n\n".join(out)


def _deviations(e: Experiment) -> str:
    all_rows = e.about.get("deviations", ())
    rows = [[f"`{x.get('setting')}`", f"`{json.dumps(x.get('here'))}`", f"`{json.dumps(x.get('paper'))}`"] for x in all_rows if "by" not in x]
    out = ["## Deviations from the paper", rows_markdown(["Setting", "here", "paper"], rows, 3) if rows else "None of the settings."]
    same = [[f"`{x.get('setting')}`", _said(x.get("here")), _said(x.get("paper")), x["by"]] for x in all_rows if "by" in x]
    if same:
        out += ["At every scale: what is done in another way than the paper says, or what it does not say.",
                rows_markdown(["What", "here", "paper", "chosen by"], same, 4)]
    out.append("SD is the sample SD. Left-out volumes are named in methods.json.")
    settings = list(_flat(e.about.get("settings", {})))
    if settings:
        out.append("<details><summary>All settings</summary>\n\n" + rows_markdown(["Setting", "value"], [[f"`{k}`", f"`{json.dumps(v)}`"] for k, v in settings], 2) + "\n\n</details>")
    return "\n\n".join(out)


def _said(value: object) -> str:
    return value if isinstance(value, str) else f"`{json.dumps(value)}`"


def _flat(x: dict, name: str = ""):
    for k, v in x.items():
        if isinstance(v, dict) and v:
            yield from _flat(v, f"{name}{k}.")
        else:
            yield f"{name}{k}", v


def _files(e: Experiment) -> str:
    return ("## Files\n\n- table.csv: every cell of Table 3 with n, SD and the paper's value, in percent\n- pairs.csv: every pair of methods: difference, interval, p-values\n"
            "- volumes.csv: every volume, method and seed; methods.json: settings and times\n- `python -m ich report DIR` writes this report again")
