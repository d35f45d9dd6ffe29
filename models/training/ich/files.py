"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


class whole:
    """A file that appears whole or not at all: write to the part, leave the block. An exception leaves the old file as it was."""

    def __init__(self, path: Path):
        self.path, self.part = path, path.with_name(f".{path.name}.{os.getpid()}.tmp")

    def __enter__(self) -> Path:
        return self.part

    def __exit__(self, kind, *_: object) -> None:
        if kind is None:
            self.part.replace(self.path)
        else:
            self.part.unlink(missing_ok=True)
