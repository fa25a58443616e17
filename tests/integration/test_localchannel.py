"""Local channels, used as they are meant to be: solved from, installed, and run. The interpreters are real."""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from rattler import Gateway, RepoDataRecord, VirtualPackage, install, solve

from conda_concept.errors import InputError, IntegrityError, NetworkError
from conda_concept.localchannel import (
    PLACEHOLDER,
    Entry,
    PackageSpec,
    Symlink,
    earlier_channel,
    index,
    make_channel,
    wheel_package,
    write_interpreter,
    write_package,
)
from conda_concept.localchannel.channel import STAMP
from conda_concept.progress import Reporter
from conda_concept.run import run
from tests.support.wheels import make_wheel

#: The interpreter that runs the tests, and Debian's where there is one: two layouts with nothing in common.
INTERPRETERS = sorted(
    {
        os.path.realpath(path)
        for path in (getattr(sys, "_base_executable", sys.executable), "/usr/bin/python3.11")
        if Path(path).exists()
    }
)


async def solved(channel: Path, specs: Sequence[str], locked: Sequence[RepoDataRecord] = ()) -> list[RepoDataRecord]:
    """The solver's answer, with an index that is read anew."""
    gateway = Gateway(cache_dir=channel.parent / "gateway")
    virtual = VirtualPackage.detect()
    return await solve([channel.as_uri()], specs, gateway=gateway, virtual_packages=virtual, locked_packages=locked)


def installed(channel: Path, specs: Sequence[str], prefix: Path) -> Path:
    """Solve and install for `prefix`, the way an image is made: in a staging directory that becomes the prefix."""

    async def both() -> None:
        records = await solved(channel, specs)
        cache, stage = channel.parent / "cache", prefix.parent / "stage"
        await install(records, stage, cache_dir=cache, alternative_target_prefix=prefix, show_progress=False)
        stage.rename(prefix)

    asyncio.run(both())
    return prefix


def records(channel: Path, subdir: str) -> dict[str, dict[str, object]]:
    content = json.loads((channel / subdir / "repodata.json").read_text("utf-8"))
    found: dict[str, dict[str, object]] = content["packages.conda"]
    return found


def test_a_package_is_indexed_solved_installed_and_run(tmp_path: Path) -> None:
    channel = tmp_path / "channel"
    placeholder = b"\0" + PLACEHOLDER.encode() + b"/lib\0end"
    files: dict[str, Entry] = {
        "bin/tiny": f"#!/bin/sh\ncat {PLACEHOLDER}/share/tiny.txt\n",
        "share/tiny.txt": "hello\n",
        "share/link": Symlink("tiny.txt"),
        "lib/tiny.bin": placeholder,
    }
    write_package(channel, PackageSpec("base", "1", subdir="linux-64"))
    write_package(channel, PackageSpec("base", "2", subdir="linux-64"))
    write_package(channel, PackageSpec("tiny", "1", subdir="linux-64", depends=["base <2"], files=files))
    index(channel)
    prefix = installed(channel, ["tiny"], tmp_path / "prefix")
    assert run([prefix / "bin" / "tiny"]).stdout == "hello\n"
    assert (prefix / "share" / "link").read_text("utf-8") == "hello\n"
    binary = (prefix / "lib" / "tiny.bin").read_bytes()
    assert binary.startswith(b"\0" + bytes(prefix) + b"/lib\0")
    assert len(binary) == len(placeholder)
    assert sorted(path.name for path in prefix.glob("conda-meta/*.json")) == ["base-1-0.json", "tiny-1-0.json"]


def test_the_index_says_what_the_archives_are_and_nothing_about_today(tmp_path: Path) -> None:
    spec = PackageSpec("tiny", "1", license="MIT", timestamp=1_700_000_000_000)
    indexes = []
    for name in ("first", "second"):
        archive = write_package(tmp_path / name, spec)
        index(tmp_path / name)
        index(tmp_path / name)
        indexes.append((tmp_path / name / "noarch" / "repodata.json").read_bytes())
        record = records(tmp_path / name, "noarch")[archive.name]
        assert record["size"] == archive.stat().st_size
        assert record["license"] == "MIT"
        assert record["timestamp"] == 1_700_000_000_000
        assert {"md5", "sha256"} < set(record)
    assert indexes[0] == indexes[1]


def test_an_archive_that_was_replaced_or_removed_is_indexed_as_it_is_now(tmp_path: Path) -> None:
    write_package(tmp_path, PackageSpec("tiny", "1", summary="one"))
    gone = write_package(tmp_path, PackageSpec("gone", "1"))
    index(tmp_path)
    before = records(tmp_path, "noarch")["tiny-1-0.conda"]
    write_package(tmp_path, PackageSpec("tiny", "1", summary="two"))
    gone.unlink()
    index(tmp_path)
    after = records(tmp_path, "noarch")
    assert list(after) == ["tiny-1-0.conda"]
    assert after["tiny-1-0.conda"]["sha256"] != before["sha256"]


def test_a_damaged_archive_stops_the_index(tmp_path: Path) -> None:
    write_package(tmp_path, PackageSpec("tiny", "1")).write_bytes(b"not an archive")
    with pytest.raises(IntegrityError, match="cannot be indexed"):
        index(tmp_path)


@pytest.mark.parametrize("executable", INTERPRETERS)
def test_an_interpreter_works_wherever_it_is_installed(tmp_path: Path, executable: str) -> None:
    channel = tmp_path / "channel"
    archive = write_interpreter(channel, Path(executable))
    again = write_interpreter(tmp_path / "again", Path(executable))
    assert archive.read_bytes() == again.read_bytes()
    entry_points = "[console_scripts]\npure-tool = pure:main\n"
    code = {"pure.py": "def main():\n    import sys\n    print(sys.prefix)\n"}
    pure = make_wheel(tmp_path, "pure", "1", files=code, entry_points=entry_points)
    native = make_wheel(tmp_path, "native", "1", tag="cp311-cp311-linux_x86_64", metadata=["Requires-Dist: pure"])
    for wheel in (pure, native):
        wheel_package(channel, wheel)
    index(channel)
    prefix = installed(channel, ["python", "native"], tmp_path / "prefix")

    probe = (
        "import json, sys, sysconfig, site, native\n"
        "import ssl, sqlite3, ctypes, lzma, bz2, zlib, hashlib, multiprocessing, venv, ensurepip, readline, uuid\n"
        "hashlib.blake2b(b'x'); sqlite3.connect(':memory:').execute('select 1')\n"
        "print(json.dumps([sys.prefix, sys.executable, *sys.path, *site.getsitepackages(), native.__file__,\n"
        "    *sysconfig.get_paths().values(), sysconfig.get_makefile_filename(),\n"
        "    *(sysconfig.get_config_var(v) for v in ('LIBDIR', 'BINDIR', 'INCLUDEPY', 'LIBPL'))]))\n"
    )
    python = prefix / "bin" / "python3"
    paths = json.loads(run([python, "-I", "-c", probe]).stdout)
    assert [path for path in paths if not path.startswith(str(prefix))] == []
    assert not any("dist-packages" in path for path in paths)
    assert run([prefix / "bin" / "pure-tool"]).stdout == f"{prefix}\n"
    builds_extensions(Path(executable), prefix)

    run([python, "-m", "venv", tmp_path / "venv"])
    where = "import sys, pip; print(sys.prefix, sys.base_prefix, pip.__file__)"
    answer = run([tmp_path / "venv" / "bin" / "python", "-c", where]).stdout.split()
    assert answer[:2] == [str(tmp_path / "venv"), str(prefix)]
    assert answer[2].startswith(str(tmp_path / "venv"))
    without = run([tmp_path / "venv" / "bin" / "python", "-c", "import native"], check=False)
    assert without.returncode == 1  # a virtual environment does not see the packages of what it stands on
    run([python, "-m", "venv", "--system-site-packages", "--without-pip", tmp_path / "open"])
    run([tmp_path / "open" / "bin" / "python", "-c", "import native, pure"])


def builds_extensions(original: Path, prefix: Path) -> None:
    """Whoever compiles finds what is in the prefix, if the original has it (Debian's is a package of its own)."""
    headers = "import sysconfig; print(sysconfig.get_config_h_filename())"
    has_them = Path(run([original, "-I", "-c", headers]).stdout.strip()).exists()
    mine = Path(run([prefix / "bin" / "python3", "-I", "-c", headers]).stdout.strip())
    assert mine.is_relative_to(prefix)
    assert mine.exists() == has_them
    if has_them:
        assert "x86_64-linux-gnu/python" not in mine.read_text("utf-8")  # Debian's asks for another of the system's
        flags = run([prefix / "bin" / "python3-config", "--includes"]).stdout.split()
        assert set(flags) == {f"-I{prefix}/include/python3.11"}


@pytest.fixture
def offline(tmp_path: Path) -> dict[str, str]:
    """Pip's environment with a folder of wheels and nothing else."""
    wheels = tmp_path / "wheels"
    for version in ("1.0", "1.5", "2.0"):
        make_wheel(wheels, "engine", version)
    make_wheel(wheels, "fuel", "3")
    make_wheel(wheels, "car", "1", metadata=["Requires-Dist: engine>=1", "Requires-Dist: fuel"])
    make_wheel(wheels, "garage", "1", metadata=["Requires-Dist: car", "Requires-Dist: engine==2.0"])
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull, "HOME": str(tmp_path)}


def quiet() -> Reporter:
    return Reporter(sys.stderr, quiet=True)


def test_a_channel_is_made_once_and_again_only_if_something_changed(tmp_path: Path, offline: dict[str, str]) -> None:
    channel = tmp_path / "channel"
    first = make_channel(channel, ["car"], quiet(), environ=offline)
    assert (first.made, first.packages) == (True, 5)  # car, engine, fuel, python, python_abi
    stamp = (channel / STAMP).read_bytes()
    second = make_channel(channel, ["car"], quiet(), environ={})  # pip would not get far with this
    assert (second.made, second.packages, second.size) == (False, first.packages, first.size)

    (channel / "noarch" / "fuel-3-py_0.conda").unlink()
    assert make_channel(channel, ["car"], quiet(), environ=offline).made
    assert (channel / STAMP).read_bytes() == stamp

    third = make_channel(channel, ["fuel"], quiet(), environ=offline)
    assert (third.made, third.packages) == (True, 3)
    assert not (channel / "noarch" / "car-1-py_0.conda").exists()


def test_a_making_that_was_killed_is_made_again(tmp_path: Path, offline: dict[str, str]) -> None:
    channel = tmp_path / "channel"
    make_channel(channel, ["car"], quiet(), environ=offline)
    whole = {path.name: path.read_bytes() for path in channel.glob("*/*")}
    (channel / STAMP).unlink()
    (channel / ".wheels-left").mkdir()
    (channel / "noarch" / ".new-left").mkdir()
    (channel / "noarch" / "car-1-py_0.conda").write_bytes(b"half")
    assert make_channel(channel, ["car"], quiet(), environ=offline).made
    assert {path.name: path.read_bytes() for path in channel.glob("*/*")} == whole
    assert not (channel / ".wheels-left").exists()


def test_adding_one_package_can_move_another(tmp_path: Path, offline: dict[str, str]) -> None:
    now, then = tmp_path / "now", tmp_path / "then"
    make_channel(now, ["car", "garage"], quiet(), environ=offline, earlier=["engine"])
    assert earlier_channel(now, then, ["engine"]).made
    assert not earlier_channel(now, then, ["engine"]).made

    async def play() -> tuple[list[RepoDataRecord], list[RepoDataRecord]]:
        before = await solved(then, ["car"])
        return before, await solved(now, ["car", "garage"], locked=before)

    old, new = ({r.name.normalized: str(r.version) for r in answer} for answer in asyncio.run(play()))
    assert old["engine"] == "1.5"  # not 1.0: the release before the newest
    changed = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    assert changed == {"engine", "garage"}


def test_no_network_is_said_so(tmp_path: Path) -> None:
    environ = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": os.devnull, "HOME": str(tmp_path)}
    with pytest.raises(NetworkError, match="could not reach its package index"):
        make_channel(tmp_path / "channel", ["car"], quiet(), environ=environ)
    assert not (tmp_path / "channel" / STAMP).exists()


def test_a_package_that_does_not_exist_is_said_so(tmp_path: Path, offline: dict[str, str]) -> None:
    with pytest.raises(InputError, match="no wheels for nosuch.*nosuch"):
        make_channel(tmp_path / "channel", ["nosuch"], quiet(), environ=offline)
    with pytest.raises(InputError, match="nothing requires"):
        make_channel(tmp_path / "channel", ["fuel"], quiet(), environ=offline, earlier=["car"])
