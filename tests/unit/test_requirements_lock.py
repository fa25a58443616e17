"""`ci/requirements.lock` is what pyproject.toml asks for, checked by hash, from no particular index."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "ci/requirements.lock").read_text(encoding="utf-8")
PINS = {canonicalize_name(name): version for name, version in re.findall(r"(?m)^([A-Za-z0-9._-]+)==([^ ;]+)", LOCK)}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ASKED = [
    *PROJECT["build-system"]["requires"],
    *PROJECT["project"]["dependencies"],
    *PROJECT["project"]["optional-dependencies"]["dev"],
]


@pytest.mark.parametrize("line", ASKED)
def test_lock_satisfies_pyproject(line: str) -> None:
    asked = Requirement(line)
    pinned = PINS.get(canonicalize_name(asked.name))
    assert pinned is not None, f"{asked.name} is not in ci/requirements.lock; its first lines say how to refresh it"
    assert asked.specifier.contains(pinned), f"{asked.name} is locked at {pinned}, pyproject.toml asks {line}"


def test_every_pin_has_hashes() -> None:
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", LOCK)[1:]
    assert len(entries) == len(PINS)
    assert [entry.split("=", 1)[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_lock_names_no_index() -> None:
    assert "://" not in LOCK
    assert "--index-url" not in LOCK.replace("--no-emit-index-url", "")
