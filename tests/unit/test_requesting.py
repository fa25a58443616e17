"""Requests for packages: which words are taken, what they become, and the form that asks for them."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from rattler import MatchSpec

from conda_concept.conversation import PullFacts
from conda_concept.document import SourceText
from conda_concept.errors import InputError
from conda_concept.forms import read_form
from conda_concept.requesting import ANY_CHANNEL, FORM, LABEL, PYPI, Asked, as_conda, asked, edited, package_of

TOP = Path(__file__).resolve().parents[2]
CONFIG = SourceText("config.yml", 'version: "26.11"\nallowed_channels: [conda-forge, other]\n')
ENVIRONMENT = SourceText(
    "environment.yml",
    "name: tiny\nchannels:\n- conda-forge\n- other\ndependencies:\n- python # why\n- pip:\n  - x==1\n",
)


def test_the_form_is_in_step_with_the_environments() -> None:
    """A new environment, or a new channel of one, has to be offered; to be done in package.yml."""
    form = {one.id: one for one in read_form(SourceText(FORM, (TOP / FORM).read_text("utf-8"))).fields}
    folders = sorted(path.parent.name for path in TOP.glob("environments/*/environment.yml"))
    assert sorted(form["environment"].options) == folders
    channels: set[str] = set()
    for name in folders:
        channels |= set(
            yaml.safe_load((TOP / "environments" / name / "environment.yml").read_text("utf-8"))["channels"]
        )
    offered = form["source"].options
    assert (offered[0], offered[-1]) == (ANY_CHANNEL, PYPI)
    assert set(offered[1:-1]) == channels
    assert list(form) == ["package", "environment", "source", "version", "why"]
    assert form["why"].kind == "textarea"
    labels = read_form(SourceText(FORM, (TOP / FORM).read_text("utf-8"))).labels
    assert labels == (LABEL,)
    assert f"'{LABEL}'" in (TOP / ".github/workflows/package-request.yml").read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "source", "version", "line"),
    [
        ("xarray", ANY_CHANNEL, "", "xarray"),
        ("XArray", ANY_CHANNEL, "latest", "xarray"),
        ("xarray", "conda-forge", "2.1", "conda-forge::xarray 2.1.*"),
        ("xarray", ANY_CHANNEL, "=2.1", "xarray 2.1.*"),
        ("xarray", ANY_CHANNEL, "==2.1", "xarray ==2.1"),
        ("xarray", ANY_CHANNEL, ">= 2.1 , < 3", "xarray >=2.1,<3"),
        ("_libgcc_mutex", ANY_CHANNEL, "0.1.*", "_libgcc_mutex 0.1.*"),
        ("My_Lib.x", PYPI, "2", "my-lib-x==2.*"),
        ("my-lib", PYPI, "~=2.1", "my-lib~=2.1"),
    ],
)
def test_what_is_typed_becomes_one_line(name: str, source: str, version: str, line: str) -> None:
    wanted = asked("tiny", name, source, version)
    assert wanted.text == line
    asks = edited(wanted, ENVIRONMENT, CONFIG)
    assert line in [request.text for request in asks.spec.requests]
    assert len(asks.edit.text.split("\n")) == len(ENVIRONMENT.text.split("\n")) + 1


@pytest.mark.parametrize(
    ("name", "source", "version"),
    [
        ("", ANY_CHANNEL, ""),
        ("a b", ANY_CHANNEL, ""),
        ("a=1", ANY_CHANNEL, ""),
        ("a[b=c]", ANY_CHANNEL, ""),
        ("-r x", PYPI, ""),
        ("a-", PYPI, ""),
        ("a; python_version<'3'", PYPI, ""),
        ("a\n", ANY_CHANNEL, ""),
        ("a" * 200, ANY_CHANNEL, ""),
        ("a", ANY_CHANNEL, "1 build"),
        ("a", ANY_CHANNEL, "1|2"),
        ("a", PYPI, "1 @ https://x"),
        ("a", PYPI, ">=1; os_name=='x'"),
        ("a", ANY_CHANNEL, "1,,2"),
        ("a", ANY_CHANNEL, "1 # x"),
        ("a", ANY_CHANNEL, "0."),
        ("a", PYPI, "0."),
        ("a", PYPI, "0A"),
    ],
)
def test_what_is_no_name_and_no_version_is_refused(name: str, source: str, version: str) -> None:
    with pytest.raises(InputError):
        asked("tiny", name, source, version)


@given(st.text(max_size=40), st.sampled_from([ANY_CHANNEL, "other", PYPI]), st.text(max_size=20))
def test_whatever_is_taken_is_one_plain_line(name: str, source: str, version: str) -> None:
    try:
        line = asked("tiny", name, source, version).text
    except InputError:
        return
    assert line.isascii()
    assert line.isprintable()
    assert not set(line) & set("\"'`#[]{}@$;|&\\/")
    (Requirement if source == PYPI else MatchSpec)(line)


def test_conda_is_asked_in_its_own_words() -> None:
    assert as_conda(Asked("tiny", "a-b", "pip", "==2.*,!=2.1"), "a_b").text == "a_b 2.*,!=2.1"
    MatchSpec("a_b 2.*,!=2.1")


def test_a_request_that_is_there_changes_in_its_line_and_keeps_what_stands_behind_it() -> None:
    text = edited(Asked("tiny", "python", version=">=3.12"), ENVIRONMENT, CONFIG).edit.text
    assert "\n- python >=3.12  # why\n" in text
    with pytest.raises(InputError, match="asked for twice"):
        edited(Asked("tiny", "b"), SourceText("environment.yml", ENVIRONMENT.text + "- b\n- b >1\n"), CONFIG)


def test_the_command_is_the_same_request() -> None:
    assert Asked("tiny", "a").command == "conda-concept request a --env tiny"
    wanted = Asked("tiny", "a", "conda", ">=1,<2", "other")
    assert wanted.command == "conda-concept request 'other::a' --env tiny --version '>=1,<2'"


def test_a_package_is_believed_of_our_own_pull_requests_only() -> None:
    body = "<!-- conda-concept:for:kim -->\r\n<!-- conda-concept:request:tiny:a-b -->\r\nAsked for"
    pull = PullFacts(1, "bot", "a" * 40, "request/1", "o/r", "main", body=body)
    assert package_of(pull, "bot", "tiny") == "a-b"
    assert package_of(pull, "bot", "other") == ""
    assert package_of(pull, "somebody-else", "tiny") == ""
