"""What an update does to the weights, when a trainer looks at dev, and what it keeps."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from codert.data.manifest import read_manifest, write_manifest
from codert.errors import InputError
from codert.learning import trainer as trainer_module
from codert.learning.plan import Plan
from codert.learning.run import prepared, train
from codert.learning.run_folder import CHECKPOINT, CURVES
from codert.learning.trainer import Trainer
from codert.models.folder import load_card

from ..tiny import tiny_plan

CPU = torch.device("cpu")
NO_CLIP = 1e9
Weights = dict[str, torch.Tensor]
MakeTrainer = Callable[[Plan], Trainer]


@pytest.fixture
def make_trainer(corpus: Path, cache: Path, tmp_path: Path) -> MakeTrainer:
    def make(plan: Plan) -> Trainer:
        def save_best(name: str, updates: int) -> None:
            (tmp_path / name).touch()

        parts = prepared(plan, [corpus], cache, CPU)
        return Trainer(plan, *parts, tmp_path, save_best, CPU)

    return make


def parameters(trainer: Trainer) -> Weights:
    groups = torch.nn.ModuleDict(trainer.ensemble.groups)
    return {name: parameter.detach().clone() for name, parameter in groups.named_parameters()}


def gradients(trainer: Trainer) -> dict[str, Weights]:
    """By owner, as the last update left them."""
    return {
        owner: {n: p.grad.clone() for n, p in group.named_parameters() if p.grad is not None}
        for owner, group in trainer.ensemble.groups.items()
    }


def test_a_batch_accumulated_twice_has_the_gradient_of_one(
    make_trainer: MakeTrainer, settings: Path
) -> None:
    found = []
    for times in (1, 2):
        trainer = make_trainer(tiny_plan("alone", settings, training={"clip": NO_CLIP}))
        trainer._update([next(trainer.training.batches(0))] * times)
        found.append(gradients(trainer)["student"])
    assert found[0]
    torch.testing.assert_close(found[1], found[0])


def test_an_update_forgets_the_gradient_of_the_one_before(
    make_trainer: MakeTrainer, settings: Path
) -> None:
    # So slow that no weight changes.
    training = {"clip": NO_CLIP, "rate": {"peak": 1e-30}}
    trainer = make_trainer(tiny_plan("alone", settings, training=training))
    found = []
    for _ in range(2):
        trainer._update([next(trainer.training.batches(0))])
        found.append(gradients(trainer)["student"])
    torch.testing.assert_close(found[1], found[0])


def test_each_group_is_clipped_by_itself(make_trainer: MakeTrainer, settings: Path) -> None:
    trainer = make_trainer(tiny_plan("tandem-shared", settings, training={"clip": 0.01}))
    values = trainer._update([next(trainer.training.batches(0))])
    left = gradients(trainer)
    assert left.keys() == {"teacher", "student", "shared"}
    for owner, of_owner in left.items():
        assert float(values[f"gradient/{owner}"]) > 0.01  # as it was before
        norm = torch.cat([gradient.flatten() for gradient in of_owner.values()]).norm()
        assert float(norm) == pytest.approx(0.01, rel=1e-3)


def test_a_gradient_that_is_not_finite_is_named_and_nothing_is_written(
    make_trainer: MakeTrainer, settings: Path, tmp_path: Path
) -> None:
    trainer = make_trainer(tiny_plan("tandem", settings))
    before, ids = parameters(trainer), next(trainer.training.batches(0)).ids
    weight = trainer.ensemble.live["student"].encoder.projection.weight
    weight.register_hook(lambda gradient: gradient * torch.nan)  # type: ignore[no-untyped-call]
    said = rf"^the gradient of student is not finite in the batch of {', '.join(ids)}; lower"
    with pytest.raises(InputError, match=said):
        trainer.run()
    # Nor has the teacher, whose gradient is finite, learnt of this batch.
    torch.testing.assert_close(parameters(trainer), before, rtol=0, atol=0)
    for name in (CHECKPOINT, "student", "teacher"):
        assert not (tmp_path / name).exists()


def test_settings_reach_every_optimiser(make_trainer: MakeTrainer, settings: Path) -> None:
    training = {"betas": [0.7, 0.8], "weight_decay": 0.3}
    trainer = make_trainer(tiny_plan("tandem-shared", settings, training=training))
    assert trainer.optimisers.keys() == {"teacher", "student", "shared"}
    for optimiser in trainer.optimisers.values():
        for options in optimiser.param_groups:
            assert (options["betas"], options["weight_decay"]) == ((0.7, 0.8), 0.3)


def test_the_rate_follows_its_schedule(make_trainer: MakeTrainer, settings: Path) -> None:
    rate = {"peak": 0.5, "warmup": 0.5}
    trainer = make_trainer(tiny_plan("alone", settings, training={"rate": rate}))
    rates = []
    for trainer.position.epoch in (0, 1):
        trainer._update([next(trainer.training.batches(trainer.position.epoch))])
        rates.append(trainer.optimisers["student"].param_groups[0]["lr"])
    assert rates == pytest.approx([0.04 * 0.5, 0.5], rel=0.1)


def looks(run: Path) -> list[float]:
    """The epochs after which dev was looked at."""
    lines = [json.loads(line) for line in (run / CURVES).read_text().splitlines()]
    return [line["epoch"] for line in lines if "wer/student" in line]


def test_dev_is_looked_at_every_so_many_epochs_and_at_the_end(
    corpus: Path, cache: Path, settings: Path, tmp_path: Path
) -> None:
    plan = tiny_plan("alone", settings, training={"evaluate_every": 2, "epochs": 3})
    train(plan, [corpus], tmp_path, cache, CPU)
    assert looks(tmp_path) == [2, 3]


@pytest.fixture
def at_looks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Weights]]:
    """The updates and the student's weights whenever an epoch had ended."""
    seen: list[tuple[int, Weights]] = []
    save = Trainer.save

    def noted(self: Trainer) -> None:
        if self.position.batch == 0:
            student = self.ensemble.live["student"].state_dict()
            seen.append((self.position.updates, {n: w.clone() for n, w in student.items()}))
        save(self)

    monkeypatch.setattr(Trainer, "save", noted)
    return seen


def assert_kept(student: Path, look: tuple[int, Weights]) -> None:
    updates, weights = look
    assert load_card(student).updates == updates
    torch.testing.assert_close(load_file(student / "weights.safetensors"), weights, rtol=0, atol=0)


@pytest.mark.parametrize("best", [0, 1])
def test_what_was_best_on_dev_is_kept(
    best: int,
    corpus: Path,
    cache: Path,
    settings: Path,
    tmp_path: Path,
    at_looks: list[tuple[int, Weights]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # At each look the transducer's, which decides, and CTC's, which says the opposite.
    rates = iter([20.0, 10.0, 10.0, 20.0] if best else [10.0, 20.0, 20.0, 10.0])
    monkeypatch.setattr(trainer_module, "wer", lambda _: next(rates))
    outcome = train(tiny_plan("alone", settings), [corpus], tmp_path, cache, CPU)
    assert outcome.best == {"student": 10.0}
    assert len(at_looks) == 2
    assert_kept(outcome.recognisers["student"], at_looks[best])


def test_without_dev_the_last_weights_are_kept(
    corpus: Path,
    cache: Path,
    settings: Path,
    tmp_path: Path,
    at_looks: list[tuple[int, Weights]],
) -> None:
    manifest = tmp_path / "manifest.tsv"
    write_manifest(manifest, [each for each in read_manifest(corpus) if each.split == "train"])
    outcome = train(tiny_plan("alone", settings), [manifest], tmp_path / "run", cache, CPU)
    assert not outcome.best
    assert len(at_looks) == 2
    assert_kept(outcome.recognisers["student"], at_looks[-1])
