"""The rooms and which way imports may run between them; see docs/architecture.md."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "codert"

# Each room may import those that stand to its right.
ROOMS = [
    ["__main__"],
    ["cli"],
    ["experiments"],
    ["reports"],
    ["learning"],
    ["analysis"],
    ["evaluation"],
    ["decoding"],
    ["data"],
    ["models"],
    ["distillation"],
    ["transducer"],
    ["lattice"],
    ["config"],
    ["files"],
    ["errors"],
]
RANK = {room: rank for rank, rooms in enumerate(ROOMS) for room in rooms}
# These need torch alone, so that anyone's training loop can take the losses.
TORCH_ALONE = ["distillation", "transducer", "lattice"]
# The recipes' stems, less a word that is a role too.
STRATEGIES = {p.stem for p in (SOURCE.parents[1] / "recipes").glob("*.yaml")} - {"teacher"}
STANDARD = {"abc", "collections", "contextlib", "functools", "importlib", "math", "types", "typing"}


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "write imports from the top: from codert.room.file import name"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


FILES = [p for p in sorted(SOURCE.rglob("*.py")) if room_of(p) != "__init__"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_run_downwards(path: Path) -> None:
    room = room_of(path)
    for name in imports(path):
        package, _, rest = name.partition(".")
        if package == "codert" and rest:
            assert RANK[rest.split(".")[0]] >= RANK[room], f"{room} must not import {name}"


@pytest.mark.parametrize(
    "path", [p for p in FILES if room_of(p) in TORCH_ALONE], ids=lambda p: p.name
)
def test_the_losses_need_torch_alone(path: Path) -> None:
    if path.stem in ("recursion_numba", "recursion_triton"):  # only where their package is there
        return
    packages = {name.split(".")[0] for name in imports(path)}
    assert packages <= {"torch", "codert"} | STANDARD


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_nothing_branches_on_a_strategys_name(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    compared = {
        each.value
        for node in ast.walk(tree)
        if isinstance(node, (ast.Compare, ast.match_case))
        for each in ast.walk(node)
        if isinstance(each, ast.Constant)
    }
    assert "alone" in STRATEGIES
    assert not compared & STRATEGIES
