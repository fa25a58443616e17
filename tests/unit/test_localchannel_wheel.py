"""What a wheel becomes."""

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from conda_package_streaming.package_streaming import (  # type: ignore[import-untyped]  # it ships no types
    stream_conda_component,
)

from conda_concept.errors import IntegrityError
from conda_concept.localchannel import PLACEHOLDER, wheel_package
from tests.support.wheels import make_wheel

METADATA = (
    "Summary: Does a thing",
    "License-Expression: BSD-3-Clause",
    "Requires-Python: >=3.9",
    "Requires-Dist: numpy<3,>=1.26",
    'Requires-Dist: pytest; extra == "test"',
    "Project-URL: Documentation, https://example.org/docs",
    "Project-URL: Homepage, https://example.org",
)
ENTRY_POINTS = "[console_scripts]\nthing = thing_lib:main\n"
FILES = {
    "thing_lib/__init__.py": "def main():\n    print('thing')\n",
    "_private.py": "",
    "Thing_Lib-1.0.data/scripts/old-tool": "#!python\nprint('old')\n",
    "Thing_Lib-1.0.data/data/share/thing/readme.txt": "text",
    "Thing_Lib-1.0.data/headers/thing.h": "int thing;\n",
    "Thing_Lib-1.0.data/platlib/thing_lib/more.py": "",
}


def contents(archive: Path) -> dict[str, bytes]:
    found = {}
    for component in ("info", "pkg"):
        for tar, member in stream_conda_component(str(archive), None, component):
            reader = tar.extractfile(member)
            assert reader is not None
            found[member.name] = reader.read()
    return found


def wheel(folder: Path, tag: str = "py3-none-any") -> Path:
    return make_wheel(folder, "Thing_Lib", "1.0", files=FILES, metadata=METADATA, entry_points=ENTRY_POINTS, tag=tag)


def index(content: dict[str, bytes]) -> Any:
    return json.loads(content["info/index.json"])


def record(content: dict[str, bytes], site: str) -> dict[str, str]:
    rows = csv.reader(content[f"{site}/Thing_Lib-1.0.dist-info/RECORD"].decode().splitlines())
    return {path: proof for path, proof, _ in rows}


def test_a_pure_wheel_becomes_noarch(tmp_path: Path) -> None:
    archive = wheel_package(tmp_path, wheel(tmp_path / "wheels"), python="3.11.7")
    assert archive == tmp_path / "noarch" / "thing-lib-1.0-py_0.conda"
    content = contents(archive)
    assert index(content)["depends"] == ["python >=3.9", "numpy >=1.26,<3.0a0"]
    assert index(content)["timestamp"] == 1_714_979_290_000  # 2024-05-06 07:08:10 UTC, the members' time
    assert json.loads(content["info/link.json"])["noarch"]["entry_points"] == ["thing = thing_lib:main"]
    assert json.loads(content["info/about.json"]) == {
        "home": "https://example.org",
        "license": "BSD-3-Clause",
        "summary": "Does a thing",
    }
    assert b"thing_lib" in content["info/tests/tests.yaml"]
    assert b"_private" not in content["info/tests/tests.yaml"]
    assert content["python-scripts/old-tool"].startswith(f"#!{PLACEHOLDER}/bin/python\n".encode())
    assert content["share/thing/readme.txt"] == b"text"
    assert content["include/python3.11/thing-lib/thing.h"] == b"int thing;\n"
    assert "site-packages/thing_lib/more.py" in content


def test_the_record_is_about_where_files_really_go(tmp_path: Path) -> None:
    content = contents(wheel_package(tmp_path, wheel(tmp_path / "wheels"), python="3.11.7"))
    rows = record(content, "site-packages")
    assert {"../../../bin/thing", "../../../bin/old-tool", "../../../share/thing/readme.txt"} < set(rows)
    assert rows["../../../bin/thing"] == ""  # the prefix changes it when it is installed
    assert rows["thing_lib/__init__.py"].startswith("sha256=")
    assert content["site-packages/Thing_Lib-1.0.dist-info/INSTALLER"] == b"conda\n"
    assert "Thing_Lib-1.0.dist-info/INSTALLER" in rows


@pytest.mark.parametrize(
    ("tag", "glibc"),
    [
        ("cp311-cp311-manylinux_2_28_x86_64", "2.28"),
        ("cp39-abi3-manylinux2014_x86_64.manylinux_2_17_x86_64", "2.17"),
        ("cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64", "2.27"),
        ("py3-none-linux_x86_64", "2.17"),
    ],
)
def test_a_wheel_with_machine_code_is_for_one_platform_and_one_python(tmp_path: Path, tag: str, glibc: str) -> None:
    archive = wheel_package(tmp_path, wheel(tmp_path / "wheels", tag), python="3.11.7")
    assert archive == tmp_path / "linux-64" / "thing-lib-1.0-py311_0.conda"
    content = contents(archive)
    assert index(content)["depends"] == [
        f"__glibc >={glibc},<3.0.a0",
        "python >=3.11,<3.12.0a0",
        "python_abi 3.11.* *_cp311",
        "numpy >=1.26,<3.0a0",
    ]
    assert content["bin/thing"].startswith(f"#!{PLACEHOLDER}/bin/python3.11\n".encode())
    assert content["bin/old-tool"].startswith(f"#!{PLACEHOLDER}/bin/python\n".encode())
    assert "../../../bin/thing" in record(content, "lib/python3.11/site-packages")


def test_the_same_wheel_gives_the_same_package(tmp_path: Path) -> None:
    source = wheel(tmp_path / "wheels")
    first, second = (wheel_package(tmp_path / name, source, python="3.11.7").read_bytes() for name in "ab")
    assert first == second


def test_a_damaged_wheel_is_refused(tmp_path: Path) -> None:
    source = wheel(tmp_path / "wheels")
    with zipfile.ZipFile(source) as archive:
        members = {member.filename: archive.read(member) for member in archive.infolist()}
    members["thing_lib/__init__.py"] = b"import os\n"
    with zipfile.ZipFile(source, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(IntegrityError, match=r"Thing_Lib-1\.0.*__init__"):
        wheel_package(tmp_path, source)
    source.write_bytes(b"not a zip")
    with pytest.raises(IntegrityError, match="is not a wheel"):
        wheel_package(tmp_path, source)
