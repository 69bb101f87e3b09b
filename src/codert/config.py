"""Strict reading of YAML and JSON into frozen dataclasses.

Configurations are plain dataclasses that stand next to the class they configure, so the
rooms that need torch alone stay that way. Every error names the file, the full key and
the mend, which is why this is our own: validation libraries name neither
the file nor the key that was probably meant.
"""

import dataclasses
import difflib
import json
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from codert.errors import InputError

T = TypeVar("T")

_WORD = re.compile(r"[\w./-]+")
_NAME = re.compile(r"\w[\w.+-]*")
_END = "...\n"  # of a YAML document that is no more than a value
_EXPONENTIAL = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; an empty file is an empty mapping.

    Raises:
        InputError: the file is missing, not YAML, or not a mapping.
    """
    import yaml

    try:
        content = _parsed(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; write its name as seen from here") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:  # a date that is none is a ValueError
        raise InputError(f"{path}: not valid YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected keys and values, found a {type(content).__name__}")
    return content


def _parsed(text: str) -> Any:
    """What YAML says; of a key that comes twice it would say the last, which is an error here."""
    import yaml

    class Strict(yaml.SafeLoader):
        def compose_mapping_node(self, anchor: Any) -> Any:
            node = super().compose_mapping_node(anchor)
            seen: set[tuple[str, str]] = set()
            for key, _ in node.value:
                if (key.tag, str(key.value)) in seen and key.value != "<<":
                    problem = f"the key {key.value!r} comes twice"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                seen.add((key.tag, str(key.value)))
            return node

    return yaml.load(text, Strict)


def yaml_of(value: Any) -> str:
    """A configuration as YAML; `build` makes the same of what is read from it."""
    import yaml

    text: str = yaml.safe_dump(plain(value), sort_keys=False, allow_unicode=True, width=100)
    return text


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `over` laid on it: mappings merge key by key, all else is replaced.

    So is a mapping of another `kind`, whose keys are others.
    """
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = merged(below, value) if both and _alike(below, value) else value  # type: ignore[arg-type]
    return result


def _alike(below: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    return "kind" not in below or value.get("kind", below["kind"]) == below["kind"]


def nested(keys: Sequence[str], value: Any) -> dict[str, Any]:
    """A mapping that has a value under one key within another, the outermost first."""
    for key in reversed(keys):
        value = {key: value}
    return value  # type: ignore[no-any-return]


def assignments(texts: Iterable[str]) -> dict[str, Any]:
    """Several `a.b=value` as one nested mapping, the values read as YAML.

    Raises:
        InputError: there is no `=`, or a value is not YAML.
    """
    import yaml

    together: dict[str, Any] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise InputError(f"--set {text}: write it as key.key=value")
        try:
            content = _parsed(value)
        except (yaml.YAMLError, ValueError) as error:
            raise InputError(f"--set {text}: not a valid value: {error}") from None
        together = merged(together, nested(key.split("."), content))
    return together


def as_assignments(values: Mapping[str, Any]) -> list[str]:
    """A nested mapping as texts `a.b=value`; the inverse of `assignments`."""
    import yaml

    texts = []
    for key, value in values.items():
        marked = isinstance(value, Mapping) and any(m in str(k) for k in value for m in ".=")
        if isinstance(value, Mapping) and value and not marked:
            texts += [f"{key}.{text}" for text in as_assignments(value)]
        elif isinstance(value, str) and _WORD.fullmatch(value) and yaml.safe_load(value) == value:
            texts.append(f"{key}={value}")
        elif yaml.safe_load(text := json.dumps(value, ensure_ascii=False)) == value:
            texts.append(f"{key}={text}")
        else:  # YAML wants a point in 1e-05
            text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=math.inf)
            texts.append(f"{key}={text.removesuffix(_END).strip()}")
    return texts


def build(cls: type[T], value: Any, where: str, key: str = "") -> T:
    """A `cls` made from plain data, checked against its annotations.

    Args:
        cls: a dataclass, or any annotation that a field of one may have.
        value: what YAML or JSON gave.
        where: the file, for messages.
        key: the path of keys that led here, for messages.

    Raises:
        InputError: an unknown or missing key, or a value of another type.
    """
    return typing.cast(T, _convert(cls, value, where, key))


def _convert(annotation: Any, value: Any, where: str, key: str) -> Any:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(args, value, where, key)
    if origin is Literal:
        if value in args:
            return value
        raise _wrong(where, key, value, " or ".join(repr(a) for a in args))
    if dataclasses.is_dataclass(annotation):
        return _convert_dataclass(annotation, value, where, key)
    if origin in (list, tuple):
        if not isinstance(value, (list, tuple)):
            raise _wrong(where, key, value, "a list")
        items = [_convert(args[0], item, where, f"{key}[{i}]") for i, item in enumerate(value)]
        return tuple(items) if origin is tuple else items
    if origin is dict:
        if not isinstance(value, Mapping):
            raise _wrong(where, key, value, "keys and values")
        known = typing.get_args(args[0])  # of a Literal; none where keys are any text
        for given in value:
            if known and given not in known:
                raise unknown_key(where, _join(key, str(given)), str(given), known)
        return {str(k): _convert(args[1], v, where, _join(key, str(k))) for k, v in value.items()}
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # YAML 1.1 reads 1e-3, which lacks a point, as text.
    if annotation is float and isinstance(value, str) and _EXPONENTIAL.fullmatch(value):
        value = float(value)
    # JSON, which configurations are kept in, knows neither infinity nor nan.
    unkept = isinstance(value, float) and not math.isfinite(value)
    boolean = annotation is int and isinstance(value, bool)
    if isinstance(value, annotation) and not unkept and not boolean:
        return value
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    wanted = names.get(annotation, getattr(annotation, "__name__", "?"))
    if annotation is str and isinstance(value, bool | int | float):
        wanted += """ in quotes, as in '"007"'"""  # YAML takes 007 for 7, and no for false
    raise _wrong(where, key, value, wanted)


def _convert_union(options: tuple[Any, ...], value: Any, where: str, key: str) -> Any:
    if value is None and type(None) in options:
        return None
    options = tuple(option for option in options if option is not type(None))
    if len(options) == 1:
        return _convert(options[0], value, where, key)
    # Several dataclasses: a key that has one value in each tells which.
    hints = [typing.get_type_hints(option) for option in options]
    tag = next(name for name in hints[0] if all(_is_tag(h.get(name)) for h in hints))
    kinds = {typing.get_args(h[tag])[0]: o for h, o in zip(hints, options, strict=True)}
    if not isinstance(value, Mapping):
        raise _wrong(where, key, value, f"keys and values with {tag}: {' or '.join(kinds)}")
    kind = value.get(tag)
    if not isinstance(kind, str) or kind not in kinds:
        raise _wrong(where, _join(key, tag), kind, " or ".join(kinds))
    return _convert(kinds[kind], value, where, key)


def _is_tag(annotation: Any) -> bool:
    return typing.get_origin(annotation) is Literal and len(typing.get_args(annotation)) == 1


def _convert_dataclass(cls: Any, value: Any, where: str, key: str) -> Any:
    if not isinstance(value, Mapping):
        raise _wrong(where, key, value, "keys and values")
    hints = typing.get_type_hints(cls)
    fields = fields_by_key(cls)
    for given in value:
        if given not in fields:
            raise unknown_key(where, _join(key, str(given)), str(given), fields)
    for name, field in fields.items():
        required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if required and name not in value:
            raise InputError(f"{where}: {_join(key, name)} is missing; add it")
    arguments = {
        fields[name].name: _convert(hints[fields[name].name], item, where, _join(key, name))
        for name, item in value.items()
    }
    try:
        return cls(**arguments)
    except ValueError as error:  # a check of the dataclass's own
        raise InputError(f"{where}: {key}: {error}" if key else f"{where}: {error}") from None


def fields_by_key(cls: Any) -> dict[str, "dataclasses.Field[Any]"]:
    """The fields of a dataclass, or of one's instance, by their keys in YAML and JSON.

    Metadata lets a field have a key that Python reserves, such as `from`.
    """
    return {f.metadata.get("key", f.name): f for f in dataclasses.fields(cls)}


def check_name(name: str) -> None:
    """Raises ValueError for a name that is to be a folder's and cannot."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is to name a folder; use letters, digits, - and _")


def unknown_key(where: str, key: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a key that nothing reads, with the key that was probably meant."""
    known = list(known)
    close = difflib.get_close_matches(name, known, 1)
    mend = f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(known)}"
    return InputError(f"{where}: {key} is not a known key; {mend}")


def plain(value: Any) -> Any:
    """A configuration as plain data, ready for YAML or JSON; the inverse of `build`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {key: plain(getattr(value, f.name)) for key, f in fields_by_key(value).items()}
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _wrong(where: str, key: str, value: Any, wanted: str) -> InputError:
    return InputError(f"{where}: {key or 'the file'} is {value!r}; write {wanted}")
