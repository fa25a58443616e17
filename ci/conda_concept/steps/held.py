"""Where a package is already: in the locks of the main branch and of the branches of older versions."""

import datetime as dt

from conda_concept.changes import why
from conda_concept.errors import ConcError
from conda_concept.lockfile import loads
from conda_concept.model import Lock, Package, Spec
from conda_concept.pipsolver import pypi_name
from conda_concept.render.request import Held
from conda_concept.repository import Repository
from conda_concept.requesting import Asked
from conda_concept.steps.packages import listed


def held(repository: Repository, wanted: Asked, today: dt.date) -> tuple[Held, ...]:
    """Every environment of the checkout, and every version with a branch, that has the package, by their locks.

    A version whose last day is past is left out: its branch stays, and nobody can load it any more.
    """
    found: list[Held] = []
    for name in repository.environments():
        text, spec = repository.lock_text(name), repository.spec(name)
        if text is not None and _has(text, wanted):
            found += _of(spec.label, loads(text), spec, wanted)
        over = {f"{name}-{version}" for version, day in spec.config.retire.items() if day < today}
        for label, ref in repository.release_branches(name):
            if label in over:
                continue
            text = repository.lock_text_at(name, ref)
            if text is not None and _has(text, wanted) and label not in [one.label for one in found]:
                found += _of(label, loads(text), None, wanted)
    return tuple(found)


def _has(text: str, wanted: Asked) -> bool:
    """Whether a lock has it: reading a whole one takes a second."""
    return any(_same(one.name, one.manager, wanted) for one in listed(text))


def _same(name: str, manager: str, wanted: Asked) -> bool:
    if wanted.manager == "conda":
        return manager == "conda" and name == wanted.name
    return (name if manager == "pip" else str(pypi_name(name))) == wanted.name


def _of(label: str, lock: Lock, spec: Spec | None, wanted: Asked) -> list[Held]:
    there = [one for one in lock.on(lock.platforms[0]) if _same(one.name, one.manager, wanted)]
    return [Held(label, one.version, _why(lock, spec, one)) for one in there]


def _why(lock: Lock, spec: Spec | None, package: Package) -> str:
    if spec is None:
        return "in its lock"
    try:
        reasons = why(lock, spec, package.name, package.platform)
    except ConcError:
        return "in its lock"
    for reason in reasons:
        if reason.request is not None:
            return f"asked for: `{reason.request.text}`"
    users = sorted({user for reason in reasons for user, _ in reason.needed_by})
    shown = ", ".join(f"`{one}`" for one in users[:3]) + (f" and {len(users) - 3:,} more" if len(users) > 3 else "")
    return f"needed by {shown}" if users else "in its lock"
