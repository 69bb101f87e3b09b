"""The cells of an experiment's matrix: which plan is trained on what, and what it needs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from codert.config import merged
from codert.errors import InputError
from codert.experiments.experiment import Experiment, Variant
from codert.experiments.recipes import recipes_folder
from codert.learning.plan import Plan
from codert.learning.recipe import read_plan

# How a recipe names the run of another plan: runs/PLAN/RECOGNISER.
_RUNS = "runs"


@dataclass(frozen=True)
class Planned:
    """A plan of the matrix.

    Attributes:
        name: of the plan in the matrix.
        recipe: its file.
        settings: in place of the recipe's own, or None.
        over: laid over both.
        plan: what they make.
        needs: by the keys below `recognisers` that name a folder, the plan and the recogniser
            that it is the run of.
    """

    name: str
    recipe: Path
    settings: Path | None
    over: dict[str, Any]
    plan: Plan
    needs: dict[tuple[str, ...], tuple[str, str]]


@dataclass(frozen=True)
class Cell:
    """One training: a plan with a corpus, a fold and a seed."""

    plan: str
    corpus: str
    fold: int | None
    seed: int

    @property
    def name(self) -> str:
        """Also where its run is, below the experiment's folder."""
        fold = "" if self.fold is None else f"fold{self.fold}/"
        return f"{self.corpus}/{fold}seed{self.seed}/{self.plan}"

    def of(self, plan: str) -> "Cell":
        """The cell of another plan, all else equal."""
        return replace(self, plan=plan)


def planned(experiment: Experiment, file: Path) -> dict[str, Planned]:
    """The plans of an experiment by name, as listed; those that they need besides come last.

    A folder that a recipe takes weights from (`frozen`, `start`), written runs/PLAN/RECOGNISER, is
    the run of that plan with the same corpus, fold and seed. Where PLAN is not listed, it is the
    recipe of that stem, beside the one that needs it. A folder elsewhere is taken as it is.

    Raises:
        InputError: a recipe is wrong, or what it needs is not there.
    """
    listed = {variant.label: variant for variant in experiment.plans}
    found = {
        name: _planned(experiment, file, name, _recipe(variant, file), variant)
        for name, variant in listed.items()
    }
    waiting = list(found.values())
    while waiting:
        each = waiting.pop()
        for keys, (plan, recogniser) in each.needs.items():
            where = f"{each.recipe}: recognisers.{'.'.join(keys)}"
            if plan not in found:
                recipe = each.recipe.parent / f"{plan}.yaml"
                if not recipe.exists():
                    raise InputError(
                        f"{where} is the run of {plan!r}, and there is no {recipe}; "
                        f"add {plan!r} to the plans of {file}, or name a folder outside runs/"
                    )
                found[plan] = _planned(experiment, file, plan, recipe, Variant(str(recipe)))
                waiting.append(found[plan])
            if recogniser not in found[plan].plan.made:
                raise InputError(
                    f"{where}: {plan!r} makes no {recogniser!r}; "
                    f"it makes {', '.join(found[plan].plan.made)}"
                )
    in_order(found)
    return found


def needs_of(plan: Plan) -> dict[tuple[str, ...], tuple[str, str]]:
    """By the keys of a folder it takes, the plan and recogniser that make it; see `planned`."""
    return {
        keys: (folder.parts[1], folder.parts[2])
        for keys, folder in plan.needs.items()
        if len(folder.parts) == 3 and folder.parts[0] == _RUNS
    }


def in_order(plans: dict[str, Planned]) -> list[str]:
    """The names of the plans, each behind those that it needs.

    Raises:
        InputError: two need each other.
    """
    order: list[str] = []

    def add(name: str, above: Sequence[str]) -> None:
        if name in above:
            raise InputError(f"{plans[name].recipe}: {' needs '.join((*above, name))}")
        if name not in order:
            for plan, _ in plans[name].needs.values():
                add(plan, (*above, name))
            order.append(name)

    for name in plans:
        add(name, ())
    return order


def cells_of(experiment: Experiment, plans: dict[str, Planned]) -> list[Cell]:
    """All cells; the seeds are outermost, so that whole comparisons are finished early."""
    folds: Sequence[int | None] = range(experiment.folds) if experiment.folds else [None]
    return [
        Cell(plan, corpus, fold, seed)
        for seed in experiment.seeds
        for corpus in experiment.corpora
        for fold in folds
        for plan in in_order(plans)
    ]


def _recipe(variant: Variant, file: Path) -> Path:
    if variant.recipe.endswith(".yaml"):
        return file.parent / variant.recipe
    recipe = recipes_folder() / f"{variant.recipe}.yaml"
    if not recipe.exists():
        known = ", ".join(sorted(path.stem for path in recipes_folder().glob("*.yaml")))
        raise InputError(
            f"{file}: plans: there is no recipe {variant.recipe!r}; known: {known}; "
            "or write a path that ends in .yaml"
        )
    return recipe


def _planned(
    experiment: Experiment, file: Path, name: str, recipe: Path, variant: Variant
) -> Planned:
    over = merged(experiment.over, variant.over)
    if variant.strategy is not None:
        over["strategy"] = variant.strategy
    settings = None if experiment.settings is None else file.parent / experiment.settings
    plan = read_plan(recipe, settings, over)
    return Planned(name, recipe, settings, over, plan, needs_of(plan))
