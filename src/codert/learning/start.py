"""What the recognisers of a run begin with, where that is not drawn: parts of finished ones."""

from functools import cache
from pathlib import Path

from torch import nn

from codert.data.wordpieces import WordPieces
from codert.errors import PlanError
from codert.learning.compatibility import check_features
from codert.learning.ensemble import MODULES, Ensemble
from codert.learning.plan import Plan
from codert.models import RecogniserConfig
from codert.models.encoder import Lookahead
from codert.models.folder import WORDPIECES, load_recogniser


def start(plan: Plan, ensemble: Ensemble, wordpieces: WordPieces) -> None:
    """Copy what the plan says from the folders of finished recognisers.

    A recogniser all of whose parts start from a run begins as that recogniser: the front end
    brings its mean and deviation of the features, and its batch norm's statistics.

    Raises:
        PlanError: a folder is not a recogniser's, or a part does not fit.
    """
    load = cache(load_recogniser)
    for name, member in plan.recognisers.items():
        for part, text in member.start.items():
            folder, where = Path(text), f"recognisers.{name}.start.{part}: {text}"
            source, card = load(folder)
            if part != "decoder":
                check_features(card, plan, where)
            if part != "front_end":
                check_wordpieces(folder, wordpieces, where)
            if part != "decoder":
                _check_frame_rate(card.model, plan.live[name], where)
            for module in MODULES[part]:
                begun = ensemble.live[name].get_submodule(module)
                _copy(source.get_submodule(module), begun, where, member.model)


def check_wordpieces(folder: Path, wordpieces: WordPieces, where: str) -> None:
    """Raises PlanError where a recogniser writes other word-pieces than the run."""
    if WordPieces.load(folder / WORDPIECES) != wordpieces:
        raise PlanError(
            f"{where}: it has other word-pieces than this run; take its own "
            f"(--set wordpieces.model={folder / WORDPIECES}), or train both on the same training "
            "split with the same wordpieces settings"
        )


def _check_frame_rate(theirs: RecogniserConfig, ours: RecogniserConfig, where: str) -> None:
    """Weights of equal shapes mean something else at another frame rate."""
    rates = [config.encoder.subsampling for config in (theirs, ours)]
    if rates[0] != rates[1]:
        raise PlanError(
            f"{where}: it has one frame for {rates[0]} of the features' and this one for "
            f"{rates[1]}; give both the same strides, or write null there"
        )


def _copy(source: nn.Module, begun: nn.Module, where: str, model: str | None) -> None:
    theirs, ours = source.state_dict(), begun.state_dict()
    for name, module in begun.named_modules():
        if isinstance(module, Lookahead):  # where they have none, it begins as the identity
            weight = f"{name}.weight"
            theirs.setdefault(weight, ours[weight])
    for name in theirs | ours:
        shapes = [tuple(x[name].shape) if name in x else None for x in (theirs, ours)]
        if shapes[0] != shapes[1]:
            raise PlanError(
                f"{where}: its {name} is {shapes[0] or 'not there'} and that of models.{model} "
                f"{shapes[1] or 'not there'}; give both the same dimensions, or write null there"
            )
    begun.load_state_dict(theirs)
