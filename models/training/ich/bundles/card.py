"""CARD.md, the model card of a bundle: written from the manifest alone, so that it says no more than was recorded.

The manifest does not list the card: the card is a text about the manifest and names its digest. `ichor models list --card`
prints it and says when it was written for another manifest. What was not measured is called so.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from . import curve as curves
from . import manifest
from ..product.config import SUBTYPES
from ..product.evidence import ALWAYS_ML

FILE = "CARD.md"
PARTS = ("total", *SUBTYPES)
NO = "not measured"
NOT_FOR = (
    "Any clinical decision: triage, diagnosis, treatment, or reassurance that there is no hemorrhage.",
    "Chronic and subacute blood, which is dark or as dense as brain: these networks look for acute, bright blood. A chronic subdural is not found.",
    "CT with contrast medium, CT angiography and perfusion, dual-energy and virtual images: contrast looks like blood.",
    "Children and infants: open sutures, another proportion of skull and brain, none of them in training.",
    "Heads after surgery, with clips, coils, drains or other metal, tumours, abscesses, recent iodine or large calcifications.",
    "Other modalities, body parts, orientations, and slices thicker than 10 mm.",
    "Following a hemorrhage over time: differences of two measurements were not validated.",
)
TRIED = "What was tried, and what limits it: `models/training/TRIED.md` of ichor's source."
RETRAIN = """Every step is in `models/training/README.md`. In short, with volumes and voxel masks of a public set or of your own:

```
python -m ich data check DIR                                    # says what the folder holds and what is missing
python -m ich paint --scan NORMAL_HEAD --cache CACHE --count 20 # bridge to your scanner without any label
python -m ich train --role bleed --from BUNDLE/bleed.onnx --cache CACHE --out RUNS
python -m ich evaluate --runs RUNS --phantoms 60 --wide --scan NORMAL_HEAD --painted 10 --out LOOK
python -m ich export --runs RUNS --out NEW --metrics LOOK/evaluate.json
python -m ich quantize --bundle NEW && ichor models verify NEW
```

Keep a patient's scans on one side of every split, and measure on a site and a scanner that training never saw."""


def write(bundle: Path) -> Path:
    """Writes CARD.md into the folder of a bundle."""
    bundle = Path(bundle)
    path = bundle / FILE
    path.write_text(text(manifest.read(bundle), manifest.sha256(bundle / manifest.FILE), (bundle / curves.FILE).is_file()))
    return path


def text(m: dict, digest: str, curve: bool) -> str:
    """The card as Markdown."""
    t, metrics = m["training"], m["training"].get("metrics") or {}
    parts = [
        f"# Model card: {m['name']} {m['version']}", f"**{m['intended_use']}**", m["description"],
        f"Licence: {m['licence']}. Manifest: sha256 `{digest}`.",
        "## Networks", networks(m),
        "## Training", _bullets([f"Data: {t['data']}", f"Seed {t['seed']}, commit `{t['commit']}`", "Settings of each network: `training.settings` in the manifest"]),
        effort(t.get("settings") or {}),
        "## Learning curve", f"![Loss while training, and Dice on held-out heads where it was measured]({curves.FILE})" if curve else NO.capitalize() + ".",
        "## What was measured, on what", measured_on(metrics, t),
        "## Targets", judged(metrics.get("judged")),
        "## Operating points", points(m),
        "## Real-like mix of synthetic heads", group(_get(metrics, "summary", "mix")),
        "## Found, by subtype, size and density", sensitivity(_get(metrics, "summary", "mix", "sensitivity")),
        "## Real heads with blood", bleeding(metrics.get("bleeding")),
        "## Held-out synthetic heads of wide ranges", held_out(metrics),
        "## Volumes as clinicians judge them", clinical(metrics.get("clinical")),
        "## Real heads without blood: false hemorrhage", real(metrics.get("scans")),
        "## Hemorrhages painted into real heads", group(_get(metrics, "summary", "painted")), painted_sensitivity(_get(metrics, "summary", "painted", "sensitivity")),
        "## int8 beside float32", int8(m, metrics.get("int8") or {}),
        "## Must not be used for", _bullets(NOT_FOR),
        "## Known limits", _bullets(t.get("limits") or ["none recorded"]),
        TRIED if m["name"] == manifest.OURS else "",
        "## Retrain on real data", RETRAIN,
        f"**{m['intended_use']}**",
    ]
    return "\n\n".join(p for p in parts if p) + "\n"


def networks(m: dict) -> str:
    rows = []
    for n in m["networks"]:
        at = n["input"]
        pixel = f"{at['pixel_mm']:g} mm" if at["pixel_mm"] else "whole image"
        if u := n.get("nnunet"):
            pixel = f"nnU-Net {u['configuration']}, {' x '.join(f'{v:g}' for v in u['spacing_mm'] if v)} mm, {1 + len(u['further_folds'])} fold(s)"
        rows.append([n["role"], "x".join(str(d) for d in at["shape"][1:]), f"{at['window_hu'][0]:g} to {at['window_hu'][1]:g} HU", pixel,
                     f"{n['parameters']:,}", f"{n['threshold']:g}", " ".join(n["output"]["channels"])])
    return _table(["network", "input", "window", "pixels", "parameters", "threshold", "tells"], rows)


def effort(settings: dict) -> str:
    """What training cost, of the networks that state it."""
    rows = [[role, _get(s, "base_width"), _get(s, "visits_done"), _get(s, "phantoms"), _get(s, "lr"), _get(s, "batch"),
             _get(s, "tissues") or "none", _get(s, "began_with") or "random weights"]
            for role, s in settings.items() if isinstance(s, dict) and "visits_done" in s]
    return _table(["network", "base width", "slices seen", "heads in the cache", "learning rate", "batch", "healthy tissues named in training", "began with"], rows) if rows else ""


def measured_on(metrics: dict, training: dict) -> str:
    """In plain words: where the weights come from and which heads speak for them."""
    sets = _get(metrics, "summary", "bleeding", "sets") or {}
    normal, painted, mixed = len([s for s in metrics.get("scans") or [] if "truth_ml" not in s]), _get(metrics, "summary", "painted", "n"), _get(metrics, "summary", "mix", "n")
    real = f"{sum(sets.values())} real heads with blood ({', '.join(f'{n} of {k}' for k, n in sets.items())})" if sets else "no real head with blood"
    into = {_get(r, "name").rpartition("-")[0] for r in metrics.get("painted") or [] if _get(r, "name")}  # a painting is called SCAN-KINDn
    ours = "Trained on synthetic heads that are fitted to statistics of real blood. " if "nnunet" not in (training.get("settings", {}).get("bleed") or {}) else ""
    return (f"{ours}Measured on {real}, {normal} real heads without, {painted or 'no'} paintings of blood into {f'{len(into)} ' if into else ''}real heads and {mixed or 'no'} synthetic heads with "
            "a real-like mix of hemorrhages. No threshold was chosen on heads that judge it, unless the limits below say so.")


def points(m: dict) -> str:
    """What each operating point was measured to do when it was chosen."""
    bleed = manifest.network(m, "bleed")
    e = _get(bleed, "post", "evidence")
    if not e:
        return f"This bundle has none, so `analysis.operating_point` must be `balanced`. {kept(bleed)}"
    rows = [[k, f"{p['cut']:g}", _percent(p["sensitivity"]), f"{p['false_ml']:g}", p["heads"]] for k, p in e["operating_points"].items()]
    return (f"`analysis.operating_point` chooses how much evidence a suspected hemorrhage needs; from {e['always_ml']:g} mL on it is always reported.\n\n"
            + _table(["point", "least chance of being blood", "heads with 1 mL or more found", "mL false in a head without blood", "heads"], rows)
            + "\n\nMeasured by cross-validation on synthetic heads of a real-like mix that no other figure uses.")


def kept(bleed: dict) -> str:
    """The rule of a bundle without evidence."""
    post = bleed.get("post") or {}
    least, sure = post.get("min_component_ml"), post.get("sure_threshold") or bleed["threshold"]
    if not least:
        return f"Every clot of voxels with a probability of {bleed['threshold']:g} or more is kept, however small."
    return f"A clot is kept that has {least:g} mL or more at a probability of {sure:g} or more, or {ALWAYS_ML:g} mL in all."


def painted_sensitivity(by: dict | None) -> str:
    return "Painted hemorrhages found, by subtype, size and density:\n\n" + sensitivity(by) if by else ""


def sensitivity(by: dict | None) -> str:
    """Shares with intervals, a line a subtype and size or density."""
    if not by:
        return NO.capitalize() + "."
    rows = [[k if name == "all" else "", name, _share(_get(s, "found")), _share(_get(s, "named_right")),
             _number(_get(s, "dice")) + (f" [{_number(s['dice_ci'][0])}, {_number(s['dice_ci'][1])}]" if _get(s, "dice_ci") else "")]
            for k, own in by.items() for name, s in own.items()]
    return _table(["subtype", "size or density", "found", "named right", "Dice"], rows)


def bleeding(rows: list | None) -> str:
    """A line a head."""
    if not rows:
        return NO.capitalize() + "."
    chose = "\n\n(e): the edge of clots was chosen on this head; it is not among the targets." if any(r.get("chose_edge") for r in rows) else ""
    return _table(["set", "head", "true mL", "found mL", "named", "any Dice", "extra-axial mL beyond 5 mm", "false mL"], [
        [_get(r, "set"), _get(r, "name") + (" (e)" if r.get("chose_edge") else ""), _number(_get(r, "truth_ml", "total")), _number(_get(r, "found_ml", "total")), named(_get(r, "found_ml")),
         _number(_get(r, "dice", "any")), _number(_get(r, "extra_axial_away_ml")), _number(_get(r, "false_ml"))] for r in rows]) + "\n\nnamed: the subtype of most of the blood that was found, with its share." + chose


def named(found_ml: dict | None) -> str:
    """The name that most of the found blood has, with its share: IPH 97 %."""
    ml = {k: v for k in SUBTYPES if (v := _get(found_ml, k))}
    if not ml:
        return "none"
    most = max(ml, key=ml.get)
    return f"{most} {_percent(ml[most] / sum(ml.values()))}"


def judged(lines: list | None) -> str:
    if not lines:
        return NO.capitalize() + "."
    return _table(["figure", "value", "95 % interval", "target", "", "n", ""], [
        [_get(j, "what"), _number(_get(j, "value")), " to ".join(_number(v) for v in _get(j, "ci") or []) or "none", _get(j, "target"), "met" if _get(j, "met") else "**missed**", _get(j, "n"), _get(j, "detail")] for j in lines])


def held_out(metrics: dict) -> str:
    out = group(_get(metrics, "summary", "phantom"))
    widen = _get(metrics, "generator", "widen")
    return out + (f"\n\nThese heads come from seeds that training never sees, with ranges {100 * widen:g} % wider at both ends." if widen else "")


def group(g: dict | None) -> str:
    """Dice by subtype, what was found by size, false blood in normal heads, of one group of scans."""
    if not g:
        return NO.capitalize() + "."
    dice = lambda key, k: _get(g, "dice_any" if k == "any" else key, *(() if k == "any" else (k,)))  # noqa: E731
    rows = [["any", *_stats(dice("dice", "any")), NO]]
    rows += [[k, *_stats(dice("dice", k)), _stats(dice("acute_over_5_ml", k))[0]] for k in SUBTYPES]
    parts = [f"{_get(g, 'n') or '?'} scans; cavity Dice {_stats(_get(g, 'cavity_dice'))[0]}.",
             _table(["Dice", "mean ± SD", "median", "least", "n", "acute, over 5 mL"], rows)]
    sizes = _get(g, "by_size") or {}
    parts.append(_table(["acute hemorrhages, mL", "n", "found", "right subtype", "Dice"], [
        [size, _get(s, "n"), _percent(_get(s, "found")), _percent(_get(s, "called_right")), _number(_get(s, "dice"))] for size, s in sizes.items()])
        if sizes else f"By size: {NO}.")
    false = _get(g, "normal_false_ml")
    parts.append(f"Heads without blood: {_number(_get(false, 'mean'))} mL false on average, 95th percentile {_number(_get(false, 'p95'))} mL, "
                 f"most {_number(_get(false, 'most'))} mL, {_get(false, 'n')} heads." if false else f"False blood in heads without any: {NO}.")
    parts.append(f"Heads with every subtype within 20 % or 1 mL: {_percent(g.get('volumes_right'))} of those that bleed.")
    return "\n\n".join(parts)


def clinical(c: dict | None) -> str:
    """Agreement in millilitres, lesions found by size, false volume, calibration (ich.report.clinical)."""
    if not c:
        return NO.capitalize() + "."
    span = lambda v: f"{_number(v[0])} to {_number(v[1])}" if v else NO  # noqa: E731
    rows = [[k, _get(a, "n"), _number(_get(a, "bias_ml")), span(_get(a, "limits_ml")), _number(_get(a, "median_error_ml")), _share(_get(a, "right_where_any"))]
            for k in PARTS if (a := _get(c, "agreement", k))]
    kind = {"mix": "heads of the real-like mix", "phantom": "held-out heads"}.get(_get(c, "of"), "heads")
    parts = [f"{_get(c, 'heads')} {kind}, {_get(c, 'bleeding')} of them with blood."]
    if rows:
        parts.append(_table(["found - true, mL", "n", "bias", "95 % limits of agreement", "median error", "within 20 % or 1 mL"], rows))
    lesions = _get(c, "detection", "lesions") or {}
    sizes = list(dict.fromkeys(size for own in lesions.values() for size in own or {}))
    if sizes:
        found = lambda k, size: _get(lesions, k, size) or {}  # noqa: E731
        parts.append("Lesions found, by size and subtype (named right in brackets):")
        parts.append(_table(["lesions", *sizes], [
            [k, *(f"{_share(_get(s, 'found'))} ({_percent(_get(s, 'named_right', 'share'))})" if (s := found(k, size)) else "none" for size in sizes)]
            for k in PARTS if k in lesions]))
    heads = _get(c, "detection", "heads") or {}
    parts.append(f"Heads with blood in which any was found: {_share(_get(heads, 'sensitivity'))}; heads without in which none was: {_share(_get(heads, 'specificity'))}.")
    for which in ("normal", "bleeding"):
        if f := _get(c, "false_positives", which):
            parts.append(f"False blood in {which} heads: {_number(_get(f, 'mean_ml'))} mL on average, median {_number(_get(f, 'median_ml'))}, "
                         f"95th percentile {_number(_get(f, 'p95_ml'))}, most {_number(_get(f, 'most_ml'))}.")
    if k := _get(c, "calibration"):
        parts.append(f"Probabilities: expected calibration error {_number(_get(k, 'ece'))} over all voxels of the cavity, {_number(_get(k, 'ece_above'))} over those "
                     f"above {_number(_get(k, 'above'))}; Brier skill {_number(_get(k, 'brier_skill'))}.")
    else:
        parts.append(f"Calibration of the probabilities: {NO}.")
    return "\n\n".join(parts)


def real(scans: list | None) -> str:
    """Heads that are known to hold no blood: all that was found is false."""
    scans = [s for s in scans or [] if "truth_ml" not in s]
    if not scans:
        return NO.capitalize() + "."
    return _table(["scan", "cavity mL", "false mL", "of it within 5 mm of bone"], [
        [_get(s, "name"), _number(_get(s, "cavity_ml")), _number(_get(s, "false_ml") if _get(s, "false_ml") is not None else _get(s, "found_ml", "total")), _number(_get(s, "rim_ml"))] for s in scans])


def int8(m: dict, details: dict) -> str:
    rows = []
    for n in m["networks"]:
        if d := _get(n, "int8", "deviation"):
            extra = details.get(n["role"]) or {}
            own = " ".join(f"{k} {v:.3f}" for k, v in (_get(extra, "dice") or {}).items())
            rows.append([n["role"], _number(d["dice"], 4), own, _number(d["max_abs"]), f"{d['flipped']:.1e}", f"{d['speed_ratio']:g}", d["heads"], d["cpu"]])
    if not rows:
        return "There are no int8 files in this bundle."
    return _table(["network", "Dice of the masks", "by subtype", "largest difference", "pixels flipped", "times as fast", "heads", "on"], rows)


def _get(d, *keys):
    """d[a][b].., None where a key is missing."""
    for k in keys:
        d = d.get(k) if isinstance(d, dict) else None
    return d


def _number(v, digits: int = 3) -> str:
    return NO if v is None or isinstance(v, (str, bool)) else f"{v:.{digits}f}".rstrip("0").rstrip(".") if abs(v) < 100 else f"{v:.0f}"


def _percent(v) -> str:
    return NO if v is None else f"{100 * v:.0f} %"


def _share(s: dict | None) -> str:
    """Share with its 95 % interval."""
    if _get(s, "share") is None:
        return NO
    interval = f" [{100 * s['ci'][0]:.0f}, {100 * s['ci'][1]:.0f}]" if s.get("ci") else ""
    return f"{_percent(s['share'])}{interval} of {s.get('n')}"


def _stats(s: dict | None) -> list[str]:
    """Mean ± SD, median, least, n."""
    if _get(s, "mean") is None:
        return [NO, NO, NO, "0"]
    return [f"{_number(s['mean'])} ± {_number(s.get('sd'))}", _number(s.get("median")), _number(s.get("least")), str(s.get("n", ""))]


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(head: list[str], rows: list[list]) -> str:
    cell = lambda v: NO if v is None else str(v).replace("|", "/").replace("\n", " ")  # noqa: E731
    return "\n".join("| " + " | ".join(cell(v) for v in row) + " |" for row in (head, ["---"] * len(head), *rows))

