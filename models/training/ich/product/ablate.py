"""What each fault of the scanner in the synthetic heads is good for: networks trained with one of them left out at a time.

    <out>/heads-<all|no-hardening|no-rim|none>/   the same heads with and without a fault; a head's second stretch may lie elsewhere
    <out>/<change>-<repeat>/                      checkpoint, log and measures of one network
    <out>/ablation.json, ablation.md              a row a change: false hemorrhage, and what is still found

Small networks see few slices here: the rows compare with each other, not with the shipped network. What was done is not done again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..heads import heads
from .config import Post, Settings, settings_for
from .data import write_phantoms
from ..datasets.volume import DataError
from ..files import whole
from .measure import measure
from .reader import Reader, apply_post
from .scan import Scan, read_scan
from .train import train


FALSE = ("false_ml", "rim_ml", "raw_ml", "raw_rim_ml")  # of a scan: as the product reads, and with the specks that it drops


@dataclass(frozen=True)
class Change:
    """Faults left out when heads are rendered, and whether training draws its own rim along bone."""

    title: str
    without: tuple[str, ...] = ()
    drawn_rim: bool = True


CHANGES = {
    "all": Change("nothing left out"),
    "no-hardening": Change("no beam hardening", ("hardening",)),
    "no-rim": Change("no rim in the heads", ("rim",)),
    "no-drawn-rim": Change("no rim as augmentation", drawn_rim=False),
    "none": Change("none of the three", ("hardening", "rim"), False),
}


@dataclass(frozen=True)
class Wanted:
    """How much to spend. scans: real heads without acute blood."""

    heads: int = 48
    visits: int = 8_000
    base: int = 8
    phantoms: int = 18
    repeats: int = 1
    scans: tuple[Path, ...] = ()
    bundle: Path | None = None  # whose cavity networks find the cavity of real heads


def settings(w: Wanted, change: Change, repeat: int) -> Settings:
    """The recipe of the bleed network on coarser pixels, so that a network takes minutes."""
    s = settings_for("bleed", pixel_mm=1.5, size=176, train_size=112, base_width=w.base, visits=w.visits, rim=change.drawn_rim)
    return replace(s, seed=s.seed + repeat)


def ablate(w: Wanted, out: Path, say=print) -> dict:
    """Renders, trains, measures, writes the table. Returns what ablation.json holds."""
    _same(w, out)
    folders = {c.without: out / f"heads-{name}" for name, c in CHANGES.items() if c.drawn_rim or name == "none"}
    for without, folder in folders.items():
        write_phantoms(folder, range(w.heads), without)
        say(f"{folder}: {w.heads} heads")
    scans = Measured(w, out)
    rows = {}
    for repeat in range(w.repeats):
        for name, change in CHANGES.items():
            at = out / f"{name}-{repeat}"
            done = at / "measures.json"
            if not done.exists():
                train(settings(w, change, repeat), folders[change.without], at, threads=1)
                with whole(done) as part:
                    part.write_text(json.dumps(scans.measure(at)))
            rows.setdefault(name, []).append(json.loads(done.read_text()))
            say(line(name, rows[name][-1:]))
    result = {"wanted": _wanted(w), "generator": heads.generator_version(), "rows": {k: _summary(v) for k, v in rows.items()}, "measures": rows}
    (out / "ablation.json").write_text(json.dumps(result, indent=1) + "\n")
    (out / "ablation.md").write_text(table(result) + "\n")
    return result


class Measured:
    """The scans every network is measured on. Cavities are the truth of synthetic heads, and of real ones what the bundle's
    networks or bone enclose: the same for all."""

    def __init__(self, w: Wanted, out: Path):
        self.scans: list[tuple[Scan, np.ndarray]] = []
        for i in range(w.phantoms):
            scan = heads.held_out(i, heads.WIDEN, out / "held-out")
            self.scans.append((scan, scan.label > 0))
        for path in w.scans:
            scan = read_scan(path)
            if w.bundle:
                cavity = Reader.of_bundle(w.bundle).cavity(scan)
            else:
                from ..heads.room import bone_cavity

                cavity = bone_cavity(scan)
            self.scans.append((scan, cavity))

    def measure(self, runs: Path) -> list[dict]:
        """What is found as the product reads, and false blood also with its specks: thin rims are many of these."""
        reader, post, rows = Reader.of_runs(runs), Post(), []
        for scan, cavity in self.scans:
            prob = reader.probabilities(scan, "bleed")
            row = measure(scan, cavity, apply_post(scan, cavity, prob, post))
            raw = measure(scan, cavity, apply_post(scan, cavity, prob, replace(post, min_component_ml=0.0)))
            row |= {"blood": "truth_ml" in row and row["truth_ml"]["total"] > 0, "raw_ml": raw["false_ml"], "raw_rim_ml": raw["rim_ml"]}
            rows.append({k: row[k] for k in ("name", "kind", "blood", *FALSE, "found_ml", "dice") if k in row})
        return rows


def _summary(repeats: list[list[dict]]) -> dict:
    """Means over heads and repeats; of real heads each by its name."""
    every = [r for rows in repeats for r in rows]
    normal = [r for r in every if r["kind"] == "phantom" and not r["blood"]]
    out = {"dice_any": _mean(r["dice"]["any"] for r in every if r["blood"]), "normal": len(normal) // max(len(repeats), 1)}
    for key in FALSE:
        out[f"normal_{key}"] = _mean(r[key] for r in normal)
    for name in dict.fromkeys(r["name"] for r in every if r["kind"] == "scan"):
        out.setdefault("scans", {})[name] = {k: [r[k] for r in every if r["name"] == name and r["kind"] == "scan"] for k in FALSE}
    return out


def _mean(values) -> float | None:
    values = list(values)
    return float(np.mean(values)) if values else None


def table(result: dict) -> str:
    """The rows as Markdown."""
    scans = list(dict.fromkeys(n for r in result["rows"].values() for n in r.get("scans", {})))
    head = ["left out", "any Dice, heads with blood", *(f"{n}: {what}" for n in ("normal heads", *scans) for what in ("false mL", "with specks (of it rim)"))]
    lines = [head, ["---"] * len(head)]
    for name, r in result["rows"].items():
        cells = [CHANGES[name].title, _number(r["dice_any"]), _number(r["normal_false_ml"]), f"{_number(r['normal_raw_ml'])} ({_number(r['normal_raw_rim_ml'])})"]
        for s in (r["scans"][n] for n in scans):
            cells.append(", ".join(_number(v) for v in s["false_ml"]))
            cells.append(", ".join(f"{_number(a)} ({_number(b)})" for a, b in zip(s["raw_ml"], s["raw_rim_ml"])))
        lines.append(cells)
    w = result["wanted"]
    about = (f"One change at a time: {w['heads']} training heads, base width {w['base']}, {w['visits']} slices seen, {w['repeats']} network"
             f"{'s' * (w['repeats'] > 1)} a row, {w['phantoms']} held-out heads with all faults, a third of them normal. False mL as the product reads, "
             "and with the specks below 1 mL that it drops. Rows compare with each other, not with the shipped network.")
    return about + "\n\n" + "\n".join("| " + " | ".join(c) + " |" for c in lines)


def line(name: str, repeats: list[list[dict]]) -> str:
    s = _summary(repeats)
    parts = {"normal heads": (s["normal_false_ml"], s["normal_raw_ml"])} | {n: (v["false_ml"][-1], v["raw_ml"][-1]) for n, v in s.get("scans", {}).items()}
    false = "  ".join(f"{n} {_number(a)} mL false, {_number(b)} with specks" for n, (a, b) in parts.items())
    return f"{CHANGES[name].title:24s} any Dice {_number(s['dice_any'])}  {false}"


def _number(v: float | None) -> str:
    return "none" if v is None else f"{v:.2f}"


def _wanted(w: Wanted) -> dict:
    return {"heads": w.heads, "visits": w.visits, "base": w.base, "phantoms": w.phantoms, "repeats": w.repeats,
            "scans": [p.name for p in w.scans], "bundle": w.bundle and w.bundle.name}


def _same(w: Wanted, out: Path) -> None:
    """A folder holds one ablation; only more repeats may be added."""
    path = out / "wanted.json"
    now = json.dumps(_wanted(w) | {"repeats": 0}, indent=1)
    if path.exists() and path.read_text() != now:
        raise DataError(path, "the ablation in this folder has other settings", "give another --out, or delete the folder")
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(now)
