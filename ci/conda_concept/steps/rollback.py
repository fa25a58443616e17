"""Rollback: point a name at what it pointed at before."""

import datetime as dt

from conda_concept.errors import InputError, NotFoundError
from conda_concept.model import Release
from conda_concept.operations import StoreState, Switch
from conda_concept.plan import previous, rollback
from conda_concept.progress import Reporter
from conda_concept.record import BUILD_ID, LABEL, RELEASE, parse_release
from conda_concept.steps.publish import Asked, Switched, event_of, seen_by_users, told, unchanged, vet
from conda_concept.store import Store


def roll_back(store: Store, name: str, to: str, asked: Asked, reporter: Reporter, *, quick: bool = False) -> Switched:
    """Return `name` to the release before, or to `to`.

    Args:
        store: The store.
        name: A label (`analysis3-23.04`: its build changes) or another alias (`analysis3`: its label changes).
        to: Empty for the one before; for a label a build id, for another alias a label. LABEL/BUILDID fits both.
        asked: Who, and how. A reason to force is needed for a target that never passed its tests.
        reporter: Shows the check's progress.
        quick: Compare sizes, permissions and links only, and do not read the image again.

    Raises:
        NotFoundError: There is no such name, or nothing to return to.
        IntegrityError: The target is incomplete or damaged.
        GateError: The target did not pass its tests, and no reason is given.
        BusyError: Somebody else holds the store's lock.
    """
    started = store.now()
    state = store.reader.state()
    target = _target(state, name, to)
    release = _meant(state, name, target)
    vetted = vet(store, release, asked, reporter, read=not quick)
    checked = store.now()
    event = event_of("rollback", vetted, checked, asked, vetted.why)

    def decide(present: StoreState) -> tuple[Switch, ...]:
        product, default = store.layout.product, store.site.default_environment
        return rollback(present, event, name, target, product=product, default=default)

    operations = decide(state)
    if not asked.dry_run:
        with store.locked(f"roll back {name}", wait=asked.wait) as applier:
            unchanged(store, vetted)
            now = store.reader.state()
            if not to and now.target(name) != state.target(name) and now.target(name) != target:
                raise InputError(
                    f"`{name}` was moved to {now.target(name)} by somebody else meanwhile; nothing was changed.",
                    hint="Look at `conda-concept list --history`, then run the command again.",
                )
            operations = decide(now)
            applier.switch(operations)
    return Switched(
        release=release,
        operations=operations,
        event=told(operations),
        notices=seen_by_users(store, release),
        dry_run=asked.dry_run,
        seconds_checking=(checked - started) / dt.timedelta(seconds=1),
        seconds_switching=(store.now() - checked) / dt.timedelta(seconds=1),
    )


def _target(state: StoreState, name: str, to: str) -> str:
    """What the alias's link is to say: a build id for a label, a label for another alias."""
    if not state.target(name):
        known = ", ".join(alias.name for alias in state.aliases) or "none"
        raise NotFoundError(f"There is no alias `{name}` in this store.", hint=f"There are: {known}.")
    if not to:
        return previous(state, name)
    label = LABEL.fullmatch(name) is not None
    if RELEASE.fullmatch(to):
        release = parse_release(to)
        if label and release.label != name:
            raise InputError(f"{to} is not a release of {name}.")
        if not label and state.target(release.label) != release.build_id:
            raise InputError(
                f"`{name}` points at a label, and {release.label} does not point at {release.build_id}.",
                hint=f"First `conda-concept rollback {release.label} --to {release.build_id}`.",
            )
        to = release.build_id if label else release.label
    if not (BUILD_ID if label else LABEL).fullmatch(to):
        wanted = "a build id (1a2b3c4d)" if label else "a label (analysis3-23.04)"
        raise InputError(f"`{name}` can be rolled back to {wanted}, not to `{to}`.")
    if not label and to.partition("-")[0] != name.partition("-")[0]:
        raise InputError(f"{to} is not a release of {name}.")
    return to


def _meant(state: StoreState, name: str, target: str) -> Release:
    if LABEL.fullmatch(name):
        environment, _, version = name.partition("-")
        return Release(environment, version, target)
    release = state.release(target)
    if release is None:
        raise NotFoundError(f"{target} has no release in this store.")
    return release
