"""MPI tests of an environment, with a real Open MPI, as the ordinary user."""

import os
import pwd
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from conda_concept.results import TestResult
from conda_concept.settings import Expectation, TestsConfig
from conda_concept.testing.probe import Interpreter
from conda_concept.testing.ranks import OPEN, run_ranks
from tests.support.user import OrdinaryUser

START = ("mpirun", "--oversubscribe", "-n", "3")
#: Each rank leaves its name; the last word is whether all three were there.
MEET = """\
import os, pathlib, sys, time
here = pathlib.Path(__file__).parent
(here / f"rank-{os.environ['OMPI_COMM_WORLD_RANK']}-of-{os.environ['OMPI_COMM_WORLD_SIZE']}").touch()
deadline = time.monotonic() + 30
while len(list(here.glob("rank-*-of-3"))) < 3 and time.monotonic() < deadline:
    time.sleep(0.01)
sys.exit(len(list(here.glob("rank-*-of-3"))) != 3 or os.geteuid() == 0)
"""


@pytest.fixture
def interpreter(ordinary_user: OrdinaryUser) -> Interpreter:
    entry = pwd.getpwnam(ordinary_user.name)
    return Interpreter(("/usr/bin/python3",), sys.prefix, user=(entry.pw_uid, entry.pw_gid))


def by_name(results: list[TestResult]) -> dict[str, TestResult]:
    return {result.name: result for result in results}


def test_ranks_start_together_fail_together_and_are_ended(interpreter: Interpreter) -> None:
    files = {
        "test_other.py": "raise SystemExit('not an MPI test')",
        "mpi/meet.py": MEET,
        "mpi/fail.py": "import os\nprint('I am', os.environ['OMPI_COMM_WORLD_RANK'])\nraise SystemExit(3)\n",
        "mpi/hang.py": "import time\ntime.sleep(600)\n",
        "mpi/known.py": "raise SystemExit(1)\n",
        "mpi/data.txt": "no program\n",
    }
    skip = Expectation(test="mpi known.py", reason="needs more nodes")
    config = TestsConfig(skip=(skip,), timeouts={"mpi hang.py": 3})
    found = by_name(run_ranks(files, START, interpreter, config))
    assert sorted(found) == ["fail.py", "hang.py", "known.py", "meet.py"]
    assert found["meet.py"].outcome == "passed", found["meet.py"]
    assert (found["fail.py"].outcome, found["fail.py"].message) == ("fails", "ended with status 3")
    assert "I am" in found["fail.py"].detail
    assert (found["hang.py"].outcome, found["hang.py"].message) == ("hang", "no end after 3 s")
    assert (found["known.py"].outcome, found["known.py"].message) == ("skipped", "needs more nodes")
    assert not list(Path("/tmp").glob("conda-concept-mpi-*"))


def test_where_the_site_has_no_mpi_they_are_skipped_and_say_why(interpreter: Interpreter) -> None:
    (result,) = run_ranks({"mpi/meet.py": MEET}, (), interpreter, TestsConfig())
    assert result.outcome == "skipped"
    assert "mpi_run" in result.message


def test_a_starter_that_is_not_there_is_not_a_pass(interpreter: Interpreter) -> None:
    (result,) = run_ranks({"mpi/meet.py": MEET}, ("/nowhere/mpirun",), interpreter, TestsConfig())
    assert result.failed


def test_ranks_cannot_change_what_is_protected_though_their_user_owns_it(interpreter: Interpreter) -> None:
    folder = Path(tempfile.mkdtemp(prefix="conda-concept-cache-", dir="/tmp"))
    try:
        if interpreter.user is not None and os.geteuid() == 0:
            os.chown(folder, *interpreter.user)
        touch = f"import pathlib\npathlib.Path({str(folder / 'poison')!r}).touch()\n"
        own = "import pathlib\npathlib.Path(__file__).with_name('mine').touch()\n"
        files = {"mpi/touch.py": touch, "mpi/own.py": own}
        found = by_name(run_ranks(files, START, interpreter, TestsConfig(), (str(folder), "/not/there")))
        assert found["own.py"].outcome == "passed", found["own.py"]
        assert found["touch.py"].outcome == "fails"
        assert "Read-only file system" in found["touch.py"].detail
        assert found["touch.py"].note == ""
        assert not list(folder.iterdir())
    finally:
        shutil.rmtree(folder)


def test_ranks_run_as_they_are_where_a_container_needs_more_and_say_so(interpreter: Interpreter) -> None:
    """A launcher that does not start where folders are read-only: a set-uid container does not."""
    words = ("/bin/sh", "-c", 'test -w /var/tmp && exec /usr/bin/python3 "$@"', "x")
    picky = replace(interpreter, argv=words)
    (result,) = run_ranks({"mpi/fine.py": "pass\n"}, START, picky, TestsConfig(), ("/var/tmp",))
    assert (result.outcome, result.note) == ("passed", OPEN)
