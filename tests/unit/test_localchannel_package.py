"""What is in a `.conda` archive that we write."""

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from conda_package_streaming.package_streaming import (  # type: ignore[import-untyped]  # it ships no types
    stream_conda_component,
)

from conda_concept.errors import InputError
from conda_concept.localchannel import PLACEHOLDER, File, PackageSpec, Symlink, write_package

SPEC = PackageSpec(
    name="tiny",
    version="1.0",
    subdir="linux-64",
    depends=["other >=2"],
    constrains=["third <3"],
    files={
        "share/tiny/data.txt": "plain",
        "bin/tiny": f"#!{PLACEHOLDER}/bin/sh\necho hello\n",
        "lib/libtiny.so.1": b"\x7fELF\0" + PLACEHOLDER.encode() + b"/lib\0",
        "lib/libtiny.so": Symlink("libtiny.so.1"),
        "lib/nowhere": Symlink("../../outside"),
    },
    license="MIT",
    home="https://example.org/tiny",
    summary="A small thing",
    run_exports={"weak": ["tiny >=1.0"]},
    test_imports=["tiny"],
    test_commands=["tiny --help"],
    link_scripts={"post-link": "#!/bin/sh\nexit 0\n"},
    timestamp=1_700_000_000_000,
)


def members(archive: Path) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    found = {}
    for component in ("info", "pkg"):
        for tar, member in stream_conda_component(str(archive), None, component):
            reader = tar.extractfile(member) if member.isfile() else None
            found[member.name] = (member, reader.read() if reader else b"")
    return found


def info(archive: Path, name: str) -> Any:
    return json.loads(members(archive)[f"info/{name}"][1])


def test_the_record_says_what_the_spec_says(tmp_path: Path) -> None:
    archive = write_package(tmp_path, SPEC)
    assert archive == tmp_path / "linux-64" / "tiny-1.0-0.conda"
    assert info(archive, "index.json") == {
        "arch": "x86_64",
        "build": "0",
        "build_number": 0,
        "constrains": ["third <3"],
        "depends": ["other >=2"],
        "license": "MIT",
        "name": "tiny",
        "platform": "linux",
        "subdir": "linux-64",
        "timestamp": 1_700_000_000_000,
        "version": "1.0",
    }
    about = {"home": "https://example.org/tiny", "license": "MIT", "summary": "A small thing"}
    assert info(archive, "about.json") == about
    assert info(archive, "run_exports.json") == {"weak": ["tiny >=1.0"]}
    tests = yaml.safe_load(members(archive)["info/tests/tests.yaml"][1])
    assert tests == [{"python": {"imports": ["tiny"]}}, {"script": ["tiny --help"]}]


def test_paths_json_has_every_path_with_its_hash_and_placeholder(tmp_path: Path) -> None:
    archive = write_package(tmp_path, SPEC)
    facts = {fact["_path"]: fact for fact in info(archive, "paths.json")["paths"]}
    content = members(archive)
    assert list(facts) == sorted(path for path in content if not path.startswith("info/"))
    for path in ("bin/tiny", "bin/.tiny-post-link.sh", "share/tiny/data.txt", "lib/libtiny.so.1"):
        data = content[path][1]
        assert facts[path]["sha256"] == hashlib.sha256(data).hexdigest()
        assert facts[path]["size_in_bytes"] == len(data)
        assert facts[path]["path_type"] == "hardlink"
    assert (facts["bin/tiny"]["prefix_placeholder"], facts["bin/tiny"]["file_mode"]) == (PLACEHOLDER, "text")
    assert facts["lib/libtiny.so.1"]["file_mode"] == "binary"
    assert "prefix_placeholder" not in facts["share/tiny/data.txt"]
    assert facts["lib/libtiny.so"]["path_type"] == "softlink"
    assert facts["lib/libtiny.so"]["sha256"] == facts["lib/libtiny.so.1"]["sha256"]
    assert facts["lib/nowhere"]["size_in_bytes"] == 0


def test_modes_owners_and_times_are_fixed(tmp_path: Path) -> None:
    content = {name: member for name, (member, _) in members(write_package(tmp_path, SPEC)).items()}
    assert {oct(content[name].mode) for name in ("bin/tiny", "bin/.tiny-post-link.sh")} == {"0o755"}
    assert content["share/tiny/data.txt"].mode == 0o644
    assert {(m.uid, m.gid, m.uname, m.mtime) for m in content.values()} == {(0, 0, "", 1_700_000_000)}


def test_the_same_spec_gives_the_same_bytes_in_whatever_order_it_is_written(tmp_path: Path) -> None:
    first = write_package(tmp_path / "a", SPEC).read_bytes()
    turned = {path: SPEC.files[path] for path in reversed(list(SPEC.files))}
    fields = {name: getattr(SPEC, name) for name in PackageSpec.__dataclass_fields__}
    assert write_package(tmp_path / "b", PackageSpec(**{**fields, "files": turned})).read_bytes() == first
    assert write_package(tmp_path / "a", SPEC).read_bytes() == first  # over itself
    other = PackageSpec(**{**fields, "files": {**SPEC.files, "share/tiny/data.txt": "other"}})
    assert write_package(tmp_path / "c", other).read_bytes() != first


def test_nothing_else_is_left_in_the_channel(tmp_path: Path) -> None:
    write_package(tmp_path, SPEC)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["linux-64", "noarch", "tiny-1.0-0.conda"]


def test_a_noarch_python_package_carries_its_entry_points(tmp_path: Path) -> None:
    spec = PackageSpec(
        name="pure",
        version="2",
        python=True,
        files={"site-packages/pure.py": "", "python-scripts/run": File(b"#!python\n")},
        entry_points=["pure = pure:main"],
    )
    archive = write_package(tmp_path, spec)
    assert archive.name == "pure-2-py_0.conda"
    assert info(archive, "index.json")["noarch"] == "python"
    assert info(archive, "link.json")["noarch"] == {"type": "python", "entry_points": ["pure = pure:main"]}
    assert info(write_package(tmp_path, PackageSpec("plain", "1")), "index.json")["noarch"] == "generic"


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    files = {"/etc/passwd": b"", "../up": b"", "a//b": b"", "info/index.json": b"", "lib/python3.11/x.py": b""}
    spec = PackageSpec(name="Bad Name", version="1-2", python=True, files=files)
    with pytest.raises(InputError) as caught:
        write_package(tmp_path, spec)
    assert len(caught.value.problems) == 7
    for part in ("Bad Name", "'1-2'", "/etc/passwd", "../up", "a//b", "info/index.json", "site-packages/"):
        assert part in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_entry_points_of_a_platform_package_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="noarch Python"):
        write_package(tmp_path, PackageSpec("x", "1", subdir="linux-64", entry_points=["x = x:main"]))
