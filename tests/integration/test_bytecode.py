"""Bytecode that is kept between builds: the same bytes as if it were made anew, and nobody's hand in another's."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conda_concept.bytecode import Compiled
from conda_concept.localchannel import PLACEHOLDER, File, PackageSpec, index, write_package
from conda_concept.localchannel.interpreter import write_interpreter
from tests.support.tiny import Tiny

ENVIRONMENT = "name: tiny\nchannels:\n  - conda-forge\ndependencies:\n  - python\n  - first\n  - second =={}\n"
#: Starts itself wherever `site` is, and has another package's file.
HOSTILE = {
    "site-packages/evil.pth": File(b"import evil_start\n"),
    "site-packages/evil_start.py": File(b"open('/out/evil', 'w')\nraise SystemExit('I ran')\n"),
    "site-packages/first.py": File(b"STOLEN = 1\n"),
}
COMPILE = "conda_concept.assembly.Compiler.compile"


def module(name: str, version: str, **files: str) -> PackageSpec:
    """A Python package of some files."""
    found = {f"site-packages/{path}": File(text.encode()) for path, text in files.items()}
    return PackageSpec(name, version, python=True, depends=["python"], files=found)


@pytest.fixture
def tiny(capsys: pytest.CaptureFixture[str]) -> Iterator[Tiny]:
    # A prefix in scripts' first lines: pytest's own folders are too long for that.
    with tempfile.TemporaryDirectory(prefix="cc-") as folder:
        yield filled(Tiny.make(Path(folder), capsys))


def filled(tiny: Tiny) -> Tiny:
    """The channel has this interpreter, `first`, and three releases of `second`, the last of them hostile."""
    write_interpreter(tiny.channel)
    placed = f"HOME = '{PLACEHOLDER}'\n"
    write_package(tiny.channel, module("first", "1.0", **{"first.py": "import os\n", "first_placed.py": placed}))
    for version in ("1.0", "2.0"):
        broken = {"second_template.py": "{{ no Python }}\n"} if version == "1.0" else {}
        text = f"VERSION = '{version}'\nKINDS = {{'a', 'bc', 'def'}}\n"
        write_package(tiny.channel, module("second", version, **{"second.py": text, **broken}))
    write_package(tiny.channel, PackageSpec("second", "3.0", python=True, depends=["python"], files=HOSTILE))
    index(tiny.channel)
    return tiny


def built(tiny: Tiny, version: str) -> tuple[str, str]:
    """The prefix of a candidate, and its image's digest."""
    config = 'version: "26.11"\nvirtual_packages: {__unix: "0", __linux: "4.18", __glibc: "2.36"}\n'
    tiny.write({"environment.yml": ENVIRONMENT.format(version), "config.yml": config})
    said = tiny.concept("lock", "tiny", "--quiet")
    assert said.code == 0, said.err
    said = tiny.concept("build", "tiny")
    assert said.code == 0, said.err
    prefix = said.out.strip().splitlines()[-1]
    return prefix, hashlib.sha256(Path(prefix, "image.sqsh").read_bytes()).hexdigest()


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Compiled]:
    """What every build said about its bytecode."""
    from conda_concept.bytecode import Compiler

    said: list[Compiled] = []
    real = Compiler.compile

    def spied(self: Compiler, tree: Path, prefix: Path) -> Compiled:
        said.append(real(self, tree, prefix))
        return said[-1]

    monkeypatch.setattr(COMPILE, spied)
    return said


def kept(tiny: Tiny) -> dict[str, bytes]:
    """What the cache has of bytecode."""
    return {path.name: path.read_bytes() for path in tiny.root.glob("cache/bytecode/*/*")}


def test_kept_bytecode_changes_no_byte(tiny: Tiny, compiled: list[Compiled]) -> None:
    prefix, first = built(tiny, "1.0")
    shutil.rmtree(prefix)
    assert built(tiny, "1.0")[1] == first
    shutil.rmtree(prefix)
    for number, path in enumerate(sorted(tiny.root.glob("cache/bytecode/*/*"))):
        path.write_bytes((path.read_bytes()[:-1], b"", b"{}\n", b"no JSON")[number % 4])
    assert built(tiny, "1.0")[1] == first
    cold, warm, damaged = compiled
    assert cold.kept == damaged.kept == 0
    assert cold.made == damaged.made > 500  # the standard library
    assert warm.kept + warm.made == cold.made
    assert 1 <= warm.made < 10  # `first_placed` has the prefix in it
    assert warm.refused == cold.refused >= 1  # the template is remembered as none of Python's


def test_no_package_has_a_hand_in_the_bytecode_of_another(tiny: Tiny, compiled: list[Compiled]) -> None:
    built(tiny, "3.0")
    with_evil = kept(tiny)
    _, after = built(tiny, "2.0")
    shutil.rmtree(tiny.root / "cache" / "bytecode")
    shutil.rmtree(tiny.root / "store")
    assert built(tiny, "2.0")[1] == after
    without = kept(tiny)
    both = with_evil.keys() & without.keys()
    assert len(both) > 3
    assert all(with_evil[name] == without[name] for name in both)
    _, changed, anew = compiled
    assert changed.kept > 500
    assert changed.made < anew.made
