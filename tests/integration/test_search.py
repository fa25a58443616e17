"""`search` over releases that are really built; the quick reading of a lock against the whole one; PyPI's answers."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from conda_concept.cli import run
from conda_concept.errors import NetworkError, NotFoundError
from conda_concept.layout import Layout
from conda_concept.lockfile import dumps, loads
from conda_concept.pypi import look_up
from conda_concept.settings import Site
from conda_concept.steps.packages import listed
from conda_concept.steps.search import search
from conda_concept.store import Store

TOP = Path(__file__).resolve().parents[2]
LOCK = (TOP / "environments" / "analysis3" / "conda-lock.yml").read_text("utf-8")
ENTRY = """\
- name: {name}
  version: '{version}'
  manager: conda
  platform: linux-64
  dependencies: {{}}
  url: https://conda.anaconda.org/conda-forge/linux-64/{name}-{version}-0.conda
  hash:
    md5: {md5}
    sha256: {sha}
  category: main
  optional: false
"""
HEAD = """\
version: 1
metadata:
  content_hash:
    linux-64: x
  channels: []
  platforms:
  - linux-64
  sources: []
package:
"""


def lock_of(**packages: str) -> str:
    entries = [ENTRY.format(name=name, version=one, md5="a" * 32, sha="b" * 64) for name, one in packages.items()]
    return HEAD + "".join(entries)


def test_the_quick_reading_is_the_whole_one() -> None:
    whole = sorted((one.name, one.version, one.manager, one.platform) for one in loads(LOCK).packages)
    assert sorted((one.name, one.version, one.manager, one.platform) for one in listed(LOCK)) == whole
    assert len(whole) == 1443


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("  version: '1.0'\n  manager: conda\n", "  manager: conda\n  version: '1.0'\n"),
        lambda text: text.replace("- name: b\n", "- name: >-\n    b\n"),
        lambda text: json.dumps(yaml.safe_load(text)),
        lambda text: text.replace("- ", "-   ").replace("\n  ", "\n    ").replace("package:", "package: "),
    ],
)
def test_a_lock_in_another_hand_is_read_whole(change: Any) -> None:
    text = dumps(loads(lock_of(a="2.0", b="1.0")))
    other = change(text)
    assert other != text
    assert [(one.name, one.version) for one in listed(other)] == [("a", "2.0"), ("b", "1.0")]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Releases as far as a search looks at them: directories with a record's file and a lock, and aliases."""
    layout = Layout(tmp_path)
    rows = [("tiny-26.06/11111111", {"hello": "1.0", "world": "3.0"}), ("tiny-26.11/22222222", {"hello": "2.0"})]
    rows += [("tiny-26.11/33333333", {"hello": "1.9"}), ("other-26.11/44444444", {"hello": "2.0", "help": "0.1"})]
    layout.envs.mkdir(parents=True)
    for name, packages in rows:
        label, _, build = name.partition("/")
        folder = layout.releases / name
        folder.mkdir(parents=True)
        (folder / "release.json").write_text("{}")
        (folder / "conda-lock.yml").write_text(lock_of(**packages))
        if build != "33333333":
            layout.alias(label).symlink_to(f"../releases/{name}")
    layout.alias("tiny").symlink_to("tiny-26.06")
    site = Site(name="here", root=str(tmp_path), scratch=str(tmp_path), cache=str(tmp_path))
    return Store.open(layout, site, lambda _: None)


def test_every_release_that_somebody_can_load_says_its_version(store: Store) -> None:
    found = search(store, "hello")
    rows = [(str(hit.release), hit.package.version) for hit in found.hits]
    assert rows == [
        ("other-26.11/44444444", "2.0"),
        ("tiny-26.11/22222222", "2.0"),
        ("tiny-26.06/11111111", "1.0"),
    ]
    assert found.hits[-1].names == ("tiny-26.06", "tiny")
    assert (found.releases, found.former) == (3, 1)
    assert found.left_out == "1 more release that no alias points at was not looked at: `--all`."
    assert search(store, "hello", former=True).left_out == ""
    assert [hit.package.version for hit in search(store, "hello", environment="tiny", former=True).hits] == [
        "2.0",
        "1.9",
        "1.0",
    ]


def test_a_glob_finds_several_and_a_typing_mistake_its_nearest(store: Store) -> None:
    assert [hit.package.name for hit in search(store, "HEL*", environment="other").hits] == ["hello", "help"]
    with pytest.raises(NotFoundError, match="nearest names are hello") as caught:
        search(store, "helo")
    assert "in none of 3 releases" in caught.value.message
    with pytest.raises(NotFoundError, match="conda-concept request"):
        search(store, "zzzzzz")


def test_the_command_has_a_table_and_json(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = tmp_path / "site.yml"
    site.write_text(f"name: here\nroot: {store.layout.root}\nscratch: {tmp_path}\ncache: {tmp_path}\n")
    environ = {"HOME": "/nonexistent", "PATH": "/usr/bin:/bin"}
    assert run(["search", "hello", "--site", str(site)], environ) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["release", "build", "names", "package", "version"]
    assert [line.split()[-1] for line in lines[2:5]] == ["2.0", "2.0", "1.0"]
    assert lines[6] == "1 more release that no alias points at was not looked at: `--all`."
    assert run(["search", "h*", "--env", "other", "--site", str(site), "--json"], environ) == 0
    found = json.loads(capsys.readouterr().out)
    assert [hit["package"]["name"] for hit in found["hits"]] == ["hello", "help"]
    assert run(["search", "nothing-like-it", "--site", str(site)], environ) == 11


def test_a_release_without_a_lock_is_named_and_hides_nothing(store: Store) -> None:
    (store.layout.releases / "tiny-26.06" / "11111111" / "conda-lock.yml").unlink()
    found = search(store, "hello")
    assert len(found.hits) == 2
    assert found.unread[0].startswith("tiny-26.06/11111111: ")


# --- PyPI -------------------------------------------------------------------------------------------------------------

FILES = [
    {"filename": "a_b-1.0.tar.gz", "upload-time": "2019-01-02T03:04:05Z", "size": 10},
    {"filename": "a_b-1.2-py3-none-any.whl", "upload-time": "2023-05-06T00:00:00Z", "size": 20},
    {"filename": "a_b-2.0rc1-py3-none-any.whl", "upload-time": "2024-01-01T00:00:00Z", "size": 30},
    {"filename": "a_b-9.0-py3-none-any.whl", "yanked": "bad", "upload-time": "2030-01-01T00:00:00Z"},
    {"filename": "readme.txt"},
    {"filename": "a_b-not a version.zip"},
]


@pytest.fixture
def index() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, body = "application/vnd.pypi.simple.v1+json", json.dumps({"files": FILES}).encode()
            if "/html/" in self.path:
                kind = "text/html"
                body = b"<a HREF='../a_b-1.0.tar.gz#sha256=1'>x</a><a data-yanked='' href=\"a_b-9.0.zip\">y</a>"
            status = 500 if "/broken/" in self.path else 200 if self.path.endswith("/a-b/") else 404
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_pypi_has_and_since_when(index: str) -> None:
    found = look_up("A_b", f"{index}/json")
    assert found is not None
    assert (found.newest, found.versions, found.uploaded, found.size) == ("1.2", 3, "2024-01-01", 20)
    plain = look_up("a.b", f"{index}/html/")
    assert plain is not None
    assert (plain.newest, plain.versions, plain.uploaded) == ("1.0", 1, "")
    assert look_up("nothing", f"{index}/json") is None
    with pytest.raises(NetworkError, match="could not be reached"):
        look_up("a-b", f"{index}/broken")
