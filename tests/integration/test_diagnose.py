"""`diagnose` and the launcher's own report, on a release that is whole and on one that is not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.opened import opened
from tests.support.tiny import Tiny, replace_bytes
from tests.support.user import OrdinaryUser


@pytest.fixture
def tiny(open_dir: Path, capsys: pytest.CaptureFixture[str]) -> Tiny:
    """A published release."""
    tiny = Tiny.make(open_dir, capsys)
    for command in (["lock", "tiny"], ["build", "tiny"], ["publish", "tiny-26.11", "--force", "to diagnose it"]):
        said = tiny.concept(*command)
        assert said.code == 0, said.err
    return tiny


def prefix_of(tiny: Tiny) -> Path:
    return (tiny.store / "apps/conda_concept/envs/tiny-26.11").resolve()


def report(tiny: Tiny) -> list[str]:
    """What the launcher says by itself, without the lines that differ each time."""
    done = subprocess.run(
        [prefix_of(tiny) / "launcher", "--report"], capture_output=True, text=True, check=True, env={"PATH": "/bin"}
    )
    return [line for line in done.stderr.splitlines() if not line.startswith(("  time ", "  report "))]


def test_it_begins_as_the_launchers_report_does(tiny: Tiny) -> None:
    done = tiny.concept("diagnose", "tiny-26.11")
    assert done.code == 0
    mine = [line for line in done.out.splitlines() if not line.startswith("  time ")]
    assert mine[:7] == report(tiny)
    assert "as it should be" in mine[6]
    assert any(line.startswith("  start   works, in ") for line in mine)
    assert any("publish tiny-26.11/" in line for line in mine if line.startswith("  history "))
    assert any(line.startswith("  explain /usr/bin/unshare ") for line in mine)


def test_a_damaged_image_is_told_in_the_same_words(tiny: Tiny) -> None:
    image = prefix_of(tiny) / "image.sqsh"
    image.chmod(0o644)
    before = replace_bytes(image)
    done = tiny.concept("diagnose", "tiny-26.11", "--json")
    assert done.code == 5
    assert (done.data[0]["good"], done.data[0]["expected"]) == (False, before)
    assert "was changed after it was released" in done.data[0]["start"]
    text = tiny.concept("diagnose", "tiny-26.11").out.splitlines()
    assert report(tiny)[-1] in text
    assert f"but it should be {before}" in report(tiny)[-1]
    image.unlink()
    assert tiny.concept("diagnose", "tiny-26.11").code == 5
    assert report(tiny)[-1].startswith("  sha256  cannot be read, in blocks of 1 MiB: ")
    again = tiny.concept("diagnose", "tiny-26.11").out
    assert "  sha256  cannot be read, in blocks of 1 MiB: No such file or directory\n" in again


def test_a_release_is_found_by_whatever_people_have(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "venv").symlink_to(prefix_of(tiny) / "bin/hello")
    alias = tiny.store / "apps/conda_concept/envs/tiny/bin/hello"
    for word in ("tiny", "tiny-26.11", str(prefix_of(tiny)), str(alias), str(tmp_path / "venv"), "hello"):
        tiny.environ["PATH"] = f"{prefix_of(tiny)}/bin:/usr/bin:/bin"
        found = tiny.concept("diagnose", word, "--json")
        assert [one["prefix"] for one in found.data] == [str(prefix_of(tiny))], word
    both = tiny.concept("diagnose", "tiny", "hello", "--json")
    assert len(both.data) == 1


def test_what_is_no_release_is_said(tiny: Tiny) -> None:
    tiny.environ["PATH"] = "/usr/bin:/bin"
    nothing = tiny.concept("diagnose")
    assert nothing.code == 11
    assert "Load a module first" in nothing.err
    assert "does not belong to a release" in tiny.concept("diagnose", "/usr/bin/env").err
    unknown = tiny.concept("diagnose", "no-such-thing")
    assert unknown.code in (2, 11)
    assert "there is no command no-such-thing in PATH" in unknown.err


def test_nothing_of_a_users_secrets_comes_out(tiny: Tiny) -> None:
    secrets = {
        "API_TOKEN": "hunter2-token",
        "PROMPT_COMMAND": "hunter2-prompt",
        "PS1": "hunter2-ps1",
        "PYTHONPATH": "/x:https://me:hunter2@example.org",
        "PATH": "/usr/bin:/bin",
        "CONDA_CONCEPT_DEBUG": "1",
    }
    tiny.environ.update(secrets)
    done = tiny.concept("diagnose", "tiny", "--json")
    assert "hunter2" not in done.out
    assert "hunter2" not in tiny.concept("diagnose", "tiny").out
    assert done.data[0]["here"]["variables"]["PYTHONPATH"] == "/x:https://example.org"
    assert done.data[0]["start"].startswith("works")


def test_a_user_without_a_site_file_gathers_it(
    tiny: Tiny, ordinary_user: OrdinaryUser, tmp_path: Path, user_dir: Path
) -> None:
    before = opened(tmp_path) if os.geteuid() == 0 else []
    path = f"{prefix_of(tiny)}/bin:/usr/bin:/bin"
    words = [sys.executable, "-m", "conda_concept", "diagnose", "hello", "--repository", str(user_dir), "--quiet"]
    done = subprocess.run(
        [*before, *ordinary_user.command(words, {"PATH": path})], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"  user    {ordinary_user.name}\n" in done.stdout
    assert "  start   works, in " in done.stdout
