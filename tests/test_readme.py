"""What the README shows works as it stands there."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from codert.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_python_trains_a_student() -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code
    names: dict[str, Any] = {}
    exec(code[1], names)
    assert names["e_student"].grad.any()
    assert names["d"].grad.any()


def test_its_recipe_is_the_one_in_recipes() -> None:
    shown = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert shown
    recipe = (ROOT / "recipes" / "tandem-shared.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(shown[1]) == yaml.safe_load(recipe)


def test_its_commands_are_commands() -> None:
    verbs = set(re.findall(r"^    codert (\w+)", README, re.MULTILINE))
    assert verbs == {
        *(
            "prepare",
            "estimate",
            "train",
            "evaluate",
            "analyze",
            "transcribe",
            "demo",
            "experiment",
        ),
        *("choose", "export"),
    }
    for verb in verbs:
        with pytest.raises(SystemExit, match="0"):
            main([verb, "--help"])
