"""The one door to processes: statuses, time limits, missing programs, and children that do not stay."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conda_concept.errors import ToolError
from conda_concept.run import CommandError, run


def test_arguments_arrive_as_they_are_and_nothing_of_our_environment() -> None:
    os.environ["ONLY_OURS"] = "x"
    done = run(["sh", "-c", 'printf "%s\\n" "$@"; env', "sh", "a b", "$HOME", "'", "\n"])
    assert done.stdout.startswith("a b\n$HOME\n'\n\n\n")
    assert "ONLY_OURS" not in done.stdout


def test_a_bad_status_is_an_error_with_the_command_and_the_end_of_its_output() -> None:
    with pytest.raises(CommandError) as caught:
        run(["sh", "-c", "seq 100 >&2; exit 3"])
    assert caught.value.returncode == 3
    assert "ended with exit code 3" in str(caught.value)
    assert "100" in str(caught.value)
    assert "\n1\n" not in str(caught.value)


def test_a_signal_is_named() -> None:
    with pytest.raises(CommandError, match="ended with signal 6"):
        run(["sh", "-c", "kill -6 $$"])


@pytest.mark.parametrize("script", ["kill -9 $$", "sh -c 'kill -9 $$'"])
def test_a_program_that_was_killed_is_the_machines_matter(script: str) -> None:
    with pytest.raises(ToolError, match="was killed \\(signal 9\\), most often for want of memory"):
        run(["sh", "-c", f"{script}; exit $?"])


def test_a_missing_program_names_its_package() -> None:
    with pytest.raises(ToolError, match="squashfs-tools"):
        run(["mksquashfs"], env={"PATH": "/nonexistent"})


def test_a_missing_folder_is_not_blamed_on_the_program(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="cannot be started.*gone"):
        run(["true"], cwd=tmp_path / "gone")


def alive(pid: int) -> bool:
    """Whether a process lives on; one that was sent a signal may need a moment on a busy machine."""
    status = Path(f"/proc/{pid}/stat")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if status.read_text("utf-8").rsplit(")", 1)[1].split()[0] == "Z":
                return False
        except (FileNotFoundError, ProcessLookupError):
            return False
        time.sleep(0.02)
    return True


def test_the_time_limit_takes_grandchildren_along(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with pytest.raises(ToolError, match="stopped after 0.5 seconds"):
        run(["sh", "-c", f"sleep 600 & echo $! >{pid_file}; wait"], timeout=0.5)
    assert not alive(int(pid_file.read_text("utf-8")))


def test_an_interrupt_takes_the_child_along(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = f"from conda_concept.run import run; run(['sh', '-c', 'echo $$ >{pid_file}; exec sleep 600'])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 30
        while not (pid_file.exists() and pid_file.read_text("utf-8").strip()) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
    assert not alive(int(pid_file.read_text("utf-8")))
