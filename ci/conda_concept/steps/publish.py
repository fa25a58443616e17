"""Publish: make a release that is built and tested the one that names point at."""

import datetime as dt
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from conda_concept.errors import GateError, IntegrityError, NotFoundError, RefusedError
from conda_concept.model import Event, Release, ReleaseRecord
from conda_concept.operations import AppendEvent, Operation, StoreState, Switch
from conda_concept.plan import publish
from conda_concept.progress import Reporter
from conda_concept.store import Store
from conda_concept.store.checking import refuse_damaged, refuse_untested
from conda_concept.store.permissions import obstacles

#: What a publish needs on the disk: some links and two small files.
_BYTES, _INODES = 4 << 20, 32


@dataclass(frozen=True, slots=True)
class Switched:
    """What a publish or a rollback did, or would do: `event` is what the history says, None where nothing changed.

    `seconds_checking` is what comparing the release with its record took, `seconds_switching` all the rest: it is
    the time that other maintainers wait, and does not depend on the image's size. `notices` deserve a look.
    """

    release: Release
    operations: tuple[Operation, ...]
    event: Event | None
    notices: tuple[str, ...] = ()
    dry_run: bool = False
    seconds_checking: float = 0.0
    seconds_switching: float = 0.0


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks for it and how: `who` as user@host, `force` the reason to publish against the tests, if any."""

    who: str
    dry_run: bool = False
    force: str = ""
    wait: float = 60.0


def publish_release(store: Store, release: Release, stable: str | None, asked: Asked, reporter: Reporter) -> Switched:
    """Check a release, then point its label, `NAME-unstable` and, where it is the stable one, `NAME` at it.

    Where another version is to be stable and `NAME` does not mean it yet, that one is checked as well. The check reads
    every byte and comes before the lock, so that nobody waits for it; with the lock held only the image's size and
    times are looked at again. Running it again finishes what an earlier run began.

    Args:
        store: The store.
        release: A complete candidate, or a release that was published before.
        stable: The version that the plain name is to mean (`config.stable`, else this version). None: a fix of an
            older version, which moves nothing but its own label.
        asked: Who, and how.
        reporter: Shows the check's progress.

    Raises:
        IntegrityError: It is incomplete or damaged; no reason overrules that.
        GateError: The tests do not let it through, and no reason is given.
        BusyError: Somebody else holds the store's lock.
        SpaceError: The few links and files do not fit; what was live is still live.
    """
    started = store.now()
    label = f"{release.environment}-{stable}" if stable is not None else None
    vetted = [vet(store, release, asked, reporter)]
    other = _plain_name_moves_to(store.reader.state(), release, label)
    if other is not None:
        vetted.append(_vet_for_plain_name(store, other, asked, reporter))
    checked = store.now()
    store.check_space(_BYTES, _INODES, f"publish {release}")
    why = " ".join(one.why for one in vetted if one.why)
    event = event_of("publish", vetted[0], checked, asked, why)

    def decide() -> tuple[Switch, ...]:
        product, default = store.layout.product, store.site.default_environment
        return publish(store.reader.state(), event, product=product, stable=label, default=default)

    operations = decide()
    if not asked.dry_run:
        with store.locked(f"publish {release}", wait=asked.wait) as applier:
            for one in vetted:
                unchanged(store, one)
            if _plain_name_moves_to(store.reader.state(), release, label) not in {other, None}:
                raise RefusedError(f"{label} was moved by somebody else meanwhile.", hint="Run the command again.")
            operations = decide()
            applier.switch(operations)
    notices = [f"Published against the tests ({why}) because: {asked.force}"] if asked.force and why else []
    if label is not None and label != release.label and store.reader.state().release(label) is None:
        notices.append(f"`{release.environment}` was not moved: {label}, which is to be stable, is not published here.")
    notices += seen_by_users(store, release)
    return Switched(
        release=release,
        operations=operations,
        event=told(operations),
        notices=tuple(notices),
        dry_run=asked.dry_run,
        seconds_checking=(checked - started) / dt.timedelta(seconds=1),
        seconds_switching=(store.now() - checked) / dt.timedelta(seconds=1),
    )


Signature = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Vetted:
    """A release that a name may point at.

    `why` is what the tests have against it, where a reason overrules them; `seen` tells whether its image is changed
    afterwards.
    """

    release: Release
    record: ReleaseRecord
    why: str
    seen: Signature


def vet(store: Store, release: Release, asked: Asked, reporter: Reporter, *, read: bool = True) -> Vetted:
    """Ask the tests of a release, unless there is a reason to force it, and compare it with its record."""
    record = store.reader.record(release)
    why = store.checker.gate(release, record)
    if not asked.force:
        refuse_untested(why, release)
    seen = signature(store, release)
    with reporter.bar(f"checking {release}", total=record.image.size) as bar:
        problems = store.checker.verify(release, lambda done, total: bar.update(done=done, total=total), read=read)
    refuse_damaged(release, problems)
    return Vetted(release, record, why, seen)


def _plain_name_moves_to(state: StoreState, release: Release, label: str | None) -> Release | None:
    """The other release that the plain name would come to mean, now that another one is published."""
    if label in {None, release.label, state.target(release.environment)}:
        return None
    return state.release(label or "")


def _vet_for_plain_name(store: Store, release: Release, asked: Asked, reporter: Reporter) -> Vetted:
    """`vet`, where people have named only the release that is published, and may wonder about this one."""
    try:
        return vet(store, release, asked, reporter)
    except (IntegrityError, GateError, NotFoundError) as error:
        raise type(error)(
            f"`{release.environment}` is to mean {release.label} (`stable` in config.yml), and cannot: {error.message}",
            hint=f"Mend or publish {release.label} first, or name another version as `stable`. Nothing was changed.",
        ) from error


def event_of(action: Literal["publish", "rollback"], one: Vetted, when: dt.datetime, asked: Asked, why: str) -> Event:
    """What the history says about pointing names at a release; the moves are filled in later."""
    return Event(
        when=when.isoformat(timespec="seconds"),
        who=asked.who,
        action=action,
        release=one.release,
        source=one.record.source,
        lock_digest=one.record.lock_digest,
        forced=asked.force if why else "",
    )


def signature(store: Store, release: Release) -> Signature:
    """What changes when somebody writes to an image or replaces it; zeros where there is none to look at."""
    try:
        present = store.layout.image(release).stat()
    except OSError:
        return (0, 0, 0, 0)
    return (present.st_ino, present.st_size, present.st_mtime_ns, present.st_ctime_ns)


def unchanged(store: Store, one: Vetted) -> None:
    """`IntegrityError` if a release was changed or began to be removed since it was checked."""
    if not store.reader.complete(one.release) or signature(store, one.release) != one.seen:
        raise IntegrityError(
            f"{one.release} was changed while it was checked.", hint="Find out who did it, then run the command again."
        )


def told(operations: Sequence[Operation]) -> Event | None:
    """What the history is told, None where nothing changes."""
    return next((operation.event for operation in operations if isinstance(operation, AppendEvent)), None)


def seen_by_users(store: Store, release: Release) -> tuple[str, ...]:
    """What would keep a user from loading and running a release."""
    layout = store.layout
    record = store.reader.record(release)
    paths = [
        layout.image(release),
        layout.modulefile(release),
        *(layout.bin(release) / name for name in record.commands[:1]),
    ]
    paths += [path for path in (layout.module(release.label), layout.modulerc) if os.path.lexists(path)]
    found: dict[str, None] = {}
    for path in paths:
        found.update(dict.fromkeys(obstacles(path, store.permissions)))
    lacking = (store.permissions.lacking,) if store.permissions.lacking else ()
    return (*found, *lacking)
