"""What there is to choose from: finished runs with their recorded results."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from codert.errors import InputError
from codert.experiments.records import RESULTS, Key, Record, Records
from codert.files import digest_of
from codert.models.folder import WEIGHTS, load_card


@dataclass(frozen=True)
class Candidate:
    """A recogniser of a plan, trained from one seed or several.

    Attributes:
        folder: of a recogniser: that of the first seed, and fold, whose run is there. None is
            taken for its own score, which would be luck.
        record: of that run.
        wer_by_seed: the word error rate from each seed, all folds together, in percent.
        size: of its weights on disk, in bytes.
    """

    folder: Path
    record: Record
    wer_by_seed: dict[int, float]
    size: int

    @property
    def wer(self) -> float:
        """The mean over seeds, in percent."""
        return mean(self.wer_by_seed.values())


_Group = tuple[Path, str, str, str]  # an experiment's folder, a corpus, a plan and a recogniser
_Found = dict[_Group, dict[Key, Record]]
_Reasons = dict[tuple[_Group, int], str]  # why a seed is left out


def candidates(
    folders: Sequence[Path], split: str, corpus: str | None = None
) -> tuple[list[Candidate], list[str]]:
    """The recognisers in some folders, by their results on a split, and what is left out.

    Of an experiment that goes on, seeds that are not yet scored on all folds are left out, and so
    are seeds of which a run has other weights than were scored, and what has no run at all.

    Args:
        folders: of experiments, or of any of the runs in them.
        split: that was scored.
        corpus: that was scored, by its name in the experiment; None takes what there is.

    Raises:
        InputError: a folder has no such results, they are not about the same speech, or no run
            is there with the weights that were scored.
    """
    found: _Found = {}
    for folder in folders:
        root, records = recorded(folder)
        chosen = {key: record for key, record in records.items() if _is_of(record, split, corpus)}
        if not chosen:
            known = sorted({f"{record.corpus} {record.split}" for record in records.values()})
            raise InputError(
                f"{folder}: no results on {_wanted(split, corpus)} "
                f"(there are: {', '.join(known)}); choose another --corpus or --split"
            )
        for key, record in chosen.items():
            group = found.setdefault((root, record.corpus, record.plan, record.recogniser), {})
            group[key] = record
    first = next((root, group) for (root, *_), group in found.items())
    left_out: list[str] = []
    # What is absent is not held against the others; then the only run may be of an unfinished seed.
    for reasons_of in (_other_weights, _absent, _unfinished, _absent):
        reasons = reasons_of(found)
        left_out += dict.fromkeys(reasons.values())
        found = _without(found, reasons)
    if not found:
        folder, record = _runs(*first)[0]
        raise InputError(
            unlike_scored(folder, record)
            or f"{folder}: the run is not beside its results; bring it there, or train it again: "
            f"{record.command}"
        )
    _check_same_speech(found)
    return [_candidate(root, group) for (root, *_), group in found.items()], left_out


def experiments_in(folder: Path, split: str, corpus: str | None = None) -> list[Path]:
    """The experiments in a folder that have results on a split, of a corpus if one is named.

    Raises:
        InputError: there are none.
    """
    found = [
        path.parent
        for path in sorted(folder.glob(f"*/{RESULTS}"))
        if any(_is_of(record, split, corpus) for record in Records(path.parent).read().values())
    ]
    if not found:
        raise InputError(
            f"{folder}: no experiment with results on {_wanted(split, corpus)} is there; name the "
            "folder of one, or make one with `codert experiment FILE`"
        )
    return found


def _is_of(record: Record, split: str, corpus: str | None) -> bool:
    return record.split == split and corpus in (None, record.corpus)


def _wanted(split: str, corpus: str | None) -> str:
    return f"corpus {corpus}, split {split}" if corpus else f"split {split}"


def recorded(folder: Path) -> tuple[Path, dict[Key, Record]]:
    """The folder of the experiment that some folder is or lies in, and the results of its runs.

    Raises:
        InputError: there are none, or a line is broken.
    """
    root = experiment_of(folder)
    if root is None:
        raise InputError(
            f"{folder}: no results are recorded there ({RESULTS}); `codert experiment FILE` trains "
            "and scores what a file such as recipes/experiments/an4.yaml lists, and records it"
        )
    records = records_below(folder, root)
    if not records:
        raise InputError(
            f"{folder}: {root / RESULTS} has no line for it; run `codert experiment FILE --out "
            f"{root}` with the file that lists it, which scores what is trained"
        )
    return root, records


def experiment_of(folder: Path) -> Path | None:
    """The folder of the experiment that some folder is or lies in; None where it is in none."""
    place = folder.resolve()
    return next((p for p in (place, *place.parents) if (p / RESULTS).is_file()), None)


def records_below(folder: Path, root: Path) -> dict[Key, Record]:
    """The results of an experiment's runs that lie in some folder.

    Raises:
        InputError: a line is broken.
    """
    return {
        key: record
        for key, record in Records(root).read().items()
        if (root / key[0].name / key[1]).is_relative_to(folder.resolve())
    }


def unlike_scored(recogniser: Path, record: Record) -> str | None:
    """Why the weights in a folder are not those that were scored, and the mend; None if they are.

    Of a folder without weights nothing is said.
    """
    if not (recogniser / WEIGHTS).is_file():
        return None
    updates = load_card(recogniser).updates
    # Earlier lines have no digest, and are told by their updates.
    digest = digest_of(recogniser / WEIGHTS) if record.weights else ""
    if (record.updates, record.weights) == (updates, digest):
        return None
    if updates != record.updates:
        why = f"has {updates} updates, and the recorded results are of {record.updates}"
    else:
        why = f"has other weights than were scored, of {updates} updates too"
    return f"{recogniser}: {why}; remove its lines from {RESULTS} and run `codert experiment` again"


def _other_weights(found: _Found) -> _Reasons:
    """Seeds of which a run has other weights than were scored."""
    return {
        (group, record.seed): reason
        for group, records in found.items()
        for folder, record in _runs(group[0], records)
        if (reason := unlike_scored(folder, record))
    }


def _absent(found: _Found) -> _Reasons:
    """All seeds of what has no run beside its results."""
    return {
        (group, record.seed): f"{group[2]}/{group[3]} in {group[0]}: no run is beside its results"
        for group, records in found.items()
        if not any((folder / WEIGHTS).is_file() for folder, _ in _runs(group[0], records))
        for record in records.values()
    }


def _unfinished(found: _Found) -> _Reasons:
    """Seeds with fewer folds than others have."""
    folds: dict[tuple[_Group, int], set[int | None]] = {}
    for group, records in found.items():
        for key, record in records.items():
            folds.setdefault((group, record.seed), set()).add(key[0].fold)
    most = max(folds.values(), key=len, default=set())
    return {
        (group, seed): f"{group[2]}/{group[3]} from seed {seed} in {group[0]}: scored on "
        f"{_folds(some)} of {_folds(most)}"
        for (group, seed), some in folds.items()
        if some < most
    }


def _without(found: _Found, reasons: _Reasons) -> _Found:
    """What is left without some seeds."""
    kept = {
        group: {key: r for key, r in records.items() if (group, r.seed) not in reasons}
        for group, records in found.items()
    }
    return {group: records for group, records in kept.items() if records}


def _check_same_speech(found: _Found) -> None:
    """Raises InputError unless all were scored on the same utterances of the same folds."""
    corpora: dict[str, str] = {}
    for root, corpus, plan, _ in found:
        corpora.setdefault(corpus, f"{plan} in {root}")
    if len(corpora) > 1:
        named = ", ".join(f"{corpus} ({by})" for corpus, by in corpora.items())
        raise InputError(
            f"the results are about several corpora: {named}; choose one with --corpus"
        )
    first: tuple[str, set[int | None], set[tuple[int | None, str, int]]] | None = None
    for (root, _, plan, recogniser), group in found.items():
        for seed in sorted({record.seed for record in group.values()}):
            name = f"{plan}/{recogniser} from seed {seed} in {root}"
            keys = [key for key, record in group.items() if record.seed == seed]
            folds = {key[0].fold for key in keys}
            scored = {
                (key[0].fold, each.id, each.words)
                for key in keys
                for each in Records(root).scored(key)
            }
            first = first or (name, folds, scored)
            if folds != first[1]:
                raise InputError(
                    f"{name} was scored on {_folds(folds)} and {first[0]} on {_folds(first[1])}; "
                    "finish both with `codert experiment`, or name the runs to choose from"
                )
            if scored != first[2]:
                raise InputError(
                    f"{name} and {first[0]} were scored on different utterances; "
                    "name runs that were scored on the same"
                )


def _folds(folds: Iterable[int | None]) -> str:
    names = sorted(str(fold) for fold in folds if fold is not None)
    return f"fold {', '.join(names)}" if names else "no folds"


def _runs(root: Path, group: Mapping[Key, Record]) -> list[tuple[Path, Record]]:
    """Where a recogniser's runs belong, the first seed and fold first."""
    keys = sorted(group, key=lambda key: (group[key].seed, group[key].fold or 0))
    return [(root / key[0].name / key[1], group[key]) for key in keys]


def _candidate(root: Path, group: Mapping[Key, Record]) -> Candidate:
    """Of a group of which a run is there."""
    rates = {}
    for seed in sorted({record.seed for record in group.values()}):
        of_seed = [record for record in group.values() if record.seed == seed]
        rates[seed] = 100 * sum(r.errors for r in of_seed) / sum(r.words for r in of_seed)
    folder, record = next(run for run in _runs(root, group) if (run[0] / WEIGHTS).is_file())
    return Candidate(folder, record, rates, (folder / WEIGHTS).stat().st_size)
