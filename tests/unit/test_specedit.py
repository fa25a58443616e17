"""Edits of files that people own: a line more, and nothing else different."""

import difflib

import pytest

from conda_concept.errors import InputError
from conda_concept.specedit import add_requests, set_version

PLAIN = """\
# What we ask for.
name: demo
channels:
- conda-forge
dependencies:
- python 3.12.*  # until numba has 3.13
- "numpy >2"

# plots
- matplotlib
- pip:
  - lavavu==1.9.10  # not in conda
variables:
  A: "1"  # kept
"""
INDENTED = "name: demo\ndependencies:\n  - python  # why\n  - numpy\n"


def added(before: str, after: str) -> list[str]:
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line for line in lines if not line.startswith("  ")]


def test_a_request_is_one_more_line() -> None:
    assert added(PLAIN, add_requests(PLAIN, conda=["zarr >=3"])) == ["+ - zarr >=3"]
    assert added(PLAIN, add_requests(PLAIN, pip=["frisky<0.2"])) == ["+   - frisky<0.2"]
    assert added(INDENTED, add_requests(INDENTED, conda=["zarr"])) == ["+   - zarr"]


def test_what_is_there_is_not_added_again() -> None:
    assert add_requests(PLAIN, conda=["matplotlib"], pip=["lavavu==1.9.10"]) == PLAIN


def test_a_first_pip_requirement_makes_the_section() -> None:
    assert add_requests(INDENTED, pip=["tool"]).endswith("  - pip:\n      - tool\n")


def test_a_version_stays_text() -> None:
    config = 'version: "26.09"  # this one\nchannel_priority: disabled\n'
    assert set_version(config, "26.10") == 'version: "26.10"  # this one\nchannel_priority: disabled\n'


def test_files_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError):
        add_requests("name: demo\n", conda=["a"])
    with pytest.raises(InputError):
        set_version("platforms: []\n", "26.10")
