"""`conda-concept test RELEASE`: one that was really built, through its launcher, and the verdict that it leaves."""

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
    good = {f"{FILES}/honest/__init__.py": "", f"{FILES}/honest/_inner.py": "", "bin/honest": "#!/bin/sh\nexit $1\n"}
    for spec in (
        PackageSpec("sadly", "1.0", subdir="linux-64", depends=("python",), files=bad),
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


def test_a_release_is_tested_by_what_its_packages_say_and_the_verdict_decides(tiny: Tiny) -> None:
    assert tiny.concept("lock", "tiny").code == 0
    built = tiny.concept("build", "tiny", "--json")
    assert built.code == 0, built.err
    record = built.data.get("record", built.data)
    release = "{environment}-{version}/{build_id}".format(**record["release"])

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
    known = tiny.concept("test", release)
    assert "has passed its tests before" in known.err
    assert f"JUnit: {tiny.store}" in known.out
    published = tiny.concept("publish", release)
    assert published.code == 0, published.err
