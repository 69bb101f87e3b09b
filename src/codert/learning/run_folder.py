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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

from codert.config import build
from codert.data.manifest import Utterance
from codert.data.skipped import Skipped
from codert.data.text import normalise
from codert.errors import InputError
from codert.files import write_text
from codert.learning.plan import Plan
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


def _json(path: Path) -> dict[str, Any]:
    """The object in a file; raises InputError where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid JSON: {error}; remove it and its run") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no JSON object; remove it and its run")
    return content


def commits_of(run: Path) -> str | None:
    """Those of codert that a run was trained at, with commas between; None where none is known."""
    return ",".join(_commits(run)) or None


def _commits(run: Path) -> list[str]:
    path = run / COMMITS
    return path.read_text(encoding="utf-8").split() if path.exists() else []


def note_commit(run: Path, now: str | None, resume: bool) -> None:
    """Add the commit that a run is trained at from here on.

    Raises:
        InputError: the folder cannot be written to.
    """
    before = _commits(run) if resume else []
    commits = dict.fromkeys([*before, now] if now else before)
    write_text(run / COMMITS, "".join(f"{each}\n" for each in commits))


def curves_of(run: Path) -> list[dict[str, float]]:
    """The lines of a run's curves; none before the first.

    The last may be cut off, being written or where the run was killed, and does not count then.

    Raises:
        InputError: another line is not JSON.
    """
    path = run / CURVES
    if not path.exists():
        return []
    *whole, _ = path.read_text(encoding="utf-8").split("\n")
    curves = []
    for number, line in enumerate(whole, start=1):
        try:
            curves.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, line {number}: not JSON: {error}; remove it") from None
    return curves


def heard_by(recogniser: Path) -> frozenset[str]:
    """The ids that a recogniser, and what it began with or learnt from, was trained or chosen by.

    They are beside it in its run's folder, or with it where it was exported.
    """
    folder = recogniser.resolve()
    return frozenset(_heard(folder / HEARD) or _heard(folder.parent / HEARD))


def heard_as(texts: Mapping[str, str], before: Iterable[str]) -> str:
    """The file that says what was heard.

    Args:
        texts: normalised, by the ids of what a run hears itself.
        before: the ids of what those that it takes have heard.
    """
    rows = [f"{id}\t{_digest(text)}\n" for id, text in texts.items()]
    return "".join(rows + [f"{id}\n" for id in sorted(set(before).difference(texts))])


def _heard(path: Path) -> dict[str, str]:
    """Digests of texts by id, where they are known; nothing of a file that is not there."""
    if not path.is_file():
        return {}
    rows = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return {id: digest for id, _, digest in (row.partition("\t") for row in rows if row)}


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()


def skipped_in(run: Path) -> list[Skipped]:
    """What a finished run left out, with reasons; nothing is known of others."""
    path = run / SKIPPED
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [Skipped(**json.loads(line)) for line in lines]


def check_heard(run: Path, plan: Plan, utterances: Sequence[Utterance]) -> None:
    """Raises InputError where a finished run of a plan heard others than it would hear today.

    They are told by their ids, of which one may be new, be gone, or be held out now; and by their
    texts, which may have been corrected.
    """
    known, own = known_to(run, plan)
    hearable = {each.id for each in utterances if each.split in ("train", "dev")}
    if other := (hearable - known) | (own.keys() - hearable):
        raise InputError(
            f"{run}: was trained on other speech, or with other speakers held out, as "
            f"{min(other)} shows; bring back that --data, or choose another --out"
        )
    for each in utterances:
        digest = own.get(each.id)
        if digest and digest != _digest(normalise(each.text)):
            raise InputError(
                f"{run}: was trained when {each.id} had another text; bring that back, or choose "
                "another --out"
            )


def known_to(run: Path, plan: Plan) -> tuple[frozenset[str], dict[str, str]]:
    """The ids that a finished run of a plan heard or skipped, and those that it heard itself.

    The latter have digests of their texts, but in files that were written before there were any.
    There they are told from what was heard by what the run starts or learns from; where that is
    gone they are not told, and are none.
    """
    digests = _heard(run / HEARD)
    own = {id: digest for id, digest in digests.items() if digest}
    # Parts that start from one folder share its file.
    taken = set(plan.needs.values())
    if not own and all(folder.exists() for folder in taken):
        own = dict.fromkeys(digests.keys() - set().union(*map(heard_by, taken)), "")
    return frozenset(digests).union(each.id for each in skipped_in(run)), own


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


def digests_of(plan: Plan) -> dict[str, str]:
    """Of the weights in each folder that a plan takes and that is there, by its key."""
    files = {".".join(key): folder / WEIGHTS for key, folder in plan.needs.items()}
    # Parts that start from one folder share its file.
    there = {file for file in files.values() if file.is_file()}
    digests = {file: sha256(file.read_bytes()).hexdigest() for file in there}
    return {key: digests[file] for key, file in files.items() if file in digests}


def placeless(plan: Plan) -> Plan:
    """The plan without the places of other runs: they may be copied to another machine."""
    return with_places(plan, without_place)


def without_place(folder: str) -> str:
    """The end of a folder's name, which it keeps where it is copied to."""
    return "/".join(Path(folder).parts[-2:])


def with_places(plan: Plan, place: Callable[[str], str]) -> Plan:
    """The plan with other names for the folders and files that it takes."""
    members = {
        name: replace(
            member,
            frozen=place(member.frozen) if member.frozen else None,
            start={part: place(folder) for part, folder in member.start.items()},
        )
        for name, member in plan.recognisers.items()
    }
    model = plan.wordpieces.model
    wordpieces = replace(plan.wordpieces, model=place(model) if model else None)
    return replace(plan, recognisers=members, wordpieces=wordpieces)


def check_free(folder: Path, plan: Plan, resume: bool) -> None:
    """Raises InputError where the folder is another run's."""
    if (folder / SKIPPED).exists() and not (folder / CHECKPOINT).exists():
        raise InputError(f"{folder}: holds a finished run; choose another --out")
    if resume:
        is_finished(folder, plan)
    elif (folder / CHECKPOINT).exists():
        raise InputError(f"{folder}: holds a run already; add --resume, or choose another --out")
