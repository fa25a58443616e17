"""ci/in-debian: the same command on any Linux; a stand-in for docker shows what it would be asked."""

import os
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
SCRIPT = TOP / "ci" / "in-debian"
ENGINE = """\
#!/bin/bash
printf '%s\\n' "${0##*/}" "$@" >"$(dirname "$0")/asked"
"""


def run(path: Path | str, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": f"{path}:/usr/bin:/bin"}
    return subprocess.run([SCRIPT, *words], env=environ, capture_output=True, text=True, check=False)


@pytest.fixture(params=["docker", "podman"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with nothing but one of them, ahead of the real programs."""
    path = tmp_path / "bin"
    path.mkdir()
    (path / request.param).write_text(ENGINE)
    (path / request.param).chmod(0o755)
    return path


def test_on_debian_12_the_command_just_runs(tmp_path: Path) -> None:
    done = run(tmp_path, "sh", "-c", 'pwd; echo "$1"; exit 3', "sh", "a b")
    assert (done.returncode, done.stdout) == (3, f"{TOP}\na b\n")


def test_elsewhere_a_container_gets_a_copy_and_the_very_command(engine: Path) -> None:
    (name,) = [path.name for path in engine.iterdir()]
    done = run(engine, "--fresh", "ci/test", "-k", "a b")
    assert done.returncode == 0, done.stderr
    asked = (engine / "asked").read_text().splitlines()
    assert asked[:5] == [name, "run", "--rm", "--init", "--privileged"]
    assert asked[asked.index("--volume") + 1] == f"{TOP}:/checkout:ro"
    assert asked[asked.index("--volume") + 2 :][:3] == ["docker.io/library/debian:bookworm", "sh", "-euc"]
    assert asked[-4:] == ["sh", "ci/test", "-k", "a b"]


def test_what_runs_in_the_container_copies_without_owners_and_leaves_out_what_is_made(
    engine: Path, tmp_path: Path
) -> None:
    """The very text that the container's shell gets, with folders of this machine for its two."""
    run(engine, "--fresh", "x")
    asked = (engine / "asked").read_text()
    text = asked[asked.index("-euc\n") + 5 :].rpartition("\nsh\nx\n")[0]
    checkout, copy = tmp_path / "checkout", tmp_path / "copy"
    for path in (".git/HEAD", "ci/test", ".venv/bin/python", ".cache/x", ".demo/y", "environments/demo/.venv"):
        (checkout / path).parent.mkdir(parents=True, exist_ok=True)
        (checkout / path).write_text(path)
    if os.geteuid() == 0:
        os.chown(checkout / "ci/test", 1234, 1234)
    text = text.replace("/checkout", str(checkout)).replace("/conda-concept", str(copy))
    done = subprocess.run(
        ["sh", "-euc", text, "sh", "find", ".", "-type", "f"], capture_output=True, text=True, check=True
    )
    assert sorted(done.stdout.split()) == ["./.git/HEAD", "./ci/test", "./environments/demo/.venv"]
    assert (copy / "ci/test").stat().st_uid == os.geteuid()


def test_without_one_it_says_what_to_install(tmp_path: Path) -> None:
    for name in ("bash", "dirname", "grep", "env"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    done = subprocess.run(
        [SCRIPT, "--fresh", "ci/test"], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "neither docker nor podman" in done.stderr


def test_without_a_command_it_says_how() -> None:
    done = run("/nowhere")
    assert (done.returncode, done.stdout.split("\n")[2].strip()[:20]) == (2, "ci/in-debian ci/test")
