"""The whole study: heads or data sets -> cavity -> pretexts -> segmentation by fold -> volumes.csv -> report.

    <out>/volumes.csv                one row a volume, method, seed
    <out>/methods.json               settings, what deviates from the paper, seconds of every step
    <out>/<method>/log.csv           learning curves of its pretext and of every fold; embedding.npz of pretexts
    <out>/runs/                      weights and checkpoints; slices/ and heads/ can be made again

Every step is skipped when its result is there, and continues within when it was interrupted.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from tqdm import tqdm

from ...datasets.volume import DataError
from ..paper import METHODS, PRETEXTS, Study
from ...files import whole
from ...loop import Machine
from .fit import LOG
from .deviations import deviations
from .scales import Heads
from .score import COLUMNS, read_rows, write_rows
from .sets import labelled, render, sources, tell_left_out
from .steps import Context, cavity_file, fold_dir, pretext_dir, run_cavity, run_fold, run_mask, run_pretext


@dataclass(frozen=True)
class Step:
    name: str
    run: Callable
    args: tuple
    result: Path
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """What to run."""

    folders: list[Path]
    out: Path
    study: Study
    heads: Heads | None = None  # synthetic heads when there are no folders
    pretext: Path | None = None
    methods: tuple[str, ...] = METHODS
    seeds: int = 1
    processes: int = 1


def reproduce(w: Wanted, on: Machine, say: Callable[[str], None] = print) -> Path:
    """Runs what is not done yet, and writes the report. Returns its file."""
    begun = time.monotonic()
    _same_settings(w)
    folders, pretext = list(w.folders), w.pretext
    if not folders:
        if w.heads is None:
            raise DataError("--data", "missing", "give the folders of the data sets, or --scale small for synthetic heads")
        bar = lambda seeds: tqdm(seeds, desc="synthetic heads", mininterval=5)  # noqa: E731
        first, pretext = render(w.out / "heads", w.heads, w.study.size, w.processes, bar)
        folders = [first]
    c = _context(w, folders, pretext, on)
    steps = _steps(w, c)
    done = [s for s in steps if s.result.exists()]
    say(f"reproduce {w.study.scale}: {len(w.methods)} methods, sets {', '.join(s.dataset for s in c.labelled)}, "
        f"{w.seeds} seed{'s' * (w.seeds > 1)}: {len(steps)} steps, {len(done)} done already; {on.device}, {w.processes} process{'es' * (w.processes > 1)}")
    seconds = _run([s for s in steps if s not in done], {s.name for s in done}, c, w.processes, say)
    _collect(w, c)
    _describe(w, c, seconds, sum(os.times()[:4]))
    say(f"all steps: {time.monotonic() - begun:.0f} s; results in {w.out / 'volumes.csv'}")
    from .. import report

    return report.write(w.out)


def _context(w: Wanted, folders: list[Path], pretext: Path | None, on: Machine) -> Context:
    """Opens the sets and makes their slices, before any step runs."""
    segmentation_sets, pretext_set = sources(folders, pretext, w.out / "slices", w.study.size, max(w.processes, on.workers))
    if not segmentation_sets:
        raise DataError(folders[0], "no segmentation set among the folders", "give Hssayeni, Seg-CQ500 or another with voxel labels")
    if pretext_set is None and any(m in PRETEXTS for m in w.methods):
        raise DataError(folders[0], "no pretext set among the folders", "give RSNA too, or --pretext DIR, or --methods ich-only,mixed")
    stores = [labelled(s, w.study.window, True).data.store for s in segmentation_sets]
    if pretext_set is not None:
        stores.append(pretext_set.slices(w.study.pretext.window, True).store)
    for store in stores:
        tell_left_out(store)
    if w.processes > 1:  # the steps themselves run side by side
        segmentation_sets = [replace(s, workers=1) for s in segmentation_sets]
        pretext_set = pretext_set and replace(pretext_set, workers=1)
    known = [*segmentation_sets, *([pretext_set] if pretext_set else [])]
    with_cavity = [s for s, store in zip(known, stores) if store.has_cavity.any()]
    return Context(w.out, w.study, on, tuple(segmentation_sets), pretext_set, with_cavity[-1] if with_cavity else None, w.processes == 1)


def _steps(w: Wanted, c: Context) -> list[Step]:
    """In an order in which they can run one by one."""
    steps, icm = [], {m.removesuffix("-icm") for m in w.methods if m.endswith("-icm")}
    if icm:
        steps += _cavity_steps(c)
    bases = list(dict.fromkeys(m.removesuffix("-icm") for m in w.methods))
    pretexts = [m for m in PRETEXTS if m in bases or (m == "global-contrastive" and "local-contrastive" in bases)]
    for seed in range(w.seeds):
        for m in pretexts:
            after = (f"pretext global-contrastive, seed {seed}",) if m == "local-contrastive" else ()
            steps.append(Step(f"pretext {m}, seed {seed}", run_pretext, (m, seed), pretext_dir(c, m, seed) / "embedding.npz", after))
        for source in c.labelled:
            name = source.dataset
            for base in bases:
                after = (f"pretext {base}, seed {seed}",) if base in PRETEXTS else (f"cavity masks, {name}",) if base in icm else ()
                for fold in range(c.study.segmentation_of(name).folds):
                    result = fold_dir(c, name, base, seed, fold) / ("volumes-icm.csv" if base in icm else "volumes.csv")
                    steps.append(Step(f"{base}, {name}, seed {seed}, fold {fold}", run_fold, (name, base, seed, fold, base in icm), result, after))
    return steps


def _cavity_steps(c: Context) -> list[Step]:
    own = {s: c.study.cavity == "given" and bool(s.slices(c.study.window).store.has_cavity.all()) for s in c.labelled}
    steps, nets = [], ()
    if not all(own.values()):
        if c.cavity is None:
            raise DataError(c.labelled[0].folder, "no set has cavity masks, which the ICM rows need",
                            "add Seg-CQ500, whose brain masks the cavity nets can learn from, or leave the rows out with --methods")
        nets = tuple(f"cavity net, {k}" for k in ("tissue", "bone"))
        steps += [Step(f"cavity net, {k}", run_cavity, (k,), c.out / "runs" / "cavity" / k / "net.pt") for k in ("tissue", "bone")]
    return steps + [Step(f"cavity masks, {s.dataset}", run_mask, (s.dataset,), cavity_file(c, s.dataset), () if own[s] else nets) for s in c.labelled]


def _run(steps: list[Step], done: set[str], c: Context, processes: int, say: Callable[[str], None]) -> dict[str, float]:
    """Runs steps as soon as those they come after are done; seconds of each. The first that raises ends the run."""
    begun, seconds = time.monotonic(), {}

    def finished(name: str, took: float) -> None:
        done.add(name)
        seconds[name] = took
        left = (time.monotonic() - begun) / len(seconds) * (len(steps) - len(seconds)) / 60
        say(f"{len(seconds)}/{len(steps)} {name}: {took:.0f} s; about {left:.0f} min left")

    if processes == 1:
        for s in steps:
            finished(s.name, _timed(s, c))
        return seconds
    waiting, running = list(steps), {}
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _one_thread) as pool:
        try:
            while waiting or running:
                for s in [s for s in waiting if done.issuperset(s.after)][: processes - len(running)]:
                    waiting.remove(s)
                    running[pool.submit(_timed, s, c)] = s
                ended: set[Future] = wait(running, return_when=FIRST_COMPLETED).done
                for future in ended:
                    finished(running[future].name, future.result())
                    del running[future]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return seconds


def _one_thread() -> None:
    torch.set_num_threads(1)  # the processes share the cores


def _timed(step: Step, c: Context) -> float:
    begun = time.monotonic()
    step.run(c, *step.args)
    return time.monotonic() - begun


def _same_settings(w: Wanted) -> None:
    """A folder holds one study: results of other settings are not mixed in."""
    path = w.out / "settings.json"
    now = json.dumps({"settings": asdict(w.study), "data": [f.name for f in w.folders], "heads": w.heads and not w.folders and asdict(w.heads)}, indent=1)
    if path.exists() and path.read_text() != now:
        raise DataError(path, "the study in this folder has other settings", "give another --out, or delete the folder")
    w.out.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        part.write_text(now)


def _collect(w: Wanted, c: Context) -> None:
    """volumes.csv of the methods asked for, and each one's log and embedding."""
    rows = []
    for method in w.methods:
        base, log = method.removesuffix("-icm"), []
        for seed in range(w.seeds):
            if base in PRETEXTS:
                log += [{**r, "seed": seed} for r in read_rows(pretext_dir(c, base, seed) / "log.csv")]
            for source in c.labelled:
                for fold in range(c.study.segmentation_of(source.dataset).folds):
                    folder = fold_dir(c, source.dataset, base, seed, fold)
                    both = folder / "volumes-icm.csv"
                    rows += [r for r in read_rows(both if both.exists() else folder / "volumes.csv") if r["method"] == method]
                    log += [{**r, "dataset": source.dataset, "seed": seed, "fold": fold} for r in read_rows(folder / "log.csv")]
        (w.out / method).mkdir(exist_ok=True)
        write_rows(w.out / method / "log.csv", log, (*LOG, "dataset", "seed", "fold"))
        if base in PRETEXTS:
            with whole(w.out / method / "embedding.npz") as part:
                shutil.copyfile(pretext_dir(c, base, 0) / "embedding.npz", part)
    write_rows(w.out / "volumes.csv", rows, COLUMNS)


def _describe(w: Wanted, c: Context, seconds: dict[str, float], processor_seconds: float) -> None:
    """methods.json. What earlier calls took is kept: wall seconds by step, processor seconds of this and its child processes."""
    path = w.out / "methods.json"
    before = json.loads(path.read_text()) if path.exists() else {"seconds": {}, "processor_seconds": 0.0}
    sets = {}
    for s in (*c.labelled, *([c.pretext] if c.pretext else [])):
        store = s.slices(c.study.window).store
        sets[s.dataset if s in c.labelled else f"{s.dataset} (pretext)"] = {
            "volumes": len(store.volumes), "bleeding": sum(bool(v.bleeding) for v in store.volumes), "slices": len(store),
            "ich_slices": int((store.labels[:, 0] == 1).sum()), "left_out": sorted(store.skipped.values())}
    names = [s.dataset for s in c.labelled]
    dice = {n: float(f.read_text()) for n in names if (f := cavity_file(c, n).with_suffix(".txt")).exists()}
    facts = {"scale": w.study.scale, "methods": list(w.methods), "seeds": w.seeds, "sets": sets, "cavity_dice": dice,
             "deviations": deviations(w.study, names, c.on), "settings": asdict(w.study),
             "segmentation": {n: asdict(w.study.segmentation_of(n)) for n in names},
             "machine": {"device": c.on.device, "precision": str(c.on.dtype or torch.float32).removeprefix("torch."), "torch": torch.__version__,
                         "threads": torch.get_num_threads() if w.processes == 1 else 1},
             "processor_seconds": round(before["processor_seconds"] + processor_seconds, 1),
             "seconds": {**before["seconds"], **{k: round(v, 1) for k, v in seconds.items()}}}
    with whole(path) as part:
        part.write_text(json.dumps(facts, indent=1) + "\n")
