"""From Python packaging's words to conda's, compared with what both sides' own libraries say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from rattler import MatchSpec, PackageRecord, VersionWithSource
from rattler.package.build_string import BuildString

from conda_concept.localchannel.translate import license_of, marker_environment, match_specs, version_spec


@pytest.mark.parametrize(
    ("pep440", "conda"),
    [
        ("", ""),
        (">=1.26", ">=1.26"),
        ("==1.4", "==1.4"),
        ("==1.4.*", "1.4.*"),
        ("===1.4.2", "==1.4.2"),
        ("!=1.4.*", "!=1.4.*"),
        ("~=1.4", ">=1.4,1.*"),
        ("~=1.4.2", ">=1.4.2,1.4.*"),
        ("~=1!1.4", ">=1!1.4,1!1.*"),
        ("<2", "<2.0a0"),
        ("<2.0rc1", "<2.0rc1"),
        ("<3,!=2.1,>=1.0", ">=1.0,<3.0a0,!=2.1"),
    ],
)
def test_version_spec(pep440: str, conda: str) -> None:
    assert version_spec(SpecifierSet(pep440)) == conda


def admits(spec: str, version: str) -> bool:
    record = PackageRecord(
        name="x",
        version=VersionWithSource(version),
        build=BuildString("0"),
        build_number=0,
        subdir="noarch",
        arch=None,
        platform=None,
    )
    return MatchSpec(f"x {spec}".rstrip()).matches(record)


numbers = st.lists(st.integers(0, 12).map(str), min_size=2, max_size=3).map(".".join)
operators = st.sampled_from(["==", "!=", "~=", ">=", ">", "<=", "<"])
clauses = st.builds(lambda operator, number: operator + number, operators, numbers)
series = st.builds(lambda operator, number: f"{operator}{number}.*", st.sampled_from(["==", "!="]), numbers)


@given(st.lists(clauses | series, max_size=3).map(",".join), numbers)
def test_the_solver_admits_the_releases_that_pip_admits(pep440: str, version: str) -> None:
    specifiers = SpecifierSet(pep440)
    assert admits(version_spec(specifiers), version) == specifiers.contains(version)


@given(numbers, st.sampled_from(["a1", "b2", "rc1", ".dev3"]))
def test_no_prerelease_of_the_upper_bound_slips_in(bound: str, suffix: str) -> None:
    assert not admits(version_spec(SpecifierSet(f"<{bound}")), bound + suffix)


def test_requirements_of_other_systems_other_pythons_and_extras_are_dropped() -> None:
    lines = [
        'colorama; sys_platform == "win32"',
        'tomli>=1; python_version < "3.11"',
        'pytest; extra == "test"',
        'importlib_metadata>=8; python_version < "3.12"',
        "Typing.Extensions>=4",
        "typing_extensions<5",
        "dask[array]==2026.8.0",
    ]
    assert match_specs(lines, "3.11.7") == (
        "dask ==2026.8.0",
        "importlib-metadata >=8",
        "typing-extensions >=4,<5.0a0",
    )


def test_markers_see_the_version_asked_for() -> None:
    assert marker_environment("3.12.1")["python_version"] == "3.12"
    assert match_specs(['x; python_full_version >= "3.11.4"'], "3.11.2") == ()


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"license_expression": "BSD-3-Clause", "license": "BSD"}, "BSD-3-Clause"),
        ({"classifiers": ["License :: OSI Approved :: MIT License"]}, "MIT"),
        ({"classifiers": ["License :: OSI Approved :: BSD License"], "license": "BSD-3-Clause"}, "BSD-3-Clause"),
        ({"license": "The whole\ntext"}, ""),
        ({"license": "x" * 200}, ""),
        ({}, ""),
    ],
)
def test_licence(metadata: dict[str, object], expected: str) -> None:
    assert license_of(metadata) == expected
