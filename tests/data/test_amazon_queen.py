import io
import json
import os
import struct
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile

from codert.cli import main
from codert.data.amazon_queen.archive import Archive
from codert.data.amazon_queen.corpus import left_out, prepare
from codert.data.amazon_queen.script import Line, part, read_script
from codert.data.audio import read_audio
from codert.data.manifest import Utterance, read_manifest
from codert.errors import InputError

PACKAGE = "flight-of-the-amazon-queen"
GAME = f"usr/share/scummvm/{PACKAGE}/queen.1c"
LICENCE = f"usr/share/doc/{PACKAGE}/copyright"


class Bytes(bytearray):
    """Bytes as the game's tools wrote them: big-endian, strings with their length before."""

    def words(self, *numbers: int) -> "Bytes":
        self += struct.pack(f">{len(numbers)}h", *numbers)
        return self

    def text(self, text: str, align: int) -> "Bytes":
        self.append(len(text))
        self += text.encode("ascii")
        while text and len(self) % align:
            self.append(0)
        return self


def dialogue(
    key: int, hero: Mapping[int, str], person: Mapping[int, str], closing: tuple[str, str]
) -> bytes:
    levels = 1
    strings = Bytes(bytes(32 + 96 * levels))
    for id, text in hero.items():
        strings.words(0, id).text(text, 4)
    person_at = len(strings)
    for id, text in person.items():
        strings.words(0, id).text(text, 4)
    closing_at = len(strings)
    strings.text(closing[0], 2).text(closing[1], 2)
    header = Bytes().words(-levels, 7, key, len(hero), len(person), *[0] * 6)
    strings[:28] = header.words(person_at, 0, closing_at)
    return bytes(20) + bytes(strings)


def step(thing: int, people: int = 0, animated: int = 0, frames: int | None = None) -> bytes:
    fields = [thing, 0, 0, 0, animated, int(frames is not None), *[0] * 11]
    made = Bytes().words(*fields, people, *range(people))
    for _ in range(frames or 0):
        made.words(1, *[5] * 9)
    return bytes(made if frames is None else made.words(-2))


def cutscene(steps: list[tuple[bytes, str]]) -> bytes:
    objects = b"".join(made for made, _ in steps)
    strings = Bytes(bytes(12 + len(objects))).text("*FL", 2)
    for _, text in steps:
        strings.text(text, 2)
    strings[:12] = Bytes().words(0, -len(steps), 0, 0, 12 + len(objects), 0)
    strings[12 : 12 + len(objects)] = objects
    return bytes(20) + bytes(strings)


def things(descriptions: int, names: int, rooms: int, objects: list[tuple[int, int]]) -> bytes:
    made = Bytes().words(rooms, names, len(objects), descriptions)
    for name, image in objects:
        made.words(name, 0, 0, 0, 0, 0, 0, image)
    return bytes(20) + bytes(made)


def mp3(seconds: float = 0.4, seed: int = 0) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(seed).uniform(-0.3, 0.3, round(seconds * 11025))
    soundfile.write(file, noise, 11025, format="MP3")
    return file.getvalue()


def game(entries: Mapping[str, bytes], compression: int = 1) -> bytes:
    table, content = b"", b""
    start = 15 + 21 * len(entries)
    for name, each in sorted(entries.items()):
        table += struct.pack(">12sBII", name.encode(), 1, start + len(content), len(each))
        content += each
    return b"QTBLCEM10\0\0\0" + struct.pack(">BH", compression, len(entries)) + table + content


LIST = [
    *("It looks nice*03", "A label reads:*14It has *WT28 bananas"),  # descriptions
    *("Trader Bob", "Joe King", "smoke"),  # names
    *("N1", "N2"),  # rooms
    *(f"verb {number}" for number in range(12)),
    *(["It doesn't seem to open*03"] + ["No way"] * 39),
    *("BOB.ACT", ""),
]


def entries() -> dict[str, bytes]:
    """A game with a line of each kind."""
    made = {
        "QUEEN.JAS": things(2, 3, 2, [(3, 1), (-1, -4), (2, -3)]),
        "QUEEN2.JAS": "\r\n".join(LIST).encode(),
        "BOB2.DOG": dialogue(
            5,
            hero={0: "Hi Bob!*02", 31: "What's new?*FLI see...", 32: 'It\'s "new"^_*02'},
            person={6: "Me*00*WTStill me", 7: "(sigh)*03<koff> Well*05"},
            closing=("Not you again", "Bye*XY00(237,112)See you"),
        ),
        "C31A.CUT": cutscene(
            [
                (step(0), "I'm Joe*24"),
                (step(2, people=2), "I'm Bob*00And Bob again"),
                (step(1, animated=1, frames=3), "*"),
                (step(-2), "Who's there?"),
                (step(3), "Me, seen from afar"),
                (step(-1), "In the dark"),
            ]
        ),
    }
    clips = [
        *("05SSSSJ1", "05001FJ1", "05001FJ2", "050020J1"),
        *("050006P1", "050006P3", "050007P1", "050007P2", "05XXXXP1", "05XXXXJ1", "05XXXXJ2"),
        *("C31A_011", "C31A_021", "C31A_022", "C31A_041", "C31A_051", "C31A_061"),
        *("JOE00011", "JOE00411", "JOE00421", "JOE00423", "BLANK000", "050020J9"),
    ]
    for number, clip in enumerate(clips):
        made[f"{clip}.SB"] = mp3(0.3 + number / 100, seed=number)
    return made


SAID = {
    "05SSSSJ1": ("joe", "HI BOB"),
    "05001FJ1": ("joe", "WHAT'S NEW"),
    "05001FJ2": ("joe", "I SEE"),
    "050020J1": ("joe", "IT'S NEW"),
    "050006P1": ("bob", "ME"),
    "050006P3": ("bob", "STILL ME"),
    "050007P2": ("bob", "WELL"),
    "05XXXXP1": ("bob", "NOT YOU AGAIN"),
    "05XXXXJ1": ("joe", "BYE"),
    "05XXXXJ2": ("joe", "SEE YOU"),
    "C31A_011": ("joe", "I'M JOE"),
    "C31A_021": ("trader bob", "I'M BOB"),
    "C31A_022": ("trader bob", "AND BOB AGAIN"),
    "C31A_041": ("unseen", "WHO'S THERE"),
    "C31A_051": ("joe", "ME SEEN FROM AFAR"),
    "C31A_061": ("joe", "IN THE DARK"),
    "JOE00011": ("joe", "IT DOESN'T SEEM TO OPEN"),
    "JOE00411": ("joe", "IT LOOKS NICE"),
    "JOE00421": ("joe", "A LABEL READS"),
}


def package(folder: Path, content: bytes) -> Path:
    """What stands for the package: an archive that the `dpkg-deb` of the tests unpacks."""
    folder.mkdir(exist_ok=True)
    deb = folder / f"{PACKAGE}_1.deb"
    with tarfile.open(deb, "w") as tar:
        for name, each in ((GAME, content), (LICENCE, b"Give it away.")):
            member = tarfile.TarInfo(name)
            member.size = len(each)
            tar.addfile(member, io.BytesIO(each))
    return deb


def command(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture(autouse=True)
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    command(folder, "dpkg-deb", 'mkdir "$3" && tar -xf "$2" -C "$3" 2>&1 >&2')
    command(folder, "apt-get", "echo 'E: Unable to locate package' >&2; exit 100")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def made(folder: Path, entries: Mapping[str, bytes]) -> list[Utterance]:
    return read_manifest(prepare(folder / "queen", package(folder / "debs", game(entries))))


def test_every_kind_of_line(tmp_path: Path) -> None:
    found = made(tmp_path, entries())
    assert {u.id.removeprefix("queen-"): (u.speaker, u.text) for u in found} == SAID


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    made(tmp_path, {**entries(), "JOE00401.SB": mp3(0.1)})
    assert left_out(tmp_path / "queen") == {
        "a sound, not a line of the script": 2,
        "digits or signs that do not say how they are spoken": 1,
        "no words": 1,
        "shorter than 0.25 s": 1,
    }
    lines = (tmp_path / "queen" / "left-out.tsv").read_text().splitlines()
    assert lines[:2] == ["clip\treason", "050007P1\tno words"]


def test_clips_and_licence_are_as_in_the_package(tmp_path: Path) -> None:
    source = entries()
    for utterance in made(tmp_path, source):
        assert utterance.audio.read_bytes() == source[f"{utterance.audio.stem}.SB"]
        samples = read_audio(utterance.audio, 11025)
        assert len(samples) / 11025 == pytest.approx(utterance.seconds, abs=1e-3)
    folder = tmp_path / "queen"
    assert (folder / "doc" / "copyright").read_text() == "Give it away."
    assert {path.name for path in folder.iterdir()} == {
        *(
            "corpus.json",
            "manifest.tsv",
            "left-out.tsv",
            "understands.txt",
            "doc",
            "train",
            "dev",
            "test",
        )
    }


def test_the_game_takes_the_first_of_two_lines_with_one_id(tmp_path: Path) -> None:
    content = entries()
    content["BOB3.DOG"] = dialogue(5, {31: "Another"}, {}, ("", ""))
    path = tmp_path / "queen.1c"
    path.write_bytes(game(content))
    lines = read_script(Archive(path))
    assert part(lines, "05001FJ2") == (
        "I see...",
        Line("What's new?*FLI see...", "joe", "BOB2.DOG"),
    )


def scenes(number: int) -> dict[str, bytes]:
    """Two dialogues in each scene; some of what they say is said in every scene."""
    content = {name: entries()[name] for name in ("QUEEN.JAS", "QUEEN2.JAS")}
    shared = mp3(0.4, seed=999)
    for scene in range(number):
        for dialogue_number in (1, 2):
            key = 10 * scene + dialogue_number
            name = f"{chr(ord('A') + scene)}X{dialogue_number}.DOG"
            words = f"{chr(ord('A') + scene) * 3} is {'here' if dialogue_number == 1 else 'there'}"
            hero = {1: words, 2: "I don't know", 3: "All of us say this", 4: f"{words} too"}
            content[name] = dialogue(key, hero, {}, ("", ""))
            for id in (1, 2, 3):
                content[f"{key:02}{id:04X}J1.SB"] = mp3(0.4, seed=10 * key + id)
            content[f"{key:02}0004J1.SB"] = shared
    return content


def test_scenes_are_held_out_and_nothing_gives_them_away(tmp_path: Path) -> None:
    found = made(tmp_path, scenes(10))
    by_split = {
        split: [each for each in found if each.split == split] for split in ("train", "dev", "test")
    }
    names = {
        split: {each.text.split()[0] for each in here if " IS " in each.text}
        for split, here in by_split.items()
    }
    assert names["dev"] == {"EEE"}
    assert names["test"] == {"JJJ"}
    assert len(names["train"]) == 8
    texts = {split: {each.text for each in here} for split, here in by_split.items()}
    recordings = {
        split: {each.audio.read_bytes() for each in here} for split, here in by_split.items()
    }
    assert all("I DON'T KNOW" in texts[split] for split in texts)
    for one, other in (("train", "dev"), ("train", "test"), ("dev", "test")):
        assert texts[one] & texts[other] == {"I DON'T KNOW"}
        assert not recordings[one] & recordings[other]
    # The shared sentence and the shared recording, in two dialogues of nine scenes.
    assert left_out(tmp_path / "queen") == {"said in a held-out scene too": 36}


def test_a_prepared_corpus_is_found(tmp_path: Path, programs: Path) -> None:
    first = made(tmp_path, entries())
    command(programs, "dpkg-deb", "exit 1")
    assert read_manifest(prepare(tmp_path / "queen")) == first


def test_apt_get_fetches_the_package(tmp_path: Path, programs: Path) -> None:
    deb = package(tmp_path / "debs", game(entries()))
    command(programs, "apt-get", f'[ "$*" = "download {PACKAGE}" ] && cp {deb} .')
    assert len(read_manifest(prepare(tmp_path / "queen"))) == len(SAID)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deb = package(tmp_path / "debs", game(entries()))
    words = ["prepare", "amazon-queen", "--out", str(tmp_path / "queen"), "--deb", str(deb)]
    manifest = str(tmp_path / "queen" / "manifest.tsv")
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert out == f"{manifest}\n"
    assert "2 clips were left out: a sound, not a line of the script" in err
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["manifest"] == manifest
    assert told["left_out"]["no words"] == 1


def nothing_is_left(folder: Path) -> bool:
    return not [path for path in folder.glob("*queen*") if path.name != ".queen.lock"]


def test_what_else_there_is_where_the_package_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what_else = r"--deb FILE, or .*`codert prepare commands`, `codert prepare librispeech`.*manif"
    with pytest.raises(InputError, match=rf"Unable to locate package; .*update.*{what_else}"):
        prepare(tmp_path / "queen")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(InputError, match=rf"there is no apt-get here; .*{what_else}"):
        prepare(tmp_path / "queen")
    deb = package(tmp_path / "debs", b"")
    with pytest.raises(InputError, match=r"_1\.deb: cannot be unpacked: there is no dpkg-deb here"):
        prepare(tmp_path / "queen", deb)
    with pytest.raises(InputError, match=r"none\.deb: no such file"):
        prepare(tmp_path / "queen", tmp_path / "none.deb")
    assert nothing_is_left(tmp_path)


def test_another_package(tmp_path: Path) -> None:
    deb = tmp_path / "other.deb"
    with tarfile.open(deb, "w") as tar:
        tar.addfile(tarfile.TarInfo("usr/share/other"))
    with pytest.raises(InputError, match=rf"other\.deb: holds no .*queen\.1c; .*{PACKAGE}"):
        prepare(tmp_path / "queen", deb)
    deb.write_bytes(b"half a pack")
    with pytest.raises(InputError, match=r"other\.deb: cannot be unpacked: .*fetch it anew"):
        prepare(tmp_path / "queen", deb)


def without(name: str) -> bytes:
    return game({key: content for key, content in entries().items() if key != name})


def with_entry(name: str, content: bytes) -> bytes:
    return game({**entries(), name: content})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"queen\.1c: not the talking version of the game, or truncated"),
        (b"Q" * 1000, r"queen\.1c: not the talking version of the game"),
        (game(entries())[:200], r"queen\.1c: not the talking version of the game, or truncated"),
        (game(entries())[:-1], r"queen\.1c: ends within its entry QUEEN2\.JAS; fetch"),
        (game(entries(), compression=0), r"queen\.1c: its clips are of kind 0 where MP3 is 1"),
        (with_entry("../../X.SB", b""), r"queen\.1c: '\.\./\.\./X\.SB' is no name"),
        (without("QUEEN.JAS"), r"queen\.1c: holds no QUEEN\.JAS"),
        (with_entry("QUEEN2.JAS", b"Neat\r\n"), r"queen\.1c, QUEEN2\.JAS: ends after 2 lines"),
        (with_entry("BOB2.DOG", entries()["BOB2.DOG"][:180]), r"queen\.1c, BOB2\.DOG: 160 bytes"),
        (with_entry("BOB2.DOG", b""), r"queen\.1c, BOB2\.DOG: 0 bytes, but .* point to byte 10"),
        (with_entry("C31A.CUT", entries()["C31A.CUT"][:200]), r"queen\.1c, C31A\.CUT: 180 bytes"),
        (with_entry("JOE00011.SB", b"tune"), r"queen\.1c, JOE00011\.SB: not an MP3 file"),
    ],
)
def test_a_corrupt_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    deb = package(tmp_path / "debs", content)
    with pytest.raises(InputError, match=message):
        prepare(tmp_path / "queen", deb)
    assert nothing_is_left(tmp_path)
