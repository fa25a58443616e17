"""The console script: how it ends, whatever happens to it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conda_concept import __version__
from tests.support.tiny import Tiny

SCRIPT = Path(sys.executable).with_name("conda-concept")


def concept(*words: str, patch: str = "") -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, with a line of Python before it."""
    code = f"import sys; sys.argv[0] = 'conda-concept'\nfrom conda_concept import cli\n{patch}\ncli.main()"
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)


def test_the_installed_script_knows_its_version() -> None:
    done = subprocess.run([SCRIPT, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"conda-concept {__version__}\n"


def test_every_subcommand_explains_itself() -> None:
    listed = concept("--help").stdout
    for name in (
        "plan",
        "check",
        "lock",
        "diff",
        "build",
        "test",
        "publish",
        "rollback",
        "list",
        "verify",
        "try",
        "diagnose",
    ):
        assert f"\n    {name} " in listed
        done = concept(name, "--help")
        assert done.returncode == 0
        for flag in ("--site", "--json", "--channel-alias"):
            assert flag in done.stdout


def test_commands_of_two_words_take_the_same_flags() -> None:
    listed = concept("site", "--help").stdout
    for name in ("init", "check"):
        assert f"\n    {name} " in listed
        assert "--json" in concept("site", name, "--help").stdout
    nothing = concept("site")
    assert nothing.returncode == 2
    assert "COMMAND" in nothing.stderr
    failed = concept("site", "check", "--site", "nowhere")
    assert failed.returncode == 11
    assert failed.stderr.startswith("conda-concept site check: there is no site file")


def test_a_wrong_flag_is_bad_input() -> None:
    done = concept("plan", "--nonsense")
    assert done.returncode == 2
    assert "--base" in done.stderr


def test_a_surprise_keeps_its_traceback_and_is_a_defect_of_ours() -> None:
    done = concept("check", patch="cli.Context.from_arguments = lambda *a: 1 / 0")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError" in done.stderr


def test_an_interrupt_has_its_own_status_and_says_how_to_go_on() -> None:
    patch = "def interrupted(*a): raise KeyboardInterrupt\ncli.Context.repository = property(interrupted)"
    done = concept("check", patch=patch)
    assert done.returncode == 130
    assert done.stderr == "conda-concept check: interrupted; run the same command again.\n"


def test_a_reader_that_goes_away_is_no_surprise() -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {SCRIPT} --help | true"], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_build_that_is_told_to_stop_leaves_nothing(
    open_dir: Path, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    tiny = Tiny.make(open_dir, capsys)
    tiny.concept("lock", "tiny")
    reached = open_dir / "reached"
    code = (
        "import pathlib, time\nfrom conda_concept import cli, image\n"
        f"image.squash = lambda *a: (pathlib.Path({str(reached)!r}).touch(), time.sleep(600))\ncli.main()"
    )
    words = ["build", "tiny", "--repository", str(tiny.repository), "--site", "here"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], env={**os.environ, **tiny.environ}, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not reached.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "interrupted" in said
    assert tiny.left() == []
