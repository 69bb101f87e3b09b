import hashlib
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import soundfile

from codert.cli import main
from codert.data.librispeech import PARTS, Part, prepare
from codert.data.manifest import Utterance, read_manifest
from codert.errors import InputError

PART = "dev-clean-2"
PLACE = f"/31/{PART}.tar.gz"


def flac(seconds: float, seed: int) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * 16000))
    soundfile.write(file, noise, 16000, format="FLAC")
    return file.getvalue()


def layout(part: str) -> dict[str, bytes]:
    return {
        "LibriSpeech/README.TXT": b"About it",
        f"LibriSpeech/{part}/84/121/84-121-0000.flac": flac(0.5, 0),
        f"LibriSpeech/{part}/84/121/84-121-0001.flac": flac(0.25, 1),
        f"LibriSpeech/{part}/84/121/84-121.trans.txt": b"84-121-0000 GO ON\n84-121-0001 I'D GO\n",
        f"LibriSpeech/{part}/9/3/9-3-0000.flac": flac(1, 2),
        f"LibriSpeech/{part}/9/3/9-3.trans.txt": b"9-3-0000 AND SO\n",
    }


def packed(files: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


@dataclass
class Server:
    """A server on this machine, and how well it does.

    Attributes:
        files: what it has, by path.
        cuts: after how many bytes it hangs up, for the requests to come.
        ranges: whether it knows ranges.
        statuses: what it says in place of a file, for the requests to come.
        asked: for each request, its path and its Range.
    """

    files: dict[str, bytes]
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    statuses: list[int] = field(default_factory=list)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.asked.append((request.path, wanted))
        content = self.files.get(request.path)
        status = self.statuses.pop(0) if self.statuses else 200 if content else 404
        if content is None or status != 200:
            request.send_error(status)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if not self.ranges or not start:
            start = 0
            request.send_response(200)
        elif start >= len(content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(content)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        else:
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(content)}/{len(content)}")
        request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        end = start + self.cuts.pop(0) if self.cuts else len(content)
        request.wfile.write(content[start:end])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    archive = packed(layout(PART))
    monkeypatch.setitem(PARTS, PART, Part(31, hashlib.md5(archive).hexdigest()))
    monkeypatch.setattr("codert.data.download._PAUSES", (0.0, 0.0))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    served = Server({PLACE: archive})

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        served.url = f"http://127.0.0.1:{running.server_port}/"
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield served
        running.shutdown()
        thread.join()


def prepared(folder: Path, server: Server) -> list[Utterance]:
    [manifest] = prepare(folder, [PART], server.url)
    return read_manifest(manifest)


def is_right(utterances: list[Utterance], folder: Path) -> bool:
    return utterances == [
        Utterance(id, folder / "LibriSpeech" / PART / place, text, speaker, "dev", seconds)
        for id, place, text, speaker, seconds in (
            ("84-121-0000", "84/121/84-121-0000.flac", "GO ON", "84", 0.5),
            ("84-121-0001", "84/121/84-121-0001.flac", "I'D GO", "84", 0.25),
            ("9-3-0000", "9/3/9-3-0000.flac", "AND SO", "9", 1.0),
        )
    ]


def test_from_the_server_to_the_manifest(tmp_path: Path, server: Server) -> None:
    utterances = prepared(tmp_path, server)
    assert is_right(utterances, tmp_path)
    content = utterances[0].audio.read_bytes()
    assert content == layout(PART)["LibriSpeech/dev-clean-2/84/121/84-121-0000.flac"]
    names = {".lock", f"{PART}.tsv", "LibriSpeech", "understands.txt"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_the_command(tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["prepare", "librispeech", "--parts", PART, "--out", str(tmp_path), "--json"]
    assert main([*words, "--url", server.url]) == 0
    assert json.loads(capsys.readouterr().out) == {"manifests": [str(tmp_path / f"{PART}.tsv")]}
    assert main(words) == 0  # asks nobody


def test_nothing_is_fetched_twice(tmp_path: Path, server: Server) -> None:
    first = prepared(tmp_path, server)
    assert prepared(tmp_path, server) == first
    assert server.asked == [(PLACE, None)]


def test_parts_are_added_one_by_one(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packed(layout("train-clean-100"))
    server.files["/12/train-clean-100.tar.gz"] = archive
    monkeypatch.setitem(PARTS, "train-clean-100", Part(12, hashlib.md5(archive).hexdigest()))
    prepared(tmp_path, server)
    manifests = prepare(tmp_path, ["train-clean-100", PART], server.url)
    assert [path.name for path in manifests] == ["train-clean-100.tsv", f"{PART}.tsv"]
    assert {each.split for each in read_manifest(manifests[0])} == {"train"}
    assert [path for path, _ in server.asked] == [PLACE, "/12/train-clean-100.tar.gz"]


def test_a_lost_connection_goes_on_where_it_was(tmp_path: Path, server: Server) -> None:
    server.cuts = [1000, 500, 1, 7]  # more than the pauses, but each brings something
    assert is_right(prepared(tmp_path, server), tmp_path)
    ranges = [wanted for _, wanted in server.asked]
    assert ranges == [None, "bytes=1000-", "bytes=1500-", "bytes=1501-", "bytes=1508-"]


def test_the_next_command_goes_on_where_the_last_one_gave_up(
    tmp_path: Path, server: Server
) -> None:
    server.cuts = [2000, 0, 0]
    with pytest.raises(InputError, match=r"-2\.tar\.gz: .* lost after 2,000 bytes: .*run the same"):
        prepared(tmp_path, server)
    server.asked.clear()
    assert is_right(prepared(tmp_path, server), tmp_path)
    assert server.asked == [(PLACE, "bytes=2000-")]


def test_a_download_that_was_stopped_at_its_end(tmp_path: Path, server: Server) -> None:
    (tmp_path / f"{PART}.tar.gz.part").write_bytes(server.files[PLACE])
    assert is_right(prepared(tmp_path, server), tmp_path)
    assert server.asked == [(PLACE, f"bytes={len(server.files[PLACE])}-")]


def test_more_than_the_server_has_starts_anew(tmp_path: Path, server: Server) -> None:
    (tmp_path / f"{PART}.tar.gz.part").write_bytes(server.files[PLACE] + b"more")
    assert is_right(prepared(tmp_path, server), tmp_path)
    assert [wanted is None for _, wanted in server.asked] == [False, True]


def test_a_server_without_ranges(tmp_path: Path, server: Server) -> None:
    server.ranges = False
    server.cuts = [1000]
    assert is_right(prepared(tmp_path, server), tmp_path)
    assert server.asked == [(PLACE, None), (PLACE, "bytes=1000-")]


def test_a_wrong_checksum(tmp_path: Path, server: Server) -> None:
    right = server.files[PLACE]
    server.files[PLACE] = right[:-1] + b"?"
    with pytest.raises(InputError, match=r"md5 checksum [0-9a-f]{32}, not [0-9a-f]{32}; it was de"):
        prepared(tmp_path, server)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    server.files[PLACE] = right
    assert is_right(prepared(tmp_path, server), tmp_path)


def test_an_archive_that_lies_there_is_checked(tmp_path: Path, server: Server) -> None:
    archive = tmp_path / f"{PART}.tar.gz"
    archive.write_bytes(server.files[PLACE][:-1] + b"?")
    with pytest.raises(InputError, match=rf"{PART}\.tar\.gz: has the md5 checksum .* deleted"):
        prepared(tmp_path, server)
    archive.write_bytes(server.files[PLACE])
    assert is_right(prepared(tmp_path, server), tmp_path)
    assert server.asked == []


def test_a_server_that_does_not_have_it(tmp_path: Path, server: Server) -> None:
    server.files.clear()
    with pytest.raises(InputError, match=rf"^{server.url}31/{PART}\.tar\.gz: the server says 404"):
        prepared(tmp_path, server)
    assert len(server.asked) == 1


def test_a_busy_server_is_asked_again(tmp_path: Path, server: Server) -> None:
    server.statuses = [503, 429]
    assert is_right(prepared(tmp_path, server), tmp_path)
    assert len(server.asked) == 3


def test_nobody_answers(tmp_path: Path, server: Server) -> None:
    with pytest.raises(InputError, match=r"lost after 0 bytes: .*refused; run the same command"):
        prepare(tmp_path, [PART], "http://127.0.0.1:1")
    with pytest.raises(InputError, match=r"^mirror/31/.*: not an address; .* with https://"):
        prepare(tmp_path, [PART], "mirror")


def test_a_full_disk(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("codert.data.download.os.fsync", full)
        with pytest.raises(InputError, match=r"cannot be written: No space left on device; free"):
            prepared(tmp_path, server)
    assert is_right(prepared(tmp_path, server), tmp_path)
    assert len(server.asked) == 2


def test_unpacking_goes_on_where_it_was(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("codert.data.librispeech.write_manifest", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepared(tmp_path, server)
    there = tmp_path / "LibriSpeech" / PART / "84" / "121" / "84-121-0000.flac"
    half = there.with_name("84-121-0001.flac")
    half.write_bytes(half.read_bytes()[:100])
    before = there.stat().st_mtime_ns
    assert is_right(prepared(tmp_path, server), tmp_path)
    assert there.stat().st_mtime_ns == before
    assert len(server.asked) == 1


def served_instead(server: Server, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files[PLACE] = content
    monkeypatch.setitem(PARTS, PART, Part(31, hashlib.md5(content).hexdigest()))


@pytest.mark.parametrize("name", ["/etc/x", "LibriSpeech/../../x", "../LibriSpeech/x", "x"])
def test_nothing_is_unpacked_elsewhere(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    served_instead(server, packed({name: b"x"}), monkeypatch)
    folder = tmp_path / "data" / "librispeech"
    with pytest.raises(InputError, match=rf"{PART}\.tar\.gz: '{name}' lies outside"):
        prepared(folder, server)
    assert not list(tmp_path.rglob("x"))


def test_links_are_not_unpacked(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        link = tarfile.TarInfo(f"LibriSpeech/{PART}")
        link.type, link.linkname = tarfile.SYMTYPE, "/tmp"
        tar.addfile(link)
    served_instead(server, file.getvalue(), monkeypatch)
    with pytest.raises(InputError, match=rf"LibriSpeech/{PART}: holds no transcripts"):
        prepared(tmp_path, server)
    assert not (tmp_path / "LibriSpeech").exists()


def test_a_broken_archive(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    served_instead(server, server.files[PLACE][:3000], monkeypatch)
    with pytest.raises(InputError, match=rf"{PART}\.tar\.gz: cannot be unpacked: .*delete it"):
        prepared(tmp_path, server)


def test_a_missing_recording(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = layout(PART)
    del files[f"LibriSpeech/{PART}/9/3/9-3-0000.flac"]
    served_instead(server, packed(files), monkeypatch)
    with pytest.raises(InputError, match=r"9-3-0000\.flac: not readable as audio"):
        prepared(tmp_path, server)
    assert not (tmp_path / f"{PART}.tsv").exists()


def test_an_unknown_part(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'dev-clear' is no part .* dev-clean, dev-other"):
        prepare(tmp_path, ["dev-clear"])


def test_the_checksums_are_checksums() -> None:
    assert len(PARTS) == 9
    assert all(len(bytes.fromhex(part.md5)) == 16 for part in PARTS.values())
    assert {name for name, part in PARTS.items() if part.resource == 31} == {
        *("dev-clean-2", "train-clean-5")
    }
