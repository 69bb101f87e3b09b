"""What the README shows works as it stands there."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from codert.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_python_trains_a_student() -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code
    B, T, U, V = 2, 7, 3, 5
    names = {
        "e_student": torch.randn(B, T, V, requires_grad=True),
        "e_teacher": torch.randn(B, T, V, requires_grad=True),
        "d": torch.randn(B, U + 1, V, requires_grad=True),
        "labels": torch.randint(1, V, (B, U)),
        "frames": torch.tensor([7, 5]),
        "label_lengths": torch.tensor([3, 2]),
    }
    exec(code[1], names)
    assert names["e_student"].grad is not None
    assert names["e_teacher"].grad is None


def test_its_recipe_is_the_one_in_recipes() -> None:
    shown = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert shown
    recipe = (ROOT / "recipes" / "tandem-shared.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(shown[1]) == {
        key: value for key, value in yaml.safe_load(recipe).items() if key != "strategy"
    }


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
