"""`conda-concept test RELEASE`: one that was really built, through its launcher, and the verdict that it leaves."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conda_concept.errors import GateError
from conda_concept.localchannel import PackageSpec, index, write_interpreter, write_package
from conda_concept.testing.junit import read_junit
from tests.support.forge import SITE
from tests.support.scheduled import unmount_all
from tests.support.tiny import Tiny
from tests.support.user import OrdinaryUser

FILES = "lib/python3.11/site-packages"
SPEC = "name: tiny\nchannels:\n  - conda-forge\ndependencies:\n  - python\n  - sadly\n  - honest\n"
CONFIG = 'version: "26.11"\ndescription: tiny\nvirtual_packages:\n  __glibc: "2.36"\n'
EXPECTED = """\
tests:
  expect_fail:
    - test: import sadly
      reason: it never did
    - test: import gone
      reason: it was there once
    - test: script honest
      reason: one of its commands says no
"""


@pytest.fixture
def tiny(open_dir: Path, capsys: pytest.CaptureFixture[str], ordinary_user: OrdinaryUser) -> Iterator[Tiny]:
    """Python, a package that cannot be imported, and one that says in its recipe how it is to be tested."""
    made = Tiny.make(open_dir, capsys)
    write_interpreter(made.channel)
    bad = {f"{FILES}/sadly/__init__.py": "raise RuntimeError('sadly not')\n"}
    slow = {f"{FILES}/slow/__init__.py": "import time\ntime.sleep(60)\n"}
    good = {f"{FILES}/honest/__init__.py": "", f"{FILES}/honest/_inner.py": "", "bin/honest": "#!/bin/sh\nexit $1\n"}
    for spec in (
        PackageSpec("sadly", "1.0", subdir="linux-64", depends=("python",), files=bad),
        PackageSpec("slow", "1.0", subdir="linux-64", depends=("python",), files=slow),
        PackageSpec(
            *("honest", "1.0"),
            subdir="linux-64",
            depends=("python",),
            files=good,
            test_imports=("honest._inner",),
            test_commands=("honest 0", 'test -x "$PREFIX/bin/honest"', "honest 3"),
        ),
    ):
        write_package(made.channel, spec)
    index(made.channel)
    made.write({"environment.yml": SPEC, "config.yml": CONFIG})
    (made.repository / "ci" / "sites" / "here.yml").write_text(SITE.format(root=made.root))
    (made.root / "node").mkdir()
    (made.root / "node").chmod(0o1777)
    yield made
    unmount_all(ordinary_user, open_dir)


def built(tiny: Tiny) -> str:
    """Lock and build what is asked for; the release."""
    assert tiny.concept("lock", "tiny").code == 0
    done = tiny.concept("build", "tiny", "--json")
    assert done.code == 0, done.err
    return "{environment}-{version}/{build_id}".format(**done.data["record"]["release"])


def test_a_release_is_tested_by_what_its_packages_say_and_the_verdict_decides(tiny: Tiny) -> None:
    release = built(tiny)
    done = tiny.concept("test", release, "--json")
    assert done.code == GateError.exit_code, done.err
    failed = {one["test"]: one for one in done.data["results"] if one["standing"] == "new failure"}
    assert set(failed) == {"import sadly", "script honest"}
    assert failed["import sadly"]["message"] == "RuntimeError: sadly not"
    report = read_junit(Path(done.data["junit"]))
    outcomes = {one.title: one.outcome for one in report.results}
    assert outcomes["import honest._inner"] == "passed", "private, but its recipe names it"
    assert report.release == release
    refused = tiny.concept("publish", release)
    assert refused.code == GateError.exit_code

    tiny.write({"config.yml": CONFIG + EXPECTED})
    done = tiny.concept("test", release, "--json")
    assert done.code == 0, done.err
    assert done.data["stale_expectations"] == [{"test": "import gone", "why": "matches no test"}]
    assert tiny.concept("test", release, "--json").data["stale_expectations"] == done.data["stale_expectations"]
    known = tiny.concept("test", release)
    assert "has passed its tests before" in known.err
    assert f"JUnit: {tiny.store}" in known.out
    published = tiny.concept("publish", release)
    assert published.code == 0, published.err

    # It is tested again where its results are damaged, and where it is asked something else.
    Path(done.data["junit"]).write_text("<testsuites")
    repaired = tiny.concept("test", release)
    assert repaired.code == 0, repaired.err
    assert "is tested again" in repaired.err
    assert "has passed its tests before" in tiny.concept("test", release).err
    (tiny.repository / "environments" / "tiny" / "tests").mkdir()
    tiny.write({"tests/test_more.py": "def test_no(): raise ValueError\n"})
    asked = tiny.concept("test", release)
    assert "has passed its tests before" not in asked.err
    assert tiny.concept("verify", release).code == 0
    tiny.write({"config.yml": CONFIG})
    assert tiny.concept("test", release).code == GateError.exit_code, "nothing is expected to fail any more"

    # What the published release failed in too is known, and stays so when that one is what users have.
    tiny.write({"config.yml": CONFIG + EXPECTED})
    assert tiny.concept("test", release).code == 0
    tiny.write({"config.yml": CONFIG.replace("tiny", "next")})
    second = built(tiny)
    assert second != release
    assert tiny.concept("test", second).code == 0
    assert tiny.concept("publish", second).code == 0
    again = tiny.concept("test", second, "--again", "--json")
    assert again.code == 0, again.err
    assert (again.data["baseline"], again.data["counts"]["known failure"]) == (release, 2)
    assert tiny.concept("publish", second).code == 0


def test_an_interrupt_leaves_what_there_was_says_where_and_gives_no_verdict(tiny: Tiny) -> None:
    tiny.write({"environment.yml": f"{SPEC}  - slow\n"})
    release = built(tiny)
    words = [sys.executable, "-m", "conda_concept", "test", release, "--site", "here"]
    with subprocess.Popen(
        [*words, "--repository", str(tiny.repository)], env=tiny.environ, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.strip().startswith("run "):
                break
        time.sleep(3)
        process.send_signal(signal.SIGTERM)
        said += process.stderr
    assert process.returncode == 130
    text = "".join(said)
    assert "✗ run " in text
    assert "✓ run " not in text
    (left,) = tiny.root.glob("scratch/conda-concept-tests-*/tests.xml")
    assert f"there is no verdict, and what there was by then is in {left}" in text
    report = read_junit(left)
    assert not report.complete
    assert {one.title: one.message for one in report.results}["import slow"] == "interrupted"
    assert not list(tiny.store.glob("apps/*/releases/*/*/tests.*"))
