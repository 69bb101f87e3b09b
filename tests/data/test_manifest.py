import json
from dataclasses import replace
from pathlib import Path

import pytest

from codert.data.manifest import Utterance, joined, read_manifest, write_manifest
from codert.errors import InputError

from .conftest import MakeUtterance

HEADER = "id\tsplit\tspeaker\tseconds\taudio\ttext"


@pytest.fixture
def manifest(tmp_path: Path, make_utterance: MakeUtterance) -> Path:
    make_utterance(0.5)
    return tmp_path / "manifest.tsv"


def test_columns_come_in_any_order_and_audio_is_found_beside_the_manifest(manifest: Path) -> None:
    manifest.write_text(
        'text\taudio\tid\tseconds\tspeaker\tsplit\nSAY "HI\tu0.wav\ta\t1.5\tme\tdev'
    )
    audio = manifest.parent / "u0.wav"
    assert read_manifest(manifest) == [Utterance("a", audio, 'SAY "HI', "me", "dev", 1.5)]


def test_what_is_not_given_has_a_default_and_seconds_come_from_the_header(manifest: Path) -> None:
    manifest.write_text("id\taudio\ttext\r\na\tu0.wav\tHI\r\n\r\n")
    [utterance] = read_manifest(manifest)
    assert (utterance.speaker, utterance.split, utterance.seconds) == ("a", "train", 0.5)


def test_seconds_of_0_are_those_of_the_header(manifest: Path) -> None:
    manifest.write_text("id\taudio\ttext\tseconds\na\tu0.wav\tHI\t0")
    assert read_manifest(manifest)[0].seconds == 0.5


def test_a_name_that_would_break_a_line_is_refused(manifest: Path) -> None:
    path = manifest.with_suffix(".jsonl")
    for column in ("id", "speaker", "split"):
        row = {"id": "a", "audio": "u0.wav", "text": "HI"} | {column: "two\nlines"}
        path.write_text(json.dumps(row))
        with pytest.raises(InputError, match=f"line 1: the {column} holds a tab or a line break"):
            read_manifest(path)


def test_a_column_that_comes_twice_is_refused(manifest: Path) -> None:
    manifest.write_text("id\taudio\ttext\ttext\na\tu0.wav\tHI\tHO")
    with pytest.raises(InputError, match="line 1: the column 'text' comes twice"):
        read_manifest(manifest)


def test_an_unreadable_header_is_left_to_whoever_reads_the_samples(manifest: Path) -> None:
    manifest.with_name("u0.wav").write_bytes(b"not audio")
    manifest.write_text("id\taudio\ttext\na\tu0.wav\tHI")
    assert read_manifest(manifest)[0].seconds == 0


def test_json_lines(manifest: Path) -> None:
    path = manifest.with_suffix(".jsonl")
    path.write_text(json.dumps({"id": "a", "audio": "u0.wav", "text": "ÉTÉ", "seconds": 2}) + "\n")
    [utterance] = read_manifest(path)
    assert (utterance.text, utterance.seconds, utterance.audio.name) == ("ÉTÉ", 2.0, "u0.wav")


def test_a_written_manifest_reads_as_the_same(
    tmp_path: Path, make_utterance: MakeUtterance
) -> None:
    utterances = [make_utterance(), make_utterance(), make_utterance()]
    write_manifest(tmp_path / "m.tsv", utterances)
    assert read_manifest(tmp_path / "m.tsv") == utterances
    write_manifest(tmp_path / "elsewhere" / "m.tsv", utterances)
    assert read_manifest(tmp_path / "elsewhere" / "m.tsv") == utterances
    assert "u0.wav" in (tmp_path / "m.tsv").read_text().split("\n")[1].split("\t")


def test_a_text_with_a_tab_is_not_written(tmp_path: Path, make_utterance: MakeUtterance) -> None:
    with pytest.raises(InputError, match="'u0' holds a tab"):
        write_manifest(tmp_path / "m.tsv", [make_utterance(text="A\tB")])
    assert not list(tmp_path.glob("m.tsv*"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"m\.tsv, line 1: empty; write a header"),
        (
            "id\taudio\ttext\tSplit\n",
            r"m\.tsv, line 1: 'Split' is not a col.*; did you mean 'split'",
        ),
        ("id\taudio\n", r"m\.tsv, line 1: no column 'text'; add it"),
        (HEADER, r"m\.tsv: lists no utterances"),
        (f"{HEADER}\na\ttrain\tme\t1", r"line 2: 4 fields where the header names 6"),
        (f"{HEADER}\na\ttrain\tme\tlong\tu0.wav\tHI", r"line 2: seconds is 'long'; write a num"),
        (f"{HEADER}\na\ttrain\tme\tnan\tu0.wav\tHI", r"line 2: seconds is 'nan'"),
        (f"{HEADER}\na\ttrain\tme\t-1\tu0.wav\tHI", r"line 2: seconds is '-1'"),
        (f"{HEADER}\n\ttrain\tme\t1\tu0.wav\tHI", r"line 2: the id is empty"),
        (f"{HEADER}\na\ttrain\tme\t1\t\tHI", r"line 2: the audio is empty"),
        (f"{HEADER}\na\ttrain\tme\t1\tu0\0.wav\tHI", r"line 2: the audio holds a null byte"),
        (f"{HEADER}\na\tTrain \tme\t1\tu0.wav\tHI", r"line 2: split is 'Train '; write train"),
        (
            f"{HEADER}\na\t\t\t1\tu0.wav\tHI\n\na\t\t\t1\tu0.wav\tHO",
            r"line 4: id 'a' is also on line 2",
        ),
    ],
)
def test_each_error_names_the_file_and_the_line(manifest: Path, content: str, message: str) -> None:
    path = manifest.with_name("m.tsv")
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_manifest(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"id": "a"', r"m\.jsonl, line 1: not JSON"),
        ("[" * 100_000, r"m\.jsonl, line 1: not JSON that can be read: .*recursion"),
        ("1" * 5000, r"m\.jsonl, line 1: not JSON that can be read: .*4300 digits"),
        (
            '{"id": "a", "audio": "u0.wav", "text": "HI", "id": "b"}',
            r"m\.jsonl, line 1: not JSON that can be read: 'id' comes twice; remove one",
        ),
        ('{"id": "a", "audio": "u0.wav", "text": "", "seconds": true}', "seconds is True; write"),
        ("[1]", r"m\.jsonl, line 1: write an object"),
        ('{"id": "a", "text": "HI"}', r"line 1: no column 'audio'; add it"),
        (
            '{"id": "a", "audio": "u0.wav", "text": "HI", "speakr": "s"}',
            r"line 1: 'speakr' is not a column; did you mean 'speaker'\?",
        ),
        ('{"id": 7, "audio": "u0.wav", "text": "HI"}', r"line 1: id is 7; write text in quotes"),
        ('{"id": "a", "audio": "u0.wav", "text": "HI", "seconds": []}', r"seconds is \[\]"),
        (
            f'{{"id": "a", "audio": "u0.wav", "text": "HI", "seconds": {10**400}}}',
            "line 1: seconds is 10+; write a number",
        ),
        (
            '{"id": "a", "audio": "u\\ud800.wav", "text": "HI"}',
            r"m\.jsonl, line 1: holds half of a character",
        ),
    ],
)
def test_each_error_of_json_lines(manifest: Path, content: str, message: str) -> None:
    path = manifest.with_name("m.jsonl")
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_manifest(path)


@pytest.mark.parametrize("name", ["m.tsv", "m.jsonl"])
def test_a_byte_order_mark_is_no_matter(manifest: Path, name: str) -> None:
    path = manifest.with_name(name)
    row = '{"id": "a", "audio": "u0.wav", "text": "HI"}\n'
    text = row if name.endswith("jsonl") else "id\taudio\ttext\na\tu0.wav\tHI\n"
    path.write_text(text, encoding="utf-8-sig")
    assert [each.id for each in read_manifest(path)] == ["a"]


@pytest.mark.parametrize("name", ["m.tsv", "m.jsonl"])
def test_columns_of_ones_own_are_no_matter(manifest: Path, name: str) -> None:
    path = manifest.with_name(name)
    row = '{"id": "a", "audio": "u0.wav", "text": "HI", "gender": "f", "split": "dev"}\n'
    text = (
        row if name.endswith("jsonl") else "id\taudio\ttext\tgender\tsplit\na\tu0.wav\tHI\tf\tdev\n"
    )
    path.write_text(text)
    assert [(each.id, each.split) for each in read_manifest(path)] == [("a", "dev")]


def test_a_missing_or_binary_manifest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.tsv: no such file"):
        read_manifest(tmp_path / "none.tsv")
    with pytest.raises(InputError, match=r": a folder; name the manifest in it$"):
        read_manifest(tmp_path)
    (tmp_path / "b.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"b\.tsv, line 1: not UTF-8; save"):
        read_manifest(tmp_path / "b.tsv")


def test_manifests_are_joined_where_their_ids_differ(make_utterance: MakeUtterance) -> None:
    one, other = make_utterance(), make_utterance()
    assert joined([one, other]) == [one, other]
    with pytest.raises(InputError, match=r"id 'u0' is both .*u0\.wav and .*u1\.wav; give each"):
        joined([one, replace(other, id="u0")])
