"""Which locks may be built: origins, sense, and whether everything in them holds."""

from dataclasses import replace
from typing import Any

import pytest

from conda_concept.lockcheck import check_lock, meets, obstacles, unmet
from conda_concept.model import CHANNEL_ALIAS, Package, Place, Request
from tests.support.locks import lock, package, pip_package, spec

MACHINE = {"__glibc": "2.28", "__archspec": "1=x86_64"}


def problems(*packages: Package, **config: Any) -> list[str]:
    return check_lock(lock(*packages), spec(**config), "linux-64", MACHINE)


def test_a_good_lock_has_no_problem() -> None:
    good = lock(
        package("python", "3.12.1", "libc >=2"),
        package("libc", "2.5", "__glibc >=2.17,<3.0.a0", "__archspec 1 x86_64"),
        package("pure", "1.0", "python >=3.9", noarch="python"),
        package("picky", "1", constrains=("absent >=9", "python >=3.10", "__cuda >=12")),
    )
    assert check_lock(good, spec("python 3.12.*", "pure"), "linux-64", MACHINE) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"url": "https://evil.example/conda-forge/linux-64/a-1.0-0.conda"}, "is not allowed here"),
        ({"url": f"{CHANNEL_ALIAS}/evil/linux-64/a-1.0-0.conda"}, "channel 'evil' is not allowed here"),
        ({"url": f"{CHANNEL_ALIAS}/conda-forge/label/broken/linux-64/a-1.0-0.conda"}, "label/broken' is not allowed"),
        ({"url": f"{CHANNEL_ALIAS}/conda-forge/linux-64/../../evil/a-1.0-0.conda"}, "parts that a channel"),
        ({"url": f"{CHANNEL_ALIAS}/conda-forge/linux-64/a-1.0-0.conda?x=1"}, "parts that a channel"),
        ({"url": "https://user:secret@conda.anaconda.org/conda-forge/linux-64/a-1.0-0.conda"}, "parts that a channel"),
        ({"url": "https://conda.anaconda.org@evil.example/conda-forge/linux-64/a-1.0-0.conda"}, "parts that a channel"),
        ({"url": "https://conda.anaconda.org.evil.example/conda-forge/linux-64/a-1.0-0.conda"}, "is not allowed here"),
        ({"url": f"{CHANNEL_ALIAS}/conda-forge/osx-64/a-1.0-0.conda"}, "is for osx-64"),
        ({"url": f"{CHANNEL_ALIAS}/conda-forge/linux-64/b-1.0-0.conda"}, "not called after name and version"),
        ({"url": f"{CHANNEL_ALIAS}/conda-forge/linux-64/a-1.0-0.exe"}, "not called"),
        ({"sha256": None}, "no sha256"),
        ({"sha256": "x" * 64}, "no sha256"),
        ({"md5": None}, "no md5"),
        ({"name": "../a"}, "not a package's name"),
        ({"name": "A"}, "not a package's name"),
        ({"version": "1.0; rm"}, "not a package's name and version"),
    ],
)
def test_a_bad_origin_is_refused(changes: dict[str, str | None], says: str) -> None:
    found = problems(replace(package("a"), **changes))  # type: ignore[arg-type] # each change has its field's type
    assert any(says in problem for problem in found), found


def test_a_full_address_is_allowed_only_if_the_config_says_so() -> None:
    own = replace(package("a"), url="https://channel.example/ours/linux-64/a-1.0-0.conda")
    assert problems(own)
    assert problems(own, allowed_channels=("https://channel.example/ours",)) == []


def test_broken_packages_only_by_name() -> None:
    broken = package("a", channel="conda-forge/label/broken")
    assert problems(broken)
    assert problems(broken, allow_broken=("a",)) == []
    assert problems(broken, allow_broken=("b",))


def test_a_bare_channel_name_is_not_some_other_host() -> None:
    odd = replace(package("a"), url="conda-forge/linux-64/a-1.0-0.conda")
    assert problems(odd)


def test_pip_packages_need_a_known_host_and_a_hash() -> None:
    wheel = pip_package("tool")
    assert any("`pip_hosts`" in problem for problem in problems(wheel))
    assert problems(wheel, pip_hosts=("wheels.example",)) == []
    assert any("no sha256" in p for p in problems(replace(wheel, sha256=None), pip_hosts=("wheels.example",)))
    asked = spec(pip=(f"tool @ {wheel.url}",))
    assert check_lock(lock(wheel), asked, "linux-64", MACHINE) == []
    other = replace(wheel, url="https://wheels.example/other-1.0-py3-none-any.whl")
    assert check_lock(lock(other), asked, "linux-64", MACHINE)


def test_a_git_address_has_to_be_the_one_that_is_asked_for() -> None:
    url = f"git+https://code.example/tool@{'a' * 40}"
    tool = replace(pip_package("tool"), url=url, source=url)
    assert check_lock(lock(tool), spec(pip=(f"tool @ {url}",)), "linux-64", MACHINE) == []
    assert check_lock(lock(tool), spec(pip=("tool",)), "linux-64", MACHINE)


def test_a_package_twice_is_one_too_many() -> None:
    assert any("locked twice" in problem for problem in problems(package("a"), package("a", "2.0")))


def test_another_platform_than_the_config_is_refused() -> None:
    assert "osx-64" in check_lock(lock(), spec(), "osx-64", {})[0]


@pytest.mark.parametrize(
    ("packages", "says"),
    [
        ((package("a", "1", "b >=2"), package("b", "1.9")), "a 1 needs `b >=2`; locked is 1.9 0"),
        ((package("a", "1", "b"),), "a 1 needs `b`; b is not locked"),
        ((package("a", "1", "b 1.* *_cp312"), package("b", "1.0", build="0_cp311")), "locked is 1.0 0_cp311"),
        ((package("a", "1", constrains=("b <2",)), package("b", "2.0")), "a 1 allows only `b <2`; locked is 2.0 0"),
        ((package("a", "1", "__glibc >=2.34"),), "the machine has __glibc 2.28"),
        ((package("a", "1", "__cuda"),), "__cuda is not locked"),
        ((package("a", "1", constrains=("__glibc >=2.34",)),), "the machine has __glibc 2.28"),
    ],
)
def test_what_does_not_hold_is_named(packages: tuple[Package, ...], says: str) -> None:
    found = unmet(packages, None, MACHINE)
    assert len(found) == 1
    assert says in found[0]


def test_requests_have_to_be_met() -> None:
    found = unmet([package("a", "1.0")], spec("a >=2", "b"), MACHINE)
    assert found == [
        "environment.yml:10: `a >=2` is asked for, locked is 1.0 0",
        "environment.yml:11: `b` is asked for, but not locked",
    ]


def test_a_request_names_its_channel() -> None:
    request = spec("other::a").requests[0]
    assert not meets(request, package("a"))
    assert meets(request, package("a", channel="other"))


def test_a_pip_request_is_met_by_version_or_by_address() -> None:
    asked = Request("tool>=2", "tool", "pip", Place("environment.yml"))
    assert meets(asked, pip_package("tool", "2.1"))
    assert not meets(asked, pip_package("tool", "1.9"))


def test_obstacles_are_only_what_the_candidate_would_break() -> None:
    packages = [package("numpy", "2.1"), package("user", "1", "numpy >=2"), package("lame", "1", "absent")]
    found = obstacles(package("numpy", "1.26", "python <3.12"), packages, spec("user"), MACHINE)
    assert found == ["user 1 needs `numpy >=2`", "numpy 1.26 needs `python <3.12`; python is not locked"]
