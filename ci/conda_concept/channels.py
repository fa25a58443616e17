"""Where channels live in this run, which of their records count, and what it means when one cannot be read."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from rattler import Channel, Gateway, MatchSpec, PackageName, RepoDataRecord

from conda_concept.errors import ConcError, InputError, IntegrityError, NetworkError, NotFoundError
from conda_concept.model import Spec


class Filtered:
    """A channel of which only some records count (rattler's `RepoDataSource`).

    `names` are those that the channel has, by subdir: whoever is not there is not asked for.
    """

    def __init__(
        self,
        gateway: Gateway,
        channel: Channel,
        keep: Callable[[RepoDataRecord], bool],
        names: Mapping[str, frozenset[str]],
    ) -> None:
        self._gateway = gateway
        self._channel = channel
        self._keep = keep
        self._names = names

    async def fetch_package_records(self, platform: Any, name: PackageName) -> list[RepoDataRecord]:
        """The records of one name that count."""
        if name.normalized not in self._names.get(str(platform), ()):
            return []
        found = await self._gateway.query(
            [self._channel], [platform], [MatchSpec(name.normalized)], recursive=False, channel_relations="disabled"
        )
        return [record for records in found for record in records if self._keep(record)]

    def package_names(self, platform: Any) -> list[str]:
        """The names that the channel has in a subdir."""
        return sorted(self._names.get(str(platform), ()))


def channel_url(name: str, alias: str) -> str:
    """Where a channel lives, without a slash at the end; a channel that is an address stays where it is."""
    return name.rstrip("/") if "://" in name else f"{alias}/{name}"


def channel_names(spec: Spec) -> tuple[str, ...]:
    """The spec's channels in their order, then those that only a request names."""
    named = [request.channel for request in spec.requests if request.channel is not None]
    return tuple(dict.fromkeys([*spec.channels, *named]))


def folder_is_missing(url: str) -> bool:
    """Whether `url` is a folder of this machine that is not there. A mirror on disk need not have every channel."""
    parts = urlsplit(url)
    return parts.scheme == "file" and not Path(unquote(parts.path)).is_dir()


def only(names: Sequence[str]) -> Callable[[RepoDataRecord], bool]:
    """A filter that lets the named packages through."""
    return lambda record: record.name.normalized in names


def gateway_failure(text: str, alias: str) -> ConcError:
    """What rattler says of a channel that could not be read, as the error that it is."""
    lines = text.splitlines()
    first = " ".join(lines[0].split())
    if "could not find subdir" in text or "status client error (404" in text:
        return NotFoundError(
            f"A channel was not found: {first}.",
            hint=f"Check its name in `channels:`, and the channel alias of this run: {alias}.",
        )
    reached = not any(word in text for word in ("error sending request", "client error (Connect)", "timed out"))
    if reached and any(word in text for word in ("parse", "invalid", "corrupt", "decod", "expected")):
        return IntegrityError(
            f"The package list of a channel is damaged: {'; '.join(lines)}.",
            hint="Try again; if it is a mirror, index it anew.",
        )
    return NetworkError(
        f"A channel could not be reached: {first}.",
        hint=f"({lines[-1].removeprefix('Caused by: ')}) Check the network and the channel alias of this run: {alias}.",
    )


def missing_channels(spec: Spec, missing: Sequence[str]) -> None:
    """Raise `InputError` if a request needs a channel that is not listed or that is not there."""
    problems = []
    for request in spec.requests:
        if request.channel is None:
            continue
        if request.channel in missing:
            problems.append(
                f"{request.place}: `{request.text}` is asked for from channel `{request.channel}`, "
                "which does not exist where this run looks for channels"
            )
        elif request.channel not in spec.channels:
            problems.append(
                f"{request.place}: `{request.text}` names channel `{request.channel}`, which `channels:` does not list"
            )
    if problems:
        raise InputError("Channels are missing.", problems=problems, hint="Add them to `channels:`, or fix the name.")
