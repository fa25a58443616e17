"""The scripts that take an environment along, run by a real shell with a remote shell that only says what it got."""

import base64
import shlex
import subprocess
from pathlib import Path

import pytest

from conda_concept.model import HostLink, Integration
from conda_concept.render.carry import carried_scripts
from conda_concept.settings import Site

SITE = Site(name="here", root="/r", scratch="/s", cache="/c", nodes=("node?", "gadi-*.example.org"))


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A release directory with these scripts, and a host with commands that print their words, one a line."""
    for folder in ("prefix/bin", "host"):
        (tmp_path / folder).mkdir(parents=True)
    made = Integration(carried=("mpirun", "orted", "pbs_tmrsh", "ssh"))
    for name, text in carried_scripts(made, str(tmp_path / "prefix"), SITE):
        write(tmp_path / "prefix/bin" / name, text)
        write(tmp_path / "host" / name, '#!/bin/sh\nprintf "%s\\n" "$@"\n')
    write(tmp_path / "prefix/bin/activate", f"export CONDA_PREFIX={tmp_path}/prefix WORD=activated\n")
    return tmp_path / "prefix"


def write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def said(prefix: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    path = f"{prefix}/bin:{prefix.parent}/host:/usr/bin:/bin"
    environ = {"PATH": path, **env}
    return subprocess.run(words, env=environ, capture_output=True, text=True, check=False)


def carried(prefix: Path, *words: str, **env: str) -> tuple[list[str], str] | None:
    """The words before the command, and the command; None where it was left alone."""
    got = said(prefix, *words, **env).stdout.splitlines()
    if "--carried" not in got:
        assert got == list(words[1:])
        return None
    at = got.index("/bin/sh")
    assert got[at + 1 : at + 4] == [f"{prefix}/bin/{words[0]}", "--carried", env.get("CONDA_CONCEPT_RUNTIME", "-")]
    return got[:at], base64.b64decode(got[at + 4]).decode()


@pytest.mark.parametrize(
    ("words", "before", "command"),
    [
        ("ssh node1 python3 x", "node1", "python3 x"),
        ("ssh -oUser=me -p22 -4qp 22 me@node1 -x python3 -c x", "-oUser=me -p22 -4qp 22 me@node1 -x", "python3 -c x"),
        ("ssh -i me@node2 -- gadi-1.example.org ls -l", "-i me@node2 -- gadi-1.example.org", "ls -l"),
        ("ssh ssh://me@node1:22 -l you hostname", "ssh://me@node1:22 -l you", "hostname"),
        ("pbs_tmrsh -n -l me anywhere /apps/orted -mca x '<y>'", "-n -l me anywhere", "/apps/orted -mca x <y>"),
    ],
)
def test_options_are_read_as_ssh_reads_them(prefix: Path, words: str, before: str, command: str) -> None:
    assert carried(prefix, *shlex.split(words)) == (before.split(), command)


@pytest.mark.parametrize(
    "words",
    [
        "ssh node1",
        "ssh -N -L 8888:node1:8888 node1 x",
        "ssh -s node1 sftp",
        "ssh -O exit node1 x",
        "ssh -W node1:22 node2 x",
        "ssh git@example.org git-upload-pack x",
        "ssh node12 x",
        "ssh gadi-1 x",
    ],
)
def test_what_starts_no_shell_on_a_node_is_left_alone(prefix: Path, words: str) -> None:
    assert carried(prefix, *words.split()) is None


def test_nodes_of_the_job_count_by_their_short_names(prefix: Path, tmp_path: Path) -> None:
    (tmp_path / "nodes").write_text("one.cluster\ntwo\n")
    found = {
        name: carried(prefix, "ssh", name, "x", PBS_NODEFILE=f"{tmp_path}/nodes") for name in ("one", "two.x", "on")
    }
    assert {name: bool(value) for name, value in found.items()} == {"one": True, "two.x": True, "on": False}


def test_the_command_arrives_as_it_is_in_an_activated_shell(prefix: Path) -> None:
    line = "printf '<%s>' \"$WORD\" 'a  b' \"it's\" \\$x é\necho; exit 3\n"
    found = said(prefix, "ssh", "node1", line, CONDA_CONCEPT_RUNTIME="namespace").stdout.splitlines()
    done = said(prefix, "/bin/sh", *found[2:], SHELL="/bin/sh")
    assert (done.stdout, done.stderr, done.returncode) == ("<activated><a  b><it's><$x><é>\n", "", 3)


def test_start_up_files_are_read_once_and_before_it(prefix: Path) -> None:
    """Bash reads ~/.bashrc for a command that a remote shell starts; a second time would undo what was activated."""
    write(prefix.parent / ".bashrc", "export WORD=rc\n")
    found = said(prefix, "ssh", "node1", "echo $WORD").stdout.splitlines()
    as_a_daemon = {"SHELL": "/bin/bash", "HOME": str(prefix.parent), "SSH_CLIENT": "::1 1 22"}
    assert said(prefix, "/bin/bash", "-c", "echo $WORD", **as_a_daemon).stdout == "rc\n"
    assert said(prefix, "/bin/bash", "-c", shlex.join(found[1:]), **as_a_daemon).stdout == "activated\n"


def test_daemons_and_starters_are_the_hosts_own_in_an_activated_environment(prefix: Path) -> None:
    for name in ("mpirun", "orted"):
        write(prefix.parent / "host" / name, '#!/bin/sh\necho "$WORD" "$@"\n')
        assert said(prefix, name, "-n", "a b").stdout == "activated -n a b\n"
        # Once is enough: what the user changed after loading the module stays.
        assert said(prefix, name, CONDA_PREFIX=str(prefix), WORD="mine").stdout == "mine\n"


def test_a_program_that_the_host_lacks_is_named(prefix: Path) -> None:
    gone = str(prefix.parent / "host" / "gone")
    made = Integration(
        replaced=(HostLink("ssh", "bin/ssh", gone), HostLink("openmpi", "bin/orted", gone)), carried=("orted", "ssh")
    )
    for name, text in carried_scripts(made, str(prefix), SITE):
        write(prefix / "bin" / name, text)
        done = said(prefix, name, "node1", "x")
        assert done.returncode == 127
        assert f"{name} is the host's own program, which is not here ({gone})" in done.stderr
