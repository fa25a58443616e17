"""The real channels and history of analysis3, unpacked from tests/data (or taken from a folder of the same shape).

`channels/NAME/SUBDIR/repodata.json`, `history/STEP/environment.yml` and `history/STEP/packages.txt`, whose lines are
`channel/subdir/file`. Tests and benchmarks use it; nothing here is part of the program.
"""

import json
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKED = ROOT / "tests" / "data" / "analysis3"

#: Channels that the spec lists and the data has no package of.
EMPTY_CHANNELS = ("nvidia",)

CONFIG = """\
version: "26.06"
channel_priority: disabled
allowed_channels: [conda-forge, accessnri, rapidsai, pytorch, nvidia]
virtual_packages:
  __unix: "0"
  __linux: "4.18"
  __glibc: "2.28"
  __archspec: "1=x86_64"
  __cuda: "12.9"
"""


@dataclass(frozen=True)
class Step:
    """One state of the real environment: its spec (conda requests only) and what was really locked."""

    name: str
    environment: str
    packages: tuple[str, ...]


@dataclass(frozen=True)
class RealData:
    """The data below `folder`, ready for a solve: `alias` is its channel alias."""

    folder: Path

    @classmethod
    def unpack(cls, target: Path, source: Path | None = None) -> "RealData":
        """The data in `target`: from tests/data, or from a folder of the same shape."""
        target.mkdir(parents=True, exist_ok=True)
        for name in ("channels", "history"):
            if source is not None:
                shutil.copytree(source / name, target / name)
                continue
            with tarfile.open(PACKED / f"{name}.tar.xz") as archive:
                # Debian 12's Python 3.11.2 does not know filters yet; newer ones want one.
                if hasattr(tarfile, "data_filter"):
                    archive.extraction_filter = tarfile.data_filter
                archive.extractall(target)  # noqa: S202 - our own archives, kept with their tests
        for name in EMPTY_CHANNELS:
            for subdir in ("linux-64", "noarch"):
                file = target / "channels" / name / subdir / "repodata.json"
                if not file.exists():
                    file.parent.mkdir(parents=True, exist_ok=True)
                    empty = {"info": {"subdir": subdir}, "packages": {}, "packages.conda": {}, "repodata_version": 1}
                    file.write_text(json.dumps(empty))
        return cls(target)

    @property
    def alias(self) -> str:
        """The channel alias as a URL."""
        return (self.folder / "channels").as_uri()

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The history, oldest first."""
        return tuple(self._steps())

    def _steps(self) -> Iterator[Step]:
        for folder in sorted(path for path in (self.folder / "history").iterdir() if path.is_dir()):
            spec = (folder / "environment.yml").read_text()
            conda = "".join(f"{line}\n" for line in spec.partition("- pip:")[0].splitlines())
            yield Step(folder.name, conda, tuple((folder / "packages.txt").read_text().split()))

    @cached_property
    def records(self) -> dict[str, dict[str, Any]]:
        """Every record of the channels by `channel/subdir/file`."""
        found: dict[str, dict[str, Any]] = {}
        for file in sorted((self.folder / "channels").glob("*/*/repodata.json")):
            channel, subdir = file.parts[-3:-1]
            repodata = json.loads(file.read_text())
            for kind in ("packages", "packages.conda"):
                for name, record in repodata.get(kind, {}).items():
                    found[f"{channel}/{subdir}/{name}"] = record
        return found
