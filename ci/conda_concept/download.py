"""Fetch archives by hash into a cache that builds share.

rattler does not compare the hash of a `file://` archive with the lock (seen with py-rattler 0.28), so nothing is left
to it: every byte that is installed went through here, and the installation afterwards needs no network.
"""

import errno
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import requests

from conda_concept.errors import ConcError, InputError, IntegrityError, NetworkError, RefusedError, SpaceError
from conda_concept.model import CHANNEL_ALIAS, Package
from conda_concept.progress import Reporter
from conda_concept.space import Demand, require

_CHUNK = 1 << 20
_TRIES = 4
#: Seconds for a connection, and between two chunks.
_TIMEOUT = (10.0, 60.0)
#: In a log, where no bar moves, a line so many seconds after the last.
_QUIET = 30.0
#: Status codes that are worth a second try.
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of archives named by their sha256, and where channel names live for this run."""

    folder: Path
    channel_alias: str = CHANNEL_ALIAS

    def path(self, package: Package) -> Path:
        """Where the archive of a package is kept."""
        return self.folder / "archives" / str(package.sha256) / package.filename

    def unpacked(self, package: Package) -> Path:
        """Where rattler keeps a conda package unpacked."""
        return self.folder / "packages" / f"{package.name}-{package.version}-{package.build}"

    def secure(self) -> None:
        """Make the folder, and make it ours alone: who can write there decides what gets into everybody's images.

        Raises:
            RefusedError: if it belongs to somebody else.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            present = self.folder.stat()
            if present.st_uid == os.geteuid() and present.st_mode & 0o077:
                self.folder.chmod(0o700)
        except OSError as error:
            raise disk_error(error, self.folder) from error
        if present.st_uid != os.geteuid():
            raise RefusedError(
                f"the cache {self.folder} belongs to another account (number {present.st_uid}), "
                "which could put anything into what is built from it.",
                hint="Build as that account, or name another `cache` in the site file.",
            )

    def address(self, package: Package) -> str:
        """Where the archive comes from: the lock's address, below this run's channel alias."""
        if package.url.startswith(CHANNEL_ALIAS + "/"):
            return self.channel_alias.rstrip("/") + package.url.removeprefix(CHANNEL_ALIAS)
        return package.url


def fetch_all(packages: Sequence[Package], cache: Cache, reporter: Reporter, *, workers: int = 8) -> int:
    """Have every archive in the cache, each checked against its sha256; returns the bytes that were fetched.

    Raises `InputError` for a package without a sha256, `IntegrityError` for one whose bytes are not the lock's,
    `NetworkError` for the obvious, and `SpaceError`, before anything is fetched where it is plain that all of it will
    not fit. What was fetched until then stays in the cache.
    """
    unhashed = [package.name for package in packages if not package.sha256]
    if unhashed:
        raise InputError(
            f"the lock has no sha256 for {', '.join(unhashed[:5])}{' and others' if len(unhashed) > 5 else ''}.",
            hint="Lock the environment again; nothing is installed without its hash.",
        )
    cache.secure()
    missing = _missing(packages, cache, workers)
    _check_space(missing, cache)
    fetched, said = 0, time.monotonic()
    with reporter.bar("downloading", total=len(missing)) as bar, ThreadPoolExecutor(max_workers=workers) as pool:
        futures = {pool.submit(_fetch, package, cache): package for package in missing}
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                fetched += future.result()
                bar.update(done=done, text=futures[future].name)
                if not reporter.stream.isatty() and time.monotonic() - said > _QUIET:
                    said = time.monotonic()
                    reporter.say(f"{done} of {len(missing)} packages, {fetched / 1e6:,.0f} MB")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return fetched


def _missing(packages: Sequence[Package], cache: Cache, workers: int) -> list[Package]:
    """What is not there, or would be unpacked now and has other bytes than the lock says: disks decay."""
    there = {item.sha256: item for item in packages if _is_there(item, cache)}
    unread = [item for item in there.values() if not cache.unpacked(item).is_dir()]
    with ThreadPoolExecutor(max_workers=workers) as pool:
        digests = pool.map(lambda package: _sha256(cache.path(package)), unread)
        damaged = {item.sha256 for item, digest in zip(unread, digests, strict=True) if digest != item.sha256}
    return [item for item in packages if item.sha256 not in there or item.sha256 in damaged]


def _check_space(missing: Sequence[Package], cache: Cache) -> None:
    """`SpaceError` if the cache's file system has no room for these archives, packed and unpacked."""
    if missing:
        hint = "All in that folder can be fetched again; free some space, or name another `cache` in the site file."
        require(cache.folder, Demand.of(missing).cache, "download and unpack what is missing", hint)


def _is_there(package: Package, cache: Cache) -> bool:
    """An archive is renamed into place only after its hash was right; the size is a cheap look at what came after."""
    path = cache.path(package)
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return False
    return package.size is None or size == package.size


def _fetch(package: Package, cache: Cache) -> int:
    target = cache.path(package)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    # What an earlier run has of it; whoever renames it first goes on with it.
    begun = target.with_name(f".{target.name}.part")
    address = cache.address(package)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            begun.replace(part)
        _with_retries(lambda: _save(address, part), address)
        digest = _sha256(part)
        if digest != package.sha256:
            part.unlink()
            raise IntegrityError(
                f"{package.filename} from {address} is damaged or was replaced: "
                f"its sha256 is {digest}, the lock says {package.sha256}.",
                hint="If the channel was rebuilt, lock again; otherwise try again later and tell the channel's owner.",
            )
        part.replace(target)
        return target.stat().st_size
    except OSError as error:
        part.unlink(missing_ok=True)
        raise disk_error(error, target.parent) from error
    finally:
        with suppress(OSError):
            part.replace(begun)


def _with_retries(attempt: Callable[[], None], address: str) -> None:
    for number in range(1, _TRIES + 1):
        try:
            attempt()
        except NetworkError:
            if number == _TRIES:
                raise
            time.sleep(2.0 ** (number - 1))
        else:
            return
    raise AssertionError(address)


def _save(address: str, part: Path) -> None:
    """Append what is missing of `address` to `part`."""
    parts = urlsplit(address)
    if parts.scheme == "file":
        source = Path(unquote(parts.path))
        if not source.is_file():
            raise IntegrityError(
                f"the channel does not have {source.name} (any more): looked for it at {source}.",
                hint="Lock again, or say with --channel-alias where the channel is.",
            )
        with source.open("rb") as stream, part.open("wb") as out:
            while chunk := stream.read(_CHUNK):
                out.write(chunk)
        return
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        with requests.get(address, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            if answer.status_code in _TRANSIENT:
                raise NetworkError(f"{parts.hostname} answered {answer.status_code} for {address}.")
            if answer.status_code not in (200, 206):
                raise IntegrityError(
                    f"{parts.hostname} answered {answer.status_code} for {address}.",
                    hint="The package may have been removed from its channel; lock again.",
                )
            with part.open("ab" if answer.status_code == 206 else "wb") as out:
                for chunk in answer.iter_content(_CHUNK):
                    out.write(chunk)
    except requests.RequestException as error:
        raise NetworkError(
            f"{parts.hostname} could not be reached for {part.name.strip('.')}: {type(error).__name__}.",
            hint="This is the network's fault, not the request's; try again later.",
        ) from error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    for chunk in chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def chunks(path: Path) -> Iterator[bytes]:
    """The bytes of a file, a MiB at a time."""
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def disk_error(error: OSError, where: Path) -> ConcError:
    """An operating system error as what it means to people."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SpaceError(
            f"no space left below {where} ({error.strerror}).",
            hint="Free some space (`conda-concept prune --dry-run` shows what could go) and run the command again.",
        )
    return InputError(f"{error.filename or where}: {error.strerror}.", hint="Check that the path is there and yours.")
