"""What a training would take, from its first updates: time, memory, room for features."""

import resource
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import torch

from codert.errors import InputError
from codert.learning.ensemble import Ensemble
from codert.learning.machine import name_of
from codert.learning.plan import Plan
from codert.learning.run import check_finished, prepared
from codert.learning.schedule import EdgeSchedule
from codert.learning.trainer import Trainer

# A weight that is used at a frame costs a product and a sum, and twice that backwards.
_FLOPS_LIVE, _FLOPS_FROZEN = 6, 2


@dataclass(frozen=True)
class Size:
    """Weights of a recogniser: of its encoder, and all that a device needs."""

    encoder_params: int
    total_params: int


@dataclass(frozen=True)
class Estimate:
    """What a training would take.

    Attributes:
        device: that was measured, by name.
        recognisers: their sizes by name, frozen ones included.
        utterances: of the training split.
        audio_hours: of them.
        epochs: over them.
        updates: of the whole training.
        step_seconds: an update takes on this device, its features given.
        measured_updates: that this is the mean of.
        hours: all updates take; looks at the development split come on top.
        peak_memory_gb: on the device; on a CPU of the whole process.
        features_gb: on disk, for all speeds; 0 where features are computed on the fly.
        gflops_per_audio_second: of the encoders, forward and backward: 6 a weight and frame of
            those that learn, 2 of the frozen.
        tflops_per_second: of those, that the device reached.
    """

    device: str
    recognisers: dict[str, Size]
    utterances: int
    audio_hours: float
    epochs: int
    updates: int
    step_seconds: float
    measured_updates: int
    hours: float
    peak_memory_gb: float
    features_gb: float
    gflops_per_audio_second: float
    tflops_per_second: float

    def __str__(self) -> str:
        """For people, a line for each thing."""
        sizes = [
            f"{name}: {size.encoder_params:,} encoder params, {size.total_params:,} in all"
            for name, size in self.recognisers.items()
        ]
        return "\n".join(
            [
                *sizes,
                f"speech: {self.audio_hours:,.1f} h in {self.utterances:,} utterances, "
                f"{self.epochs} epochs",
                f"updates: {self.updates:,}",
                f"an update: {self.step_seconds:.3g} s on {self.device} "
                f"(mean of {self.measured_updates})",
                f"all updates: {_duration(self.hours)}; looks at the development split come on top",
                f"peak memory: {self.peak_memory_gb:.2g} GB",
                f"features on disk: {self.features_gb:.3g} GB",
                f"encoders: {self.gflops_per_audio_second:.3g} GFLOP for a second of speech; "
                f"{self.tflops_per_second:.2g} TFLOP/s reached",
            ]
        )


def estimate(
    plan: Plan, manifests: Sequence[Path], cache: Path, device: torch.device, updates: int
) -> Estimate:
    """Make the first updates of a training, keep nothing, and say what the whole would take.

    Features are computed for what is heard alone, so a corpus of any size takes a minute. Edges
    count as if they were on all the time, and teachers as if they were not cached; what a teacher
    in training writes of speech without a transcript is longer than it will be. The first update,
    which is slower, does not count.

    Args:
        plan: what would be trained.
        manifests: joined into one corpus.
        cache: not written to here.
        device: to measure.
        updates: to measure.

    Raises:
        InputError: bad data, or too little for so many updates.
    """
    measured = replace(
        plan,
        data=replace(plan.data, cache=False),
        edges=tuple(replace(edge, schedule=EdgeSchedule()) for edge in plan.edges),
        recognisers={n: replace(member, cached=False) for n, member in plan.recognisers.items()},
    )
    check_finished(plan, starts=False)
    ensemble, training, _, wordpieces = prepared(measured, manifests, cache, device)
    trainer = Trainer(
        measured, ensemble, training, None, wordpieces, Path(), lambda name, step: None, device
    )
    _, *seconds = trainer.timed_updates(1 + updates)
    if not seconds:
        raise InputError(
            f"{manifests[0]}: an epoch has one update, and the first is no measure; "
            "lower data.batch_seconds, or give more speech"
        )
    flops = _encoder_flops(plan, ensemble)
    audio = sum(each.seconds for each in training.utterances.values())
    slowness = mean(1 / speed for speed in plan.data.speeds)
    step = mean(seconds)
    per_update = audio * slowness * plan.training.epochs / trainer.updates
    frames = sum(plan.features.frames(audio / speed) for speed in set(plan.data.speeds))
    cached = plan.data.cache and plan.data.noise is None
    return Estimate(
        device=name_of(device),
        recognisers={
            name: Size(each.encoder_params, each.total_params)
            for name, each in (ensemble.live | ensemble.silent).items()
        },
        utterances=len(training),
        audio_hours=audio / 3600,
        epochs=plan.training.epochs,
        updates=trainer.updates,
        step_seconds=step,
        measured_updates=len(seconds),
        hours=trainer.updates * step / 3600,
        peak_memory_gb=_peak_memory(device) / 1e9,
        features_gb=frames * plan.features.mels * 2 / 1e9 if cached else 0.0,
        gflops_per_audio_second=flops / 1e9,
        tflops_per_second=flops * per_update / step / 1e12,
    )


def _duration(hours: float) -> str:
    """In the largest unit of which there is one."""
    if hours >= 100:
        return f"{hours:,.0f} h"
    for length, unit in ((1.0, "h"), (1 / 60, "min")):
        if hours >= length:
            return f"{hours / length:.3g} {unit}"
    return f"{hours * 3600:.3g} s"


def _encoder_flops(plan: Plan, ensemble: Ensemble) -> float:
    """Of the encoders for a second of speech."""
    frames = 1000 / plan.features.shift_ms
    rates = {name: frames / config.encoder.subsampling for name, config in plan.live.items()}
    live = sum(_FLOPS_LIVE * e.encoder_params * rates[name] for name, e in ensemble.live.items())
    return live + sum(
        _FLOPS_FROZEN * e.encoder_params * frames / e.encoder.subsampling
        for e in ensemble.silent.values()
    )


def _peak_memory(device: torch.device) -> int:
    """Bytes, since the process began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Linux counts in units of 1024 bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
