"""What a caller sees of a launcher that stays with Singularity to try again: nothing. Here with a stand-in for it.

The stand-in has what matters of the real one: it gives the command its own descriptors, takes ignored signals back, and
ends as the command does; so what these tests see is the launcher's. It needs no mount.
"""

import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conda_concept.model import Release
from conda_concept.render.launcher import LauncherFacts, render_launcher
from conda_concept.runtime import base_image, write_files
from conda_concept.settings import Config, Site

PROBE = "conda-meta/probe.json"
#: Fails as often as the file `failures` says; after that runs what it is given, on the host.
STAND_IN = f"""#!{sys.executable} -IS
import os, signal, sys
here = os.path.dirname(sys.argv[0])
with open(here + "/calls", "a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
with open(here + "/calls") as calls, open(here + "/failures") as failures:
    if len(calls.readlines()) <= int(failures.read()):
        sys.stderr.write("FATAL: container creation failed\\n")
        sys.exit(255)
shell = sys.argv.index("/bin/sh")
base = sys.argv[shell - 1]
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE):
    signal.signal(number, signal.SIG_DFL)
os.execv("/bin/sh", ["/bin/sh", base + sys.argv[shell + 1], *sys.argv[shell + 2:]])
"""
#: Says how many it has had, a moment after each signal; ends after the second.
COUNTER = """
import signal, sys, time
seen = []
signal.signal(signal.{signal}, lambda *_: seen.append(1))
print("ready", flush=True)
said = 0
while said < 2:
    time.sleep(0.01)
    if len(seen) > said:
        time.sleep(0.5)
        said = len(seen)
        print(said, flush=True)
"""


@dataclass(frozen=True, slots=True)
class Fake:
    """A release whose prefix is a plain folder, and a launcher that starts the stand-in, in one shell or another."""

    root: Path
    shell: tuple[str, ...]

    def argv(self, *command: str, **site: Any) -> list[str]:
        """The words that run a command through the launcher."""
        return [*self.shell, "-c", render_launcher(self.facts(**site)), f"{self.root}/p/launcher", "--run", *command]

    def python(self, code: str) -> list[str]:
        """The words that run a program in this Python."""
        return self.argv(sys.executable, "-IS", "-c", code)

    def facts(self, **site: Any) -> LauncherFacts:
        values: dict[str, Any] = {
            "name": "t",
            "root": f"{self.root}/store",
            "scratch": "/s",
            "cache": "/c",
            "node_dir": f"{self.root}/n",
        }
        values |= {"singularity": f"{self.root}/singularity", "mounting": "container", "binds": ("/usr",)}
        made = Site.model_validate(values | site)
        return LauncherFacts(
            release=Release("demo", "23.04", "1a2b3c4d"),
            prefix=f"{self.root}/p",
            image_sha256="ab" * 32,
            probe=PROBE,
            commands=(),
            base=f"{self.root}/base",
            site=made,
            config=Config.model_validate({"version": "23.04", "contact": "help@example.org"}),
        )

    def fails(self, times: int) -> None:
        """So many of the next starts fail."""
        (self.root / "failures").write_text(f"{times}\n")

    def calls(self) -> list[str]:
        """What the stand-in was called with."""
        return (self.root / "calls").read_text().splitlines()

    def left(self) -> list[str]:
        """What the launcher left on the node's disk; its helper may still be at it."""
        deadline = time.monotonic() + 10
        while (found := [path.name for path in self.root.glob("n/*/start*")]) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found


@pytest.fixture(params=["dash", "bash"])
def fake(request: pytest.FixtureRequest) -> Iterator[Fake]:
    """Both shells that are /bin/sh somewhere."""
    root = Path(tempfile.mkdtemp(prefix="cc-", dir="/tmp"))
    shell = {"dash": ("/bin/dash",), "bash": ("/bin/bash", "--posix")}[request.param]
    made = Fake(root, shell)
    for folder in ("p/conda-meta", "p/bin", "n"):
        (root / folder).mkdir(parents=True)
    (root / "p" / PROBE).write_text("{}")
    (root / "p/image.sqsh").write_bytes(b"x" * 5000)
    write_files(root / "base", base_image(made.facts().site))
    (root / "singularity").write_text(STAND_IN)
    (root / "singularity").chmod(0o755)
    made.fails(0)
    yield made
    assert made.left() == []
    shutil.rmtree(root)


def started(argv: Sequence[str], **options: Any) -> subprocess.Popen[str]:
    """A process in a session of its own, with pipes."""
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(argv, text=True, start_new_session=True, cwd="/", **(pipes | options))


@pytest.mark.parametrize("failures", [0, 2])
def test_descriptors_of_the_caller_reach_the_command(fake: Fake, failures: int) -> None:
    fake.fails(failures)
    program = (
        "import os, sys; print(os.read(9, 9), os.read(8, 9), os.read(11, 9)); print(sys.stdin.read(), file=sys.stderr)"
    )
    script = '"$@" 9<"$0/nine" 8<"$0/eight" 11<"$0/eleven"'
    for name in ("nine", "eight", "eleven"):
        (fake.root / name).write_text(name)
    done = subprocess.run(
        ["/bin/bash", "-c", script, fake.root, *fake.python(program)],
        input="hi", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "b'nine' b'eight' b'eleven'\n", "hi\n")
    assert len(fake.calls()) == failures + 1


def test_without_a_free_descriptor_there_is_one_try(fake: Fake) -> None:
    fake.fails(1)
    every = " ".join(f"{number}</dev/null" for number in range(3, 10))
    script = f'CONDA_CONCEPT_DEBUG=1 "$@" {every}'
    done = subprocess.run(
        ["/bin/bash", "-c", script, "bash", *fake.argv("/bin/true")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 255
    assert "one try only: the caller has all of the descriptors 3 to 9 open" in done.stderr
    assert len(fake.calls()) == 1


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_keep_nobody_from_running(fake: Fake, closed: str) -> None:
    mark = fake.root / "mark"
    script = f'"$@" {closed}'
    argv = fake.argv("/bin/sh", "-c", 'echo "$1" >"$0"', str(mark), "it ran")
    done = subprocess.run(["/bin/bash", "-c", script, "bash", *argv], capture_output=True, text=True, check=False)
    assert (done.returncode, mark.read_text(), done.stderr) == (0, "it ran\n", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP, signal.SIGABRT])
def test_a_command_that_dies_of_a_signal_is_seen_to(fake: Fake, number: signal.Signals) -> None:
    default = "signal.signal(signal.SIGINT, signal.SIG_DFL)"
    argv = fake.python(f"import os, signal; {default}; os.kill(os.getpid(), {int(number)})")
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-number, "", "")


@pytest.mark.parametrize("status", [0, 1, 125, 127, 128, 160, 255])
def test_other_statuses_are_the_commands(fake: Fake, status: int) -> None:
    done = subprocess.run(fake.python(f"raise SystemExit({status})"), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")
    assert len(fake.calls()) == 1


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_reaches_the_command_once(fake: Fake, name: str) -> None:
    number = signal.Signals[name]
    with started(fake.python(COUNTER.format(signal=name)), stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)  # the helper beside the command may need longer than the command
        os.killpg(process.pid, number)
        assert process.stdout.readline() == "1\n"
        process.send_signal(number)
        assert process.communicate(timeout=20) == ("2\n", "")


def test_what_the_caller_ignores_is_ignored(fake: Fake) -> None:
    program = "import os, signal; os.kill(os.getpid(), signal.SIGHUP); print(signal.getsignal(signal.SIGTERM).name)"
    argv = ["/usr/bin/nohup", *fake.python(program)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "SIG_DFL\n", "")


def test_a_start_is_tried_again_on_a_terminal(fake: Fake) -> None:
    fake.fails(1)
    pid, terminal = pty.fork()
    if pid == 0:
        argv = fake.python(
            "import os; print(os.isatty(0), os.isatty(1), os.isatty(2), os.tcgetpgrp(0) == os.getpgrp())"
        )
        os.execv(argv[0], argv)  # noqa: S606 - only a child of pty.fork has the terminal
    seen = b""
    while True:
        try:
            seen += os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert seen == b"True True True True\r\n"
    assert len(fake.calls()) == 2


def test_a_signal_between_two_tries_ends_it(fake: Fake) -> None:
    fake.fails(9)
    with started(fake.argv("/bin/true"), stdin=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 20
        while not (fake.root / "calls").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.3)
        process.terminate()
        assert process.communicate(timeout=20) == ("", "FATAL: container creation failed\n")
    assert len(fake.calls()) == 1


def run(argv: Sequence[str], env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, env={"PATH": "/usr/bin:/bin", **(env or {})}, cwd="/", capture_output=True, text=True, check=False
    )


def test_the_folder_of_a_link_or_a_virtual_environment_is_bound(fake: Fake) -> None:
    elsewhere = fake.root / "elsewhere"
    (elsewhere / "v/bin").mkdir(parents=True)
    (elsewhere / "v/pyvenv.cfg").touch()
    launcher = fake.root / "p/launcher"
    launcher.write_text(render_launcher(fake.facts(start_tries=1)))
    launcher.chmod(0o755)
    for path, folder in ((elsewhere / "py", elsewhere), (elsewhere / "v/bin/python", elsewhere / "v")):
        path.symlink_to(launcher)
        words = run([str(path)], {"CONDA_CONCEPT_EXPLAIN": "1", "HOME": "/"}).stdout.split()
        assert words[words.index("--bind") + 1] == f"/usr,{folder}"
    hosts = run([str(launcher), "--run", "/usr/bin/env"], {"CONDA_CONCEPT_EXPLAIN": "1", "HOME": "/"}).stdout.split()
    assert hosts[hosts.index("--bind") + 1] == "/usr"


def test_explain_tells_what_is_no_launcher_from_what_is(fake: Fake) -> None:
    launcher, override = fake.root / "p/launcher", fake.root / "p/bin/over"
    launcher.write_text(render_launcher(fake.facts()))
    launcher.chmod(0o755)
    (fake.root / "p/bin/hello").hardlink_to(launcher)
    override.write_text("#!/bin/sh\n")
    override.chmod(0o755)
    by_name, by_path = (run([str(launcher), "--explain", w, "a b"]) for w in ("hello", f"{fake.root}/p/bin/hello"))
    assert by_name.stdout == by_path.stdout
    assert by_name.stdout.endswith(f" {fake.root}/p/bin/hello 'a b'\n")
    said = run([str(launcher), "--explain", "over", "x"])
    assert (said.returncode, said.stdout) == (0, f"{override} x\n")
    assert "no launcher" in said.stderr
    assert run([str(launcher), "--explain", "env"]).stdout == "/usr/bin/env\n"
    missing = run([str(launcher), "--explain", "no-such-name"])
    assert (missing.returncode, missing.stdout) == (127, "")
    assert "no-such-name: no such command in demo-23.04/1a2b3c4d" in missing.stderr
    unknown = run([str(launcher), "--expalin", "hello"])
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "--expalin: not a word" in unknown.stderr
    assert not (fake.root / "calls").exists()


def test_the_report_names_the_runtime_in_force_and_ranks_read_the_image_once(fake: Fake) -> None:
    argv = fake.argv("/bin/true", start_tries=2)
    fake.fails(99)
    processes = [
        subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={"PATH": "/bin"})
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert all("sha256" in text and "the command has not run" in text for text in said)
    lock = next((fake.root / "n").iterdir()) / "report"
    hold = ["/usr/bin/flock", str(lock), "/bin/sh", "-c", "echo; read x"]
    holder = subprocess.Popen(hold, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    holder.stdout.readline()
    again = run(argv)
    holder.communicate("\n", timeout=20)
    assert "another process of this user is reading the image" in again.stderr
    report = [*argv[: argv.index("--run")], "--report"]
    assert "  runtime namespace\n" in run(report, {"CONDA_CONCEPT_RUNTIME": "namespace"}).stderr
    (fake.root / "p/image.sqsh").unlink()
    assert "  sha256  cannot be read, in blocks of 1 MiB: No such file or directory\n" in run(report).stderr


def test_a_slow_read_says_how_far_it_came(fake: Fake) -> None:
    image = fake.root / "p/image.sqsh"
    image.unlink()
    os.mkfifo(image)
    text = render_launcher(fake.facts()).replace("-k 5 120 dd", "-k 5 1 dd")
    with os.fdopen(os.open(image, os.O_RDWR), "w"):
        done = run([*fake.shell, "-c", text, f"{fake.root}/p/launcher", "--report"])
    assert "  sha256  not read to its end in 120 s, in blocks of 1 MiB: 0\n" in done.stderr
