"""The lines of the game: which clip says what, and who speaks.

A clip is named by its line and by the number of its part: a line falls into parts at the
commands to the figures on the screen, `*` and two characters.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from codert.data.amazon_queen.archive import Archive, Record
from codert.errors import InputError

HERO = "joe"
UNSEEN = "unseen"  # voices of nobody on the screen; several people

_LIST = "QUEEN2.JAS"  # descriptions, names of things, of rooms and of verbs, responses
_VERBS, _RESPONSES = 12, 40
_FADE = -1  # stands for the hero in a step of a cutscene that begins in the dark
_END = -2  # of the frames of an animation
# The command XY takes a place on the screen along, as in *XY00(237,112)
_COMMAND = re.compile(r"\*(?:XY.{11}|..)")
_PARTS = "123456789ABCDEF"


@dataclass(frozen=True)
class Line:
    """What is said in one go.

    Attributes:
        text: as the game has it, with commands.
        speaker: the hero is `joe`; in a dialogue, its name without its number; in a cutscene,
            the game's name for the figure, or `unseen`.
        source: the dialogue, cutscene or list that the line stands in.
    """

    text: str
    speaker: str
    source: str


def read_script(archive: Archive) -> dict[str, Line]:
    """The lines by the names of their clips without the number of the part.

    Raises:
        InputError: the file is corrupt; names the entry.
    """
    things = _Things(archive)
    lines: dict[str, Line] = {}
    for source in archive.names(".DOG"):
        for clip, line in _dialogue(source, archive.record(source)):
            lines.setdefault(clip, line)  # the game too takes the first of its kind
    for source in archive.names(".CUT"):
        lines.update(_cutscene(source, archive.record(source), things))
    lines.update(things.descriptions())
    return lines


def part(lines: dict[str, Line], clip: str) -> tuple[str, Line] | None:
    """The part of a line that a clip says, without commands, or None for other sounds."""
    line = lines.get(clip[:-1])
    number = _PARTS.find(clip[-1:])
    if line is None or number < 0:
        return None
    parts = _COMMAND.split(line.text)
    return (parts[number], line) if number < len(parts) else None


class _Things:
    """What the game knows of the things and people on the screen."""

    def __init__(self, archive: Archive) -> None:
        record = archive.record("QUEEN.JAS")
        rooms, names, things, self._described = (record.offset(at) for at in (0, 2, 4, 6))
        fields = record.numbers(8, 8 * things)
        self._of_thing, self._images = fields[0::8], fields[7::8]
        lines = archive.content(_LIST).decode("latin-1").split("\r\n")
        responses = self._described + names + rooms + _VERBS
        self._descriptions = lines[: self._described]
        self._names = lines[self._described : self._described + names]
        self._responses = lines[responses : responses + _RESPONSES]
        if len(self._responses) < _RESPONSES:
            raise InputError(
                f"{archive.path}, {_LIST}: ends after {len(lines)} lines; it is corrupt: "
                "fetch the package anew"
            )

    def is_person(self, thing: int) -> bool:
        """Whether a thing is a person, who looks to the left or to the right."""
        return thing <= len(self._images) and self._images[thing - 1] in (-3, -4)

    def name(self, thing: int) -> str:
        """The game's name for a thing, as a speaker."""
        # A negative name is that of a thing that is not to be seen yet.
        number = abs(self._of_thing[thing - 1]) if thing <= len(self._of_thing) else 0
        if not 1 <= number <= len(self._names):
            return UNSEEN
        name = self._names[number - 1].lower()
        return HERO if name == "joe king" else name

    def descriptions(self) -> Iterator[tuple[str, Line]]:
        """What the hero says on commands and on things."""
        for number, text in enumerate(self._responses + self._descriptions, start=1):
            yield f"JOE{number:04}", Line(text, HERO, _LIST)


def _dialogue(source: str, record: Record) -> Iterator[tuple[str, Line]]:
    levels, _, key, hero_lines, person_lines = record.numbers(0, 5)
    person = source.removesuffix(".DOG").rstrip("0123456789").lower()

    def said(id: str, letter: str, text: str) -> tuple[str, Line]:
        speaker = HERO if letter == "J" else person
        return f"{key:02}{id}{letter}", Line(text, speaker, source)

    at = 32 + 96 * abs(levels)
    for number in range(hero_lines):
        id = record.offset(at + 2)
        opening = number == 0 and id == 0
        text, at = record.string(at + 4, 4)
        yield said("SSSS" if opening else f"{id:04X}", "J", text)
    at = record.offset(22)
    for _ in range(person_lines):
        id = record.offset(at + 2)
        text, at = record.string(at + 4, 4)
        yield said(f"{id:04X}", "P", text)
    at = record.offset(26)
    for letter in "PJ":
        text, at = record.string(at, 2)
        yield said("XXXX", letter, text)


def _cutscene(source: str, record: Record, things: _Things) -> Iterator[tuple[str, Line]]:
    steps = abs(record.number(2))
    name = source.removesuffix(".CUT")[:5].ljust(5, "_")
    _, at = record.string(record.offset(8), 2)  # which way the hero looks
    for number, speaker in enumerate(_speakers(record, steps, things), start=1):
        text, at = record.string(at, 2)
        yield f"{name}{number:02}", Line(text, speaker, source)


def _speakers(record: Record, steps: int, things: _Things) -> Iterator[str]:
    """Who speaks in each step of a cutscene; steps of several lengths follow each other."""
    at = 12
    for _ in range(steps):
        thing, *_, animated, execute = record.numbers(at, 6)
        copied, people = record.number(at + 24), record.number(at + 34)
        at += 36 + 2 * people
        thing = 0 if thing == _FADE else thing
        talks = not animated and (thing == 0 or (thing > 0 and things.is_person(thing)))
        if thing >= 0 and copied <= 0 and execute and not talks:
            while record.number(at) != _END:
                at += 20  # a frame of an animation
            at += 2
        yield HERO if thing == 0 else things.name(thing) if thing > 0 else UNSEEN
