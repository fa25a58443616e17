"""Measure steps: wall and CPU seconds, peak memory of us and of our children, what is on which disk afterwards."""

import os
import resource
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path

from conda_concept.inside.isolate import descendants, resident
from conda_concept.progress import Reporter

_TICK = 0.05


@dataclass(frozen=True, slots=True)
class Disk:
    """What lies below some folders: allocated bytes and inodes, each file once however many names it has."""

    size: int = 0
    inodes: int = 0

    @classmethod
    def below(cls, folders: Sequence[Path]) -> "Disk":
        """Walk them now. Whatever goes away meanwhile is not there."""
        seen: set[tuple[int, int]] = set()
        size = 0
        todo = [str(folder) for folder in folders if folder.is_dir()]
        while todo:
            try:
                entries = list(os.scandir(todo.pop()))
            except OSError:
                continue
            for entry in entries:
                try:
                    found = entry.stat(follow_symlinks=False)
                    is_folder = entry.is_dir(follow_symlinks=False)
                except OSError:
                    continue
                if (found.st_dev, found.st_ino) not in seen:
                    seen.add((found.st_dev, found.st_ino))
                    size += found.st_blocks * 512
                if is_folder:
                    todo.append(entry.path)
        return cls(size, len(seen))


@dataclass(frozen=True, slots=True)
class Step:
    """One step's figures. `local` is scratch and cache, `shared` the store, as they are after it."""

    name: str
    seconds: float
    cpu: float
    own_memory: int
    children_memory: int
    local: Disk = Disk()
    shared: Disk = Disk()

    @property
    def memory(self) -> int:
        """The most that ourselves and our children held; the two peaks need not have been at once."""
        return self.own_memory + self.children_memory


@dataclass(slots=True)
class Gauge:
    """Measures steps of this process. `local` and `shared` are looked at after each, with the clocks stopped."""

    local: Sequence[Path] = ()
    shared: Sequence[Path] = ()
    steps: list[Step] = field(default_factory=list)
    own: int = 0
    children: int = 0
    used: dict[int, float] = field(default_factory=dict)
    walked: float = 0.0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure a block."""
        self.own = self.children = 0
        self.used = {}
        over = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(over,), daemon=True)
        watcher.start()
        began, before, children = time.monotonic(), _cpu(resource.RUSAGE_SELF), _cpu(resource.RUSAGE_CHILDREN)
        try:
            yield
        finally:
            seconds, cpu = time.monotonic() - began, _cpu(resource.RUSAGE_SELF) - before
            over.set()
            watcher.join()
            # What ends with its process namespace (a sandbox) is never waited for, so the kernel does not add it up.
            cpu += max(_cpu(resource.RUSAGE_CHILDREN) - children, sum(self.used.values()))
            over_at = time.monotonic()
            disks = Disk.below(self.local), Disk.below(self.shared)
            self.walked += time.monotonic() - over_at
            self.steps.append(Step(name, seconds, cpu, self.own, self.children, *disks))

    def rest(self, name: str, seconds: float) -> None:
        """What was left of a stretch of `seconds` beside its steps and our own looking at disks."""
        left = seconds - self.walked - sum(step.seconds for step in self.steps)
        last = self.steps[-1]
        self.steps.append(replace(last, name=name, seconds=left, cpu=0.0, own_memory=0, children_memory=0))

    def _watch(self, over: threading.Event) -> None:
        me = os.getpid()
        while True:
            self.own = max(self.own, resident([me]))
            children = descendants(me)
            self.children = max(self.children, resident(children))
            self.used.update((pid, used) for pid in children if (used := _used(pid)))
            if over.wait(_TICK):
                return


def _cpu(whose: int) -> float:
    """Seconds that this process, or its ended and collected children, used."""
    used = resource.getrusage(whose)
    return used.ru_utime + used.ru_stime


def _used(pid: int) -> float:
    """Seconds that a living process has used itself; see proc(5)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Gauged(Reporter):
    """A silent reporter whose steps are measured by a gauge."""

    gauge: Gauge = field(default_factory=Gauge)

    @classmethod
    def of(cls, gauge: Gauge) -> "Gauged":
        """Nobody reads what it says; warnings are kept."""
        return cls(StringIO(), quiet=True, gauge=gauge)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One of the program's own steps. Steps within steps count as parts of the outer one."""
        if self._depth:
            yield
            return
        self._depth += 1
        try:
            with self.gauge.step(title):
                yield
        finally:
            self._depth -= 1
