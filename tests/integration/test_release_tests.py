"""The tests of a release, run for real: bad packages that rattler installed, an ordinary user, real limits."""

import io
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from conda_concept.localchannel import File, PackageSpec
from conda_concept.progress import Bar, Reporter
from conda_concept.results import TestReport
from conda_concept.run import CLEAN_ENVIRONMENT, find_tool
from conda_concept.settings import Expectation, TestsConfig
from conda_concept.steps import test as step
from conda_concept.testing.declared import Declared
from conda_concept.testing.junit import read_junit
from conda_concept.testing.plan import Bounds
from conda_concept.testing.probe import Interpreter, ordinary_user
from tests.support.badpackages import bad_packages, make_prefix
from tests.support.installed import package_of

BAD = {one.name: one for one in bad_packages()}
#: Short for the one that sleeps for ever; long for the others, because this machine may be busy.
CONFIG = TestsConfig(timeout=60, timeouts={"import bad_sleeps": 2})
QUICK = step.Resources(2, Bounds(memory=300 * 2**20))
SITE = "site-packages"


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A folder that an ordinary user may look into (pytest's own are for their owner)."""
    folder = Path(tempfile.mkdtemp(prefix="release-tests-"))
    folder.chmod(0o755)
    (folder / "scratch").mkdir()
    (folder / "scratch").chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def bad_prefix(home: Path) -> Path:
    make_prefix(home / "bad", [one.spec for one in BAD.values()], home / "channel")
    return home / "bad"


def subject(prefix: Path, **more: object) -> step.Subject:
    environment = {**CLEAN_ENVIRONMENT, "TMPDIR": str(prefix.parent / "scratch")}
    interpreter = Interpreter((str(prefix / "bin" / "python3"),), str(prefix), environment, ordinary_user(None))
    # The interpreter is a copy of this machine's and uses its libraries.
    hosts = ("/lib", "/usr", os.path.realpath("/lib"))
    return step.Subject("bad-26.11/12345678", "0" * 64, interpreter, host_folders=hosts, **more)  # type: ignore[arg-type]  # fields of the caller


def run(prefix: Path, out: Path, *, config: TestsConfig = CONFIG, reporter: Reporter | None = None) -> TestReport:
    return step.test(subject(prefix), config, QUICK, None, out, reporter or quiet())


def without(*tests: str) -> TestsConfig:
    """Without these tests, and without the interpreter's own extension modules, which one run has looked at."""
    names = ("import _*", *tests)
    return TestsConfig(timeout=60, skip=tuple(Expectation(test=name, reason="not here") for name in names))


def quiet() -> Reporter:
    return Reporter(io.StringIO(), quiet=True)


def tree(prefix: Path) -> dict[str, tuple[int, float]]:
    found = {}
    for folder, _, names in os.walk(prefix):
        for name in names:
            status = os.lstat(os.path.join(folder, name))  # noqa: PTH118 - as fast as os.walk
            found[os.path.join(folder, name)] = (status.st_size, status.st_mtime)  # noqa: PTH118 - the same
    return found


def processes_of(prefix: Path) -> list[str]:
    """Command lines of living processes that have to do with `prefix`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if str(prefix) in line:
                found.append(line[:200])
    return found


def wait_until_gone(prefix: Path) -> list[str]:
    until = time.monotonic() + 10
    while (found := processes_of(prefix)) and time.monotonic() < until:
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def bad_run(bad_prefix: Path, home: Path) -> tuple[TestReport, Mapping[str, tuple[int, float]]]:
    before = tree(bad_prefix)
    return run(bad_prefix, home / "tests.xml"), before


@pytest.mark.parametrize("name", sorted(BAD))
def test_every_bad_package_is_found_out(name: str, bad_run: tuple[TestReport, object]) -> None:
    results = {result.title: result for result in bad_run[0].results}
    found = results[BAD[name].test]
    assert found.outcome == BAD[name].outcome, found
    assert found.failed == (found.standing == "new failure")


def test_none_of_them_disturbs_another(bad_run: tuple[TestReport, object]) -> None:
    report = bad_run[0]
    expected = {one.test for one in BAD.values() if one.outcome != "passed"} | {"libraries bad-library"}
    assert {result.title for result in report.results if result.failed} == expected
    assert report.complete
    assert not report.passed
    assert not report.problems
    # Everything was looked at, the interpreter's own extension modules too.
    kinds = {result.kind for result in report.results}
    assert kinds == {"import", "command", "files", "prefix", "libraries", "bytecode", "scripts", "depends", "requires"}
    assert "import _ssl" in {result.title for result in report.results}


def test_nothing_is_left_of_them(bad_run: tuple[TestReport, Mapping[str, object]], bad_prefix: Path) -> None:
    assert wait_until_gone(bad_prefix) == []
    assert tree(bad_prefix) == bad_run[1], "the prefix is what it was"
    assert not list((bad_prefix.parent / "scratch").iterdir()), "scratch folders are gone"


def test_they_ran_as_an_ordinary_user(bad_run: tuple[TestReport, object]) -> None:
    assert int(dict(bad_run[0].facts)["uid"]) != 0


def test_a_crash_says_where(bad_run: tuple[TestReport, object]) -> None:
    results = {result.title: result for result in bad_run[0].results}
    assert "bad_segfaults/__init__.py" in results["import bad_segfaults"].detail
    assert "bad_sleeps/__init__.py" in results["import bad_sleeps"].detail


def test_the_result_is_on_disk(bad_run: tuple[TestReport, object], home: Path) -> None:
    back = read_junit(home / "tests.xml")
    assert [(one.title, one.outcome, one.standing) for one in back.results] == [
        (one.title, one.outcome, one.standing) for one in bad_run[0].results
    ]


def test_against_the_published_release_only_what_is_new_blocks(
    bad_run: tuple[TestReport, object], bad_prefix: Path, home: Path
) -> None:
    del bad_run
    # Slow ones and those that keep a core busy are known; here they need not run again.
    slow = without(*(f"import bad_{one}" for one in ("sleeps", "eats", "forks")))
    expected = tuple(Expectation(test=test, reason="known") for test in ("import bad_raises", "import bad_f*"))
    config = slow.model_copy(update={"expect_fail": expected})
    report = step.test(subject(bad_prefix), config, QUICK, home / "tests.xml", home / "again.xml", quiet())
    assert report.passed
    assert report.baseline == "bad-26.11/12345678"
    counts = dict(report.counts)
    failing = sum(one.outcome != "passed" for one in BAD.values())
    assert counts["expected failure"] == 1
    assert len([one for one in report.of("skipped") if one.name.startswith("bad_")]) == 3
    assert counts["known failure"] == failing - 3 - 1 + len(["libraries bad-library"])
    assert report.stale == ()


def test_without_namespaces_the_answers_are_the_same(
    bad_run: tuple[TestReport, object], bad_prefix: Path, home: Path
) -> None:
    """As on hosts that forbid user namespaces: the audit hook stands in for them."""
    words = (
        "bwrap",
        "--dev-bind",
        "/",
        "/",
        "--unshare-user",
        "--disable-userns",
        "--",
        str(bad_prefix / "bin/python3"),
    )
    plain = subject(bad_prefix)
    what = replace(plain, interpreter=replace(plain.interpreter, argv=(str(find_tool("bwrap")), *words[1:])))
    report = step.test(what, CONFIG, QUICK, home / "tests.xml", home / "hook.xml", quiet())
    facts = dict(report.facts)
    assert (facts["network"], facts["store"]) == ("hook", "as it is")
    unseen = dict.fromkeys(("import bad_native_socket", "import bad_child_socket"), "passed")  # by a hook in Python
    assert {one.title: one.outcome for one in report.results} == {
        one.title: one.outcome for one in bad_run[0].results
    } | unseen


def test_an_interrupt_leaves_what_there_is(bad_prefix: Path, tmp_path: Path) -> None:
    class Interrupting(Bar):
        def update(self, *, done: int, total: int | None = None, text: str | None = None) -> None:
            del total, text
            if done >= 5:
                raise KeyboardInterrupt

    class Impatient(Reporter):
        def bar(self, text: str, total: int | None = None):  # type: ignore[no-untyped-def]  # noqa: ANN202 - a context manager for one test
            del text, total
            return InterruptingBar()

    class InterruptingBar:
        def __enter__(self) -> Bar:
            return Interrupting(None, None)

        def __exit__(self, *_: object) -> None:
            return None

    reporter = Impatient(io.StringIO(), quiet=True)
    config = TestsConfig(timeout=60, timeouts={"import bad_sleeps": 3000})  # so it is started first
    with pytest.raises(KeyboardInterrupt):
        run(bad_prefix, tmp_path / "tests.xml", config=config, reporter=reporter)
    left = read_junit(tmp_path / "tests.xml")
    assert not left.complete
    assert not left.passed
    done = [result for result in left.results if result.outcome != "not run"]
    assert len(done) >= 5
    assert "import bad_sleeps" in {one.title for one in left.results if one.message == "interrupted"}
    assert wait_until_gone(bad_prefix) == []
    assert not list((bad_prefix.parent / "scratch").iterdir())


KILLS_PROBE = """\
import os, signal
with open(f"/proc/{os.getppid()}/stat") as file:
    probe = int(file.read().rpartition(")")[2].split()[1])
os.kill(probe, signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def other_prefix(home: Path) -> Path:
    """An interpreter with pytest, a package that kills the probe, and a flaky one."""
    flag = home / "flag"
    flag.mkdir(mode=0o777)
    flag.chmod(0o777)
    flaky = (
        f"import pathlib\nflag = pathlib.Path({str(flag)!r}, 'x')\nif not flag.exists():\n    flag.touch()\n    1 / 0\n"
    )
    specs = [package_of(name) for name in ("pytest", "pluggy", "iniconfig", "packaging", "pygments")]
    specs += [
        PackageSpec("killer", "1.0", python=True, files={f"{SITE}/killer.py": File(KILLS_PROBE.encode())}),
        PackageSpec("flaky", "1.0", python=True, files={f"{SITE}/flaky.py": File(flaky.encode())}),
    ]
    make_prefix(home / "other", specs, home / "channel")
    return home / "other"


def test_a_package_that_kills_the_probe_does_not_pass_for_success(other_prefix: Path, tmp_path: Path) -> None:
    report = run(other_prefix, tmp_path / "tests.xml")
    assert not report.passed
    assert not report.complete
    assert "before it was done" in report.problems[0]
    assert any(result.outcome == "not run" for result in report.results)
    assert wait_until_gone(other_prefix) == []
    assert not list((other_prefix.parent / "scratch").iterdir()), "the last keeper turned off the light"


OWN = {
    "test_smoke.py": """\
import socket, sys
import pytest
from helper import ANSWER

def test_interpreter(): assert sys.prefix.endswith("other") and ANSWER == 42
def test_wrong(): assert ANSWER == 43, "not this"
@pytest.mark.skip(reason="no GPU here")
def test_gpu(): assert False
""",
    "helper.py": "ANSWER = 42\n",
}


def test_own_tests_declared_tests_and_a_flaky_import(other_prefix: Path, home: Path, tmp_path: Path) -> None:
    own = {
        "pytest": Declared(
            imports=("packaging.version",), commands=("pytest --version", 'test "$PREFIX" = "$CONDA_PREFIX"')
        ),
        "pluggy": Declared(commands=("false",)),
        "iniconfig": Declared(commands=("not-a-command-of-this-machine",)),
    }
    for path in (home / "flag").iterdir():
        path.unlink()
    flaky = f"import pathlib, sys\nflag = pathlib.Path({str(home / 'flag' / 'rank')!r})\n"
    flaky += "sys.exit(flag.touch() or 1 if not flag.exists() else 0)\n"
    tests = {**OWN, "mpi/flaky.py": flaky, "mpi/fine.py": ""}
    # One rank, started by what starts any command.
    what = subject(other_prefix, own_tests=tests, declared=own, mpi_run=("/usr/bin/env",))
    report = step.test(what, without("import killer"), QUICK, None, tmp_path / "tests.xml", quiet())
    results = {result.title: result for result in report.results}
    assert results["own test_smoke::test_interpreter"].outcome == "passed"
    assert results["own test_smoke::test_wrong"].outcome == "fails"
    assert "not this" in results["own test_smoke::test_wrong"].message
    assert results["own test_smoke::test_gpu"].outcome == "skipped"
    assert results["script pytest"].outcome == "passed"
    assert results["script pluggy"].outcome == "fails"
    assert results["script iniconfig"].outcome == "skipped"
    assert results["import packaging.version"].outcome == "passed"
    assert results["command pytest"].outcome == "passed"
    assert results["import flaky"].standing == "flaky"
    assert results["mpi flaky.py"].standing == "flaky"
    assert results["mpi fine.py"].standing == "passed"
    assert results["requires pytest"].outcome == "passed"
    assert {result.title for result in report.of("new failure")} == {"own test_smoke::test_wrong", "script pluggy"}


def test_own_tests_without_an_account_fail(other_prefix: Path, tmp_path: Path) -> None:
    what = subject(other_prefix, own_tests={"test_x.py": "import os\n\ndef test_x(): os._exit(0)\n"})
    report = step.test(what, without("import *", "command *"), QUICK, None, tmp_path / "tests.xml", quiet())
    assert {result.title for result in report.of("new failure")} == {"own tests"}


@dataclass(frozen=True, slots=True)
class Worn:
    """A run over a prefix that is damaged, and whose owner runs the tests; `before` is what was there."""

    report: TestReport
    prefix: Path
    before: dict[str, tuple[int, float]]


@pytest.fixture(scope="module")
def worn(home: Path) -> Worn:
    prefix, kept = home / "worn", home / "kept"
    kept.mkdir()
    touch = (
        f"import subprocess\nfor path in (__file__ + '.x', {str(kept / 'x')!r}):\n    subprocess.run(['touch', path])\n"
    )
    files = {
        f"{SITE}/fine/__init__.py": File(b"import json\n"),
        f"{SITE}/fine/more.py": File(b"a = 1\n"),
        "share/fine/data": File(b"data"),
        "bin/fine": File(b"#!/usr/bin/env python3\n", executable=True),
    }
    specs = [
        PackageSpec("fine", "1.0", python=True, depends=["absent >=2"], files=files),
        PackageSpec("toucher", "1.0", python=True, files={f"{SITE}/toucher.py": File(touch.encode())}),
        PackageSpec(
            "linker", "1.0", python=True, files={f"{SITE}/linker.py": File(b"import os\nos.symlink(__file__, 'x')\n")}
        ),
    ]
    make_prefix(prefix, specs, home / "channel")
    (prefix / "share/fine/data").unlink()
    (prefix / "bin/fine").unlink()  # a hard link into the package cache
    (prefix / "bin/fine").write_text("#!/not/here\n")
    next((prefix / "lib").glob(f"python3*/{SITE}/fine/__pycache__/more.*.pyc")).unlink()
    user = ordinary_user(None)
    for path in (kept, prefix, *prefix.rglob("*")):
        if user is not None and path.is_dir() and not path.is_symlink():
            os.chown(path, *user)
    before = tree(home / "worn") | tree(kept)
    what = subject(prefix, protected=(str(kept),))
    report = step.test(what, without(), QUICK, None, home / "worn.xml", quiet())
    return Worn(report, prefix, before)


def test_damage_to_the_prefix_is_found(worn: Worn) -> None:
    messages = {result.title: result.detail for result in worn.report.results if result.failed}
    assert set(messages) == {"files fine", "bytecode fine", "scripts fine", "depends fine"}
    assert messages["depends fine"] == "needs absent >=2, which is not installed"
    assert "share/fine/data" in messages["files fine"]
    assert "fine/more.py" in messages["bytecode fine"]
    assert "/not/here" in messages["scripts fine"]


def test_who_owns_the_store_cannot_change_it_from_a_test(worn: Worn, home: Path) -> None:
    """As the release account does, which is no root but owns what it tests; and no audit hook sees other programs."""
    assert dict(worn.report.facts)["store"] == "read-only"
    assert "import toucher" in {result.title for result in worn.report.of("passed")}
    assert tree(worn.prefix) | tree(home / "kept") == worn.before


def test_a_link_that_leads_into_the_prefix_is_no_write_there(worn: Worn) -> None:
    (found,) = (one for one in worn.report.results if one.title == "import linker")
    assert (found.outcome, found.note) == ("passed", "")


def test_an_interpreter_that_does_not_start_is_a_report_that_fails(tmp_path: Path) -> None:
    prefix = tmp_path / "empty"
    (prefix / "bin").mkdir(parents=True)
    report = run(prefix, tmp_path / "tests.xml")
    assert not report.passed
    assert "does not answer" in report.problems[0]
    assert (tmp_path / "tests.xml").is_file()


def test_an_older_result_is_not_taken_for_this_one(bad_prefix: Path, tmp_path: Path) -> None:
    (tmp_path / "tests.xml").write_text("from before")
    unstartable = step.Subject(
        "x", "0", Interpreter(("/not/there/python3",), str(bad_prefix), user=ordinary_user(None))
    )
    report = step.test(unstartable, CONFIG, QUICK, None, tmp_path / "tests.xml", quiet())
    assert not report.passed
    assert "from before" not in (tmp_path / "tests.xml").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be refused for being root")
def test_package_code_never_runs_as_root(bad_prefix: Path, tmp_path: Path) -> None:
    as_root = step.Subject("x", "0", Interpreter((str(bad_prefix / "bin/python3"),), str(bad_prefix)))
    report = step.test(as_root, CONFIG, QUICK, None, tmp_path / "tests.xml", quiet())
    assert "never as root" in report.problems[0]
