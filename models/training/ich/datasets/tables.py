"""CSV files with the header they must have, and errors that name the line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from .volume import DataError


def rows(path: Path, columns: tuple[str, ...], missing: str = "download it again") -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and row, keys and values stripped. The header must hold all columns, in any case and order; others are kept."""
    try:
        f = path.open(newline="", encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(path, "missing", missing) from None
    except OSError as err:
        raise DataError(path, f"unreadable ({err.strerror})", missing) from None
    with f:
        try:
            reader = csv.reader(f)
            header = next(reader, None)
            if not header or not any(h.strip() for h in header):
                raise DataError(path, "empty", missing)
            names = canonical([h.strip() for h in header], columns)
            lost = [c for c in columns if c not in names]
            if lost:
                raise DataError(path, f"has no column {', '.join(lost[:4])}{' ...' if len(lost) > 4 else ''}", missing)
            any_row = False
            for cells in reader:
                if not any(c.strip() for c in cells):
                    continue
                any_row = True
                yield reader.line_num, {n: c.strip() for n, c in zip(names, cells)}
            if not any_row:
                raise DataError(path, "has a header but no rows", missing)
        except (csv.Error, UnicodeDecodeError) as err:
            raise DataError(path, f"not a CSV file ({err})", missing) from None


def canonical(header: list[str], columns: tuple[str, ...]) -> list[str]:
    """The header with every wanted column spelled as wanted."""
    wanted = {c.lower(): c for c in columns}
    return [wanted.get(h.lower(), h) for h in header]


def flag(path: Path, line: int, row: dict[str, str], column: str) -> bool:
    """0 or 1 of a cell."""
    value = row.get(column, "")
    if value not in ("0", "1", "0.0", "1.0"):
        raise DataError(path, f"line {line}: {column} is {value!r}, not 0 or 1", "download the file again")
    return value[0] == "1"


def number(path: Path, line: int, row: dict[str, str], column: str) -> int:
    value = row.get(column, "")
    try:
        return int(float(value))
    except (ValueError, OverflowError):
        raise DataError(path, f"line {line}: {column} is {value!r}, not a number", "download the file again") from None
