"""The keeper: one process for each test, parent of everything that the test starts, and its judge of time and size.

It is forked from the probe, becomes the reaper of its descendants, starts the test in a session of its own, reads
what it says, ends it at its limits, and kills whatever stays. Its one answer is a JSON object of plain facts; what
they mean is decided on the host (`conda_concept.testing.classify`).
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import shutil
import signal
import tempfile
import time
import traceback
import typing
from dataclasses import dataclass, field

from conda_concept.inside import isolate

#: A look at memory and time this often, in seconds. Touching memory goes at some GB a second: a limit is overrun by
#: a few hundred MB at most.
TICK = 0.1
#: How long helpers of the test may take to notice that it is over, in seconds (multiprocessing's tracker does).
GRACE = 1.0
TAIL = 8000


@dataclass(frozen=True)
class Limits:
    """Seconds of wall time, bytes of resident memory, bytes of output."""

    seconds: float
    memory: int
    output: int


@dataclass(frozen=True)
class WithFiles:
    """Words to start, with text files that are put into the test's private folder first."""

    argv: list[str]
    files: dict[str, str]


#: What a test is: words to start, or a function that writes its events to a descriptor.
Work = typing.Union[list[str], WithFiles, typing.Callable[[int], None]]


@dataclass
class Watched:
    """What is known about a running test."""

    pid: int
    out: int
    facts: int
    lifeline: int
    started: float
    tail: bytes = b""
    said: bytes = b""
    written: int = 0
    peak: int = 0
    ended: str = ""
    status: int | None = None
    cpu: float = 0.0
    left: list[str] = field(default_factory=list)
    open: set[int] = field(default_factory=set)


def keep(
    work: Work, env: dict[str, str], limits: Limits, fds: tuple[int, int], scratch: str, *, alone: bool = False
) -> None:
    """Run `work` to its end or its limits and write the facts to `fds[0]`; never returns.

    `fds[1]` is the lifeline: when its other end closes, the probe is gone, and the test goes too. The word `FACTS`
    becomes the number of the descriptor for events, `@HOME@` in a word the test's private folder, which is also its
    home and its place for temporary files. `alone`: this process may have a network of its own, so that the test's
    attempts to leave the machine can be counted.
    """
    answer, lifeline = fds
    # Whoever ends the probe's group must not end us: we are the ones who clean up.
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    home = tempfile.mkdtemp(prefix="test-", dir=scratch)
    try:
        isolate.become_subreaper()
        alone = alone and isolate.own_network()
        watched = _start(work, {**env, "HOME": home, "TMPDIR": home}, limits, lifeline, home)
        _watch(watched, limits)
        _end_everything(watched)
        facts = _facts(watched, home)
        facts["unreached"] = isolate.without_route() if alone else 0
        text = json.dumps(facts).encode("ascii")
    except BaseException as error:  # noqa: BLE001 - the probe must hear of it, whatever it is
        text = json.dumps({"ended": "keeper", "tail": repr(error)}).encode("ascii")
    shutil.rmtree(home, ignore_errors=True)
    with contextlib.suppress(OSError):
        if select.select([lifeline], [], [], 0)[0]:
            os.rmdir(scratch)  # the probe is gone: the last of us turns off the light
    with contextlib.suppress(OSError):
        write_all(answer, text)
    os._exit(0)


def write_all(fd: int, data: bytes) -> None:
    """Write everything, however small the pipe."""
    while data:
        data = data[os.write(fd, data) :]


def _facts(watched: Watched, home: str) -> dict[str, object]:
    facts: dict[str, object] = {
        "ended": watched.ended,
        "status": watched.status,
        "said": watched.said.decode("ascii", "replace"),
        "tail": watched.tail.decode("utf-8", "replace"),
        "written": watched.written,
        "seconds": round(time.monotonic() - watched.started, 3),
        "cpu": round(watched.cpu, 3),
        "memory": watched.peak,
        "left": watched.left,
    }
    report = os.path.join(home, "pytest.xml")
    if os.path.exists(report):
        with open(report, encoding="utf-8", errors="replace") as file:
            facts["junit"] = file.read(20_000_000)
    return facts


def _start(work: Work, env: dict[str, str], limits: Limits, lifeline: int, home: str) -> Watched:
    out_read, out_write = os.pipe()
    facts_read, facts_write = os.pipe()
    os.set_inheritable(facts_write, True)
    if isinstance(work, WithFiles):
        _put(work.files, home)
        work = work.argv
    if isinstance(work, list):
        work = [str(facts_write) if word == "FACTS" else word.replace("@HOME@", home) for word in work]
    pid = os.fork()
    if pid == 0:
        for fd in (lifeline, out_read, facts_read):
            os.close(fd)
        _become(limits, out_write, home)
        _work(work, env, facts_write)
    os.close(out_write)
    os.close(facts_write)
    for fd in (out_read, facts_read):
        os.set_blocking(fd, False)
    return Watched(pid, out_read, facts_read, lifeline, time.monotonic(), open={out_read, facts_read})


def _put(files: dict[str, str], home: str) -> None:
    for name, text in files.items():
        path = os.path.join(home, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


def _become(limits: Limits, out: int, home: str) -> None:
    """The forked child leaves our session, standard streams and size behind."""
    try:
        os.setsid()
        os.chdir(home)
        null = os.open("/dev/null", os.O_RDONLY)
        for source, target in ((null, 0), (out, 1), (out, 2)):
            os.dup2(source, target, inheritable=True)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # A backstop only: reserving address space is no sin (CUDA and thread pools do), so no limit on that.
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        bound = limits.memory * 4 if hard == resource.RLIM_INFINITY else min(limits.memory * 4, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))
        for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
    except BaseException as error:  # noqa: BLE001 - there is nobody above who could catch it
        os.write(2, f"cannot prepare the test: {error}\n".encode("utf-8", "replace"))
        os._exit(126)


def _work(work: Work, env: dict[str, str], facts: int) -> None:
    """In the forked child: become the program, or run our own function; it never returns."""
    try:
        if isinstance(work, list):
            os.execve(work[0], work, env)  # noqa: S606 - a list of words, no shell
        elif not isinstance(work, WithFiles):
            work(facts)
            os._exit(0)
    except BaseException:  # noqa: BLE001 - there is nobody above who could catch it
        os.write(2, traceback.format_exc().encode("utf-8", "replace"))
    os._exit(127)


def _watch(watched: Watched, limits: Limits) -> None:
    """Until the test program ends, by itself or by a limit."""
    while watched.status is None:
        ready, _, _ = select.select([*watched.open, watched.lifeline], [], [], _pause(watched))
        if watched.lifeline in ready:
            watched.ended = "abandoned"
        _read(watched)
        _reap(watched)
        if watched.status is None:
            watched.ended = watched.ended or _over(watched, limits)
            if watched.ended:
                _stop(watched)
                return


def _pause(watched: Watched) -> float:
    """A tick; less once the test has closed its output, because then it is about to end."""
    return TICK if watched.out in watched.open else 0.002


def _over(watched: Watched, limits: Limits) -> str:
    """Which limit is passed, if any."""
    if watched.written > limits.output:
        return "output"
    if time.monotonic() - watched.started > limits.seconds:
        return "timeout"
    memory = isolate.resident(isolate.descendants(os.getpid()))
    watched.peak = max(watched.peak, memory)
    return "memory" if memory > limits.memory else ""


def _read(watched: Watched) -> None:
    """Take what is there, a bounded amount, so that a flood cannot hold us here."""
    for _ in range(64):
        chunk = _read_some(watched, watched.out)
        watched.written += len(chunk)
        watched.tail = (watched.tail + chunk)[-TAIL:]
        if not chunk:
            break
    said_at_most = 50_000_000  # the checks of a whole environment; a test says less than 200 kB
    watched.said = (watched.said + _read_some(watched, watched.facts))[:said_at_most]


def _read_some(watched: Watched, fd: int) -> bytes:
    try:
        chunk = os.read(fd, 65536)
    except BlockingIOError:
        return b""
    except OSError:
        chunk = b""
    if not chunk:
        watched.open.discard(fd)
    return chunk


def _reap(watched: Watched) -> None:
    """Collect whoever ended; orphans of the test come to us too."""
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        watched.cpu += usage.ru_utime + usage.ru_stime
        watched.peak = max(watched.peak, usage.ru_maxrss * 1024)
        if pid == watched.pid:
            watched.status = os.waitstatus_to_exitcode(status)


def _stop(watched: Watched) -> None:
    """At a time limit ask with SIGABRT first: the interpreter then says where it was. Then no more questions."""
    for number, patience in ((signal.SIGABRT, 1.0), (signal.SIGKILL, 5.0)):
        if number == signal.SIGABRT and watched.ended != "timeout":
            continue
        with contextlib.suppress(ProcessLookupError):
            os.kill(watched.pid, number)
        until = time.monotonic() + patience
        while watched.status is None and time.monotonic() < until:
            select.select([watched.out], [], [], 0.01)
            _read(watched)
            _reap(watched)


def _end_everything(watched: Watched) -> None:
    """Name and kill what the test left behind; after a limit nobody gets a grace."""
    until = time.monotonic() + (0 if watched.ended else GRACE)
    while True:
        _read(watched)
        _reap(watched)
        alive = [pid for pid in isolate.descendants(os.getpid()) if not isolate.is_zombie(pid)]
        if not alive or time.monotonic() >= until:
            break
        time.sleep(0.01)
    if not watched.ended:
        watched.left = [isolate.title(pid) for pid in alive[:10]]
    until = time.monotonic() + 5
    while alive and time.monotonic() < until:
        for pid in alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
        _reap(watched)
        alive = [pid for pid in isolate.descendants(os.getpid()) if not isolate.is_zombie(pid)]
    _read(watched)
