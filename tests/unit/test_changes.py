"""What a diff says of two locks, and why it says so."""

import datetime as dt
from dataclasses import replace

import pytest

from conda_concept.changes import diff, newer, risk, twice, why
from conda_concept.model import Change, Diff, Lock, Spec
from conda_concept.settings import ExcludeNewer
from tests.support.locks import lock, package, pip_package, spec


def changes(
    old: Lock | None, new: Lock, asked: Spec | None = None, now: dt.datetime | None = None
) -> dict[str, Change]:
    return {change.name: change for change in diff(old, new, asked, "linux-64", now=now).changes}


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (package("a", "1.9"), package("a", "1.10"), "upgrade"),
        (package("a", "1.10"), package("a", "1.9"), "downgrade"),
        (package("a", "1.0rc1"), package("a", "1.0"), "upgrade"),
        (package("a", "2!1.0"), package("a", "1!3.0"), "downgrade"),
        (package("a", "1.0", build="h1_0"), package("a", "1.0", build="h2_0"), "rebuild"),
        (package("a", "1.0"), package("a", "1.0.0"), "rebuild"),
        (package("a", channel="conda-forge"), package("a", channel="other"), "channel"),
    ],
)
def test_kinds(old: object, new: object, kind: str) -> None:
    assert changes(lock(old), lock(new))["a"].kind == kind  # type: ignore[arg-type] # parametrize has no types


def test_added_removed_and_unchanged() -> None:
    found = changes(lock(package("a"), package("b")), lock(package("b"), package("c")))
    assert {name: change.kind for name, change in found.items()} == {"a": "removed", "c": "added"}
    assert changes(lock(package("a")), lock(package("a"))) == {}
    assert changes(None, lock(package("a")))["a"].kind == "added"


def test_other_facts_alone_are_no_change() -> None:
    assert changes(lock(package("a")), lock(replace(package("a"), license="GPL", depends=("x",)))) == {}


def test_the_same_name_with_other_bytes_is_a_change_that_is_flagged() -> None:
    found = changes(lock(package("a")), lock(replace(package("a"), sha256="f" * 64)))
    assert found["a"].kind == "rebuild"
    assert [flag.kind for flag in found["a"].flags] == ["channel"]


def test_pip_and_conda_packages_of_one_name_are_two() -> None:
    found = diff(lock(package("a")), lock(package("a"), pip_package("a", "2.0")), None, "linux-64")
    assert [(change.manager, change.kind) for change in found.changes] == [("pip", "added")]
    assert found.notes == ("a 2.0 from pip replaces the files of a 1.0 from conda.",)


def test_the_shortest_chain_explains_a_package() -> None:
    new = lock(
        package("top", "1", "middle", "deep"),
        package("middle", "1", "low"),
        package("low"),
        package("deep", "1", "low"),
    )
    found = changes(None, new, spec("top"))
    assert found["low"].why == ("top", "deep", "low")
    assert found["top"].why == ("top",)
    assert found["top"].requested
    assert not found["low"].requested


def test_a_chain_ends_also_where_packages_need_each_other() -> None:
    new = lock(package("a", "1", "b"), package("b", "1", "a"))
    assert changes(None, new, spec("b"))["a"].why == ("b", "a")
    assert changes(None, new)["a"].why == ("a",)


def test_a_pip_package_hangs_below_what_needs_it_and_conda_meets_its_needs() -> None:
    new = lock(package("my_lib"), pip_package("tool", "1", "my-lib >=1", "helper"), pip_package("helper"))
    found = changes(None, new, spec("other", pip=("tool",)))
    assert found["helper"].why == ("tool", "helper")
    assert found["my_lib"].why == ("tool", "my_lib")


def test_demanded_is_what_the_spec_itself_makes_necessary() -> None:
    old = lock(
        package("a", "1.0"), package("b", "1.0"), package("gone"), package("lib", "1"), package("user", "1", "lib")
    )
    new = lock(
        package("a", "2.0"), package("b", "1.1"), package("new"), package("user", "1", "lib"), package("lib", "2")
    )
    found = changes(old, new, spec("a >=2", "b", "new", "user"))
    assert {name for name, change in found.items() if change.demanded} == {"a", "new", "gone"}


def test_flags_riskiest_first() -> None:
    asked = spec("a", key_packages=("a",))
    old, new = package("a", "2.0", license="MIT"), package("a", "1.0", license="GPL-3.0", channel="elsewhere")
    found = changes(lock(old, package("b")), lock(new, package("b")), asked)["a"]
    assert [flag.kind for flag in found.flags] == ["downgrade", "key", "channel", "license"]
    assert risk(found) < risk(changes(lock(package("c", "1.0")), lock(package("c", "1.1")))["c"])


@pytest.mark.parametrize(
    ("old", "new", "flagged"),
    [
        ("1.9", "2.0", True),
        ("1.8", "1.9", False),
        ("2025.1", "2026.1", False),
        ("0.9", "1.0", True),
        ("a1", "b2", False),
    ],
)
def test_a_major_version_is_flagged_and_a_new_year_is_not(old: str, new: str, flagged: bool) -> None:
    found = changes(lock(package("a", old)), lock(package("a", new)))["a"]
    assert ("major" in {flag.kind for flag in found.flags}) == flagged


def test_licences_that_differ_in_spelling_only_are_the_same() -> None:
    old, new = package("a", "1", license="Apache-2.0"), package("a", "1.1", license="apache 2.0")
    assert changes(lock(old), lock(new))["a"].flags == ()


def test_removed_while_others_that_used_it_stay() -> None:
    old = lock(package("lib"), package("user", "1", "lib"), package("gone", "1", "lib"))
    flags = changes(old, lock(package("user", "2")))["lib"].flags
    assert [flag.text for flag in flags] == ["removed, but user used it and stays"]
    assert changes(old, lock())["lib"].flags == ()


def test_the_first_package_of_a_channel_is_flagged() -> None:
    found = changes(lock(package("a")), lock(package("a"), package("b", channel="odd")))["b"]
    assert [flag.text for flag in found.flags] == ["first package from odd"]
    assert changes(None, lock(package("b", channel="odd")))["b"].flags == ()


def test_young_packages_are_flagged_where_there_is_a_delay() -> None:
    now = dt.datetime(2026, 6, 30, tzinfo=dt.UTC)
    young = package("a", "1.1", timestamp=int(dt.datetime(2026, 6, 27, tzinfo=dt.UTC).timestamp() * 1000))
    asked = spec("a", exclude_newer=ExcludeNewer(days=7))
    assert [f.kind for f in changes(lock(package("a")), lock(young), asked, now)["a"].flags] == ["young"]
    assert changes(lock(package("a")), lock(young), spec("a"), now)["a"].flags == ()
    assert changes(lock(package("a")), lock(young), asked)["a"].flags == ()


def test_totals() -> None:
    old = lock(package("a", size=10), package("b", size=20))
    new = lock(package("a", size=10), package("b", "2", size=30), package("c", size=None))
    found = diff(old, new, None, "linux-64")
    assert found == Diff("linux-64", found.changes, 2, 3, 30, 40, 30, 1, ())


def test_another_platform_is_another_diff() -> None:
    assert diff(None, lock(package("a")), None, "osx-64").changes == ()


def test_versions_are_compared_as_conda_does() -> None:
    assert newer("1.10", "1.9") is True
    assert newer("1.0", "1.0.0") is None
    assert newer("7.1.1_44", "7.1.1_47") is False


def test_twice_sees_through_spelling() -> None:
    assert len(twice([package("ruamel.yaml"), pip_package("ruamel-yaml")])) == 1
    assert twice([package("a"), pip_package("b")]) == []


def test_why_names_the_request_and_everybody_who_needs_it() -> None:
    asked = spec("top", "lib >=1")
    found = why(
        lock(package("top", "1", "lib >=1,<2"), package("lib"), package("x", "1", "lib")), asked, "lib", "linux-64"
    )
    assert found[0].request == asked.requests[1]
    assert found[0].needed_by == (("top", "lib >=1,<2"), ("x", "lib"))
    assert why(lock(), asked, "lib", "linux-64") == ()
