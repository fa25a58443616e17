"""The probe: started once in an image, it runs every test in a process of its own and survives all of them.

It reads one request (a JSON object) and writes one JSON object a line: `start`, then the answers in the order in which
they come, a `beat` now and then so that silence means trouble, and `end` with their number. An answer without `end`
is a truncated one.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field

from conda_concept.inside import isolate, keeper
from conda_concept.inside.checks import Checker
from conda_concept.inside.fitted import look
from conda_concept.inside.survey import chosen, survey

BEAT = 5.0
#: How much longer than its test a keeper may take before it is given up, in seconds.
PATIENCE = 15.0
#: What an import must not see: displays and other interpreters' settings.
HIDDEN = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP")
#: One test gets one core: thread pools as wide as the node would make each import slow and all of them slower.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_MAX_THREADS")


@dataclass
class Running:
    """A keeper at work: its task, the pipe of its answer, and when we stop waiting for it."""

    task: dict[str, object]
    pid: int
    deadline: float
    answer: bytes = b""


@dataclass
class Probe:
    """One run of tasks, `workers` at a time."""

    request: dict[str, object]
    out: int
    running: dict[int, Running] = field(default_factory=dict)
    answered: int = 0
    network: str = ""

    def say(self, **message: object) -> None:
        """One line to the host."""
        data = json.dumps(message).encode("ascii") + b"\n"
        while data:
            data = data[os.write(self.out, data) :]

    def run(self) -> None:
        """Do what the request says."""
        request = self.request
        if os.geteuid() == 0:
            sys.exit("The tests run the code of packages, and so never as root: give them an ordinary user.")
        cut = not request.get("network")
        given = isolate.enter(cut_network=cut, read_only=_words(request.get("read_only")))
        self.network = "open" if not cut else "namespace" if "network" in given else "hook"
        self.say(
            kind="start",
            network=self.network,
            store="read-only" if "read-only" in given else "as it is",
            reaper=isolate.become_subreaper(),
            uid=os.geteuid(),
        )
        if request.get("survey"):
            prefix = str(request["prefix"])
            host = look(prefix, _words(request.get("removed")), _pairs(request.get("host_links")))
            self.say(kind="survey", survey={**survey(prefix), "host": host})
        scratch = _scratch()
        try:
            self._run_tasks(list(request.get("tasks") or ()), scratch)  # type: ignore[call-overload]  # JSON
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        self.say(kind="end", answered=self.answered, cpu=round(sum(one.ru_utime + one.ru_stime for one in used), 3))

    def _run_tasks(self, waiting: list[dict[str, object]], scratch: str) -> None:
        lifeline, alive = os.pipe()
        waiting.reverse()
        beat = time.monotonic()
        while waiting or self.running:
            while waiting and len(self.running) < int(str(self.request.get("workers", 1))):
                self._begin(waiting.pop(), (lifeline, alive), scratch)
            for fd in select.select(list(self.running), [], [], 1.0)[0]:
                self._listen(fd)
            self._give_up()
            if time.monotonic() - beat > BEAT:
                beat = time.monotonic()
                self.say(kind="beat", running=[str(one.task["id"]) for one in self.running.values()])
        os.close(lifeline)
        os.close(alive)

    def _begin(self, task: dict[str, object], lifeline: tuple[int, int], scratch: str) -> None:
        limits = keeper.Limits(float(str(task["seconds"])), int(str(task["memory"])), int(str(task["output"])))
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            for fd in (self.out, read, lifeline[1], *self.running):
                with contextlib.suppress(OSError):
                    os.close(fd)
            alone, fds = self.network == "namespace", (write, lifeline[0])
            keeper.keep(self._work(task), _environment(self.request), limits, fds, scratch, alone=alone)
        os.close(write)
        self.running[read] = Running(task, pid, time.monotonic() + limits.seconds + PATIENCE)

    def _work(self, task: dict[str, object]) -> keeper.Work:
        """The words to start, or for checks that only read, a function of ours in the forked process."""
        if "static" in task:
            wanted = set(_words(task["static"]))
            return lambda fd: self._static(wanted, fd)
        files = task.get("files")
        if isinstance(files, dict):
            return keeper.WithFiles(_words(task["argv"]), {str(name): str(text) for name, text in files.items()})
        return [str(self.request["child"]) if word == "CHILD" else word for word in _words(task["argv"])]

    def _static(self, wanted: set[str], fd: int) -> None:
        request = self.request
        prefix = str(request["prefix"])
        checker = Checker(
            prefix,
            tuple(_words(request.get("foreign"))),
            tuple(_words(request.get("host_folders"))),
            _pairs(request.get("host_links")),
            tuple(_words(request.get("host_software"))),
        )
        for owner in chosen(prefix, wanted):
            for result in checker.all_of(owner):
                keeper.write_all(fd, json.dumps(result).encode("ascii") + b"\n")

    def _listen(self, fd: int) -> None:
        chunk = os.read(fd, 1 << 16)
        if chunk:
            self.running[fd].answer += chunk
        else:
            self._finish(fd)

    def _finish(self, fd: int, lost: str = "keeper") -> None:
        """Report a keeper's answer; a keeper that died without one was killed by its own test."""
        done = self.running.pop(fd)
        os.close(fd)
        try:
            facts = json.loads(done.answer)
        except ValueError:
            facts = {"ended": lost, "tail": done.answer.decode("utf-8", "replace")[-500:]}
            with contextlib.suppress(ProcessLookupError):
                os.kill(done.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(done.pid, 0)
        if facts.get("ended") == lost:
            self._end_orphans()
        self.answered += 1
        self.say(kind="answer", id=done.task["id"], facts=facts)

    def _give_up(self) -> None:
        """A keeper that does not come back hangs in the kernel (a dead file system): let it be, and say so."""
        now = time.monotonic()
        for fd in [fd for fd, one in self.running.items() if now > one.deadline]:
            done = self.running.pop(fd)
            os.close(fd)
            with contextlib.suppress(ProcessLookupError):
                os.kill(done.pid, signal.SIGKILL)
            self.answered += 1
            self.say(kind="answer", id=done.task["id"], facts={"ended": "stuck"})

    def _end_orphans(self) -> None:
        """What a dead keeper leaves comes to us; only keepers belong here."""
        keepers = {one.pid for one in self.running.values()}
        for pid in isolate.children(os.getpid()):
            if pid not in keepers:
                for below in [pid, *isolate.descendants(pid)]:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(below, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)


def _words(value: object) -> list[str]:
    return [str(word) for word in value] if isinstance(value, (list, tuple)) else []


def _pairs(value: object) -> dict[str, str]:
    return {str(key): str(item) for key, item in value.items()} if isinstance(value, dict) else {}


def _environment(request: dict[str, object]) -> dict[str, str]:
    prefix = str(request["prefix"])
    env = {name: value for name, value in os.environ.items() if name not in HIDDEN}
    env.update(dict.fromkeys(THREADS, "1"))
    path = env.get("PATH", "/usr/bin:/bin")
    # Without any browser webbrowser.open does nothing, and nobody would see that a package wants one.
    env.update(BROWSER="/bin/false")
    env.update(PREFIX=prefix, CONDA_PREFIX=prefix, PATH=f"{prefix}/bin:{path}", PYTHONNOUSERSITE="1")
    return env


def _scratch() -> str:
    """A folder of our own, wherever there is room for one: not in what was made read-only for the tests."""
    for parent in (os.environ.get("TMPDIR"), "/tmp", "/dev/shm", "/var/tmp"):  # noqa: S108 - looked for, made unguessable
        if parent and os.path.isdir(parent) and os.access(parent, os.W_OK):
            return tempfile.mkdtemp(prefix="conda-concept-", dir=parent)
    raise OSError(
        "there is no folder for temporary files: bind /tmp into the container, and give the site another scratch"
    )


def main(request: dict[str, object]) -> None:
    """Answer `request` on what was standard output; what anything else writes there goes to standard error."""
    out = os.dup(1)
    os.dup2(2, 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.stdin.close()
    Probe(request, out).run()
