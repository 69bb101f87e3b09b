"""Reading a recipe: its file, its settings, and what is laid over both."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any, get_args

from codert.config import build, fields_by_key, merged, read_yaml, unknown_key
from codert.errors import InputError, PlanError
from codert.learning.compatibility import check
from codert.learning.edges import Edge
from codert.learning.plan import PARTS, Plan

Keys = dict[str, Any]
Start = dict[str, str | None]  # by part, the folder of a run; None for nothing

_EDGE: Any = Edge  # which is a union, and to mypy no type that can be built
# By what an edge matches, the keys that it may have.
_EDGE_KEYS: dict[str, set[str]] = {kind.match: set(fields_by_key(kind)) for kind in get_args(Edge)}
_ANY_EDGES_KEYS = sorted(set[str]().union(*_EDGE_KEYS.values()))


def read_plan(path: Path, settings: Path | None = None, over: dict[str, Any] | None = None) -> Plan:
    """Read a recipe.

    A recipe names its `settings`, a file relative to it. Two keys, mostly of settings, are no
    plan's: `edge` holds what all edges have in common and is laid under each of them, but for what
    an edge that matches something else has not (where `over` has it, over each edge of the recipe
    that has such keys); `start` says by model what its recognisers begin
    with, and is laid under what they say themselves (null: with nothing).

    Args:
        path: the plan's YAML.
        settings: what plans have in common (data, models, training), in place of the file that
            the recipe names. The folders of its `start` and its `wordpieces.model` are relative
            to this file; all other folders are found from where the command is typed.
        over: keys laid over both.

    Raises:
        InputError: a file, key or value that is wrong, with the mend.
    """
    recipe = read_yaml(path)
    named = recipe.pop("settings", None)
    if settings is None and named is not None:
        settings = path.parent / str(named)
    where = f"{path}" + (f" (with {settings})" if settings is not None else "")
    placed = _placed(read_yaml(settings), settings.parent, where) if settings is not None else {}
    layers = [placed, recipe, over or {}]
    keys = reduce(merged, layers)
    *below, above = (_edge(layer.get("edge"), where) for layer in layers)
    if "edges" in layers[-1]:  # edges that are laid over as well say what they say
        below, above = [*below, above], {}
    if edges := _edges(keys.get("edges", []), where):
        keys["edges"] = _laid(edges, below, above)
    elif "match" in (edge := reduce(_under, [*below, above])):  # wrong, whether one reads it or not
        build(_EDGE, _under(edge, {"from": "teacher", "to": "student"}), where, "edge")
    starts = reduce(merged, (_starts(layer.get("start"), where) for layer in layers))
    if "recognisers" in keys:
        members = _members(keys["recognisers"], where)
        share = build(list[Any], keys.get("share", []), where, "share")
        keys["recognisers"] = _started(members, starts, share)
    plan = build(Plan, {k: keys[k] for k in keys if k not in ("edge", "start")}, where)
    for model in starts:
        if model not in plan.models:
            raise unknown_key(where, f"start.{model}", model, plan.models)
    check(plan, where)
    return plan


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Inside, an error that names a plan's key names its file as well."""
    try:
        yield
    except PlanError as error:
        raise InputError(f"{path}: {error}") from None


def _edge(keys: Any, where: str) -> Keys:
    """What all edges have in common; raises InputError for keys that no edge has."""
    if not isinstance(keys, dict | None):
        raise InputError(f"{where}: edge is {keys!r}; write keys and values")
    for key in keys or {}:
        if key not in _ANY_EDGES_KEYS:
            raise unknown_key(where, f"edge.{key}", str(key), _ANY_EDGES_KEYS)
    return keys or {}


def _edges(edges: Any, where: str) -> list[Keys]:
    """Edges as they are written; raises InputError where one is no keys and values."""
    for i, edge in enumerate(listed := build(list[Any], edges, where, "edges")):
        if not isinstance(edge, dict):
            build(_EDGE, edge, where, f"edges[{i}]")
    return listed


def _placed(settings: dict[str, Any], folder: Path, where: str) -> dict[str, Any]:
    """Settings with absolute places in their `start` and `wordpieces.model`."""

    def placed(run: str | None) -> str | None:
        return None if run is None else os.path.abspath(folder / run)

    result = settings | {
        "start": {
            model: {part: placed(run) for part, run in start.items()}
            for model, start in _starts(settings.get("start"), where).items()
        }
    }
    wordpieces = settings.get("wordpieces")
    if isinstance(wordpieces, dict) and isinstance(model := wordpieces.get("model"), str):
        result["wordpieces"] = wordpieces | {"model": placed(model)}
    return result


def _starts(starts: Any, where: str) -> dict[str, Start]:
    """What recognisers begin with, by model and part; raises InputError where it is wrong."""
    if not isinstance(starts, dict | None):
        raise InputError(f"{where}: start is {starts!r}; write MODEL: RUN or MODEL: {{PART: RUN}}")
    return {
        str(model): _parts(start, where, f"start.{model}")
        for model, start in (starts or {}).items()
    }


def _parts(start: Any, where: str, key: str) -> Start:
    """By part the folder that it starts from; a bare one, or null, is every part's."""
    if start is None or (isinstance(start, str) and start):
        return dict.fromkeys(PARTS, start)
    if not isinstance(start, dict):
        raise InputError(f"{where}: {key} is {start!r}; write the folder of a run, or one by part")
    for part, run in start.items():
        if part not in PARTS:
            raise unknown_key(where, f"{key}.{part}", str(part), PARTS)
        if run is not None and not (isinstance(run, str) and run):
            raise InputError(f"{where}: {key}.{part} is {run!r}; write a run's folder, or null")
    return start


def _members(members: Any, where: str) -> dict[str, Keys]:
    """Recognisers with their own starts by part; raises InputError where they are wrong."""
    return {
        name: keys | {"start": _parts(keys.get("start", {}), where, f"recognisers.{name}.start")}
        for name, keys in build(dict[str, Keys], members, where, "recognisers").items()
    }


def _under(below: Keys, above: Keys) -> Keys:
    """Keys of an edge laid over others; where it matches something else, what that has not goes."""
    match = above.get("match")
    if isinstance(match, str) and match != below.get("match"):
        known = _EDGE_KEYS.get(match, set())
        below = {key: value for key, value in below.items() if key in known}
    return merged(below, above)


def _laid(edges: Iterable[Keys], below: Sequence[Keys], above: Keys) -> list[Keys]:
    """Edges with layers of keys laid under each, and keys laid over each that has such.

    What none of them has is laid over all, so that it is refused.
    """
    edges = [reduce(_under, [*below, edge]) for edge in edges]
    known = [_EDGE_KEYS.get(str(above.get("match", e.get("match"))), set()) for e in edges]
    nobodys = above.keys() - set[str]().union(*known)
    return [
        _under(edge, {key: value for key, value in above.items() if key in keys | nobodys})
        for edge, keys in zip(edges, known, strict=True)
    ]


def _started(
    members: Mapping[str, Keys], starts: Mapping[str, Start], share: Collection[Any]
) -> dict[str, Keys]:
    """Members with what their models start from laid under their own starts.

    A shared part whose start no member says begins as the first model says that names one.
    """
    shared = {part for part in PARTS if part in share}
    begun = {part for member in members.values() for part in member["start"]} & shared
    result = {}
    for name, member in members.items():
        model = member.get("model")
        below = starts.get(model, {}) if isinstance(model, str) else {}
        below = {part: run for part, run in below.items() if run and part not in begun}
        begun |= below.keys() & shared
        start = below | member["start"]
        result[name] = member | {"start": {part: run for part, run in start.items() if run}}
    return result
