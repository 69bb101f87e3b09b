"""Frozen teachers whose outputs are kept on disk: the same losses, whatever became of the file."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.testing import assert_close

from codert.data.batches import Batch
from codert.errors import InputError
from codert.learning.ensemble import Ensemble
from codert.learning.objective import objective
from codert.learning.plan import Plan
from codert.learning.run import train
from codert.learning.teacher_cache import TeacherCache
from codert.models import RecogniserConfig
from codert.models.encoder import LSTMEncoderConfig
from codert.models.module_encoder import ModuleEncoderConfig
from codert.models.recogniser import Recogniser

from ..tiny import tiny_plan

CPU, SYMBOLS = torch.device("cpu"), 9
CONFIG = RecogniserConfig(LSTMEncoderConfig())  # what names the file, not what is run


@pytest.fixture
def teacher(settings: Path) -> Recogniser:
    return Ensemble.build(tiny_plan("teacher", settings), 80, SYMBOLS).live["teacher"].eval()


@pytest.fixture
def batch() -> Batch:
    torch.manual_seed(0)
    lengths, labels = torch.tensor([31, 22, 27]), torch.tensor([[1, 2, 3], [4, 4, 0], [5, 0, 0]])
    features = torch.randn(3, 31, 80)
    return Batch(0, ["a", "b", "c"], features, lengths, labels, torch.tensor([3, 2, 1]))


@pytest.fixture
def encoded_alone(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The frames of each utterance that a cache has had to encode."""
    alone, frames = TeacherCache._alone, []

    def counted(self: TeacherCache, features: Tensor) -> Tensor:
        frames.append(len(features))
        return alone(self, features)

    monkeypatch.setattr(TeacherCache, "_alone", counted)
    return frames


def opened(folder: Path, teacher: Recogniser) -> TeacherCache:
    return TeacherCache.open(folder, teacher, CONFIG, 100, "recognisers.teacher.cached")


@torch.no_grad()
def encoded(cache: TeacherCache, batch: Batch) -> tuple[Tensor, ...]:
    found = cache.encode(batch.features, batch.frame_lengths)
    return found.joint, found.logits, found.lengths, *found.layers


def assert_equal(some: tuple[Tensor, ...], others: tuple[Tensor, ...]) -> None:
    for a, b in zip(some, others, strict=True):
        assert torch.equal(a, b)


def file_of(folder: Path) -> Path:
    (path,) = folder.glob("*.layers")
    return path


def test_what_is_read_is_what_was_written_and_what_the_teacher_gives(
    tmp_path: Path, teacher: Recogniser, batch: Batch, encoded_alone: list[int]
) -> None:
    cold = encoded(opened(tmp_path, teacher), batch)
    assert encoded_alone == [31, 22, 27]
    warm = encoded(opened(tmp_path, teacher), batch)
    assert len(encoded_alone) == 3
    assert_equal(cold, warm)
    with torch.no_grad():
        expected = teacher.encode(batch.features, batch.frame_lengths)
    assert torch.equal(cold[2], expected.lengths)
    for b, n in enumerate(expected.lengths.tolist()):
        assert_close(cold[1][b, :n], expected.logits[b, :n])
        assert_close(cold[3][b, :n], expected.layers[-1][b, :n])


@pytest.mark.parametrize("match", ["encoder_logits", "lattice", "hidden"])
def test_the_loss_is_the_same_bit_for_bit(
    match: str, tmp_path: Path, settings: Path, static: Any, batch: Batch
) -> None:
    plan = static(match)
    ensemble = Ensemble.build(plan, 80, static.symbols)
    alone = []  # in a batch of several, sums may be rounded otherwise
    for b, (n, u) in enumerate(zip(batch.frame_lengths, batch.label_lengths, strict=True)):
        features, labels = batch.features[b : b + 1, :n], batch.labels[b : b + 1, :u]
        alone.append(Batch(0, batch.ids[b : b + 1], features, n[None], labels, u[None]))

    def losses() -> list[Tensor]:
        return [objective(plan, ensemble, each, 0.5, (0, 0)).total.detach() for each in alone]

    without = losses()
    ensemble.caches["teacher"] = opened(tmp_path, ensemble.frozen["teacher"])
    cold, warm = losses(), losses()
    assert_equal(tuple(without), tuple(cold))
    assert_equal(tuple(cold), tuple(warm))


@pytest.mark.parametrize("lost", [1, 20, 448, 449, 480])
def test_a_killed_write_costs_what_it_was_writing(
    lost: int, tmp_path: Path, teacher: Recogniser, batch: Batch, encoded_alone: list[int]
) -> None:
    expected = encoded(opened(tmp_path, teacher), batch)
    path = file_of(tmp_path)
    whole = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(whole - lost)
    del encoded_alone[:]
    assert_equal(encoded(opened(tmp_path, teacher), batch), expected)
    assert len(encoded_alone) == 1
    assert path.stat().st_size == whole
    assert_equal(encoded(opened(tmp_path, teacher), batch), expected)
    assert len(encoded_alone) == 1


def test_a_damaged_record_is_made_anew(
    tmp_path: Path, teacher: Recogniser, batch: Batch, encoded_alone: list[int]
) -> None:
    expected = encoded(opened(tmp_path, teacher), batch)
    path = file_of(tmp_path)
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"nonsense")
    del encoded_alone[:]
    for _ in range(2):
        assert_equal(encoded(opened(tmp_path, teacher), batch), expected)
    assert len(encoded_alone) == 1


def test_another_teacher_and_other_features_are_noticed(
    tmp_path: Path, teacher: Recogniser, batch: Batch, encoded_alone: list[int]
) -> None:
    before = encoded(opened(tmp_path, teacher), batch)
    batch.features[1, 3] += 0.01
    after = encoded(opened(tmp_path, teacher), batch)
    assert encoded_alone == [31, 22, 27, 22]
    assert torch.equal(after[1][0], before[1][0])
    assert not torch.equal(after[1][1], before[1][1])
    with torch.no_grad():
        teacher.front_end.deviation.mul_(2)
    other = encoded(opened(tmp_path, teacher), batch)
    assert len(encoded_alone) == 7
    assert not torch.equal(other[1][0], after[1][0])
    assert len(list(tmp_path.glob("*.layers"))) == 2


def test_two_that_fill_it_at_once_write_each_utterance_once(
    tmp_path: Path, teacher: Recogniser, batch: Batch
) -> None:
    one, other = opened(tmp_path, teacher), opened(tmp_path, teacher)
    found = encoded(one, batch)
    size = file_of(tmp_path).stat().st_size
    assert_equal(encoded(other, batch), found)
    assert_equal(encoded(other, batch), found)
    assert file_of(tmp_path).stat().st_size == size


def test_a_disk_that_is_too_small_is_said_before(
    tmp_path: Path, teacher: Recogniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match=r"recognisers.teacher.cached: .* would take 1.6e-06 GB"):
        opened(tmp_path, teacher)
    TeacherCache.open(tmp_path, teacher, CONFIG, 60, "")


class Late(nn.Module):
    """An encoder of somebody's own, whose options are in no weight."""

    width = 3

    def __init__(self, features: int, delay: int) -> None:
        super().__init__()
        self._delay = delay
        self.own = nn.Parameter(torch.ones(1))

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return self.own * features[:, :, : self.width].roll(self._delay, 1), lengths


def test_a_file_is_of_one_configuration(tmp_path: Path, batch: Batch) -> None:
    found = []
    for delay in (0, 5):
        encoder = ModuleEncoderConfig("module", f"{__name__}:Late", 1, {"delay": delay})
        config = RecogniserConfig(encoder)
        torch.manual_seed(0)
        recogniser = Recogniser.build(config, 80, SYMBOLS).eval()
        cache = TeacherCache.open(tmp_path, recogniser, config, 100, "")
        found.append(encoded(cache, batch)[0])
        with torch.no_grad():
            heard = recogniser.encode(batch.features[:1], batch.frame_lengths[:1])
        assert_close(found[-1][0], heard.logits[0])
    assert not torch.equal(*found)


class Static:
    """Plans with a frozen teacher whose outputs are cached."""

    symbols: int

    def __init__(self, settings: Path, folder: Path, symbols: int) -> None:
        self._settings, self._folder, self.symbols = settings, folder, symbols

    def __call__(self, match: str = "encoder_logits", **over: object) -> Plan:
        members = {"teacher": {"frozen": str(self._folder), "cached": True}}
        edges = [{"from": "teacher", "to": "student", "match": match}]
        keys = {"recognisers": members, "edges": edges, **over}
        return tiny_plan("static", self._settings, **keys)


@pytest.fixture(scope="module")
def static(
    settings: Path, corpus: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Static:
    folder = tmp_path_factory.mktemp("teacher")
    outcome = train(tiny_plan("teacher", settings), [corpus], folder, cache, CPU)
    weights = load_file(outcome.recognisers["teacher"] / "weights.safetensors")
    symbols = len(weights["encoder.projection.bias"])
    return Static(settings, outcome.recognisers["teacher"], symbols)


def test_a_run_is_the_same_whatever_was_in_the_cache(
    static: Static, corpus: Path, cache: Path, tmp_path: Path, encoded_alone: list[int]
) -> None:
    plan = static(data={"speeds": [0.9, 1.0]})
    folders = []
    for name in ("cold", "warm"):
        outcome = train(plan, [corpus], tmp_path / name, cache, CPU)
        folders.append(outcome.recognisers["student"])
        if name == "cold":
            made = len(encoded_alone)
            assert 28 < made <= 2 * 28  # two epochs, in which an utterance has one speed or two
    assert len(encoded_alone) == made
    cold, warm = (load_file(folder / "weights.safetensors") for folder in folders)
    assert_equal(tuple(cold.values()), tuple(warm.values()))


@pytest.mark.parametrize(
    ("over", "message"),
    [
        (
            {"data": {"noise": {"low_db": 5, "high_db": 9}}},
            r"recognisers.teacher.cached: with data.noise no two epochs hear the same; remove one",
        ),
        (
            {
                "data": {
                    "spec_augment": {
                        "time_masks": 1,
                        "time_width": 5,
                        "frequency_masks": 0,
                        "frequency_width": 0,
                    }
                }
            },
            r"recognisers.teacher.cached: with data.spec_augment",
        ),
        (
            {
                "edges": [
                    {"from": "teacher", "to": "student", "match": "hidden", "teacher_layer": 0}
                ]
            },
            r"edges\[0\].teacher_layer is 0, and of 'teacher' the last layer alone is cached",
        ),
        (
            {"recognisers": {"teacher": {"frozen": None, "model": "large", "cached": True}}},
            r"cached is of frozen recognisers",
        ),
    ],
)
def test_what_cannot_be_cached_is_refused(
    static: Static, over: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        static(**over)
