"""Edits of files that people own: a line more, and nothing else different."""

import difflib
from pathlib import Path

import pytest

from conda_concept.errors import InputError
from conda_concept.model import Manager
from conda_concept.specedit import add_requests, ask_for, set_version

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


# --- one request, in the right place --------------------------------------------------------------------------------

REAL = (Path(__file__).resolve().parents[2] / "environments" / "analysis3" / "environment.yml").read_text("utf-8")


def place(before: str, after: str) -> list[str]:
    """The lines around the only line that is new."""
    (line,) = [one.removeprefix("+ ") for one in added(before, after)]
    lines = after.split("\n")
    return lines[lines.index(line) - 1 : lines.index(line) + 2]


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("cesium", "- celluloid", "- cf-python"),
        ("xyz", "- xwrf", "- esmvaltool 2.14.*"),
        ("aaa", "- accessnri::shumlib", "- aiohttp"),
        ("r-foreach", "- r-dotcall64", "- r-functional"),
    ],
)
def test_in_a_sorted_list_it_goes_where_it_belongs(name: str, before: str, after: str) -> None:
    found = place(REAL, ask_for(REAL, "conda", name, ">=1").text)
    assert found == [before, f"- {name} >=1", after]


def test_elsewhere_it_goes_to_the_end_of_its_list() -> None:
    assert place(PLAIN, ask_for(PLAIN, "conda", "zarr", ">=3").text) == ["- matplotlib", "- zarr >=3", "- pip:"]
    assert place(INDENTED, ask_for(INDENTED, "conda", "abc").text) == ["  - numpy", "  - abc", ""]
    assert place(PLAIN, ask_for(PLAIN, "pip", "frisky", "<0.2").text)[0] == "  - lavavu==1.9.10  # not in conda"
    assert ask_for(INDENTED, "pip", "tool").text == f"{INDENTED}  - pip:\n    - tool\n"


def test_a_gap_or_a_heading_ends_a_sorted_list() -> None:
    text = "dependencies:\n- a\n- b\n- c\n- d\n\n# of ours\n- e\n- f\n- zz\n"
    assert ask_for(text, "conda", "ca").text == text + "- ca\n"


def test_what_is_asked_for_already_changes_in_its_line() -> None:
    changed = ask_for(PLAIN, "conda", "python", "3.13.*")
    assert "- python 3.13.*  # until numba has 3.13\n" in changed.text
    assert (changed.before, changed.entry) == ("python 3.12.*", "python 3.13.*")
    assert "- numpy 2.*\n" in ask_for(PLAIN, "conda", "numpy", "2.*").text
    assert "  - lavavu==1.9.11  # not in conda\n" in ask_for(PLAIN, "pip", "lavavu", "==1.9.11").text
    assert len(changed.text.split("\n")) == len(PLAIN.split("\n"))


KEPT = """\
dependencies:
- hdf5 * mpi_openmpi*
- numpy=1.26=*mkl*
- other::torch >=2.1
- libx[version='>=1',build=cuda*]
- pip:
  - My_Package==1
  - dask[complete, array]>=2
  - thing>=1; python_version<"4"
  - own @ git+https://example.org/own@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
"""


@pytest.mark.parametrize(
    ("manager", "name", "entry"),
    [
        ("conda", "hdf5", "hdf5 >=9 mpi_openmpi*"),
        ("conda", "numpy", "numpy >=9 *mkl*"),
        ("conda", "torch", "other::torch >=9"),
        ("pip", "my-package", "My_Package>=9"),
        ("pip", "dask", "dask[complete, array]>=9"),
        ("pip", "thing", 'thing>=9; python_version<"4"'),
    ],
)
def test_only_the_version_of_an_entry_changes(manager: Manager, name: str, entry: str) -> None:
    edit = ask_for(KEPT, manager, name, ">=9")
    assert edit.entry == entry
    assert [one.strip() for one in edit.text.split("\n") if one not in KEPT.split("\n")] == [f"- {entry}"]
    assert ask_for(edit.text, manager, name, ">=9").text == edit.text


@pytest.mark.parametrize(
    ("manager", "name", "channel", "line"),
    [("conda", "libx", "", 5), ("conda", "torch", "conda-forge", 4), ("pip", "own", "", 10)],
)
def test_where_more_than_the_version_would_change_a_person_has_to(
    manager: Manager, name: str, channel: str, line: int
) -> None:
    with pytest.raises(InputError, match=f"a person has to change line {line}"):
        ask_for(KEPT, manager, name, ">=9", channel)


@pytest.mark.parametrize(("manager", "name"), [("conda", "python"), ("conda", "zarr"), ("pip", "lavavu"), ("pip", "x")])
def test_line_ends_stay_what_they_are(manager: Manager, name: str) -> None:
    for text in (PLAIN, INDENTED):
        windows = ask_for(text.replace("\n", "\r\n"), manager, name, ">=9").text
        assert windows == ask_for(text, manager, name, ">=9").text.replace("\n", "\r\n")


@pytest.mark.parametrize("text", ["name: x\n", "dependencies: [a, b]\n", "dependencies:\n- pip: [a]\n"])
def test_lists_of_another_shape_are_left_to_people(text: str) -> None:
    with pytest.raises(InputError):
        ask_for(text, "pip", "tool")
