"""Planning, what packages declare, consistency: values in, values out."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from conda_concept.errors import InputError
from conda_concept.model import Lock, Package
from conda_concept.results import TestResult
from conda_concept.settings import Expectation, TestsConfig
from conda_concept.testing import consistency, declared
from conda_concept.testing.declared import Declared
from conda_concept.testing.plan import Planner, Survey, without_skipped


def package(name: str, version: str = "1.0", **more: object) -> dict[str, Any]:
    plain = {"build": "0", "build_number": 0, "subdir": "noarch", "depends": [], "constrains": []}
    return {
        "name": name,
        "version": version,
        "meta": f"{name}.json",
        "files": 1,
        "modules": {},
        "dists": [],
        **plain,
        **more,
    }


def survey(*packages: dict[str, Any], **more: object) -> Survey:
    python = {"executable": "/p/bin/python3", "markers": {"python_version": "3.11", "sys_platform": "linux"}}
    return Survey({"packages": list(packages), "clashes": {}, "stdlib": [], "python": python, **more})


def planner(found: Survey, config: TestsConfig | None = None) -> Planner:
    return Planner(found, "/p", config or TestsConfig())


# --- plan ----------------------------------------------------------------------------------------------------------


def test_every_module_is_an_import_with_the_file_that_it_must_load() -> None:
    found = survey(package("pyyaml", modules={"yaml": "lib/yaml/__init__.py"}))
    (one,) = planner(found).imports({})
    assert (one.test.title, one.test.package, one.expected_file) == ("import yaml", "pyyaml", "lib/yaml/__init__.py")
    words = one.task["argv"]
    assert isinstance(words, list)
    assert words[:3] == ["/p/bin/python3", "-I", "-B"]
    assert words[-4:] == ["CHILD", "FACTS", "/p", "yaml"]


def test_declared_imports_are_added_once_and_only_for_what_is_there() -> None:
    found = survey(package("scipy", modules={"scipy": "lib/scipy/__init__.py"}))
    own = {"scipy": Declared(imports=("scipy", "scipy.linalg")), "gone": Declared(imports=("gone",))}
    assert [one.test.name for one in planner(found).imports(own)] == ["scipy", "scipy.linalg"]


def test_entry_points_name_their_target() -> None:
    dist = {"name": "x", "version": "1", "requires": [], "commands": {"tool": "a.b : Main.run"}}
    (one,) = planner(survey(package("x", dists=[dist]))).commands()
    words = one.task["argv"]
    assert isinstance(words, list)
    assert words[-2:] == ["a.b", "Main.run"]
    assert one.test.title == "command tool"


def test_two_packages_targets_of_one_name_are_both_tested() -> None:
    plain = {"version": "1", "requires": [], "commands": {"tool": "a:f"}}
    dists = [{"name": name, **plain} for name in ("x", "same")]
    other = {"name": "y", "version": "1", "requires": [], "commands": {"tool": "b:g"}}
    found = planner(survey(package("x", dists=dists), package("y", dists=[other]))).commands()
    assert {one.test.title: list(one.task["argv"])[-2:] for one in found} == {  # type: ignore[call-overload]  # words
        "command tool": ["a", "f"],
        "command tool (y)": ["b", "g"],
    }


def test_scripts_know_what_may_not_be_missing() -> None:
    found = survey(package("a", commands=["a", "b"]), package("c", commands=["c"]), package("d"))
    found.raw["python"]["shell"] = "/usr/bin/bash"
    own = {name: Declared(commands=(name,)) for name in ("a", "d")}
    first, second = Planner(found, "/p", TestsConfig(), passed=frozenset(["script d"])).scripts(own)[0]
    assert first.task["argv"] == ["/usr/bin/bash", "-e", "-c", "a"]
    assert first.present == frozenset("abc")
    assert (first.ran_before, second.ran_before) == (False, True)


def test_scripts_run_where_what_they_need_is_there() -> None:
    own = {
        "a": Declared(commands=("a --help", "test -f x")),
        "b": Declared(commands=("b",), needs=("pytest >=7",)),
        "c": Declared(commands=("c",), needs=("a",)),
    }
    planned, skipped = planner(survey(package("a"), package("b"), package("c"))).scripts(own)
    assert [one.test.title for one in planned] == ["script a", "script c"]
    assert planned[0].task["argv"] == ["/bin/sh", "-e", "-c", "a --help\ntest -f x"]
    assert [(one.title, one.message) for one in skipped] == [("script b", "needs pytest, not in the environment")]


def test_checks_are_dealt_out_by_size() -> None:
    found = survey(*(package(name, files=size) for name, size in (("a", 9), ("b", 5), ("c", 3), ("d", 1))))
    groups = [one.task["static"] for one in planner(found).static(2)]
    assert groups == [["a.json"], ["b.json", "c.json", "d.json"]]


def test_limits_come_from_config() -> None:
    config = TestsConfig(timeout=7, timeouts={"import big": 70})
    found = survey(package("x", modules={"big": "b", "small": "s"}))
    assert {one.test.name: one.task["seconds"] for one in planner(found, config).imports({})} == {"big": 70, "small": 7}


def test_skipped_tests_are_not_run_and_say_why() -> None:
    config = TestsConfig(skip=(Expectation(test="import b*", reason="needs a GPU"),))
    kept, skipped = without_skipped(planner(survey(package("x", modules={"a": "a", "b": "b"}))).imports({}), config)
    assert [one.test.name for one in kept] == ["a"]
    assert skipped == [TestResult("import", "b", "skipped", package="x", message="needs a GPU", reason="needs a GPU")]


def test_own_tests_go_along_as_text() -> None:
    (one,) = planner(survey()).own({"test_x.py": "def test_x(): pass\n"})
    assert one.task["files"] == {"tests/test_x.py": "def test_x(): pass\n"}
    assert planner(survey()).own({}) == []


# --- what packages say about themselves ----------------------------------------------------------------------------


def info(folder: Path, path: str, value: object) -> None:
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(value if isinstance(value, str) else yaml.safe_dump(value))


def test_a_recipe_of_conda_build(tmp_path: Path) -> None:
    test = {"imports": ["a", "a.b"], "commands": ["a --help"], "requires": ["pip"]}
    info(tmp_path, "recipe/meta.yaml", {"test": test})
    assert declared.read_info(tmp_path) == Declared(("a", "a.b"), ("a --help",), ("pip",))


def test_commands_that_need_files_of_the_recipe_are_left_out(tmp_path: Path) -> None:
    info(tmp_path, "recipe/meta.yaml", {"test": {"imports": ["a"], "commands": ["pytest t"], "files": ["t"]}})
    assert declared.read_info(tmp_path) == Declared(imports=("a",))


def test_tests_of_rattler_build(tmp_path: Path) -> None:
    tests = [
        {"python": {"imports": ["a"], "pip_check": True}},
        {"script": ["a --version"], "requirements": {"run": ["curl"]}},
        {"script": {"content": ["b"], "interpreter": "bash"}},
        {"script": {"content": ["c"], "interpreter": "perl"}},
        {"package_contents": {"files": ["x"]}},
    ]
    info(tmp_path, "tests/tests.yaml", tests)
    assert declared.read_info(tmp_path) == Declared(("a",), ("a --version", "b"), ("curl",))


def test_the_script_that_conda_build_wrote_is_the_last_resort(tmp_path: Path) -> None:
    info(tmp_path, "test/run_test.py", "print(\"import: 'a'\")\nimport a\n\nimport a.b\nfrom c import d\n")
    assert declared.read_info(tmp_path).imports == ("a", "a.b")


@pytest.mark.parametrize("text", ["", "- x", "test: 5", "{", "test: {imports: x, commands: [1, {a: b}]}"])
def test_what_makes_no_sense_says_nothing(tmp_path: Path, text: str) -> None:
    info(tmp_path, "recipe/meta.yaml", text)
    assert not declared.read_info(tmp_path)


def test_declared_tests_are_kept_beside_the_image(tmp_path: Path) -> None:
    info(tmp_path / "a" / "info", "recipe/meta.yaml", {"test": {"imports": ["a"]}})
    (tmp_path / "b").mkdir()
    found = declared.collect({"a": tmp_path / "a", "b": tmp_path / "b"})
    assert declared.from_json(declared.to_json(found)) == {"a": Declared(imports=("a",))}
    with pytest.raises(InputError):
        declared.from_json("[1]")


# --- consistency ---------------------------------------------------------------------------------------------------


def failing(results: list[TestResult]) -> dict[str, str]:
    return {result.title: result.detail for result in results if result.failed}


@pytest.mark.parametrize(
    ("depends", "words"),
    [
        (["numpy >=2"], ""),
        (["__glibc >=2.17", "numpy"], ""),
        (["conda-forge::numpy 2.*"], ""),
        (["numpy[version='>=2']"], ""),
        (["numpy >=3"], "needs numpy >=3, has 2.1"),
        (["numpy 2.1 py39*"], "needs numpy 2.1 py39*, has 2.1"),
        (["scipy"], "needs scipy, which is not installed"),
    ],
)
def test_dependencies(depends: list[str], words: str) -> None:
    found = survey(package("numpy", "2.1", build="py311_0"), package("x", depends=depends))
    assert failing(consistency.dependencies(found)) == ({"depends x": words} if words else {})


def test_constraints_hold_only_for_what_is_there() -> None:
    found = survey(package("numpy", "2.1"), package("x", constrains=["numpy <2", "scipy >9"]))
    assert failing(consistency.dependencies(found)) == {"depends x": "does not go with other than numpy <2, has 2.1"}


@pytest.mark.parametrize(
    ("requires", "words"),
    [
        (["NumPy>=2"], ""),
        (["numpy>=2; python_version < '3'", "colorama; sys_platform == 'win32'", "pytest; extra == 'test'"], ""),
        (["numpy<2"], "needs numpy<2, has 2.1"),
        (["scipy"], "needs scipy, which is not installed"),
        (["???"], "???"),
    ],
)
def test_what_pip_check_asks(requires: list[str], words: str) -> None:
    dists = [{"name": "numpy", "version": "2.1", "requires": []}, {"name": "x", "version": "1", "requires": requires}]
    found = failing(consistency.distributions(survey(package("x", dists=dists))))
    assert set(found) == ({"requires x"} if words else set())
    assert words in found.get("requires x", "")


def test_clashes_are_reported_once_for_each_pair() -> None:
    found = survey(clashes={"lib/a": ["x", "y"], "lib/b": ["x", "y"]})
    (one,) = consistency.clashes(found)
    assert (one.title, one.message) == ("clash x y", "lib/a is owned by x and y (and 1 more)")


def test_the_lock_is_what_is_installed() -> None:
    def locked(name: str, version: str, build: str) -> Package:
        url = f"https://example.org/c/noarch/{name}-{version}-{build}.conda"
        return Package(name, version, "conda", "linux-64", url, None, None, build=build)

    lock = Lock((locked("a", "1.0", "0"), locked("b", "2.0", "1"), locked("gone", "1", "0")), (), ("linux-64",), ())
    found = survey(package("a"), package("b", "2.0"), package("more"))
    (one,) = consistency.against_lock(found, lock, "linux-64")
    assert one.detail.splitlines() == [
        "gone is locked, but not installed",
        "more is installed, but not locked",
        "b is 2.0 0, the lock says 2.0 1",
    ]


def test_the_lock_and_what_pip_brought() -> None:
    def wheel(name: str, version: str) -> Package:
        return Package(name, version, "pip", "linux-64", f"https://x.example/{name}.whl", None, None)

    wheels = (wheel("under-score", "1.0"), wheel("gone", "1"), wheel("other", "2.0"))
    installed = [
        package(f"pip:{name}", version, build="") for name, version in (("Under_Score", "1.0"), ("other", "3"))
    ]
    found = survey(*installed, package("pip:more", build=""))
    (one,) = consistency.against_lock(found, Lock(wheels, (), ("linux-64",), ()), "linux-64")
    assert one.detail.splitlines() == [
        "pip:gone is locked, but not installed",
        "pip:more is installed, but not locked",
        "pip:other is 3, the lock says 2.0",
    ]
