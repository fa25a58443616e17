"""Real conda packages that misbehave, installed by rattler beside a real interpreter: `tests/data/bad-packages`."""

import asyncio
import os
import shutil
import sysconfig
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import rattler
import yaml

from conda_concept.localchannel import File, PackageSpec, write_interpreter, write_package
from conda_concept.run import find_tool, run

DATA = Path(__file__).resolve().parent.parent / "data" / "bad-packages"


@dataclass(frozen=True, slots=True)
class BadPackage:
    """One of them: its name, the title of the test that has to notice, and the outcome that it has to find."""

    name: str
    summary: str
    test: str
    outcome: str
    spec: PackageSpec


def bad_packages() -> list[BadPackage]:
    """All of them, by name."""
    return [_read(folder) for folder in sorted(DATA.iterdir()) if folder.is_dir()]


def _read(folder: Path) -> BadPackage:
    about = yaml.safe_load((folder / "about.yml").read_text("utf-8"))
    root = folder / "site-packages"
    files: dict[str, File] = {
        f"site-packages/{path.relative_to(root)}": File(path.read_bytes()) for path in sorted(root.rglob("*.py"))
    }
    name = f"bad-{folder.name.replace('_', '-')}"
    entry_points = tuple(about.get("entry_points") or ())
    if entry_points:
        info = f"site-packages/{name.replace('-', '_')}-1.0.dist-info"
        files[f"{info}/METADATA"] = File(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode())
        text = "".join(f"{line}\n" for line in entry_points)
        files[f"{info}/entry_points.txt"] = File(f"[console_scripts]\n{text}".encode())
    if library := about.get("needs_library"):
        files["site-packages/bad_library/native.so"] = File(_extension_that_needs(library))
    spec = PackageSpec(
        name, "1.0", python=True, depends=["python"], files=files, entry_points=entry_points, summary=about["summary"]
    )
    return BadPackage(folder.name, about["summary"], about["test"], about["outcome"], spec)


def _extension_that_needs(library: str) -> bytes:
    """A real extension module of this interpreter, made to ask for one library more."""
    folder = Path(sysconfig.get_config_var("DESTSHARED"))
    original = min(folder.glob("*.so"), key=lambda path: path.stat().st_size)
    with tempfile.TemporaryDirectory() as work:
        copy = Path(shutil.copy(original, work))
        run([find_tool("patchelf"), "--add-needed", library, copy])
        return copy.read_bytes()


def make_prefix(prefix: Path, specs: Iterable[PackageSpec], channel: Path, *, seen_at: Path | None = None) -> None:
    """Install an interpreter and these packages into `prefix`, with bytecode, as a build does.

    `seen_at` is the path to write into the files, where it is another one (the tree becomes an image).
    """
    archives = [*interpreter_packages(channel), *(write_package(channel, spec) for spec in specs)]
    asyncio.run(_install(archives, prefix, channel, seen_at or prefix))
    for record in (prefix / "conda-meta").glob("*.json"):
        record.chmod(0o644)  # rattler writes them for their owner only; in an image squashfs opens them
    python = prefix / "bin" / "python3"
    library = next((prefix / "lib").glob("python3.*"))
    compiled = channel / ".compiled"
    if compiled.is_dir():  # the standard library takes seconds: once is enough for a channel's one interpreter
        shutil.copytree(compiled, library, dirs_exist_ok=True, copy_function=os.link)
    run(
        [python, "-I", "-B", "-m", "compileall", "-q", "-q", "-j2", "--invalidation-mode", "unchecked-hash", library],
        check=False,
    )
    if not compiled.is_dir():
        for cache in library.rglob("__pycache__"):
            if "site-packages" not in cache.parts:
                shutil.copytree(cache, compiled / cache.relative_to(library), copy_function=os.link)


def interpreter_packages(channel: Path) -> Sequence[Path]:
    """The archives of `python` and `python_abi`, made once for each channel."""
    found = sorted((channel / "linux-64").glob("python-3*.conda"))
    python = found[0] if found else write_interpreter(channel)
    return [python, *sorted((channel / "noarch").glob("python_abi-*.conda"))]


async def _install(archives: Sequence[Path], prefix: Path, channel: Path, seen_at: Path) -> None:
    records = []
    for archive in archives:
        own = await rattler.RepoDataRecord.from_package_archive(archive)
        records.append(rattler.RepoDataRecord(own, archive.name, archive.as_uri(), channel.as_uri()))
    await rattler.install(
        records,
        target_prefix=prefix,
        alternative_target_prefix=seen_at,
        cache_dir=channel / ".packages",
        installed_packages=[],
        execute_link_scripts=False,
        show_progress=False,
    )
