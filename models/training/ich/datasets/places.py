"""Folders: those to look into, and where what is costly to find out about a set is remembered."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def user_cache() -> Path:
    """The user's cache folder for data sets."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ichor" / "datasets"


def digest(folder: Path) -> str:
    """Short name of a folder, so that two copies of a set do not share what was found out about one."""
    return hashlib.sha256(str(Path(folder).resolve()).encode()).hexdigest()[:16]


def subfolders(folder: Path) -> list[Path]:
    """Subfolders by name, without hidden ones and what macOS adds to archives; none where the folder cannot be read."""
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith((".", "__MACOSX")) and p.is_dir())
    except OSError:
        return []
