"""Downloads: only the lock's bytes get in, whatever the channel, the network or another build does."""

import hashlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path

import pytest

from conda_concept import download
from conda_concept.download import Cache, fetch_all
from conda_concept.errors import InputError, IntegrityError, NetworkError, RefusedError, SpaceError
from conda_concept.model import CHANNEL_ALIAS, Package
from conda_concept.progress import Reporter

DATA = bytes(range(256)) * 8192
REPORTER = Reporter(StringIO(), quiet=True)


def package(data: bytes = DATA, *, sha256: str | None = None, url: str = "") -> Package:
    return Package(
        name="thing",
        version="1",
        build="0",
        manager="conda",
        platform="linux-64",
        url=url or f"{CHANNEL_ALIAS}/conda-forge/noarch/thing-1-0.conda",
        md5=None,
        sha256=sha256 or hashlib.sha256(data).hexdigest(),
        size=len(data),
    )


class Channel(ThreadingHTTPServer):
    """A channel that misbehaves as told: `script` has one behaviour a request, then all is well."""

    script: list[str]
    requests: list[str | None]


class Handler(BaseHTTPRequestHandler):
    server: Channel

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.requests.append(wanted)
        behaviour = self.server.script.pop(0) if self.server.script else "well"
        if behaviour.isdigit():
            self.send_error(int(behaviour))
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        body = DATA[start:]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if behaviour == "half" else body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        pass


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Channel]:
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(download, "_CHUNK", 65536)
    with Channel(("127.0.0.1", 0), Handler) as server:
        server.script, server.requests = [], []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def cache(folder: Path, server: Channel) -> Cache:
    return Cache(folder, f"http://127.0.0.1:{server.server_address[1]}")


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".part")]


def test_what_is_fetched_is_kept_and_not_fetched_again(tmp_path: Path, channel: Channel) -> None:
    kept = cache(tmp_path, channel)
    assert fetch_all([package()], kept, REPORTER) == len(DATA)
    assert fetch_all([package()], kept, REPORTER) == 0
    assert kept.path(package()).read_bytes() == DATA
    assert channel.requests == [None]


def test_a_broken_connection_is_resumed_where_it_broke(tmp_path: Path, channel: Channel) -> None:
    channel.script = ["half"]
    fetch_all([package()], cache(tmp_path, channel), REPORTER)
    assert channel.requests == [None, f"bytes={len(DATA) // 2}-"]
    assert cache(tmp_path, channel).path(package()).read_bytes() == DATA


def test_a_later_run_goes_on_where_one_that_failed_broke_off(tmp_path: Path, channel: Channel) -> None:
    channel.script = ["half", "503", "503", "503"]
    with pytest.raises(NetworkError):
        fetch_all([package()], cache(tmp_path, channel), REPORTER)
    fetch_all([package()], cache(tmp_path, channel), REPORTER)
    assert channel.requests[-1] == f"bytes={len(DATA) // 2}-"
    assert cache(tmp_path, channel).path(package()).read_bytes() == DATA
    assert leftovers(tmp_path) == []


def test_an_archive_that_decayed_is_fetched_again_before_it_is_unpacked(tmp_path: Path, channel: Channel) -> None:
    kept = cache(tmp_path, channel)
    fetch_all([package()], kept, REPORTER)
    kept.path(package()).write_bytes(DATA[::-1])
    assert fetch_all([package()], kept, REPORTER) == len(DATA)
    assert kept.path(package()).read_bytes() == DATA


def test_nobody_else_can_write_in_the_cache(tmp_path: Path, channel: Channel) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o775)
    fetch_all([package()], cache(folder, channel), REPORTER)
    assert folder.stat().st_mode & 0o777 == 0o700
    os.chown(folder, 65534, 65534)
    with pytest.raises(RefusedError, match=r"belongs to another account \(number 65534\)"):
        fetch_all([package()], cache(folder, channel), REPORTER)


def test_a_busy_server_is_asked_again_and_then_given_up(tmp_path: Path, channel: Channel) -> None:
    channel.script = ["503", "429"]
    fetch_all([package()], cache(tmp_path, channel), REPORTER)
    channel.script = ["503"] * 4
    with pytest.raises(NetworkError, match="answered 503"):
        fetch_all([package()], cache(tmp_path / "other", channel), REPORTER)
    assert not leftovers(tmp_path)


def test_a_package_that_is_gone_says_so(tmp_path: Path, channel: Channel) -> None:
    channel.script = ["404"]
    with pytest.raises(IntegrityError, match="answered 404.*\n.*lock again"):
        fetch_all([package()], cache(tmp_path, channel), REPORTER)


def test_other_bytes_than_the_locks_never_get_in(tmp_path: Path, channel: Channel) -> None:
    wrong = package(sha256="0" * 64)
    with pytest.raises(IntegrityError, match="damaged or was replaced"):
        fetch_all([wrong], cache(tmp_path, channel), REPORTER)
    assert not cache(tmp_path, channel).path(wrong).exists()
    assert not leftovers(tmp_path)


def test_nobody_there_is_the_networks_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(NetworkError, match="127.0.0.1 could not be reached.*\n.*not the request's"):
        fetch_all([package()], Cache(tmp_path, "http://127.0.0.1:9"), REPORTER)


def test_files_are_checked_like_everything_else(tmp_path: Path) -> None:
    source = tmp_path / "channel" / "conda-forge" / "noarch" / "thing-1-0.conda"
    source.parent.mkdir(parents=True)
    source.write_bytes(DATA[:-1])
    kept = Cache(tmp_path / "cache", (tmp_path / "channel").as_uri())
    with pytest.raises(IntegrityError, match="damaged or was replaced"):
        fetch_all([package()], kept, REPORTER)
    source.write_bytes(DATA)
    assert fetch_all([package()], kept, REPORTER) == len(DATA)
    source.unlink()
    with pytest.raises(IntegrityError, match="does not have thing-1-0.conda"):
        fetch_all([package(DATA[:9])], kept, REPORTER)


def test_nothing_comes_without_a_hash(tmp_path: Path) -> None:
    unhashed = Package(
        name="x", version="1", manager="conda", platform="linux-64", url="https://x/y", md5="0", sha256=None
    )
    with pytest.raises(InputError, match="no sha256 for x"):
        fetch_all([unhashed], Cache(tmp_path), REPORTER)


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    error = OSError(28, "No space left on device", "x")
    assert isinstance(download.disk_error(error, tmp_path), SpaceError)
