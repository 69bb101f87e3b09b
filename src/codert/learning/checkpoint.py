"""The state of a run in one safetensors file: weights, optimisers, and where it stands.

Random states are not in it: every stream is a function of the seed and the step.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from codert.errors import InputError
from codert.learning.ensemble import Ensemble
from codert.models.folder import write_tensors


@dataclass
class Position:
    """Where a run stands.

    Attributes:
        epoch: of the next batch.
        batch: index of the next batch in its epoch.
        updates: optimiser steps done.
        core_seconds: of the CPU so far, over all sessions.
        best: lowest development WER in percent, by recogniser.
        too_short_for_ctc: ids of utterances that had the transducer loss alone.
        skipped: utterances that were found to be broken when they were heard, with reasons.
        corpus: a digest of what is trained on and looked at.
    """

    epoch: int = 0
    batch: int = 0
    updates: int = 0
    core_seconds: float = 0.0
    best: dict[str, float] = field(default_factory=dict)
    too_short_for_ctc: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    corpus: str = ""


def save_checkpoint(
    path: Path, ensemble: Ensemble, optimisers: dict[str, Optimizer], position: Position
) -> None:
    """Write it whole or not at all; raises InputError where the disk is full."""
    tensors = {}
    for owner, module in ensemble.state.items():
        for name, tensor in module.state_dict().items():
            tensors[f"weights/{owner}/{name}"] = tensor.contiguous()
    moments: dict[str, list[int]] = {}
    for owner, optimiser in optimisers.items():
        states = optimiser.state_dict()["state"]
        moments[owner] = sorted(states)
        for index, state in states.items():
            for name, tensor in state.items():
                tensors[f"optimiser/{owner}/{index}/{name}"] = tensor.contiguous()
    metadata = {"position": asdict(position), "moments": moments}
    write_tensors(path, tensors, {key: json.dumps(value) for key, value in metadata.items()})


def load_checkpoint(
    path: Path, ensemble: Ensemble, optimisers: dict[str, Optimizer], corpus: str
) -> Position:
    """Restore what `save_checkpoint` wrote.

    Raises:
        InputError: it is missing, broken, or of another plan or corpus.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            position = Position(**json.loads(metadata["position"]))
            if "moments" not in metadata:
                raise InputError(f"{path}: was written by an earlier codert; train anew")
            moments = json.loads(metadata["moments"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(f"{path}: nothing to resume; run without --resume") from None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: cannot be resumed from: {error}; train anew") from None
    if position.corpus != corpus:
        raise InputError(
            f"{path}: the run was begun with other utterances or word-pieces; resume it with the "
            "same --data, or train anew in another folder"
        )
    try:
        for owner, module in ensemble.state.items():
            module.load_state_dict(_below(tensors, f"weights/{owner}/"))
        for owner, optimiser in optimisers.items():
            _load_optimiser(optimiser, _below(tensors, f"optimiser/{owner}/"), moments[owner])
    except (RuntimeError, ValueError, KeyError) as error:
        raise InputError(f"{path}: is of another plan: {error}") from None
    return position


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _load_optimiser(
    optimiser: Optimizer, tensors: dict[str, Tensor], moments: Sequence[int]
) -> None:
    """`moments` are the weights that had some: those that no gradient has reached have none."""
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        index, key = name.split("/")
        state.setdefault(int(index), {})[key] = tensor
    if sorted(state) != list(moments) or len({frozenset(of) for of in state.values()}) > 1:
        raise ValueError("its optimiser lacks moments")
    optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
