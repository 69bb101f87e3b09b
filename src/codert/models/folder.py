"""A recogniser's folder: what every command accepts as RUN.

config.json            dimensions, features, what it was trained to understand
weights.safetensors    the weights
wordpieces.model       the SentencePiece model, written by whoever has it
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from codert.config import build, plain
from codert.errors import InputError
from codert.files import write_bytes, write_text
from codert.models.recogniser import Recogniser, RecogniserConfig

CONFIG, WEIGHTS, WORDPIECES = "config.json", "weights.safetensors", "wordpieces.model"


@dataclass(frozen=True)
class Card:
    """What there is to know about a recogniser beside its weights.

    Attributes:
        model: its dimensions.
        symbols: V, blank included.
        features: the configuration of its features.
        role: student or teacher; `codert choose` takes students alone.
        strategy: how it was trained; a label that only tables read.
        understands: what it was trained to understand, for people.
        ctc_weight: of the CTC loss that its encoder logits were trained with.
        updates: optimiser steps behind the weights.
    """

    model: RecogniserConfig
    symbols: int
    features: dict[str, Any]
    role: Literal["student", "teacher"]
    strategy: str
    understands: str
    ctc_weight: float = 0.0
    updates: int = 0


def save_recogniser(folder: Path, recogniser: Recogniser, card: Card) -> None:
    """Write weights and card; each file appears whole or not at all.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    write_tensors(folder / WEIGHTS, _tensors(recogniser))
    write_text(folder / CONFIG, json.dumps(plain(card), indent=2) + "\n")


def load_recogniser(folder: Path) -> tuple[Recogniser, Card]:
    """Read a recogniser, ready for inference.

    Raises:
        InputError: the folder is not a recogniser's, or its files do not belong together.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    card = load_card(folder)
    mels = build(int, card.features.get("mels"), str(folder / CONFIG), "features.mels")
    recogniser = Recogniser.build(card.model, mels, card.symbols)
    try:
        recogniser.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise InputError(f"{folder / WEIGHTS}: cannot be used: {error}") from None
    return recogniser.eval(), card


def load_card(folder: Path) -> Card:
    """What there is to know about the recogniser in a folder.

    Raises:
        InputError: the folder is not a recogniser's, or its card is broken.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise InputError(
            f"{folder}: not a recogniser (no {CONFIG}); "
            "name the folder of one, such as runs/demo/alone/student"
        )
    try:
        return build(Card, json.loads(path.read_text(encoding="utf-8")), str(path))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid JSON: {error}; train again") from None


def recognisers_in(folder: Path) -> list[Path]:
    """A recogniser's folder itself; or, of a run's folder, its recognisers', teachers first.

    Raises:
        InputError: it is neither.
    """
    if (folder / CONFIG).is_file():
        return [folder]
    found = sorted(folder.glob(f"*/{CONFIG}"))
    if not found:
        raise InputError(
            f"{folder}: neither a recogniser's folder (no {CONFIG}) nor a run's; name one, such as "
            "runs/demo/alone/student or runs/demo/alone"
        )
    folders = [path.parent for path in found]
    return sorted(folders, key=lambda each: load_card(each).role != "teacher")


def weights_digest(module: nn.Module) -> str:
    """A digest of all weights and buffers of a module, wherever they are."""
    digest = hashlib.sha256()
    for tensor in module.state_dict().values():
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def write_tensors(
    path: Path, tensors: dict[str, Any], metadata: dict[str, str] | None = None
) -> None:
    """A safetensors file that appears whole or not at all."""
    from safetensors.torch import save

    write_bytes(path, save(tensors, metadata))


def _tensors(module: nn.Module) -> dict[str, Any]:
    return {name: tensor.detach().contiguous() for name, tensor in module.state_dict().items()}
