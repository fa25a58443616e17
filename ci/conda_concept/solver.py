"""py-rattler's solver behind one small door: channels, locked records, time budget, and its failures in our words.

A `Session` holds one event loop, one gateway and so one reading of the channels; a solve of 1,443 packages takes about
0.1 s of it. rattler leaves threads behind that can crash the interpreter's own shutdown: a process that came here
has to end with `os._exit`, as `cli.main` does.
"""

import asyncio
import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rattler import Channel, Gateway, GenericVirtualPackage, MatchSpec, PackageName, RepoDataRecord, Version
from rattler import solve as rattler_solve
from rattler.channel import ChannelPriority
from rattler.exceptions import GatewayError, SolverError
from rattler.package import BuildString

from conda_concept.channels import (
    Filtered,
    channel_names,
    channel_url,
    folder_is_missing,
    gateway_failure,
    only,
)
from conda_concept.errors import NetworkError, NotFoundError, SolveTimeoutError
from conda_concept.lockfile import sort_key, split_spec
from conda_concept.model import CHANNEL_ALIAS, Lock, Package, Request, Spec

#: No solve may hang. The largest real environment takes seconds; people wait minutes, not hours.
TIME_LIMIT = 600.0

#: What a Linux machine is taken to have where config.yml does not say: Rocky Linux 8, which Gadi runs, without a GPU.
LINUX = {"__unix": "0", "__linux": "4.18", "__glibc": "2.28", "__archspec": "1=x86_64"}


class NoSolutionError(Exception):
    """The solver says no; the text is its own. Internal: `explain` turns it into an `UnsolvableError`."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run says about solving, beside the spec.

    `channel_alias` is where bare channel names live (a URL or a folder); `now` is the time that `exclude-newer` counts
    from; `time_limit` is in seconds.
    """

    channel_alias: str = CHANNEL_ALIAS
    time_limit: float = TIME_LIMIT
    now: dt.datetime | None = None
    cache: Path | None = None
    #: Where pip's packages are looked up, if not in the index that pip itself takes.
    pip_index: str = ""
    #: What a child process of the solve may know of ours: proxies, certificates, the home folder.
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def alias(self) -> str:
        """The alias as a URL without a slash at the end."""
        text = self.channel_alias if "://" in self.channel_alias else Path(self.channel_alias).resolve().as_uri()
        return text.rstrip("/")


def virtual_packages(spec: Spec, platform: str) -> dict[str, str]:
    """The target machine's virtual packages, `name: version[=build]`; config.yml's win over our defaults."""
    known = dict(LINUX) if platform.startswith("linux") else {"__unix": "0"}
    if platform != "linux-64":
        known.pop("__archspec", None)
    return {**known, **spec.config.virtual_packages}


def asked(spec: Spec, platform: str) -> str:
    """sha256 (hex) of everything that a solve depends on beside the channels' content."""
    config = spec.config
    question = {
        "channels": spec.channels,
        "requests": sorted((request.manager, request.text) for request in spec.requests),
        "virtual_packages": sorted(virtual_packages(spec, platform).items()),
        "channel_priority": config.channel_priority,
        "exclude_newer": config.exclude_newer.model_dump(mode="json") if config.exclude_newer else None,
        "allow_broken": sorted(config.allow_broken),
    }
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()


class Session:
    """Solves for one spec on one platform; a context manager."""

    def __init__(self, spec: Spec, platform: str, settings: Settings) -> None:
        self.spec = spec
        self.platform = platform
        self.settings = settings
        self.virtual = virtual_packages(spec, platform)
        self.notes: list[str] = []
        self._runner = asyncio.Runner()
        self._gateway = Gateway(cache_dir=settings.cache)
        self._urls = {name: channel_url(name, settings.alias) for name in channel_names(spec)}
        self.missing = tuple(name for name, url in self._urls.items() if folder_is_missing(url))
        self._channels: list[Channel] = []
        self._sources = self._make_sources()

    def __enter__(self) -> Self:
        self._runner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.close()

    def solve(
        self,
        requests: Iterable[Request],
        *,
        locked: Sequence[RepoDataRecord] = (),
        pinned: Sequence[RepoDataRecord] = (),
        virtual: Mapping[str, str] | None = None,
        time_limit: float | None = None,
    ) -> list[RepoDataRecord]:
        """The records for `requests` (the conda ones), or `NoSolutionError`; `locked` is kept where it fits."""
        limit = self.settings.time_limit if time_limit is None else time_limit
        specs = [self.match_spec(request) for request in requests if request.manager == "conda"]
        priority = ChannelPriority.Strict if self.spec.config.channel_priority == "strict" else ChannelPriority.Disabled
        call = rattler_solve(
            self._sources,
            specs,
            gateway=self._gateway,
            platforms=[self.platform, "noarch"],  # type: ignore[list-item] # a checked string of config.yml
            locked_packages=locked,
            pinned_packages=pinned,
            virtual_packages=[_virtual(*item) for item in (self.virtual if virtual is None else virtual).items()],
            timeout=dt.timedelta(seconds=limit),
            channel_priority=priority,
            channel_relations="disabled",
        )
        try:
            found: list[RepoDataRecord] = self._run(call, limit)
        except SolverError as error:
            if "cancelled" in str(error):
                raise self._out_of_time(limit) from None
            raise NoSolutionError(str(error).strip()) from None
        return found

    def attempt(
        self, requests: Iterable[Request], *, virtual: Mapping[str, str] | None = None, time_limit: float | None = None
    ) -> str | None:
        """None if `requests` have a solution, else the solver's text; raises if the time is over."""
        try:
            self.solve(requests, virtual=virtual, time_limit=time_limit)
        except NoSolutionError as error:
            return str(error)
        return None

    def satisfiable(self, requests: Sequence[Request]) -> set[str]:
        """The names of those requests that some record of the channels meets, looked at one by one."""
        found = self._query(self._sources, [self.match_spec(request) for request in requests])
        there = {(record.name.normalized, str(record.channel).rstrip("/")) for record in found}
        names = {name for name, _ in there}
        return {
            request.name
            for request in requests
            if (
                request.name in names
                if request.channel is None
                else (request.name, self._urls[request.channel]) in there
            )
        }

    def delayed(self, request: Request) -> list[str]:
        """The versions that would meet a request if it were not for the delay of `exclude_newer`, oldest first."""
        if self.spec.config.exclude_newer is None:
            return []
        records = self._query(self._channels, [self.match_spec(request)])
        return list(dict.fromkeys(str(record.version) for record in sorted(records, key=lambda one: one.version)))

    def versions(self, name: str) -> list[tuple[str, str, str]]:
        """Version, build and channel of everything called `name`, oldest first."""
        records = sorted(self.find([name]), key=lambda record: (record.version, record.build_number))
        packages = [self.package(record) for record in records]
        return [(package.version, package.build or "", package.channel) for package in packages]

    def match_spec(self, request: Request) -> MatchSpec:
        """A request as rattler takes it: its channel by the address that this run uses."""
        if request.channel is None:
            return MatchSpec(request.text)
        _, mark, rest = request.text.partition("::")
        if mark:
            return MatchSpec(f"{self._urls[request.channel]}::{rest}")
        spec = MatchSpec(request.text)  # the form `numpy[version=">=2", channel=conda-forge]`
        parts = " ".join(part for part in (spec.version, spec.build) if part)
        return MatchSpec(f"{self._urls[request.channel]}::{request.name} {parts}")

    def find(self, specs: Sequence[str]) -> list[RepoDataRecord]:
        """All records of the channels that match one of the specs, as the channels describe them today."""
        return self._query(self._sources, [MatchSpec(text) for text in specs])

    def names(self) -> list[str]:
        """Every package name that the channels have for this platform."""
        found = self._run(self._gateway.names(self._channels, [self.platform, "noarch"]))  # type: ignore[list-item] # as above
        return sorted(name.normalized for name in found)

    def broken(self, packages: Sequence[Package]) -> set[str]:
        """The addresses of those packages that their channel has moved to its `broken` label."""
        found: set[str] = set()
        for channel in {package.channel for package in packages}:
            url = f"{channel_url(channel, self.settings.alias)}/label/broken"
            if folder_is_missing(url):
                continue
            specs = [f"{p.name} =={p.version} {p.build}" for p in packages if p.channel == channel]
            try:
                records = self._query([Channel(url)], [MatchSpec(text) for text in specs])
            except (NotFoundError, NetworkError):
                continue  # most channels have no such label, and some servers do not say so politely
            files = {(str(record.subdir), record.file_name) for record in records}
            found |= {p.url for p in packages if p.channel == channel and (p.subdir, p.filename) in files}
        return found

    def package(self, record: RepoDataRecord) -> Package:
        """A record as a package of our lock: canonical address, specs sorted."""
        return to_package(record, self.platform, self.canonical(str(record.url)))

    def canonical(self, url: str) -> str:
        """The address of a package as a lock names it, whatever mirror it was found on."""
        for name, base in self._urls.items():
            if url.startswith(base + "/") and "://" not in name:
                return f"{CHANNEL_ALIAS}/{name}/{url.removeprefix(base + '/')}"
        return url

    # --- inner parts ----------------------------------------------------------------------------------------------

    def _query(self, sources: Sequence[Any], specs: Sequence[MatchSpec]) -> list[RepoDataRecord]:
        call = self._gateway.query(
            sources,
            [self.platform, "noarch"],  # type: ignore[list-item] # a checked string of config.yml
            specs,
            recursive=False,
            channel_relations="disabled",
        )
        return [record for records in self._run(call) for record in records]

    def _make_sources(self) -> list[Any]:
        config = self.spec.config
        sources: list[Any] = []
        for name in self._urls:
            if name in self.missing:
                self.notes.append(f"Channel {name} has no folder below {self.settings.alias}; it was left out.")
                continue
            channel = Channel(self._urls[name])
            self._channels.append(channel)
            after = self._cutoff(name)
            sources.append(channel if after is None else self._filtered(channel, self._not_newer(after)))
            broken = f"{self._urls[name]}/label/broken"
            if config.allow_broken and not folder_is_missing(broken):
                sources.append(self._filtered(Channel(broken), only(config.allow_broken)))
        return sources

    def _filtered(self, channel: Channel, keep: Callable[[RepoDataRecord], bool]) -> Filtered:
        names = {
            subdir: frozenset(
                name.normalized
                for name in self._run(self._gateway.names([channel], [subdir]))  # type: ignore[list-item] # as above
            )
            for subdir in (self.platform, "noarch")
        }
        return Filtered(self._gateway, channel, keep, names)

    def _cutoff(self, channel: str) -> dt.datetime | None:
        rule = self.spec.config.exclude_newer
        if rule is None or rule.days == 0 or channel in rule.except_channels:
            return None
        now = self.settings.now or dt.datetime.now(tz=dt.UTC)
        return now - dt.timedelta(days=rule.days)

    def _not_newer(self, cutoff: dt.datetime) -> Callable[[RepoDataRecord], bool]:
        rule = self.spec.config.exclude_newer
        free = frozenset(rule.except_packages) if rule else frozenset()

        def keep(record: RepoDataRecord) -> bool:
            if record.name.normalized in free:
                return True
            uploaded = record.indexed_timestamp or record.timestamp
            # Channels write the time since 2017; what has none (`blas 1.0`) is older, not younger.
            return uploaded is None or uploaded <= cutoff

        return keep

    def _run(self, call: Any, limit: float | None = None) -> Any:
        limit = self.settings.time_limit if limit is None else limit

        async def bounded() -> Any:
            # The solver has a limit of its own; this one is for the network, and a little longer.
            async with asyncio.timeout(limit + 5):
                return await call

        try:
            return self._runner.run(bounded())
        except TimeoutError:
            raise self._out_of_time(limit) from None
        except GatewayError as error:
            raise gateway_failure(str(error), self.settings.alias) from None

    def _out_of_time(self, limit: float) -> SolveTimeoutError:
        return SolveTimeoutError(
            f"The solver found no answer within {limit:g} seconds (the time limit).",
            hint="Pin what you know (python, numpy, mpi), or give it more with `--time-limit SECONDS`.",
        )


# --- small translations ---------------------------------------------------------------------------------------------


def to_package(record: RepoDataRecord, platform: str, url: str) -> Package:
    """A solver's record as a `Package` that is fetched from `url`."""
    raw = json.loads(record.to_json())
    noarch = raw.get("noarch")
    return Package(
        name=raw["name"],
        version=raw["version"],
        manager="conda",
        platform=platform,
        url=url,
        md5=raw.get("md5"),
        sha256=raw.get("sha256"),
        build=raw["build"],
        build_number=raw["build_number"],
        depends=tuple(sorted(" ".join(split_spec(text)).strip() for text in raw.get("depends", ()))),
        constrains=tuple(sorted(raw.get("constrains", ()))),
        size=raw.get("size"),
        license=raw.get("license"),
        timestamp=raw.get("timestamp"),
        noarch=noarch if noarch in ("python", "generic") else None,
    )


def _virtual(name: str, value: str) -> GenericVirtualPackage:
    version, _, build = value.partition("=")
    return GenericVirtualPackage(PackageName(name), Version(version), BuildString(build or "0"))


def lock_of(spec: Spec, platform: str, packages: Iterable[Package]) -> Lock:
    """A lock of one platform with what was asked."""
    return Lock(
        packages=tuple(sorted(packages, key=sort_key)),
        channels=spec.channels,
        platforms=(platform,),
        content_hash=((platform, asked(spec, platform)),),
    )
