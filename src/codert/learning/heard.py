"""What a recogniser has heard: ids of utterances, and digests of their texts, in `heard.txt`."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

from codert.data.manifest import Utterance
from codert.data.text import normalise
from codert.errors import InputError
from codert.learning.plan import Plan
from codert.learning.run_folder import HEARD, skipped_in


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


def _heard(path: Path) -> dict[str, str]:
    """Digests of texts by id, where they are known; nothing of a file that is not there."""
    if not path.is_file():
        return {}
    rows = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return {id: digest for id, _, digest in (row.partition("\t") for row in rows if row)}


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()
