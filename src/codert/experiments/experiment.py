"""An experiment's file: plans, seeds, corpora and folds, each to be combined with each."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codert.config import build, check_name, read_yaml
from codert.errors import InputError

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


@dataclass(frozen=True)
class Variant:
    """A plan of the experiment.

    Attributes:
        recipe: a stem in recipes/, or a path from the experiment's file.
        name: of its own, where a recipe comes several times; else the recipe's stem.
        strategy: a label that only tables read; else the recipe's.
        over: laid over the recipe.
    """

    recipe: str
    name: str | None = None
    strategy: str | None = None
    over: dict[str, Any] = field(default_factory=dict, metadata={"key": "set"})

    @property
    def label(self) -> str:
        """Its name."""
        return self.name or Path(self.recipe).stem


@dataclass(frozen=True)
class Experiment:
    """A matrix of trainings.

    Attributes:
        name: its runs go to runs/NAME.
        plans: what is compared.
        reference: the plan that the others are compared with.
        corpora: manifests by name, as `--data` takes them; environment variables are expanded.
        settings: a file in place of the recipes' own settings, from the experiment's file.
        seeds: of each plan.
        folds: into how many parts the speakers are cut, each tested on once; None for the splits
            that the corpus or the settings mark.
        split: what is scored.
        over: laid over every plan.
    """

    name: str
    plans: tuple[Variant, ...]
    reference: str
    corpora: dict[str, tuple[str, ...]]
    settings: str | None = None
    seeds: tuple[int, ...] = (0,)
    folds: int | None = None
    split: str = "test"
    over: dict[str, Any] = field(default_factory=dict, metadata={"key": "set"})

    def __post_init__(self) -> None:
        """Raises ValueError for what no matrix can be made of."""
        labels = [variant.label for variant in self.plans]
        for name in (self.name, *labels, *self.corpora):
            check_name(name)
        for what, given in (("plans", labels), ("seeds", self.seeds), ("corpora", self.corpora)):
            if not given:
                raise ValueError(f"{what} are empty; write one or more")
            if len(set(given)) < len(list(given)):
                raise ValueError(f"{what} has one twice; give each plan a name of its own")
        if self.reference not in labels:
            raise ValueError(f"reference is {self.reference!r}; plans are {', '.join(labels)}")
        if min(self.seeds) < 0:
            raise ValueError("seeds are 0 or more")
        if self.folds is not None and self.folds < 2:
            raise ValueError("folds is at least 2")
        for over in (self.over, *(variant.over for variant in self.plans)):
            for section, key in (("training", "seed"), ("data", "fold")):
                values = over.get(section)
                if isinstance(values, dict) and key in values:
                    raise ValueError("set: the matrix has its own keys for that, seeds and folds")


def read_experiment(path: Path) -> Experiment:
    """Read an experiment's file; a plan or a corpus may be written as a bare word.

    Raises:
        InputError: a key or a value is wrong, with the mend.
    """
    content = read_yaml(path)
    plans, corpora = content.get("plans"), content.get("corpora")
    if isinstance(plans, list):
        content["plans"] = [{"recipe": p} if isinstance(p, str) else p for p in plans]
    if isinstance(corpora, dict):
        content["corpora"] = {k: [v] if isinstance(v, str) else v for k, v in corpora.items()}
    return build(Experiment, content, str(path))


def expanded(text: str, where: str) -> str:
    """A path with its environment variables expanded.

    Raises:
        InputError: one of them is not set.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in os.environ:
            raise InputError(
                f"{where} is {text}, but the environment variable {name} is not set; "
                f"write: export {name}=FOLDER"
            )
        return os.environ[name]

    return _VARIABLE.sub(value, text)
