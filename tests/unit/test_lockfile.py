"""Locks as text: nothing is lost, nothing harmful gets in, and a digest means content."""

import string
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conda_concept.errors import InputError
from conda_concept.lockfile import MAX_BYTES, build_of, digest, dumps, loads, split_spec
from conda_concept.model import Lock, Package
from tests.support.locks import lock, package, pip_package

names = st.text(string.ascii_lowercase + string.digits + "_-", min_size=1, max_size=12).filter(
    lambda s: s[0] not in "-_"
)
versions = st.text(string.digits + ".", min_size=1, max_size=8).filter(lambda s: s.strip("."))
rests = st.sampled_from(["", ">=1.0", ">=1,<2.0a0", "3.12.* *_cp312", "1.0 h0_0", "!=3.0.*", "*"])
specs = st.builds(lambda name, rest: f"{name} {rest}".strip(), names, rests)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)


@st.composite
def packages(draw: Any) -> Package:
    return package(
        draw(names),
        draw(versions),
        *draw(st.lists(specs, max_size=4)),
        build=draw(st.text(string.ascii_lowercase + string.digits + "_", min_size=1, max_size=8)),
        constrains=tuple(draw(st.lists(specs, max_size=2))),
        size=draw(st.none() | st.integers(0, 10**12)),
        timestamp=draw(st.none() | st.integers(0, 2 * 10**12)),
        license=draw(st.none() | texts),
        noarch=draw(st.sampled_from([None, "python", "generic"])),
        build_number=draw(st.none() | st.integers(0, 2000)),
    )


@given(st.lists(packages(), max_size=5, unique_by=lambda p: (p.name, p.version, p.build)))
@settings(max_examples=30, deadline=None)
def test_a_lock_is_the_same_after_writing_and_reading(found: list[Package]) -> None:
    made = lock(*found, pip_package("wheel"))
    assert loads(dumps(made)) == made


def test_specs_of_one_name_are_kept_apart_although_the_format_joins_them() -> None:
    made = lock(package("a", "1.0", "python <3.13", "python >=3.10"))
    text = dumps(made)
    assert "python: <3.13,>=3.10" in text
    assert loads(text).packages[0].depends == ("python <3.13", "python >=3.10")


def test_everything_that_another_tool_wrote_about_its_lock_is_kept() -> None:
    text = dumps(lock(package("a")))
    text = text.replace(
        "  sources:\n",
        "  time_metadata:\n    created_at: '2026-01-01T00:00:00Z'\n  git_metadata:\n    git_sha: abc\n  sources:\n",
    ).replace("  custom_metadata:\n", "  custom_metadata:\n    theirs: kept\n")
    again = dumps(loads(text))
    assert all(word in again for word in ("2026-01-01T00:00:00Z", "git_sha: abc", "theirs: kept"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("version: 1\n", "version: 2\n"), "version 2"),
        (("    md5:", "    md6:"), "package 'a', hash.md6"),
        (("  version: '1.0'", "  version: 1.0"), "package 'a', version"),
        (("- name: a", "- name: &x a"), "anchors"),
        (('"size":1000', '"size":-1'), "custom_metadata of a-1.0-0.conda"),
        (('"size":1000', '"evil":1000'), "custom_metadata of a-1.0-0.conda"),
        (("package:\n", "packages:\n"), "no list `package`"),
        (("metadata:", "metadata: ["), "not readable as YAML"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(change: tuple[str, str], says: str) -> None:
    text = dumps(lock(package("a")))
    assert change[0] in text
    with pytest.raises(InputError, match=says.replace("`", "`")) as caught:
        loads(text.replace(*change), "some.yml")
    assert "some.yml" in str(caught.value)


def test_all_problems_come_in_one_go() -> None:
    text = dumps(lock(package("a"), package("b"))).replace("  optional: false", "  optional: maybe")
    with pytest.raises(InputError) as caught:
        loads(text)
    assert len(caught.value.problems) == 2


def test_a_bomb_is_refused_unexpanded() -> None:
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))
    with pytest.raises(InputError, match="anchors and aliases"):
        loads(f"a0: &a0 [x]\n{levels}\npackage: []")


def test_a_huge_file_and_deep_nesting_are_refused() -> None:
    with pytest.raises(InputError, match="characters"):
        loads("#" * (MAX_BYTES + 1))
    with pytest.raises(InputError):
        loads("package: " + "[" * 100_000)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_text_is_read_or_refused_and_never_a_surprise(data: st.DataObject) -> None:
    text = dumps(lock(package("a", "1.0", "b >=1"), pip_package("wheel")))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 60)))
    middle = data.draw(
        st.sampled_from(["", "[", "{", ": ", "- ", "1", "null", "'", "\n", "&x ", "!!python/none ", "\0"])
    )
    said = "conda-lock.yml"
    try:
        dumps(loads(text[:start] + middle + text[end:]))
    except InputError as error:
        said = str(error)
    assert "conda-lock.yml" in said


def test_hidden_dependencies_do_not_pass() -> None:
    text = dumps(lock(package("a", "1.0", "b <2", "b >=1"))).replace('"b >=1"', '"evil >=1"')
    with pytest.raises(InputError, match="says something else"):
        loads(text)


def test_the_digest_is_about_content_alone() -> None:
    a, b = package("a"), package("b", size=5)
    first = digest(lock(a, b), "linux-64")
    assert digest(lock(b, a), "linux-64") == first
    assert digest(lock(a, replace(b, size=None, license="other", timestamp=7)), "linux-64") == first
    mirrored = replace(a, url=a.url.replace("https://conda.anaconda.org", "https://mirror.example"))
    assert digest(lock(mirrored, b), "linux-64") == first
    assert digest(lock(a, replace(b, sha256="f" * 64)), "linux-64") != first
    assert digest(lock(a), "linux-64") != first
    assert digest(Lock((a, b), (), ("linux-64",), (("linux-64", "other"),)), "linux-64") == first


def test_the_build_is_read_from_the_file_name_only_where_it_fits() -> None:
    assert build_of("a-b", "1.0", "a-b-1.0-h0_0.conda") == "h0_0"
    assert build_of("a", "1.0", "a-1.0-h0_0.tar.bz2") == "h0_0"
    assert build_of("a", "1.0", "b-1.0-h0_0.conda") is None
    assert build_of("a", "1.0", "a-1.0-h0_0.whl") is None


def test_names_and_constraints_part_also_without_a_blank() -> None:
    assert split_spec("cuda-version>=12,<13") == ("cuda-version", ">=12,<13")
    assert split_spec("python 3.12.* *_cpython") == ("python", "3.12.* *_cpython")
    assert split_spec(" a ") == ("a", "")
