"""Public head CT sets and synthetic heads behind one door: `open_dataset(name, folder)` lists volumes, `Volume.read` loads one.

Each set is a module with `ABOUT`; `find(folder)`, which says where in that very folder its layout begins, or None; and
`volumes(root, cache, notes)`, which lists what is there and appends to notes what is odd but stops nobody.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from . import bhsd, cq500, hssayeni, instance, rsna, segcq500, synthetic
from .places import subfolders
from .volume import SUBTYPES, DataError, Scan, Volume

LOADERS: dict[str, ModuleType] = {m.NAME: m for m in (hssayeni, segcq500, cq500, rsna, instance, bhsd, synthetic)}
MAX_LOOKED_AT = 200  # subfolders searched for a layout
LIST = "see `ich data list`"

__all__ = ["LOADERS", "SUBTYPES", "DataError", "Scan", "Volume", "detect", "locate", "open_dataset"]


def detect(folder: Path) -> str:
    """Name of the set that lies in the folder, or one or two folders below. Raises DataError when it is none, or several."""
    folder = _existing(folder)
    for candidates in ([folder], _below(folder)):
        found = sorted({name for name, m in LOADERS.items() for c in candidates if m.find(c) is not None})
        if len(found) > 1:
            raise DataError(folder, f"holds several sets: {', '.join(found)}", "give the folder of one, or name it with --set")
        if found:
            return found[0]
    raise _nothing_here(folder, None)


def locate(name: str, folder: Path) -> Path:
    """Where the layout of a set begins: in the folder, or one or two folders below."""
    folder = _existing(folder)
    if name not in LOADERS:
        raise DataError(folder, f"no data set is called {name!r}", f"choose one of {', '.join(LOADERS)}")
    for c in (folder, *_below(folder)):
        root = LOADERS[name].find(c)
        if root is not None:
            return root
    raise _nothing_here(folder, name)


def open_dataset(name: str, folder: Path, cache: Path | None = None) -> list[Volume]:
    """Volumes of a set. cache: folder for what is costly to find out (RSNA headers, BHSD subtypes); None: the user's.

    Raises DataError when the set as a whole is unusable; what is wrong with one volume shows when that is read.
    """
    root = locate(name, folder)
    return LOADERS[name].volumes(root, cache, [])


def _existing(folder: Path) -> Path:
    folder = Path(folder)
    if folder.is_file():
        archive = folder.suffix.lower() in (".zip", ".gz", ".tar", ".7z")
        raise DataError(folder, "a file, not a folder", "unzip it and give the folder" if archive else "give the folder of the set")
    if not folder.is_dir():
        raise DataError(folder, "no such folder", "check the path")
    return folder


def _below(folder: Path) -> list[Path]:
    """Subfolders of the next two levels, breadth first."""
    level, out = [folder], []
    for _ in range(2):
        level = [c for p in level for c in subfolders(p)][:MAX_LOOKED_AT]
        out += level
    return out[:MAX_LOOKED_AT]


def _nothing_here(folder: Path, name: str | None) -> DataError:
    """The likeliest reason that a folder is not recognised."""
    wanted = [name] if name else list(LOADERS)
    for parent in list(folder.resolve().parents)[:3]:
        above = [n for n in wanted if LOADERS[n].find(parent) is not None]
        if above:
            return DataError(folder, f"lies inside {above[0]}", f"give the folder of the set, {parent.name}/")
    what = f"not the layout of {name}" if name else "no known data set"
    archives = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in (".zip", ".7z", ".tar", ".tgz") and not p.name.startswith("."))
    if archives:
        return DataError(folder, f"{what}, but archives such as {archives[0]}", "unzip them there, keeping their folders")
    expected = f"it must hold {LOADERS[name].ABOUT.layout}" if name else f"give the unzipped folder of one of {', '.join(LOADERS)}"
    return DataError(folder, what, f"{expected}; {LIST}")
