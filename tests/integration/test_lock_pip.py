"""The `pip:` section: wheels on disk, extras, addresses, Git at a commit, and what conda has already."""

import json
import subprocess
from io import StringIO
from pathlib import Path
from zipfile import ZipFile

import pytest

from conda_concept.document import SourceText
from conda_concept.errors import InputError, UnsolvableError
from conda_concept.lockfile import dumps, loads
from conda_concept.locking import Solved, Wish, solve
from conda_concept.model import Package
from conda_concept.progress import Reporter
from conda_concept.solver import Settings
from conda_concept.spec import read_spec

#: A build system that needs no other one, and so no network.
BACKEND = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
METADATA = """
import os

def prepare_metadata_for_build_wheel(folder, settings=None):
    os.makedirs(f"{folder}/tool-3.0.dist-info")
    with open(f"{folder}/tool-3.0.dist-info/METADATA", "w") as out:
        out.write("Metadata-Version: 2.1\\nName: tool\\nVersion: 3.0\\nRequires-Dist: numpy\\n")
    return "tool-3.0.dist-info"

def build_wheel(folder, settings=None, metadata=None):
    raise NotImplementedError("only metadata is asked for")
"""

QUIET = Reporter(StringIO(), quiet=True)
CONFIG = 'version: "23.04"\nallowed_channels: [small]\n'


@pytest.fixture
def alias(tmp_path: Path) -> str:
    """A channel with an interpreter and a library, in name only: nothing is installed here."""
    for subdir, names in (("linux-64", ("python-3.11.9", "numpy-2.1.0")), ("noarch", ("my_lib-1.5",))):
        records = {}
        for full in names:
            name, _, version = full.rpartition("-")
            records[f"{full}-0.conda"] = {
                "name": name,
                "version": version,
                "build": "0",
                "build_number": 0,
                "subdir": subdir,
                "depends": [] if name == "python" else ["python >=3.11,<3.12.0a0"],
                "md5": "a" * 32,
                "sha256": "b" * 64,
                "size": 1,
            }
        folder = tmp_path / "channels" / "small" / subdir
        folder.mkdir(parents=True)
        (folder / "repodata.json").write_text(json.dumps({"packages": {}, "packages.conda": records}))
    return (tmp_path / "channels").as_uri()


def wheel(folder: Path, name: str, version: str, *lines: str) -> str:
    """A wheel as small as one can be; its address."""
    file = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with ZipFile(file, "w") as archive:
        archive.writestr(f"{name}/__init__.py", "")
        archive.writestr(
            f"{info}/METADATA", "\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *lines])
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return file.as_uri()


def locked(alias: str, *requirements: str, start: Solved | None = None) -> Solved:
    lines = "".join(f"  - {line}\n" for line in requirements)
    text = f"name: demo\nchannels: [small]\ndependencies:\n- python\n- numpy\n- my_lib\n- pip:\n{lines}"
    spec = read_spec("demo", SourceText("environment.yml", text), SourceText("config.yml", CONFIG))
    return solve(spec, start.lock if start else None, Wish(), Settings(channel_alias=alias, time_limit=60), QUIET)


def pip_packages(solved: Solved) -> dict[str, Package]:
    return {package.name: package for package in solved.lock.packages if package.manager == "pip"}


def test_wheels_with_extras_on_top_of_conda(alias: str, tmp_path: Path) -> None:
    part = wheel(tmp_path, "part", "2.0", "Requires-Dist: my-lib >=1")
    tool = wheel(
        tmp_path,
        "tool",
        "1.0",
        "Requires-Dist: numpy >=2",
        "Provides-Extra: more",
        'Requires-Dist: part; extra == "more"',
    )
    solved = locked(alias, f"tool[more] @ {tool}", f"part @ {part}")
    found = pip_packages(solved)
    assert {name: package.version for name, package in found.items()} == {"tool": "1.0", "part": "2.0"}
    assert found["tool"].url == tool
    assert found["tool"].sha256
    assert found["tool"].size
    assert any(text.startswith("part") for text in found["tool"].depends)
    assert loads(dumps(solved.lock)) == solved.lock
    assert locked(alias, f"tool[more] @ {tool}", f"part @ {part}", start=solved).unchanged


def test_what_conda_has_is_not_taken_twice(alias: str) -> None:
    solved = locked(alias, "my-lib>=1")
    assert pip_packages(solved) == {}
    assert any("is not taken from pip: conda's my_lib 1.5 is it" in note for note in solved.notes)
    with pytest.raises(InputError, match=r"would replace conda's my_lib 1\.5"):
        locked(alias, "my-lib>=2")


def test_git_at_a_commit(alias: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "tool").mkdir(parents=True)
    (source / "tool" / "__init__.py").write_text("")
    (source / "pyproject.toml").write_text(BACKEND)
    (source / "backend.py").write_text(METADATA)
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    for words in (["init", "--quiet"], ["add", "."], [*identity, "commit", "--quiet", "-m", "Start"]):
        subprocess.run(["/usr/bin/git", "-C", source, *words], check=True)
    head = ["/usr/bin/git", "-C", str(source), "rev-parse", "HEAD"]
    commit = subprocess.run(head, check=True, capture_output=True, text=True)
    address = f"git+{source.as_uri()}@{commit.stdout.strip()}"
    found = pip_packages(locked(alias, f"tool @ {address}"))
    assert found["tool"].url == address
    assert found["tool"].version == "3.0"


def test_requirements_without_a_solution_are_said_to_be_so(alias: str, tmp_path: Path) -> None:
    tool = wheel(tmp_path, "tool", "1.0", "Requires-Dist: part >=5")
    part = wheel(tmp_path, "part", "2.0")
    with pytest.raises(UnsolvableError, match="`pip:` have no solution.*part"):
        locked(alias, f"tool @ {tool}", f"part @ {part}")
