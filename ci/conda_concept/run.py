"""The one door to other programs: argument lists, no shell, a quoted echo, an explicit environment."""

import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NoReturn

from conda_concept.errors import ConcError, ToolError

#: What a child gets when nothing else is said: no user settings that change results, no secrets.
CLEAN_ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
}

#: Where a missing program comes from, in words for the error message.
PACKAGE_OF: Mapping[str, str] = {
    "mksquashfs": "squashfs-tools",
    "unsquashfs": "squashfs-tools",
    "squashfuse_ll": "squashfuse",
    "bwrap": "bubblewrap",
    "singularity": "SingularityCE or Apptainer",
    "apptainer": "Apptainer",
    "patchelf": "patchelf",
    "git": "git",
}


class CommandError(ConcError):
    """A program ended badly: `returncode` (negative: signal), and the end of what it said."""

    exit_code = 9
    kind = "command"

    def __init__(self, argv: Sequence[str], returncode: int, output: str) -> None:
        ending = f"signal {-returncode}" if returncode < 0 else f"exit code {returncode}"
        tail = "\n".join(output.rstrip().splitlines()[-20:])
        super().__init__(f"`{shlex.join(argv)}` ended with {ending}" + (f":\n{tail}" if tail else ""))
        self.argv = tuple(argv)
        self.returncode = returncode
        self.output = output


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended: exit status (negative: signal) and what it wrote, decoded with replacement."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


def find_tool(name: str, *, path: str | None = None) -> Path:
    """The absolute path of a program, or `ToolError` with the package to install."""
    found = shutil.which(name, path=path or os.environ.get("PATH") or CLEAN_ENVIRONMENT["PATH"])
    if found is None:
        raise ToolError(
            f"the program `{name}` is not on this machine.",
            hint=f"Install {PACKAGE_OF.get(name, name)} (or run `ci/setup` as root) and try again.",
        )
    return Path(found)


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
    check: bool = True,
    echo: bool = False,
) -> Finished:
    """Run a program to its end and return what it said.

    The child gets `env` or `CLEAN_ENVIRONMENT`, never ours; no standard input; a process group of its own, so that
    an interrupt or the time limit (seconds) takes its children along. `check` raises `CommandError` for a status
    other than 0; a program that is missing, or was killed, is `ToolError`.
    """
    words = tuple(str(word) for word in argv)
    if echo:
        sys.stderr.write(f"$ {shlex.join(words)}\n")
    environment = dict(CLEAN_ENVIRONMENT if env is None else env)
    with _started(words, environment, cwd) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise ToolError(
                f"`{shlex.join(words)}` was stopped after {timeout:g} seconds.",
                hint="If the machine was busy, try again; otherwise its output above says where it was.",
            ) from error
    finished = Finished(words, process.returncode, _text(out), _text(err))
    if check:
        refuse_killed(words, finished.returncode)
    if check and finished.returncode != 0:
        raise CommandError(words, finished.returncode, finished.stderr or finished.stdout)
    return finished


def refuse_killed(words: Sequence[str], status: int) -> None:
    """`ToolError` if a program was killed: by the machine, then, and never for what it was asked to do.

    `status` is its own, or that of something which passes it on as a shell does.
    """
    if status in (-signal.SIGKILL, 128 + signal.SIGKILL):
        raise ToolError(
            f"`{shlex.join(words)}` was killed (signal 9), most often for want of memory.",
            hint="Give it more memory (a job: `memory` in the site file's executor), and try again.",
        )


@dataclass(slots=True)
class Talk:
    """A program that answers line by line while it runs; see `talking`."""

    process: subprocess.Popen[bytes]
    stderr: IO[bytes]

    def lines(self, silence: float) -> Iterator[bytes]:
        """Its lines as they come, until it closes its output, or says nothing for `silence` seconds."""
        if self.process.stdout is None:  # cannot be: `talking` asks for a pipe
            return
        fd, rest = self.process.stdout.fileno(), b""
        while select.select([fd], [], [], silence)[0]:
            chunk = os.read(fd, 1 << 16)
            if not chunk:
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(timeout=silence)
                break
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole
        if rest:
            yield rest

    def last_words(self) -> str:
        """The end of what it wrote to standard error."""
        self.stderr.seek(max(0, self.stderr.seek(0, os.SEEK_END) - 4000))
        return _text(self.stderr.read())


@contextmanager
def talking(argv: Sequence[str | Path], *, env: Mapping[str, str], feed: bytes) -> Iterator[Talk]:
    """Start a program, give it `feed` as its standard input, and listen; it ends, with its group, when we leave."""
    with TemporaryFile() as stdin, TemporaryFile() as stderr:
        stdin.write(feed)
        stdin.seek(0)
        with _started(tuple(str(word) for word in argv), env, None, stdin=stdin, stderr=stderr) as process:
            yield Talk(process, stderr)


@contextmanager
def _started(
    words: Sequence[str],
    env: Mapping[str, str],
    cwd: Path | None,
    *,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    stderr: IO[bytes] | int = subprocess.PIPE,
) -> Iterator[subprocess.Popen[bytes]]:
    """A running child in a group of its own, ended with its group if the caller leaves early."""
    try:
        process = subprocess.Popen(
            list(words),
            env=dict(env),
            cwd=cwd,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        find_tool(words[0], path=env.get("PATH"))
        raise ToolError(f"`{words[0]}` cannot be started: {error.strerror} ({error.filename}).") from error
    except PermissionError as error:
        raise ToolError(f"`{words[0]}` cannot be started: {error.strerror}.") from error
    try:
        yield process
    finally:
        if process.returncode is None:
            _end_group(process)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ask the child's group to stop, then make it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(timeout=5)
            break
        except subprocess.TimeoutExpired:
            continue
    process.communicate()


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace")


def leave(status: int) -> NoReturn:
    """End this process with `status`, whatever threads are still alive.

    The solver's threads outlive a solve, and one that wakes up while the interpreter shuts down crashes it (a
    segmentation fault in place of exit code 0). Output is flushed; nothing else is run, so call it last.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            status = status or 1  # nobody reads our output any more
    os._exit(status)
