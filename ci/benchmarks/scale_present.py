"""The present ways, on the same content: the 2023 pipeline's steps with its options, and a plain installation."""

import asyncio
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scale_measure import Disk, Gauge, Step
from scale_path import World, apart
from scale_plan import Planned

#: The 2023 pipeline's: nothing compressed, no look for duplicates.
_SQUASH = ("-noappend", "-no-progress", "-quiet", "-noI", "-noD", "-noF", "-noX", "-no-duplicates", "-processors", "2")


@dataclass(frozen=True, slots=True)
class Present:
    """The steps of both ways, the uncompressed image, and what a plain prefix is on a shared file system."""

    plain: tuple[Step, ...]
    first: tuple[Step, ...]
    update: tuple[Step, ...]
    image: int
    prefix: Disk


def present(world: World, changed: Sequence[Planned]) -> Present:
    """Install plainly, squash as in 2023, then update that image by `changed` as in 2023.

    Everything that both ways would take from a cache is in one; the plain prefix stays at `store/plain` for others.
    """
    work, shared = world.folder / "present", world.folder / "store"
    work.mkdir(exist_ok=True)
    plain, old, new = shared / "plain", work / "old.sqsh", work / "new.sqsh"
    shutil.rmtree(plain, ignore_errors=True)
    plain_steps = apart(_plain, world, plain)
    first, update = _gauge(world, work), _gauge(world, work)
    with first.step("squash, uncompressed"):
        _run("mksquashfs", plain, old, *_SQUASH)
    with first.step("copy to the shared disk"):
        _run("cp", old, shared / "old.sqsh")
    old.unlink()
    with update.step("unpack the old image"):
        _run("unsquashfs", "-no-progress", "-quiet", "-processors", "2", "-d", work / "tree", shared / "old.sqsh")
    (shared / "old.sqsh").unlink()
    update.steps += apart(_changed, world, work / "tree", tuple(changed))
    with update.step("squash, uncompressed"):
        _run("mksquashfs", work / "tree", new, *_SQUASH)
    with update.step("copy to the shared disk"):
        _run("cp", new, shared / "new.sqsh")
    size = new.stat().st_size
    shutil.rmtree(work)
    (shared / "new.sqsh").unlink()
    return Present(tuple(plain_steps), tuple(first.steps), tuple(update.steps), size, Disk.below([plain]))


def _gauge(world: World, work: Path) -> Gauge:
    return Gauge([work], [world.folder / "store"])


def _run(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)


def _plain(world: World, target: Path) -> list[Step]:
    """What `micromamba create` does: solve, fetch, unpack, link, compile; its cache is empty at first."""
    gauge = Gauge([world.folder / "plain-cache"], [target])
    with gauge.step("solve and install plainly"):
        asyncio.run(_install(world, target, {}))
    with gauge.step("compile bytecode"):
        words = [target / "bin" / "python3", "-I", "-m", "compileall", "-q", "-q", "-j", "2", target / "lib"]
        subprocess.run([str(word) for word in words], check=False, stdout=subprocess.DEVNULL)
    return gauge.steps


def _changed(world: World, tree: Path, changed: tuple[Planned, ...]) -> list[Step]:
    """The present pipeline installs into the tree that it has unpacked."""
    gauge = Gauge([tree.parent, world.folder / "plain-cache"], [world.folder / "store"])
    with gauge.step("install into it"):
        asyncio.run(_install(world, tree, {package.name: f"{package.version}.1" for package in changed}))
    return gauge.steps


async def _install(world: World, target: Path, newer: dict[str, str]) -> None:
    from rattler import Gateway, VirtualPackage, install, solve

    packages = world.made.plan.by_name
    names = world.made.plan.requests
    specs = ["python", *(f"{name} =={newer.get(name, packages[name].version)}" for name in names)]
    gateway = Gateway(cache_dir=world.folder / "plain-cache" / "repodata")
    channel = world.made.channel.as_uri()
    records = await solve([channel], specs, gateway=gateway, virtual_packages=VirtualPackage.detect())
    await install(records, target, cache_dir=world.folder / "plain-cache", show_progress=False)
