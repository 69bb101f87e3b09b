"""Reading a recipe: its file, its settings, and what is laid over both."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any, get_args

from codert.config import build, fields_by_key, merged, read_yaml, unknown_key
from codert.errors import InputError, PlanError
from codert.learning.compatibility import check
from codert.learning.edges import Edge
from codert.learning.plan import PARTS, Plan

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
    keys.pop("edge", None)
    common = [_edge(layer.get("edge"), where) for layer in layers]
    edge = reduce(_under, common)
    if not keys.get("edges") and "match" in edge:  # wrong, whether an edge reads it or not
        whole: Any = Edge
        build(whole, _under(edge, {"from": "teacher", "to": "student"}), where, "edge")
    elif isinstance(edges := keys.get("edges"), list):
        above = {} if "edges" in layers[-1] else common.pop()
        below = reduce(_under, common)
        edges = [_under(below, e) if isinstance(e, dict) else e for e in edges]
        keys["edges"] = _over(edges, above)
    keys.pop("start", None)
    start = reduce(merged, (_starts(layer.get("start"), where) for layer in layers))
    if isinstance(keys.get("recognisers"), dict):
        keys["recognisers"] = _started(keys["recognisers"], start, keys.get("share"), where)
    plan = build(Plan, keys, where)
    for model in start:
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


def _edge(keys: Any, where: str) -> dict[str, Any]:
    """What all edges have in common; raises InputError for keys that no edge has."""
    if not isinstance(keys, dict | None):
        raise InputError(f"{where}: edge is {keys!r}; write keys and values")
    for key in keys or {}:
        if key not in _ANY_EDGES_KEYS:
            raise unknown_key(where, f"edge.{key}", str(key), _ANY_EDGES_KEYS)
    return keys or {}


def _under(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Keys of an edge laid over others; where it matches something else, what that has not goes."""
    match = above.get("match")
    if isinstance(match, str) and match != below.get("match"):
        known = _EDGE_KEYS.get(match, set())
        below = {key: value for key, value in below.items() if key in known}
    return merged(below, above)


def _over(edges: list[Any], keys: dict[str, Any]) -> list[Any]:
    """Edges with keys laid over each that has such; what none of them has is laid over all."""

    def known(edge: dict[str, Any]) -> set[str]:
        match = keys.get("match", edge.get("match"))
        return _EDGE_KEYS.get(match, set()) if isinstance(match, str) else set()

    nobodys = keys.keys() - set[str]().union(*(known(e) for e in edges if isinstance(e, dict)))
    return [
        _under(e, {k: v for k, v in keys.items() if k in known(e) | nobodys})
        if isinstance(e, dict)
        else e
        for e in edges
    ]


def _placed(settings: dict[str, Any], folder: Path, where: str) -> dict[str, Any]:
    """Settings with absolute places in their `start` and `wordpieces.model`."""

    def placed(run: str | None) -> str | None:
        return None if run is None else os.path.abspath(folder / run)

    result = dict(settings)
    if "start" in settings:
        starts = _starts(settings["start"], where)
        result["start"] = {
            model: {part: placed(run) for part, run in start.items()}
            for model, start in starts.items()
        }
    wordpieces = settings.get("wordpieces")
    if isinstance(wordpieces, dict) and isinstance(model := wordpieces.get("model"), str):
        result["wordpieces"] = wordpieces | {"model": placed(model)}
    return result


def _starts(starts: Any, where: str) -> dict[str, dict[str, str | None]]:
    """What recognisers begin with, by model and part; raises InputError where it is wrong."""
    if not isinstance(starts, dict | None):
        raise InputError(f"{where}: start is {starts!r}; write MODEL: RUN or MODEL: {{PART: RUN}}")
    return {
        str(model): _parts(start, where, f"start.{model}")
        for model, start in (starts or {}).items()
    }


def _parts(start: Any, where: str, key: str) -> dict[str, str | None]:
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


def _started(
    members: Mapping[str, Any], starts: Mapping[str, Any], share: Any, where: str
) -> dict[str, Any]:
    """Members with their starts written out, and those of their models laid under them.

    A shared part whose start no member says begins as the first model says that names one.
    """
    said = {
        name: _parts(member["start"], where, f"recognisers.{name}.start")
        for name, member in members.items()
        if isinstance(member, dict) and "start" in member
    }
    shared = {part for part in PARTS if isinstance(share, list) and part in share}
    begun = {part for each in said.values() for part in each} & shared
    result = dict(members)
    for name, member in members.items():
        model = member.get("model") if isinstance(member, dict) else None
        below = starts.get(model, {}) if isinstance(model, str) else {}
        below = {part: run for part, run in below.items() if run and part not in begun}
        begun |= below.keys() & shared
        if below or name in said:
            start = below | said.get(name, {})
            result[name] = member | {"start": {part: run for part, run in start.items() if run}}
    return result
