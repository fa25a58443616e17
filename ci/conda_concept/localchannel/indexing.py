"""The index of a local channel, written by rattler."""

import asyncio
import json
from pathlib import Path

from rattler.index import index_fs

from conda_concept.errors import IntegrityError


def index(channel_dir: Path) -> None:
    """Write `repodata.json` of every folder of the channel, from the archives that are there now.

    Each record has its archive's size, md5 and sha256 and what `info/index.json` says. The same archives give the
    same index. Every archive is read again each time: one that was replaced under its old name must not keep the
    hash of its former self.

    Raises:
        IntegrityError: if an archive cannot be read.
    """
    for subdir in ("noarch", "linux-64"):
        (channel_dir / subdir).mkdir(parents=True, exist_ok=True)
    try:
        asyncio.run(index_fs(channel_dir, write_zst=False, write_shards=False, force=True))
    except Exception as error:  # rattler raises its own kinds, and bare ones for what it has no kind for
        raise IntegrityError(
            f"the channel {channel_dir} cannot be indexed: {error}",
            hint="An archive in it is damaged; delete that file (or the whole folder) and make the channel again.",
        ) from error
    for subdir in ("noarch", "linux-64"):
        _forget_indexing_time(channel_dir / subdir / "repodata.json")
    scratch = channel_dir / ".tmp"  # rattler's own, empty when it is done
    if scratch.is_dir() and not any(scratch.iterdir()):
        scratch.rmdir()


def _forget_indexing_time(repodata: Path) -> None:
    """Drop `indexed_timestamp`, the moment of the indexing, from every record.

    It would make every index different, and a solver that was told to exclude newer packages takes it for the day
    of the upload, before `timestamp`: nothing in a fresh local channel would be old enough.
    """
    content = json.loads(repodata.read_bytes())
    for kind in ("packages", "packages.conda"):
        for record in content.get(kind, {}).values():
            record.pop("indexed_timestamp", None)
    new = repodata.with_suffix(".new")
    new.write_text(json.dumps(content, sort_keys=True, indent=1) + "\n", encoding="utf-8")
    new.replace(repodata)
