"""A lock to an image: a clean prefix in scratch, made from verified archives, compiled, and squashed.

Same lock and prefix in, same bytes out, wherever and whenever it is built: nothing in the tree names the scratch
folder or the time, bytecode is checked by no time stamp, and squashfs gets fixed times and owners.
"""

import asyncio
import json
import os
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rattler
from installer import install as install_wheel
from installer.destinations import SchemeDictionaryDestination
from installer.sources import WheelFile
from rattler.exceptions import ConversionError, ExtractError, InstallerError, IoError
from rattler.install.installer import InstallerReporter

from conda_concept.download import Cache
from conda_concept.errors import BuildError, IntegrityError
from conda_concept.model import Package
from conda_concept.progress import Bar, Reporter
from conda_concept.run import CommandError, find_tool, run
from conda_concept.settings import Squash

#: rattler's own words for files that share nothing with its cache that a writer could reach. (`allow-symbolic-links`
#: has to stay: without, py-rattler 0.28 makes files of what packages bring as links, with the placeholder left in.)
_PRIVATE = "allow-hard-links = false\n"
#: What mksquashfs may use for its queues; by itself it takes a quarter of the machine, and is no faster. Less for
#: layers, of which several are made at once.
_MEMORY, _LAYER_MEMORY = "512M", "128M"


@dataclass(slots=True)
class _LinkProgress(InstallerReporter):
    """rattler's callbacks to a progress bar; `current` is what a failure is blamed on."""

    bar: Bar
    done: int = 0
    current: str = ""
    names: dict[int, str] = field(default_factory=dict)
    started: dict[int, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def on_link_start(self, operation: int, package_name: str) -> int:
        self.current = self.names[operation] = package_name
        self.started[operation] = time.monotonic()
        return operation

    def on_link_complete(self, index: int) -> None:
        self.done += 1
        self.seconds[self.names[index]] = time.monotonic() - self.started[index]
        self.bar.update(done=self.done, text=self.current)


def install_conda(
    packages: Sequence[Package], staging: Path, prefix: Path, cache: Cache, reporter: Reporter, *, private: bool = False
) -> None:
    """Link the conda packages into `staging`, with `prefix` written into the files.

    Every archive has to be in the cache already. Link scripts do not run. Files are hard links into the package cache
    where the file system allows it, so a later step may replace a file but must never write into one; `private`: they
    are copies (as cheap as links where the file system shares blocks), which may be written into.
    """
    wanted = [package for package in packages if package.manager == "conda"]
    with reporter.bar("installing", total=len(wanted)) as bar:
        progress = _LinkProgress(bar)  # type: ignore[abstract]  # its methods do have defaults, empty ones
        try:
            asyncio.run(_install(wanted, staging, prefix, cache, progress, private))
        except InstallerError as error:
            text = " ".join(str(error).replace("\nCaused by:", ":").split())
            raise BuildError(
                f"a package could not be installed{f' ({progress.current})' if progress.current else ''}: {text}.",
                hint=f"If it is damaged in the cache, remove {cache.folder} and build again.",
            ) from error
    _say_seconds(wanted, progress.seconds, reporter)


def _say_seconds(packages: Sequence[Package], seconds: Mapping[str, float], reporter: Reporter) -> None:
    """Name every package with the seconds that its linking took, slowest first; a terminal gets the top five.

    Packages are linked side by side, so these do not add up to the step's. (What comes before, rattler starts for all
    at once, and does not say how much of it was waiting.)
    """
    order = sorted(packages, key=lambda one: (-seconds.get(one.name, 0.0), one.name))
    shown = order[:5] if reporter.stream.isatty() else order
    for package in shown:
        reporter.say(f"{seconds.get(package.name, 0.0):7.2f} s  {package.name} {package.version} {package.build}")


async def _install(
    packages: Sequence[Package], staging: Path, prefix: Path, cache: Cache, progress: _LinkProgress, private: bool
) -> None:
    records = [await _record(package, cache) for package in packages]
    await rattler.install(
        records,
        target_prefix=staging,
        cache_dir=cache.folder / "packages",
        installed_packages=[],
        execute_link_scripts=False,
        alternative_target_prefix=prefix,
        reporter=progress,
        config=rattler.Config.from_toml(_PRIVATE) if private else None,
    )


def unpacked(packages: Sequence[Package], cache: Cache) -> dict[str, Path]:
    """Where rattler keeps each conda package unpacked, by name."""
    found = {item.name: cache.unpacked(item) for item in packages if item.build}
    return {name: path for name, path in found.items() if path.is_dir()}


async def _record(package: Package, cache: Cache) -> rattler.RepoDataRecord:
    """What the archive says about itself, checked against the lock; dependencies as the lock has them (patched)."""
    archive = cache.path(package)
    try:
        own = await rattler.RepoDataRecord.from_package_archive(archive)
    except (ExtractError, IoError, ConversionError) as error:
        text = " ".join(str(error).split())
        raise IntegrityError(
            f"{archive.name} has the bytes that the lock says, but is no conda package: {text}.",
            hint="Tell the channel's owner, or ask for another build of it.",
        ) from error
    said = (own.name.normalized, str(own.version), str(own.build))
    locked = (package.name, package.version, package.build)
    if said != locked:
        raise IntegrityError(
            f"{archive.name} says that it is {' '.join(said)}, but the lock calls it {' '.join(map(str, locked))}.",
            hint="Lock again; if it stays like this, tell the channel's owner.",
        )
    own.depends = list(package.depends)
    if package.constrains:
        own.constrains = list(package.constrains)
    return rattler.RepoDataRecord(own, package.filename, archive.as_uri(), package.url.rsplit("/", 2)[0])


def install_wheels(packages: Sequence[Package], staging: Path, prefix: Path, cache: Cache) -> None:
    """Unpack the wheels of the `pip:` section into the staged prefix, with console scripts that start at `prefix`.

    Nothing of them runs. A source distribution would have to, so it is refused.
    """
    wheels = [package for package in packages if package.manager == "pip"]
    if not wheels:
        return
    sources = [package.filename for package in wheels if not package.filename.endswith(".whl")]
    if sources:
        raise BuildError(
            f"{', '.join(sources)} would have to be built from source, which runs its code during the build.",
            hint="Ask for a version that has a wheel, or for the conda package.",
        )
    found = sorted((staging / "lib").glob("python3.*/site-packages"))
    if not found:
        raise BuildError("pip packages are asked for, but there is no Python in this environment.")
    site_packages = found[0]
    include = staging / "include" / site_packages.parent.name
    scheme = {"purelib": site_packages, "platlib": site_packages, "scripts": staging / "bin", "data": staging}
    for package in wheels:
        destination = SchemeDictionaryDestination(
            {**{key: str(path) for key, path in scheme.items()}, "headers": str(include / package.name)},
            interpreter=str(prefix / "bin" / "python3"),
            script_kind="posix",
            overwrite_existing=False,
        )
        try:
            with WheelFile.open(cache.path(package)) as source:
                install_wheel(source, destination, {"INSTALLER": b"conda-concept\n"})
        except FileExistsError as error:
            raise BuildError(f"{package.filename} would overwrite a file of another package: {error}.") from error
        except (ValueError, zipfile.BadZipFile) as error:
            raise IntegrityError(f"{package.filename} is not a valid wheel: {error}.") from error


def settle_metadata(packages: Sequence[Package], staging: Path, requests: Mapping[str, str]) -> None:
    """Make `conda-meta` say where packages really come from, and nothing about the machine that built the image.

    `requests` maps names to the spec's own words, for `conda list` and `conda env export`.
    """
    by_name = {package.name: package for package in packages if package.manager == "conda"}
    folder = staging / "conda-meta"
    folder.mkdir(exist_ok=True)
    for path in sorted(folder.glob("*.json")):
        data: dict[str, Any] = json.loads(path.read_text("utf-8"))
        package = by_name[data["name"]]
        data.update(url=package.url, fn=package.filename, channel=package.url.rsplit("/", 1)[0])
        data.pop("extracted_package_dir", None)
        data.pop("package_tarball_full_path", None)
        data["link"] = {"source": "", "type": 1}
        data["requested_specs"] = [requests[package.name]] if package.name in requests else []
        # In one line: with indents Python's own encoder writes it, ten times as long for what adds up to 100 MB.
        _replace(path, json.dumps(data, sort_keys=True) + "\n")
    lines = ["==> 1970-01-01 00:00:00 <==", "# cmd: conda-concept build"]
    lines += [f"+{item.channel}/{item.subdir}::{item.name}-{item.version}-{item.build}" for item in by_name.values()]
    lines += [f"# update specs: {json.dumps(sorted(requests.values()))}"]
    _replace(folder / "history", "\n".join(lines) + "\n")


def _replace(path: Path, text: str) -> None:
    """Write a new file in place of a hard link into the package cache."""
    path.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")


def commands(staging: Path) -> tuple[str, ...]:
    """The names in the prefix's `bin` that can be run: what gets a launcher."""
    folder = staging / "bin"
    if not folder.is_dir():
        return ()
    return tuple(
        sorted(
            entry.name
            for entry in os.scandir(folder)
            if not entry.name.startswith(".") and entry.is_file() and os.access(entry.path, os.X_OK)
        )
    )


def link_scripts(staging: Path) -> tuple[str, ...]:
    """Packages that bring a link script, which did not run."""
    return tuple(sorted(path.name for path in (staging / "bin").glob(".*-post-link.sh")))


def clobbered(staging: Path) -> tuple[str, ...]:
    """Files that two packages bring; rattler keeps the loser below `__clobbers__/PACKAGE/`."""
    folder = staging / "__clobbers__"
    return tuple(sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()))


def squash_argv(tool: Path, trees: Sequence[Path], target: Path, options: Squash, workers: int) -> list[str]:
    """The `mksquashfs` line: reproducible, owned by root, readable by all, compressed as the site says."""
    memory = _MEMORY if workers > 1 else _LAYER_MEMORY
    level = ["-Xcompression-level", str(options.level)] if options.compression in ("zstd", "gzip") else []
    return [
        *(str(tool), *map(str, trees), str(target), "-noappend", "-quiet", "-no-progress", "-exit-on-error"),
        *("-all-root", "-all-time", "0", "-mkfs-time", "0", "-no-xattrs", "-root-mode", "755"),
        *("-action", "chmod(u=rwX,go=rX)@!type(l)"),
        *("-comp", options.compression, *level, "-b", options.block, "-processors", str(workers), "-mem", memory),
    ]


def squash(tree: Path, target: Path, options: Squash, workers: int) -> None:
    """Write the image of a tree to `target`, which must not be there yet."""
    _squash(squash_argv(find_tool("mksquashfs"), [tree], target, options, workers), target)


def squash_layer(folders: Sequence[Path], left_out: Path, target: Path, options: Squash) -> None:
    """Write one image with each folder below its own name, but the paths (absolute) in the file `left_out`."""
    argv = squash_argv(find_tool("mksquashfs"), folders, target, options, 1)
    _squash([*argv, "-keep-as-directory", "-ef", str(left_out)], target)


def _squash(argv: Sequence[str], target: Path) -> None:
    try:
        run(argv)
    except CommandError as error:
        target.unlink(missing_ok=True)
        raise BuildError(f"the image could not be squashed: {error}", hint="See the last lines above.") from error


def squash_version() -> str:
    """Which mksquashfs there is: `4.5.1`."""
    said = run([find_tool("mksquashfs"), "-version"], check=False).stdout
    return next((word for word in said.split() if word[0].isdigit()), "unknown")
