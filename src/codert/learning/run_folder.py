"""The folder of a run: what lies in it, and whether it is of a plan.

runs/NAME/PLAN/
    plan.json                 the whole plan as it was run
    taken.json                digests of the weights that it starts or learns from
    heard.txt                 ids of the utterances that it trains on or is chosen by, each with a
                              digest of its text, and ids of those that what it starts or learns
                              from was
    commits.txt               of codert, that it was trained at, where it is a checkout
    curves.jsonl              losses and development WER as they went
    checkpoint.safetensors    the last state, for --resume
    skipped.jsonl             utterances left out, with reasons; written last
    RECOGNISER/               each recogniser that it made, at its best
"""

import json
from pathlib import Path
from typing import Any

from codert.config import build
from codert.data.skipped import Skipped
from codert.errors import InputError
from codert.files import digest_of
from codert.learning.plan import Plan
from codert.learning.plan_places import placeless
from codert.models.folder import WEIGHTS

PLAN, TAKEN, HEARD, COMMITS = "plan.json", "taken.json", "heard.txt", "commits.txt"
CURVES, CHECKPOINT, SKIPPED = "curves.jsonl", "checkpoint.safetensors", "skipped.jsonl"


def plan_of(folder: Path) -> Plan | None:
    """The plan that a folder holds a run of; None where it holds none.

    Raises:
        InputError: the file is broken, or of another codert.
    """
    path = folder / PLAN
    return read_plan_json(path) if path.exists() else None


def read_plan_json(path: Path) -> Plan:
    """A whole plan as a run or an experiment keeps it.

    Raises:
        InputError: the file is broken, or of another codert.
    """
    return build(Plan, _json(path), str(path))


def skipped_in(run: Path) -> list[Skipped]:
    """What a finished run left out, with reasons; nothing is known of others."""
    path = run / SKIPPED
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [Skipped(**json.loads(line)) for line in lines]


def is_finished(folder: Path, plan: Plan) -> bool:
    """Whether a folder holds a run of this plan that came to its end.

    Raises:
        InputError: it holds a run of another plan, or of other weights in the folders that this
            one takes.
    """
    done = (folder / SKIPPED).exists()
    if not done and not (folder / CHECKPOINT).exists():
        return False  # nothing of it is left to mix with
    begun = plan_of(folder)
    if begun is not None and placeless(begun) != placeless(plan):
        raise InputError(
            f"{folder / PLAN}: the run was begun with other settings; "
            "resume with the same, or choose another --out"
        )
    _check_taken(folder, plan)
    return done and begun is not None


def check_free(folder: Path, plan: Plan, resume: bool) -> None:
    """Raises InputError where the folder is another run's."""
    if (folder / SKIPPED).exists() and not (folder / CHECKPOINT).exists():
        raise InputError(f"{folder}: holds a finished run; choose another --out")
    if resume:
        is_finished(folder, plan)
    elif (folder / CHECKPOINT).exists():
        raise InputError(f"{folder}: holds a run already; add --resume, or choose another --out")


def digests_of(plan: Plan) -> dict[str, str]:
    """Of the weights in each folder that a plan takes and that is there, by its key."""
    files = {".".join(key): folder / WEIGHTS for key, folder in plan.needs.items()}
    # Parts that start from one folder share its file.
    there = {file for file in files.values() if file.is_file()}
    digests = {file: digest_of(file) for file in there}
    return {key: digests[file] for key, file in files.items() if file in digests}


def _check_taken(folder: Path, plan: Plan) -> None:
    """Raises InputError where a folder that the plan takes holds other weights than the run took.

    Folders may move, and be gone once the run has begun; so their names say nothing.
    """
    path = folder / TAKEN
    if not path.is_file():
        return
    taken = _json(path)
    for key, digest in digests_of(plan).items():
        if digest != taken.get(key, digest):
            raise InputError(
                f"{path}: recognisers.{key} is not what the run was begun with; "
                "bring that one back, or choose another --out"
            )


def _json(path: Path) -> dict[str, Any]:
    """The object in a file; raises InputError where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid JSON: {error}; remove it and its run") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no JSON object; remove it and its run")
    return content
