"""The game's file `queen.1c`: what it holds, and numbers and strings in it."""

import struct
from pathlib import Path

from codert.errors import InputError

# All numbers are big-endian. "QTBL", 6 bytes of version, 2 of flags, 1 of compression, and the
# number of entries; an entry is a name, a byte, and where its bytes lie.
_HEADER = struct.Struct(">4s8xBH")
_ENTRY = struct.Struct(">12sxII")
_TAG, _MP3 = b"QTBL", 1
_AMOS_HEADER = 20  # bytes before what the game's own tools wrote


class Record:
    """The bytes of an entry, which are never read beyond their end."""

    def __init__(self, where: str, content: bytes) -> None:
        self._where, self._content = where, content

    def number(self, at: int) -> int:
        """The signed 16 bits at byte `at`."""
        return self.numbers(at, 1)[0]

    def numbers(self, at: int, count: int) -> tuple[int, ...]:
        """So many signed numbers of 16 bits each, from byte `at` on."""
        try:
            return struct.unpack_from(f">{count}h", self._content, at)
        except struct.error:
            raise self._truncated(at + 2 * count) from None

    def offset(self, at: int) -> int:
        """The unsigned 16 bits at byte `at`."""
        return self.number(at) & 0xFFFF

    def string(self, at: int, align: int) -> tuple[str, int]:
        """The string at byte `at`, and where the next one begins: at a multiple of `align`."""
        if at >= len(self._content):
            raise self._truncated(at + 1)
        end = at + 1 + self._content[at]
        if end > len(self._content):
            raise self._truncated(end)
        text = self._content[at + 1 : end].decode("latin-1")
        return text, -(-end // align) * align if text else end

    def _truncated(self, needed: int) -> InputError:
        return InputError(
            f"{self._where}: {len(self._content)} bytes, but its numbers point to byte {needed}; "
            "it is corrupt: fetch the package anew"
        )


class Archive:
    """The entries of `queen.1c`, of which those named `*.SB` are MP3 files."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            InputError: it is not this file, or is truncated; names the entry.
        """
        self.path = path
        try:
            self._content = path.read_bytes()
            tag, compression, count = _HEADER.unpack_from(self._content)
            table = self._content[_HEADER.size : _HEADER.size + count * _ENTRY.size]
            entries = list(_ENTRY.iter_unpack(table))
        except OSError as error:
            raise InputError(f"{path}: not readable: {error.strerror}") from None
        except struct.error:
            tag, compression, count, entries = b"", 0, 0, []
        if tag != _TAG or len(entries) < count:
            raise InputError(
                f"{path}: not the talking version of the game, or truncated; fetch it anew"
            )
        if compression != _MP3:
            raise InputError(
                f"{path}: its clips are of kind {compression} where MP3 is {_MP3}; "
                "take the file of Debian's package"
            )
        self._places: dict[str, tuple[int, int]] = {}
        for name, start, size in entries:
            entry = name.partition(b"\0")[0].decode("latin-1").upper()
            if start + size > len(self._content):
                raise InputError(f"{path}: ends within its entry {entry}; fetch it anew")
            if "/" in entry:
                raise InputError(f"{path}: {entry!r} is no name of the game's; fetch it anew")
            self._places[entry] = (start, size)

    def names(self, ending: str) -> list[str]:
        """The names of the entries that end so, in alphabetical order."""
        return sorted(name for name in self._places if name.endswith(ending))

    def content(self, name: str) -> bytes:
        """The bytes of an entry.

        Raises:
            InputError: there is no such entry.
        """
        if name not in self._places:
            raise InputError(f"{self.path}: holds no {name}; take the file of Debian's package")
        start, size = self._places[name]
        return self._content[start : start + size]

    def record(self, name: str) -> Record:
        """An entry that the game's own tools wrote, without their header."""
        return Record(f"{self.path}, {name}", self.content(name)[_AMOS_HEADER:])
