"""What a set is, where it comes from and what its licence allows: `ich data list`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class About:
    """One line each; shown by `ich data list` and `ich data check`."""

    title: str
    source: str  # where a user obtains it
    licence: str
    use: str  # what the project uses it for
    layout: str  # what must lie in the folder
    volumes: int = 0  # in the whole set; 0: as many as you make
    bleeding: int = 0  # of these with hemorrhage; 0: not stated
