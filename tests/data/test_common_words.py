"""The utterances that a corpus's commonest words suffice for."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codert.cli import main
from codert.data.common_words import common, prepare
from codert.data.description import describe, description
from codert.data.manifest import Utterance, read_manifest, write_manifest
from codert.errors import InputError


def utterances(*texts: str) -> list[Utterance]:
    return [Utterance(f"u{i}", Path(f"{i}.wav"), t, "s", "train", 1.0) for i, t in enumerate(texts)]


def test_an_utterance_with_a_rarer_word_or_without_a_text_is_left_out() -> None:
    corpus = utterances("one two", "Two, one!", "one three", "", "three three two")
    # Three times each: one, two and three; "one" and "three" come first in the alphabet.
    assert [u.id for u in common(corpus, 2)] == ["u2"]
    assert [u.id for u in common(corpus, 3)] == ["u0", "u1", "u2", "u4"]


@given(st.lists(st.text("abc ", max_size=8), max_size=12), st.integers(1, 6))
def test_more_words_never_lose_an_utterance(texts: list[str], count: int) -> None:
    corpus = utterances(*texts)
    fewer, more = common(corpus, count), common(corpus, count + 1)
    assert {u.id for u in fewer} <= {u.id for u in more}
    assert len({w for u in fewer for w in u.text.split()}) <= count
    assert len(common(corpus, 1000)) == sum(bool(t.split()) for t in texts)


def test_the_command_joins_manifests_and_leaves_the_audio_where_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = utterances("GO LEFT", "GO HOME")
    two = [Utterance("v", tmp_path / "v.wav", "GO LEFT", "t", "test", 2.0)]
    write_manifest(tmp_path / "one.tsv", one)
    write_manifest(tmp_path / "two.tsv", two)
    words = ["prepare", "common-words", "--words", "2", "--out", str(tmp_path / "out"), "--json"]
    data = ["--data", str(tmp_path / "one.tsv"), str(tmp_path / "two.tsv")]
    assert main([*words, *data]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"manifest": str(tmp_path / "out" / "manifest.tsv"), "utterances": 2, "of": 3}
    found = read_manifest(Path(said["manifest"]))
    assert [(u.id, u.split) for u in found] == [("u0", "train"), ("v", "test")]
    assert found[1].audio == tmp_path / "v.wav"


def test_nothing_left_is_an_error_with_its_mend(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_manifest(tmp_path / "m.tsv", utterances("GO LEFT", "GO HOME"))
    words = ["prepare", "common-words", "--words", "1", "--out", str(tmp_path / "out")]
    assert main([*words, "--data", str(tmp_path / "m.tsv")]) == 2
    assert "only words of the 1 commonest; take more" in capsys.readouterr().err


def test_a_folder_that_holds_something_else_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_manifest(tmp_path / "manifest.tsv", utterances("GO LEFT", "GO HOME"))
    before = (tmp_path / "manifest.tsv").read_bytes()
    words = ["prepare", "common-words", "--words", "2", "--out", str(tmp_path)]
    assert main([*words, "--data", str(tmp_path / "manifest.tsv")]) == 2
    assert "holds something else" in capsys.readouterr().err
    assert (tmp_path / "manifest.tsv").read_bytes() == before


def test_a_link_is_followed_and_the_folder_one_is_in_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"id": "u", "audio": "u.wav", "text": "GO\nLEFT"}]  # as JSON lines may have it
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert prepare(tmp_path / "link", [manifest], 2)[1:] == (1, 1)
    assert (tmp_path / "link").is_symlink()
    [found] = read_manifest(tmp_path / "real" / "manifest.tsv")
    assert found.text == "GO LEFT"
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InputError, match="cannot be replaced by the corpus; name a folder within"):
        prepare(Path(), [manifest], 2)


def test_what_the_corpora_teach_is_said_beside_the_manifest_too(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.tsv", utterances("GO LEFT", "GO HOME"))
    describe(tmp_path, "ways to go")
    prepare(tmp_path / "out", [tmp_path / "m.tsv"], 2)
    assert description([tmp_path / "out" / "manifest.tsv"]) == "ways to go"
