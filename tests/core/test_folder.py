"""A recogniser's folder: bit-equal round trips, errors with a mend, whole files or none."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from codert.errors import InputError
from codert.files import replacing, write_text
from codert.models.encoder import LSTMEncoderConfig
from codert.models.folder import (
    CONFIG,
    WEIGHTS,
    Card,
    load_recogniser,
    save_recogniser,
    write_tensors,
)
from codert.models.joint import AdditiveJointConfig, JointConfig, MLPJointConfig
from codert.models.predictor import LSTMPredictorConfig, StatelessPredictorConfig
from codert.models.recogniser import Recogniser, RecogniserConfig

F, V = 5, 7
JOINTS: list[JointConfig] = [AdditiveJointConfig(), MLPJointConfig("mlp", width=4)]


def make(joint: JointConfig, seed: int = 0) -> tuple[Recogniser, Card]:
    config = RecogniserConfig(
        LSTMEncoderConfig(channels=4, strides=(2,), width=6, layers=1),
        LSTMPredictorConfig("lstm", width=4)
        if joint.kind == "mlp"
        else StatelessPredictorConfig(width=4),
        joint,
    )
    torch.manual_seed(seed)
    model = Recogniser.build(config, F, V)
    # Statistics that are not those of a new recogniser.
    model.front_end.normalise_by(torch.randn(F), torch.rand(F) + 0.5)
    model.train().encode(torch.randn(2, 9, F), torch.tensor([9, 4]))
    features = {"mels": F, "kind": "fbank"}
    return model, Card(config, V, features, "student", "tandem", "digits", 12)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_recogniser(tmp_path / "run", *make(JOINTS[0]))
    return tmp_path / "run"


@pytest.mark.parametrize("joint", JOINTS, ids=lambda j: j.kind)
def test_round_trip_is_bit_equal(joint: JointConfig, tmp_path: Path) -> None:
    model, card = make(joint)
    save_recogniser(tmp_path / "a" / "b", model, card)
    loaded, card_again = load_recogniser(tmp_path / "a" / "b")
    assert card_again == card
    assert not loaded.training
    expected = model.state_dict()
    assert list(loaded.state_dict()) == list(expected)
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == expected[name].dtype
        assert torch.equal(tensor, expected[name]), name
    features, lengths = torch.randn(1, 8, F), torch.tensor([8])
    model.eval()
    assert torch.equal(
        loaded.encode(features, lengths).joint, model.encode(features, lengths).joint
    )
    assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == [CONFIG, WEIGHTS]


def test_saving_twice_keeps_the_later(saved: Path) -> None:
    model, card = make(JOINTS[0], seed=1)
    save_recogniser(saved, model, replace(card, updates=99))
    loaded, card = load_recogniser(saved)
    assert card.updates == 99
    assert torch.equal(loaded.encoder.projection.weight, model.encoder.projection.weight)


def test_folders_that_are_no_recognisers(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match="not a recogniser") as error:
            load_recogniser(folder)
        assert str(folder) in str(error.value)
        assert CONFIG in str(error.value)


@pytest.mark.parametrize("size", [0, 4, 200, -1])
def test_truncated_weights(saved: Path, size: int) -> None:
    whole = (saved / WEIGHTS).read_bytes()
    (saved / WEIGHTS).write_bytes(whole[:size])
    with pytest.raises(InputError, match="cannot be used") as error:
        load_recogniser(saved)
    assert WEIGHTS in str(error.value)


def test_missing_weights(saved: Path) -> None:
    (saved / WEIGHTS).unlink()
    with pytest.raises(InputError, match="cannot be used"):
        load_recogniser(saved)


def edit(folder: Path, change: dict[str, Any]) -> None:
    card = json.loads((folder / CONFIG).read_text())
    for key, value in change.items():
        *way, last = key.split(".")
        inner = card
        for step in way:
            inner = inner[step]
        inner[last] = value
    (folder / CONFIG).write_text(json.dumps(card))


@pytest.mark.parametrize(
    "change",
    [
        {"model.encoder.width": 7},
        {"model.encoder.layers": 2},
        {"symbols": V + 1},
        {"features.mels": F + 1},
        {"model.joint": {"kind": "mlp"}},
    ],
    ids=str,
)
def test_weights_of_other_dimensions(saved: Path, change: dict[str, Any]) -> None:
    edit(saved, change)
    with pytest.raises(InputError, match="cannot be used") as error:
        load_recogniser(saved)
    assert str(saved / WEIGHTS) in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"symbols": "many"}, "symbols is 'many'; write a whole number"),
        (
            {"model.encoder.widht": 3},
            "model.encoder.widht is not a known key; did you mean 'width'",
        ),
        ({"features": {}}, "features.mels is None; write a whole number"),
        ({"features": {"mels": "x"}}, "features.mels is 'x'; write a whole number"),
        (
            {"model.encoder": {"kind": "module", "module": "no_such:Class", "subsampling": 1}},
            "no_such",
        ),
    ],
    ids=str,
)
def test_configurations_that_cannot_be_built(
    saved: Path, change: dict[str, Any], message: str
) -> None:
    edit(saved, change)
    with pytest.raises(InputError) as error:
        load_recogniser(saved)
    assert message in str(error.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_configurations_that_are_no_json(saved: Path, content: bytes) -> None:
    (saved / CONFIG).write_bytes(content)
    with pytest.raises(InputError, match=CONFIG):
        load_recogniser(saved)


def full_disk(*_: object) -> None:
    raise OSError(28, "No space left on device")


def half_written(error: BaseException) -> Callable[..., Any]:
    """In place of Path.open: of what is written half gets through."""
    opened: Any = Path.open

    def open_it(path: Path, *mode: str) -> Any:
        file = opened(path, *mode)

        def write(content: bytes) -> int:
            type(file).write(file, content[: len(content) // 2])
            raise error

        file.write = write
        return file

    return open_it


@pytest.mark.parametrize(
    ("where", "what", "how"),
    [
        (os, "replace", full_disk),
        (Path, "open", full_disk),
        (Path, "open", half_written(OSError(28, "No space left on device"))),
    ],
)
def test_a_failed_write_leaves_the_old_files(
    saved: Path, where: Any, what: str, how: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {p.name: p.read_bytes() for p in saved.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(where, what, how)
        with pytest.raises(InputError, match=r"No space left on device; free space"):
            save_recogniser(saved, *make(JOINTS[0], seed=1))
        with pytest.raises(InputError, match=CONFIG):
            write_text(saved / CONFIG, "{}")
    assert {p.name: p.read_bytes() for p in saved.iterdir()} == before


def test_an_interrupted_write_leaves_the_old_files(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {p.name: p.read_bytes() for p in saved.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", half_written(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            save_recogniser(saved, *make(JOINTS[0], seed=1))
    assert {p.name: p.read_bytes() for p in saved.iterdir()} == before


def test_what_a_killed_write_left_is_gone_after_the_next(saved: Path) -> None:
    names = {path.name for path in saved.iterdir()}
    (saved / f"{CONFIG}.part").write_text("half")
    save_recogniser(saved, *make(JOINTS[0]))
    load_recogniser(saved)
    assert {path.name for path in saved.iterdir()} == names


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        save_recogniser(tmp_path / "run", *make(JOINTS[0]))


def test_what_could_not_be_read_while_another_was_written_is_the_one_named(tmp_path: Path) -> None:
    target = tmp_path / "to" / "target"
    for source in (
        tmp_path / "from" / "source",
        target.parent / "source",
        target.parent / "a" / "b",
    ):
        with pytest.raises(InputError) as caught, replacing(target):
            source.read_bytes()
        said = f"{source}: No such file or directory; so {target} was not written"
        assert str(caught.value) == said
        assert not any(target.parent.iterdir())


def test_tensors_and_their_metadata(tmp_path: Path) -> None:
    from safetensors import safe_open

    tensors = {"a": torch.arange(3), "b": torch.randn(2, 3).bfloat16()}
    write_tensors(tmp_path / "deep" / "t.safetensors", tensors, {"note": "x"})
    with safe_open(tmp_path / "deep" / "t.safetensors", "pt") as file:
        assert file.metadata() == {"note": "x"}
        for name, tensor in tensors.items():
            assert torch.equal(file.get_tensor(name), tensor)
