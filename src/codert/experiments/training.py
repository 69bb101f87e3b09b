"""A training as a process of its own: `codert train`, resumed where a checkpoint is there."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codert.config import assignments
from codert.experiments.jobs import Job
from codert.learning.curves import newest
from codert.learning.heard import check_heard
from codert.learning.recipe import read_plan
from codert.learning.run_folder import CHECKPOINT, is_finished


@dataclass(frozen=True, kw_only=True)
class Training(Job):
    """A run of a plan.

    Attributes:
        recipe: the plan.
        data: manifests.
        cache: where features are kept.
        settings: a file in place of the recipe's own settings, or None.
        over: KEY=VALUE laid over both.
        device: cpu or cuda; None for cuda where there is one.
    """

    recipe: Path
    data: tuple[Path, ...]
    cache: Path
    settings: Path | None = None
    over: tuple[str, ...] = ()
    device: str | None = None

    def words(self) -> list[str]:
        """Of `codert train`."""
        words = ["codert", *train_words(
            str(self.recipe),
            list(map(str, self.data)),
            self.folder,
            None if self.settings is None else str(self.settings),
            self.over,
        )]  # fmt: skip
        words += ["--cache", str(self.cache)]
        if self.device is not None:
            words += ["--device", self.device]
        if (self.folder / CHECKPOINT).exists():
            words.append("--resume")
        return words

    def is_finished(self) -> bool:
        """Whether the run came to its end.

        Raises:
            InputError: it was of another plan, or on other speech.
        """
        if not self.folder.exists():
            return False
        plan = read_plan(self.recipe, self.settings, assignments(self.over))
        finished = is_finished(self.folder, plan)
        if finished:
            check_heard(self.folder, plan, plan.data.read(self.data))
        return finished

    def progress(self) -> dict[str, float]:
        """The newest values of its curves; empty before the first."""
        return newest(self.folder)


def train_words(
    recipe: str, data: Sequence[str], folder: Path, settings: str | None, over: Sequence[str]
) -> list[str]:
    """The words of the `codert train` whose run is in `folder`."""
    words = ["train", recipe, "--data", *data, "--out", str(folder.parent)]
    if folder.name != Path(recipe).stem:
        words += ["--name", folder.name]
    if settings is not None:
        words += ["--settings", settings]
    for value in over:
        words += ["--set", value]
    return words
