"""docs/methods.md names everything that an edge can match, and every recipe of it."""

import re
from pathlib import Path
from typing import get_args

import pytest

from codert.distillation import DIVERGENCES, Distance
from codert.distillation import Cells as CellChoice
from codert.learning.edges import Edge
from distillation import METHODS
from table import with_costs

from .tiny import RECIPES

PAGE = (Path(__file__).parents[1] / "docs" / "methods.md").read_text(encoding="utf-8")
TABLES = [line for line in PAGE.splitlines() if line.startswith("| `")]
CODE = {word for line in TABLES for word in re.findall(r"`([^`]+)`", line)}


def test_everything_that_an_edge_can_match_has_a_row() -> None:
    matches = {edge.__dataclass_fields__["match"].default for edge in get_args(Edge)}
    assert {f"match: {match}" for match in matches} <= CODE
    assert set(DIVERGENCES) - {"kl"} <= CODE
    # `teacher` is what codert weighs cells by; `student` costs the same.
    assert {f"cells: {c}" for c in get_args(CellChoice)} - CODE == {
        "cells: teacher",
        "cells: student",
    }
    assert {f"hidden_{distance}" for distance in get_args(Distance)} <= CODE


def test_every_recipe_of_a_method_is_named_and_every_recipe_named_exists() -> None:
    methods = {f"methods/{p.stem}" for p in (RECIPES / "methods").glob("*.yaml")}
    assert methods <= CODE
    recipes = methods | {p.stem for p in RECIPES.glob("*.yaml")}
    assert {word for word in CODE if word.startswith("methods/")} == methods
    for line in TABLES:
        named = re.findall(r"`([^`]+)`", line)
        assert named[-2] in recipes, line


def test_every_method_that_the_benchmark_measures_has_one_row() -> None:
    measured = [re.findall(r"`([^`]+)`", line)[-1] for line in TABLES]
    assert sorted(measured) == sorted(METHODS)


def test_the_benchmark_fills_the_columns() -> None:
    size = {"B": 4, "T": 60, "U": 20, "V": 64}
    cost = {"seconds": 0.5, "peak_mb": 12.34, "ratio_time": 1.5, "ratio_memory": 2.0}
    rows = [{"method": name, **size, **cost} for name in METHODS]
    rows.append({"method": "collapsed_kl", **size, "B": 8, **cost, "seconds": 9.0})
    page = with_costs(PAGE, rows)
    assert page.count("| 0.5 | 12.3 | 1.5 | 2 |") == len(METHODS)
    assert "Measured at B 4, T 60, U 20, V 64." in page
    # What was there is replaced, and all else stays.
    assert with_costs(page, rows) == page
    assert len(page.splitlines()) == len(PAGE.splitlines())
    with pytest.raises(SystemExit, match="no row for another"):
        with_costs(PAGE, [{"method": "another", **size, **cost}])
