"""Commands that config leaves to the host, or replaces; folders of the host that tests may not change."""

import os
import pwd
from pathlib import Path

import pytest

from conda_concept.settings import Site
from conda_concept.steps.judge import protected
from conda_concept.testing.hostside import host_commands


def test_a_command_left_to_the_host_has_no_launcher(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "qsub").write_text("#!/bin/sh\n")
    gone, there = host_commands(tmp_path, ["mpirun", "qsub"], [])
    assert (gone.title, gone.outcome) == ("host mpirun", "passed")
    assert (there.outcome, there.message) == ("fails", "still has a launcher")


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("#!/bin/sh\nexec ssh\n", 0o755, ""),
        ("#!/bin/sh\n", 0o644, "not executable"),
        ("exec ssh\n", 0o755, "does not say what runs it"),
        ("#!/not/there\n", 0o755, "asks for /not/there"),
        (None, 0, "cannot be read"),
    ],
)
def test_a_command_that_is_replaced_is_a_script_that_runs(
    tmp_path: Path, text: str | None, mode: int, words: str
) -> None:
    (tmp_path / "bin").mkdir()
    if text is not None:
        (tmp_path / "bin" / "ssh").write_text(text)
        (tmp_path / "bin" / "ssh").chmod(mode)
    (result,) = host_commands(tmp_path, [], ["ssh"])
    assert result.failed == bool(words)
    assert words in result.message


def test_no_test_may_change_what_releases_are_made_from() -> None:
    values = {"name": "x", "root": "/g/store", "scratch": "/jobfs", "cache": "/g/cache"}
    job = {"cpus": 1, "memory": "1GB", "walltime": "01:00:00"}
    pbs = {"kind": "pbs", "build": job, "folder": "/g/jobs"}
    home = () if os.geteuid() == 0 else (pwd.getpwuid(os.geteuid()).pw_dir,)
    assert protected(Site.model_validate(values)) == ("/g/store", "/g/cache", "/jobfs", *home)
    assert protected(Site.model_validate(values | {"executor": pbs}))[3] == "/g/jobs"
