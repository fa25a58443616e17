"""The nouns of conda-concept, frozen. Every other module speaks in these; see Words in the README.

Dataclasses hold what we make ourselves; pydantic models hold what people write (config and site files), so that
every mistake in a file is found in one go.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

#: Names that become file names, module names and branch names.
EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
#: `YY.MM` with an optional fix level: `23.07`, `23.07.1`. A string always: YAML reads 26.10 as 26.1.
ReleaseVersion = Annotated[str, StringConstraints(pattern=r"^[0-9]{2}\.(0[1-9]|1[0-2])(\.[0-9]{1,3})?$")]

Manager = Literal["conda", "pip"]


# --- what people ask for ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something was written: a file as people know it, and a line (from 1; 0: the whole file)."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Request:
    """One line of an `environment.yml`: `text` as written, `name` normalised, `channel` where the line names one."""

    text: str
    name: str
    manager: Manager
    place: Place
    channel: str | None = None


class Strict(BaseModel):
    """A mapping that people write: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ExcludeNewer(Strict):
    """A delay before a new upload is taken: most malicious or broken uploads are noticed within days."""

    days: int = Field(ge=0, le=365)
    except_channels: tuple[str, ...] = Field(default=(), strict=False)
    except_packages: tuple[str, ...] = Field(default=(), strict=False)


class Expectation(Strict):
    """What people know about a test: its title (`import numpy`; `*` matches), why, and where it is followed up."""

    test: str = Field(min_length=1, max_length=200)
    reason: str = Field(min_length=1, max_length=300)
    issue: str = Field(default="", max_length=300, pattern=r"^(https://\S+)?$")


class TestsConfig(Strict):
    """`tests:` in a config: what not to run, what is known to fail, and how long a test may take, in seconds."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    skip: tuple[Expectation, ...] = Field(default=(), strict=False)
    expect_fail: tuple[Expectation, ...] = Field(default=(), strict=False)
    timeout: int = Field(default=120, ge=1, le=3600)
    #: By the title of a test, where one needs another limit.
    timeouts: Mapping[str, Annotated[int, Field(ge=1, le=36000)]] = Field(default_factory=dict)


class Config(Strict):
    """`environments/NAME/config.yml`: everything about an environment that conda's own format has no place for."""

    version: ReleaseVersion
    #: The version that the plain name (`analysis3`) points at; this one where it is not given.
    stable: ReleaseVersion | None = None
    platforms: tuple[str, ...] = Field(default=("linux-64",), strict=False, min_length=1)
    #: Of the machine that the environment runs on: {"__glibc": "2.28", "__cuda": "12.9"}.
    virtual_packages: Mapping[str, str] = Field(default_factory=dict)
    channel_priority: Literal["strict", "disabled"] = "strict"
    allowed_channels: tuple[str, ...] = Field(default=("conda-forge",), strict=False, min_length=1)
    exclude_newer: ExcludeNewer | None = None
    #: Packages that may come from a channel's `broken` label.
    allow_broken: tuple[str, ...] = Field(default=(), strict=False)
    #: Packages whose changes are always shown openly (SPEC 0's core projects, say).
    key_packages: tuple[str, ...] = Field(default=(), strict=False)
    description: str = Field(default="", max_length=200)
    #: Whom users ask: an address or a link.
    contact: str = Field(default="", max_length=200)
    tests: TestsConfig = TestsConfig()


@dataclass(frozen=True, slots=True)
class Spec:
    """What is asked for: one environment's `environment.yml` and `config.yml`, checked."""

    name: str
    channels: tuple[str, ...]
    requests: tuple[Request, ...]
    variables: tuple[tuple[str, str], ...]
    config: Config

    @property
    def label(self) -> str:
        """The release's public name, `analysis3-23.04`."""
        return f"{self.name}-{self.config.version}"


# --- what the solver answers --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Package:
    """One locked package for one platform: conda's record, or a wheel or sdist of the `pip:` section.

    `depends` and `constrains` are match specs (`numpy >=1.26,<3`). `size` is bytes, `timestamp` milliseconds since
    1970, both as the channel says them, None where a lock from elsewhere does not carry them.
    """

    name: str
    version: str
    manager: Manager
    platform: str
    url: str
    md5: str | None
    sha256: str | None
    build: str | None = None
    build_number: int | None = None
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    size: int | None = None
    license: str | None = None
    timestamp: int | None = None
    noarch: Literal["python", "generic"] | None = None
    category: str = "main"
    optional: bool = False

    @property
    def filename(self) -> str:
        """The archive's name, without its folder."""
        return unquote(PurePosixPath(urlsplit(self.url).path).name)

    @property
    def subdir(self) -> str:
        """The channel's folder that holds it: `linux-64`, `noarch`; empty for pip."""
        return PurePosixPath(urlsplit(self.url).path).parent.name if self.manager == "conda" else ""

    @property
    def channel(self) -> str:
        """The channel's name as people write it: what stands before the subdir, without the channel alias."""
        if self.manager == "pip":
            return "pip"
        base = self.url.removesuffix(f"/{self.subdir}/{PurePosixPath(urlsplit(self.url).path).name}")
        return base.removeprefix(CHANNEL_ALIAS + "/")

    @property
    def day(self) -> dt.date | None:
        """The day of the upload, UTC."""
        if self.timestamp is None:
            return None
        return dt.datetime.fromtimestamp(self.timestamp / 1000, tz=dt.UTC).date()


#: Where bare channel names live by conda's own default. A lock always names packages below this address; the
#: `--channel-alias` of a run says where their bytes are fetched from, so that a lock does not depend on a mirror.
CHANNEL_ALIAS = "https://conda.anaconda.org"


@dataclass(frozen=True, slots=True)
class Lock:
    """The solver's exact answer, in the order of the file; `metadata` is what a file of another tool brought along."""

    packages: tuple[Package, ...]
    channels: tuple[str, ...]
    platforms: tuple[str, ...]
    content_hash: tuple[tuple[str, str], ...]
    sources: tuple[str, ...] = ("environment.yml",)

    def on(self, platform: str) -> tuple[Package, ...]:
        """The packages for one platform."""
        return tuple(package for package in self.packages if package.platform == platform)


ChangeKind = Literal["added", "removed", "upgrade", "downgrade", "rebuild", "channel"]


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one package between two locks, and why.

    `requested` is True where the spec itself asks for it; otherwise `why` is the shortest chain of names from a
    request to it, request first. `flags` are reasons to look twice, in words.
    """

    kind: ChangeKind
    name: str
    manager: Manager
    old: Package | None
    new: Package | None
    requested: bool
    why: tuple[str, ...]
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Diff:
    """All changes of one platform, sorted by name, and the totals before and after."""

    platform: str
    changes: tuple[Change, ...]
    packages_before: int
    packages_after: int
    bytes_before: int
    bytes_after: int


# --- what is built ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class Release:
    """One immutable built environment: `analysis3`, `23.04`, `1a2b3c4d`."""

    environment: str
    version: str
    build_id: str

    @property
    def label(self) -> str:
        """The public name that aliases and modules use, `analysis3-23.04`."""
        return f"{self.environment}-{self.version}"

    def __str__(self) -> str:
        return f"{self.label}/{self.build_id}"


@dataclass(frozen=True, slots=True)
class Alias:
    """A moving name for one release; `target` is a label (`analysis3-23.04`) or, for a label, a build id."""

    name: str
    target: str


@dataclass(frozen=True, slots=True)
class FileFact:
    """One path of a release directory: relative `path`, `kind`, permission bits, and what proves its content.

    `proof` is the sha256 of a file, the target of a symlink, empty for a directory.
    """

    path: str
    kind: Literal["file", "link", "directory"]
    mode: int
    size: int
    proof: str


@dataclass(frozen=True, slots=True)
class ImageFact:
    """The image of a release: digest, bytes on disk, and the tree inside it (file count, uncompressed bytes)."""

    sha256: str
    size: int
    files: int
    content_size: int
    squash: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where a release comes from; empty strings where it is not known (a laptop)."""

    commit: str = ""
    pull_request: str = ""
    author: str = ""


@dataclass(frozen=True, slots=True)
class ReleaseRecord:
    """`release.json`: what a release is, so that nobody has to open it. It is written last and never changed."""

    release: Release
    prefix: str
    platform: str
    packages: int
    lock_digest: str
    spec_digest: str
    builder: str
    built_at: str
    source: Source
    image: ImageFact
    files: tuple[FileFact, ...]
    commands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`tests.json`: what the tests said about one image; it counts for that image only.

    `counts` are results by kind (passed, new failure, known failure, fixed, skipped, …); `baseline` is the release
    that they were compared with, empty where there was none.
    """

    image_sha256: str
    passed: bool
    counts: tuple[tuple[str, int], ...]
    baseline: str = ""


# --- where it is built --------------------------------------------------------------------------------------------


class Groups(Strict):
    """Unix groups: who reads and executes, and who writes. None: the process's own, nothing is changed."""

    users: str | None = None
    owners: str | None = None


class Squash(Strict):
    """How images are compressed; the defaults were chosen by measurement (zstd 3 and 128 KiB blocks)."""

    compression: Literal["zstd", "lz4", "gzip", "xz"] = "zstd"
    level: int = Field(default=3, ge=1, le=22)
    block: Literal["64K", "128K", "256K", "512K", "1M"] = "128K"


class Site(Strict):
    """`ci/sites/NAME.yml`: one machine's settings. No other file may hold a path of one machine."""

    name: str
    #: Everything published lies below it; `${NAME}` is taken from the environment.
    root: str
    #: Fast local disk: the tree of a build lives and dies here.
    scratch: str
    #: Downloaded archives and repodata, kept between builds and safe to share.
    cache: str
    #: The folder below `apps/` and `modules/`, and so the first half of `module load conda_concept/analysis3`.
    product: str = "conda_concept"
    groups: Groups = Groups()
    runtime: Literal["singularity", "namespace"] = "singularity"
    #: Host folders that are visible inside, where they exist.
    binds: tuple[str, ...] = Field(default=(), strict=False)
    #: The container program by absolute path, outside the folders that are bound.
    singularity: str = "/usr/bin/singularity"
    squash: Squash = Squash()
