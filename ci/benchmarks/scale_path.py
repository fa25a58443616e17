"""The whole path of a release, from an environment file to a user's start, measured step by step."""

import atexit
import os
import subprocess
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from scale_channel import Made
from scale_measure import Gauge, Gauged, Step
from scale_plan import Planned

from conda_concept.commands.context import Context
from conda_concept.model import Release, Source

NAME = "scale"
_SITE = """\
name: scale
root: {folder}/store
scratch: {folder}/scratch
cache: {folder}/cache
runtime: namespace
singularity: /opt/singularity/bin/singularity
binds: [/etc, /usr, /tmp, /opt, /var/tmp]
host_libraries: [/usr/lib, /lib]
node_dir: {folder}/node
"""
_CONFIG = """\
version: "26.11"
description: a synthetic environment
virtual_packages: {__unix: "0", __linux: "4.18", __glibc: "2.36", __archspec: "1=x86_64", __cuda: "12.9"}
"""
Answer = TypeVar("Answer")


def apart(function: Callable[..., Answer], *arguments: object) -> Answer:
    """Call it in a process of its own, so that its memory and threads are its own and end with it.

    A new one, not a fork: rattler's threads would be missing in it, and what they had locked would stay so.
    """
    with ProcessPoolExecutor(1, get_context("spawn"), _leave_at_once) as pool:
        return pool.submit(_explained, function, *arguments).result()


def _leave_at_once() -> None:
    """End without Python's own last steps, which rattler's threads do not survive (as `conda_concept.run.leave`)."""
    atexit.register(os._exit, 0)


def _explained(function: Callable[..., Answer], *arguments: object) -> Answer:
    """Not every exception of the program can be handed to another process; its text can."""
    try:
        return function(*arguments)
    except Exception as error:  # noqa: BLE001 - the same for all of them
        raise RuntimeError("".join(traceback.format_exception(error))) from None


@dataclass(frozen=True, slots=True)
class Passed:
    """What a way through the steps left: their figures, the release, what the tests said, image and content."""

    steps: tuple[Step, ...]
    release: str
    prefix: str
    image: int
    content: int
    files: int
    tests: int
    failures: tuple[str, ...]

    def seconds(self, *names: str) -> float:
        """The sum of some steps, or of all."""
        return sum(step.seconds for step in self.steps if not names or step.name in names)


@dataclass(frozen=True, slots=True)
class World:
    """A channel, a repository that asks for all of it, and a site, all below one folder."""

    folder: Path
    made: Made

    def set_up(self) -> None:
        """The repository and the folders."""
        sites = self.folder / "repository" / "ci" / "sites"
        sites.mkdir(parents=True, exist_ok=True)
        (sites / "scale.yml").write_text(_SITE.format(folder=self.folder))
        (self.folder / "node").mkdir(exist_ok=True)
        (self.folder / "node").chmod(0o1777)
        self.ask()

    def ask(self, *newer: Planned) -> None:
        """Write the environment file: all that nothing else brings, `newer` in their later version."""
        wanted = {package.name: f"{package.version}.1" for package in newer}
        packages = self.made.plan.by_name
        lines = [f"  - {name} =={wanted.get(name, packages[name].version)}" for name in self.made.plan.requests]
        folder = self.folder / "repository" / "environments" / NAME
        folder.mkdir(parents=True, exist_ok=True)
        head = f"name: {NAME}\nchannels:\n  - conda-forge\ndependencies:\n  - python\n"
        (folder / "environment.yml").write_text(head + "\n".join(lines) + "\n")
        (folder / "config.yml").write_text(_CONFIG)

    @property
    def gauge(self) -> Gauge:
        """A gauge that knows which folders are local and which are the shared file system."""
        return Gauge([self.folder / "scratch", self.folder / "cache"], [self.folder / "store"])

    def context(self, gauge: Gauge) -> Context:
        """What a command of the program would have."""
        return Context(
            environ={"HOME": str(self.folder), "PATH": "/usr/bin:/bin"},
            repository_path=self.folder / "repository",
            site_name="scale",
            channel_alias=self.made.alias.as_uri(),
            as_json=True,
            reporter=Gauged.of(gauge),
        )

    def candidate(self, *newer: Planned) -> Passed:
        """Lock, build and test; `newer` is what a pull request changes."""
        self.ask(*newer)
        steps = list(apart(_lock, self))
        built, facts = apart(_build, self)
        tested, verdict = apart(_test, self, facts["release"])
        return Passed(steps=(*steps, *built, *tested), **facts, **verdict)

    def publish(self, release: str) -> tuple[Step, ...]:
        """Point the names at it."""
        return apart(_publish, self, release)


def _lock(world: World) -> list[Step]:
    from conda_concept.locking import Wish
    from conda_concept.steps.lock import Files, lock

    gauge = world.gauge
    context = world.context(gauge)
    with gauge.step("lock"):
        lock(context.repository, NAME, Files(), Wish(), context.solver_settings(), Gauged.of(Gauge()))
    return gauge.steps


def _build(world: World) -> tuple[list[Step], dict[str, Any]]:
    from conda_concept.steps.build import Order, build

    gauge = world.gauge
    context = world.context(gauge)
    began = time.monotonic()
    with gauge.step("read the lock"):
        spec, text = context.repository.spec(NAME), context.lock_text(NAME, None)
        order = Order(spec, context.read_lock(text, spec), text, Source("0" * 40, "", ""))
    record = build(order, context.store, context.assembler).record
    gauge.rest("clean up and the rest", time.monotonic() - began)
    facts = {
        "release": str(record.release),
        "prefix": record.prefix,
        "image": record.image.size,
        "content": record.image.content_size,
        "files": record.image.files,
    }
    return gauge.steps, facts


def _test(world: World, release: str) -> tuple[list[Step], dict[str, Any]]:
    from conda_concept.steps.judge import judge

    gauge = world.gauge
    context = world.context(gauge)
    context.reporter = Gauged.of(Gauge())
    with gauge.step("test"):
        judged = judge(_release(release), context.repository.spec(NAME), context.edges, again=False)
    report = judged.report
    failures = tuple(f"{result.title}: {result.message}" for result in report.results if result.failed)
    return gauge.steps, {"tests": len(report.results), "failures": (*report.problems, *failures)}


def _publish(world: World, release: str) -> tuple[Step, ...]:
    from conda_concept.steps.publish import Asked, publish_release

    gauge = world.gauge
    context = world.context(gauge)
    with gauge.step("publish"):
        publish_release(context.store, _release(release), "26.11", Asked("bench"), Gauged.of(Gauge()))
    return tuple(gauge.steps)


def _release(text: str) -> Release:
    from conda_concept.record import parse_release

    return parse_release(text)


def unmounted(folder: Path) -> None:
    """End every mount below a folder."""
    for line in Path("/proc/self/mounts").read_text("utf-8").splitlines():
        place = line.split()[1]
        if place.startswith(f"{folder}/"):
            subprocess.run(["/usr/bin/umount", "-l", place], check=False)
