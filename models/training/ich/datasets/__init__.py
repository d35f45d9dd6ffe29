"""Public head CT sets and synthetic heads behind one door: `open_dataset(name, folder)` lists volumes, `Volume.read` loads one.

Each set is a module with `find(folder)`, which says where in a folder its layout begins, and `volumes(root, cache, notes)`,
which lists what is there without reading voxels and appends to notes what is odd but does not stop it.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from . import synthetic
from .volume import SUBTYPES, DataError, Scan, Volume

LOADERS: dict[str, ModuleType] = {m.NAME: m for m in (synthetic,)}

__all__ = ["LOADERS", "SUBTYPES", "DataError", "Scan", "Volume", "detect", "open_dataset"]


def detect(folder: Path) -> str:
    """Name of the set whose layout the folder has. Raises DataError when it has none."""
    folder = _existing(folder)
    for name, module in LOADERS.items():
        if module.find(folder) is not None:
            return name
    raise DataError(folder, "no known data set", f"give the unzipped folder of one of {', '.join(LOADERS)} (see `ich data list`)")


def open_dataset(name: str, folder: Path, cache: Path | None = None) -> list[Volume]:
    """Volumes of a set, by name rising. cache: folder for what is costly to find out (RSNA headers); None: the user's cache.

    Raises DataError when the set as a whole is unusable; what is wrong with one volume shows when that is read.
    """
    folder = _existing(folder)
    if name not in LOADERS:
        raise DataError(folder, f"no data set is called {name!r}", f"choose one of {', '.join(LOADERS)}")
    root = LOADERS[name].find(folder)
    if root is None:
        raise DataError(folder, f"not the layout of {name}", "give the unzipped folder (see `ich data list`)")
    return LOADERS[name].volumes(root, cache, [])


def _existing(folder: Path) -> Path:
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(folder, "no such folder", "check the path; archives must be unzipped first")
    return folder
