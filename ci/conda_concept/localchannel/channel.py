"""Make a whole local channel: this interpreter and the wheels that pip chooses for it."""

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from conda_concept.errors import ConcError, InputError, NetworkError, SpaceError, ToolError
from conda_concept.localchannel.indexing import index
from conda_concept.localchannel.interpreter import write_interpreter
from conda_concept.localchannel.wheel import wheel_package
from conda_concept.progress import Reporter
from conda_concept.run import CLEAN_ENVIRONMENT, CommandError, run

STAMP = "channel.json"
"""In a channel's folder: what it was made from, and which archives it has. It is written last."""

#: Of our own environment pip gets these: where it is allowed to look, and how it gets there.
_PIP_NEEDS = re.compile(r"PIP_.*|HOME|PATH|TMPDIR|XDG_.*|SSL_CERT_.*|REQUESTS_CA_BUNDLE|(?i:https?|no|all)_(?i:proxy)")

#: What pip says when it could not look, as opposed to having looked in vain.
_NO_NETWORK = ("Max retries exceeded", "Retrying (", "NewConnectionError", "ConnectTimeoutError", "ProxyError")

#: The demo's packages. Upper bounds only where a new major release would be a different show.
DEMO_REQUIREMENTS = (
    "dask>=2025.1,<2028",
    "matplotlib>=3.9,<4",
    "netCDF4>=1.7,<2",
    "numpy>=2,<3",
    "pandas>=2.2,<4",
    "pip>=24",
    "pytest>=8",
    "scipy>=1.14,<2",
    "xarray>=2025.1,<2028",
    # Not in the environment at first; for the pull requests that the demo plays.
    "dask-jobqueue>=0.9",
    "seaborn>=0.13",
)

#: Also in the demo's channel in the release before the newest: dask, because `distributed` (which `dask-jobqueue`
#: brings) asks for exactly its own release of dask, so that adding the one has to move the other.
DEMO_EARLIER = ("dask",)


@dataclass(frozen=True, slots=True)
class ChannelFacts:
    """What `make_channel` left: packages and bytes in the channel, and whether anything had to be made."""

    packages: int
    size: int
    made: bool


def make_channel(
    out_dir: Path,
    requirements: Sequence[str],
    reporter: Reporter,
    *,
    environ: Mapping[str, str],
    earlier: Sequence[str] = (),
) -> ChannelFacts:
    """Make `out_dir` a channel with this interpreter and `requirements` (as pip takes them) and all that they need.

    pip chooses and downloads the wheels, all in one go so that they fit together, with the configuration that it
    finds in `environ` and on this machine. Of the packages named in `earlier` the release before the chosen one
    is added too. A channel that was made from the same requirements by the same code is left as it is; one that
    was not finished is made again. The same wheels give the same bytes.

    One process at a time makes a channel.

    Raises:
        NetworkError: if pip could not reach its index.
        InputError: if there is no set of wheels for these requirements.
        SpaceError: if the disk is full.
        ToolError: if pip, `patchelf` or this interpreter's `ensurepip` is missing.
    """
    with _full_disk_explained(out_dir):
        return _make(out_dir, requirements, reporter, environ, earlier)


def _make(
    out_dir: Path,
    requirements: Sequence[str],
    reporter: Reporter,
    environ: Mapping[str, str],
    earlier: Sequence[str],
) -> ChannelFacts:
    """See `make_channel`."""
    inputs = _digest_of_inputs(requirements, earlier)
    facts = _finished(out_dir, inputs)
    if facts is not None:
        reporter.say(f"The local channel has what it should: {facts.packages} packages.")
        return facts
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / STAMP).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=out_dir, prefix=".wheels-") as work:
        with reporter.step("download wheels"):
            wheels = _download(Path(work, "newest"), requirements, environ)
            if earlier:
                before = _before(wheels, earlier)
                wheels += _download(Path(work, "earlier"), before, environ, alone=True)
        with reporter.step("make conda packages"), reporter.bar("packages", total=len(wheels) + 2) as bar:
            kept = {write_interpreter(out_dir), out_dir / "noarch" / _abi_name()}
            for done, wheel in enumerate(wheels, start=2):
                bar.update(done=done, text=wheel.name.split("-")[0])
                kept.add(wheel_package(out_dir, wheel))
    _remove_others(out_dir, kept)
    with reporter.step("index the channel"):
        index(out_dir)
    return _finish(out_dir, inputs)


def earlier_channel(channel: Path, out_dir: Path, names: Iterable[str]) -> ChannelFacts:
    """Make `out_dir` the channel as it was before the newest release of each of `names`: the same archives but those.

    For playing what happens when upstream releases something. Archives are linked where that is possible. A name
    with only one version there is left out altogether.

    Raises:
        InputError: if the channel does not have a name.
    """
    archives = sorted(path for path in channel.glob("*/*.conda"))
    hidden: set[Path] = set()
    for name in names:
        versions = [path for path in archives if path.name.rsplit("-", 2)[0] == name]
        if not versions:
            raise InputError(f"the channel {channel} has no package {name!r}.")
        hidden.add(max(versions, key=_version_of))
    inputs = hashlib.sha256("".join(f"{p.name} {_sha256(p)}\n" for p in archives if p not in hidden).encode())
    facts = _finished(out_dir, inputs.hexdigest())
    if facts is not None:
        return facts
    shutil.rmtree(out_dir, ignore_errors=True)
    for path in archives:
        if path not in hidden:
            target = out_dir / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(path, target)
    index(out_dir)
    return _finish(out_dir, inputs.hexdigest())


def _digest_of_inputs(requirements: Sequence[str], earlier: Sequence[str]) -> str:
    """A digest of what a channel is made from: the requests, this interpreter, and the code that makes it."""
    code = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        code.update(path.read_bytes())
    parts = [sorted(requirements), sorted(earlier), sys.version, sys.base_prefix, code.hexdigest()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _finished(out_dir: Path, inputs: str) -> ChannelFacts | None:
    """The facts of a finished channel made from these inputs that still has all its archives; else None."""
    try:
        stamp = json.loads((out_dir / STAMP).read_text(encoding="utf-8"))
        sizes = {name: (out_dir / name).stat().st_size for name in stamp["files"]}
    except (OSError, ValueError, KeyError):
        return None
    if stamp["inputs"] != inputs or stamp["files"] != sizes:
        return None
    return ChannelFacts(_packages(sizes), sum(sizes.values()), made=False)


def _finish(out_dir: Path, inputs: str) -> ChannelFacts:
    """Write the stamp, which makes a channel a finished one."""
    paths = [*out_dir.glob("*/*.conda"), *out_dir.glob("*/repodata.json")]
    sizes = {path.relative_to(out_dir).as_posix(): path.stat().st_size for path in sorted(paths)}
    new = out_dir / f"{STAMP}.new"
    new.write_text(json.dumps({"inputs": inputs, "files": sizes}, indent=1) + "\n", encoding="utf-8")
    new.replace(out_dir / STAMP)
    return ChannelFacts(_packages(sizes), sum(sizes.values()), made=True)


def _packages(sizes: Iterable[str]) -> int:
    return sum(name.endswith(".conda") for name in sizes)


def _download(
    folder: Path, requirements: Sequence[str], environ: Mapping[str, str], *, alone: bool = False
) -> list[Path]:
    """Let pip choose and fetch wheels into `folder`, with what they need unless `alone`."""
    allowed = {name: value for name, value in environ.items() if _PIP_NEEDS.fullmatch(name)}
    argv = [sys.executable, *_pip_words(folder, requirements, alone=alone)]
    try:
        run(argv, env={**CLEAN_ENVIRONMENT, **allowed}, timeout=1800)
    except CommandError as error:
        raise _explained(error, requirements) from error
    return sorted(folder.glob("*.whl"))


def _explained(error: CommandError, requirements: Sequence[str]) -> ConcError:
    """What pip's failure means."""
    said = _last_line(error.output)
    unreached = [line.strip() for line in error.output.splitlines() if any(sign in line for sign in _NO_NETWORK)]
    if unreached:
        return NetworkError(
            f"pip could not reach its package index: {unreached[-1][:300]}",
            hint="Check the network, or tell pip of a mirror or proxy (PIP_INDEX_URL, HTTPS_PROXY), and try again.",
        )
    if os.strerror(errno.ENOSPC) in error.output:
        return SpaceError("no space left for the wheels that pip downloads.", hint="Free some space and run it again.")
    if "No module named pip" in error.output:
        return ToolError(f"{sys.executable} has no pip.", hint="Run `ci/setup`, which makes an environment that has.")
    return InputError(
        f"pip finds no wheels for {', '.join(requirements)}: {said}",
        hint=f"Only wheels for Python {platform.python_version()} on this machine are taken, never sources.",
    )


@contextmanager
def _full_disk_explained(where: Path) -> Iterator[None]:
    """Turn the operating system's "no space" into a message for people."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise SpaceError(
            f"no space left for the channel {where} ({error.strerror}).",
            hint="Free some space and run it again: a channel that was not finished is made anew.",
        ) from error


def _pip_words(folder: Path, requirements: Sequence[str], *, alone: bool) -> list[str]:
    """What follows `python`."""
    words = ["-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--retries", "2"]
    words += ["--only-binary", ":all:", "--dest", str(folder)]
    return [*words, *(["--no-deps"] if alone else []), "--", *requirements]


def _last_line(output: str) -> str:
    """The line of pip's output that says it: the last one that is an error."""
    lines = [line for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["it said nothing"])[-1].removeprefix("ERROR:").strip()


def _before(wheels: Iterable[Path], names: Iterable[str]) -> list[str]:
    """Requirements for the release before the one in `wheels`, for each of `names`."""
    versions = {name: version for name, version, _, _ in (parse_wheel_filename(path.name) for path in wheels)}
    wanted = [canonicalize_name(name) for name in names]
    missing = [name for name in wanted if name not in versions]
    if missing:
        raise InputError(f"an earlier release of {', '.join(missing)} was asked for, which nothing requires.")
    return [f"{name}<{versions[name]}" for name in wanted]


def _abi_name() -> str:
    """The archive of `python_abi` for this interpreter."""
    major, minor = sys.version_info[:2]
    return f"python_abi-{major}.{minor}-0_cp{major}{minor}.conda"


def _remove_others(out_dir: Path, kept: Iterable[Path]) -> None:
    """Delete archives of an earlier making, and what a making that was killed left."""
    wanted = set(kept)
    for path in out_dir.glob("*/*.conda"):
        if path not in wanted:
            path.unlink()
    for leftover in (*out_dir.glob(".wheels-*"), *out_dir.glob("*/.new-*")):
        shutil.rmtree(leftover, ignore_errors=True)


def _version_of(archive: Path) -> Version:
    """The version in an archive's name, for ordering the archives of one package."""
    return Version(archive.name.rsplit("-", 2)[1])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
