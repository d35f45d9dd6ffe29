"""The packages: what each is for stands in its docstring, and no module imports itself through others."""

import ast
import re
from pathlib import Path

import ich
from ich.__main__ import COMMANDS

ROOT = Path(ich.__file__).parent


def imports() -> dict[str, set[str]]:
    """Modules of ich -> those of ich that they import, inside functions too. The packages above a module are not counted."""
    files = {".".join(("ich", *f.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): f for f in ROOT.rglob("*.py")}
    out = {}
    for name, file in files.items():
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        out[name] = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1] + ([node.module] if node.module else []))
                out[name] |= {m if (m := f"{base}.{a.name}") in files else base for a in node.names}
        out[name] = {m for m in out[name] if not name.startswith(f"{m}.")}
    return out


def test_no_module_imports_itself_through_others():
    graph, done = imports(), set()
    assert len(graph) > 70 and "ich.datasets.volume" in graph["ich.loop"]

    def walk(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join((*way, module))
        if module not in done:
            for other in graph[module]:
                walk(other, (*way, module))
            done.add(module)

    for module in graph:
        walk(module, ())


def test_the_paper_needs_nothing_of_bundles_and_commands():
    for module, others in imports().items():
        if module.startswith("ich.paper"):
            wrong = {m for m in others if m.split(".")[1] in ("bundles", "commands", "heads")}
            assert not wrong, f"{module} imports {wrong}"


def test_every_package_says_what_it_is_for():
    for file in ROOT.rglob("__init__.py"):
        assert len(ast.get_docstring(ast.parse(file.read_text())) or "") > 50, file


def test_the_readme_names_files_packages_and_commands_that_are_there():
    text = (ROOT.parent / "README.md").read_text()
    files = {f.name for f in ROOT.rglob("*.py")}
    assert set(re.findall(r"\w+\.py\b", text)) <= files
    for package in (d.name for d in ROOT.iterdir() if (d / "__init__.py").exists()):
        assert f"ich/{package}/" in text, package
    for target in re.findall(r"\]\((?!http|#)([^)]+)\)", text):
        assert (ROOT.parent / target).exists(), target
    source = "".join(Path(m.__file__).read_text() for m in COMMANDS)
    for command in set(re.findall(r"python -m ich (\w+)", text)):
        assert f'add_parser("{command}"' in source, command
