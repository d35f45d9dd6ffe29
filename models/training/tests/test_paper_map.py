"""ich/paper/README.md maps the paper to lines of the code: each line named still holds what the map says.

`python tests/test_paper_map.py` corrects the numbers of lines that have moved.
"""

import ast
import re
from pathlib import Path

PAPER = Path(__file__).parents[1] / "ich" / "paper"
README = PAPER / "README.md"
ROW = re.compile(r"^\| (?P<what>[^|]+) \| (?P<section>[^|]+) \| \[(?P<file>[\w./]+):(?P<line>\d+)\]\((?P=file)#L(?P=line)\) \| `(?P<code>[^`]+)` \|$", re.M)
SETTINGS = ("Network", "Optimiser", "Augmentation", "Segmentation", "Restoration", "GlobalContrastive", "LocalContrastive", "Classification", "Pretext", "CavityNet")


def lines(file: str) -> list[str]:
    return (PAPER / file).read_text().splitlines()


def test_every_line_holds_what_the_map_says():
    rows = list(ROW.finditer(README.read_text()))
    assert len(rows) == README.read_text().count("#L") > 100  # no row that is written otherwise, and so not checked
    for row in rows:
        there = lines(row["file"])[int(row["line"]) - 1]
        assert row["code"] in there, f"{row['what']}: {row['file']}:{row['line']} is {there.strip()!r}; python {Path(__file__).name} corrects the numbers"


def test_every_setting_is_on_the_map():
    named = {row["what"]: int(row["line"]) for row in ROW.finditer(README.read_text()) if row["file"] == "paper.py"}
    for node in ast.parse("\n".join(lines("paper.py"))).body:
        for part in node.body if isinstance(node, ast.ClassDef) and node.name in SETTINGS else ():
            if isinstance(part, ast.AnnAssign) and ast.unparse(part.annotation) not in SETTINGS:
                assert named.get(f"{node.name}.{part.target.id}") == part.lineno


def test_every_equation_is_on_the_map():
    what = " ".join(row["what"] for row in ROW.finditer(README.read_text()))
    numbers = {int(n) for found in re.findall(r"Eq\. (\d)(?: and (\d))?", what) for n in found if n}
    assert numbers == set(range(1, 8))


def corrected(text: str) -> str:
    """The map with the number of the nearest line that holds the code; a row without one stays."""

    def row(m: re.Match) -> str:
        at = [i for i, line in enumerate(lines(m["file"]), 1) if m["code"] in line]
        best = min(at, key=lambda i: abs(i - int(m["line"])), default=m["line"])
        return f"| {m['what']} | {m['section']} | [{m['file']}:{best}]({m['file']}#L{best}) | `{m['code']}` |"

    return ROW.sub(row, text)


def test_numbers_of_lines_that_moved_are_corrected():
    text = README.read_text()
    moved = re.sub(r"paper\.py:24\]\(paper\.py#L24\)", "paper.py:22](paper.py#L22)", text)
    assert moved != text and corrected(moved) == text == corrected(text)


if __name__ == "__main__":
    README.write_text(corrected(README.read_text()))
