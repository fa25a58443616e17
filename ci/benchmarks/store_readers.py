"""Readers that never pause while a writer publishes and rolls back, and what each of them saw.

Three kinds read at once: shells that load the real modules of Environment Modules and of Lmod and start a command;
processes that do the same steps themselves, hundreds of times a second; and a job that loaded once, at the start.

Either all of it is small, with launchers that only read their image (a test of seconds), or everything is real: images,
launchers, modulefiles, and an ordinary user who starts commands through both runtimes (the benchmark).
"""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.store_real import become_user, ready_real, real_store, unmount_below
from benchmarks.storekit import ASKED, make_store, ready, release, silent
from conda_concept.layout import Layout
from conda_concept.operations import StoreState
from conda_concept.steps.publish import publish_release
from conda_concept.steps.rollback import roll_back
from conda_concept.store import RealDoor

MODULE_SYSTEMS = {
    "Environment Modules": Path("/usr/share/modules/init/bash"),
    "Lmod": Path("/usr/share/lmod/lmod/init/bash"),
}

#: One line a round: what the command said, or FAILED and why. PATH is reset, since what is unloaded may have moved.
SHELL = """
. "$1"; module use "$2"; clean=$PATH
while [ ! -e "$3" ]; do
    module load "$4" || echo "FAILED load"
    said=$(tool0 2>&1) || said="FAILED $said"
    echo "$said"
    module purge; PATH=$clean
done
"""

_SAID = re.compile(r"launcher=(\S+) image=(\S+) module=(\S+)")


#: The same once for each name.
LOADS = """
. "$1"; module use "$2"; clean=$PATH; product=$3; shift 3
for name in "$@"; do
    module load "$product/$name" || echo "FAILED load"
    said=$(tool0 2>&1) || said="FAILED $said"
    echo "$said"
    module purge; PATH=$clean
done
"""


@dataclass(slots=True)
class Seen:
    """What readers saw: rounds, how many releases, and everything that was wrong."""

    kind: str
    rounds: int = 0
    releases: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    def take(self, line: str) -> None:
        """Judge what one launch said: launcher, image and module of one release."""
        self.rounds += 1
        match = _SAID.fullmatch(line.strip())
        if match is None or len(set(match.groups())) != 1:
            self.wrong.append(f"{self.kind}: {line.strip()}")
        else:
            self.releases.add(match.group(1))


@dataclass(slots=True)
class Outcome:
    """All of it: switches by the writer, seconds each on average, and what the readers saw."""

    switches: int
    seconds: float
    seen: list[Seen]


@dataclass(frozen=True, slots=True)
class Scene:
    """Where readers read, how they are told to stop, and whether everything is real."""

    folder: Path
    layout: Layout
    real: bool

    @property
    def stop(self) -> Path:
        """Readers stop when it is there."""
        return self.folder / "stop"

    def runtime(self, number: int) -> str:
        """Which runtime a reader uses: every fourth one the container's, which takes several times as long."""
        return "singularity" if self.real and number % 4 == 3 else "namespace"


def run_readers(folder: Path, *, switches: int, real: bool = False) -> Outcome:
    """A store at `folder`, four shells (by turns one module system and the other), four quick readers and one job."""
    store = real_store(folder / "root") if real else make_store(folder / "root", door=RealDoor())
    make = ready_real if real else ready
    builds = [make(store, release("23.04", number)) for number in (1, 2)]
    other = make(store, release("23.07", 3))
    publish_release(store, builds[0], "23.04", ASKED, silent())
    scene = Scene(folder, store.layout, real)
    names = ("analysis3", "analysis3-unstable", "analysis3-23.04")
    running = [_shell(scene, names[number % 3], number) for number in range(4)]
    running += [
        _forked(scene, f"quick reader {number}", _quick(scene, names[number % 3], number)) for number in range(4)
    ]
    running.append(_forked(scene, "job", _job(scene)))
    started = time.monotonic()
    try:
        for turn in range(switches // 4):
            publish_release(store, builds[1], "23.04", ASKED, silent())
            publish_release(store, other, "23.07" if turn % 2 else "23.04", ASKED, silent())
            roll_back(store, "analysis3-23.04", builds[0].build_id, ASKED, silent())
            publish_release(store, builds[0], "23.04", ASKED, silent())
    finally:
        seconds = time.monotonic() - started
        scene.stop.write_text("")
        seen = [collect() for collect in running]
        unmount_below(folder)
    return Outcome(switches // 4 * 4, seconds / max(switches // 4 * 4, 1), seen)


def load_all(layout: Layout, state: StoreState) -> tuple[int, list[str]]:
    """Load every name that users can, in each module system, and start a command; how many, and what was wrong."""
    names = list(state.modules)
    loaded, wrong = 0, []
    for system, init in MODULE_SYSTEMS.items():
        seen = Seen(system)
        done = subprocess.run(
            ["/bin/bash", "-c", LOADS, "user", init, layout.module_path, layout.product, *names],
            env={"PATH": "/usr/bin:/bin", "HOME": str(layout.root), "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        for line in done.stdout.splitlines():
            seen.take(line)
        short = [] if seen.rounds == len(names) else [f"{system}: {seen.rounds} of {len(names)}: {done.stderr.strip()}"]
        loaded, wrong = loaded + seen.rounds, [*wrong, *seen.wrong, *short]
    return loaded, wrong


def _shell(scene: Scene, name: str, number: int) -> Callable[[], Seen]:
    """Start a shell that loads real modules; the result waits for it and reads what it wrote."""
    kind, runtime = list(MODULE_SYSTEMS)[number % 2], scene.runtime(number)
    out = scene.folder / f"shell{number}"
    argv = [
        "/bin/bash",
        "-c",
        SHELL,
        "reader",
        MODULE_SYSTEMS[kind],
        scene.layout.module_path,
        scene.stop,
        f"{scene.layout.product}/{name}",
    ]
    with out.open("w") as lines:
        process = subprocess.Popen(
            [str(word) for word in argv],
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": str(scene.folder),
                "LANG": "C.UTF-8",
                "CONDA_CONCEPT_RUNTIME": runtime,
            },
            stdin=subprocess.DEVNULL,
            stdout=lines,
            stderr=subprocess.DEVNULL,
            preexec_fn=become_user if scene.real else None,  # noqa: PLW1509 - this process has one thread
        )

    def collect() -> Seen:
        process.wait(timeout=60)
        seen = Seen(f"{kind}, {name}" + (f", {runtime}" if scene.real else ""))
        for line in out.read_text().splitlines():
            seen.take(line)
        return seen

    return collect


def _forked(scene: Scene, kind: str, rounds: Callable[[], Sequence[str]]) -> Callable[[], Seen]:
    """Start a process that collects lines until it is told to stop; the result waits for it."""
    out = scene.folder / kind.replace(" ", "-")
    lines = out.open("w")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if scene.real:
                become_user()
            with lines:
                lines.write(json.dumps(rounds()))
            status = 0
        finally:
            os._exit(status)
    lines.close()

    def collect() -> Seen:
        seen = Seen(kind)
        deadline = time.monotonic() + 60
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                seen.wrong.append(f"{kind}: did not stop")
                return seen
            time.sleep(0.05)
        for line in json.loads(out.read_text()):
            seen.take(line)
        return seen

    return collect


def _quick(scene: Scene, name: str, number: int) -> Callable[[], Sequence[str]]:
    """Load by reading what a module system reads, in its order, and launch; until told to stop."""

    def rounds() -> Sequence[str]:
        lines = []
        while not scene.stop.exists():
            try:
                lines.append(_launch(*_load(scene.layout, name), scene.runtime(number)))
            except (OSError, AttributeError) as error:
                lines.append(f"FAILED {error}")
        return lines

    return rounds


def _job(scene: Scene) -> Callable[[], Sequence[str]]:
    """Load once, then launch by the PATH of that moment until told to stop; more than one release is a failure."""

    def rounds() -> Sequence[str]:
        prefix, named = _load(scene.layout, "analysis3")
        lines = []
        while not scene.stop.exists():
            try:
                lines.append(_launch(prefix, named, scene.runtime(0)))
            except OSError as error:
                lines.append(f"FAILED {error}")
        return lines if len(set(lines)) == 1 else [*lines, f"FAILED the job saw {len(set(lines))} releases"]

    return rounds


def _load(layout: Layout, name: str) -> tuple[str, str]:
    """The prefix and the release that a module names."""
    text = layout.module(name).read_text()
    # A small modulefile has a prefix and names its release; a real one has its own and says so in its first comment.
    prefix = re.search(r"^set (?:own|prefix) (/\S+)", text, re.MULTILINE)
    named = re.search(r"RELEASE (\S+)", text) or re.search(r"^# (\S+), build (\S+):", text, re.MULTILINE)
    if prefix is None or named is None:
        raise OSError(f"half a modulefile: {text!r}")
    return prefix.group(1), "/".join(named.groups())


def _launch(prefix: str, named: str, runtime: str) -> str:
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/",
        "CONDA_CONCEPT_RELEASE": named,
        "CONDA_PREFIX": f"/releases/{named}",
        "CONDA_CONCEPT_RUNTIME": runtime,
    }
    argv = [f"{prefix}/bin/tool0"]
    done = subprocess.run(
        argv, env=environment, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else f"FAILED {done.stderr.strip()}"
