"""`why` and `why-not`: who wants a package, and who stands in the way of another one."""

from collections.abc import Sequence
from dataclasses import dataclass

from rattler import MatchSpec
from rattler.exceptions import InvalidMatchSpecError

from conda_concept.changes import Reason
from conda_concept.changes import why as find_reasons
from conda_concept.errors import InputError, NotFoundError
from conda_concept.lockcheck import matches, obstacles
from conda_concept.model import Lock, Package, Spec
from conda_concept.solver import Session, Settings


def why(lock: Lock, spec: Spec | None, name: str, platform: str) -> tuple[Reason, ...]:
    """Why `name` is in the lock; `NotFoundError` if it is not."""
    reasons = find_reasons(lock, spec, name, platform)
    if not reasons:
        raise NotFoundError(f"`{name}` is not in the lock for {platform}.")
    return reasons


@dataclass(frozen=True, slots=True)
class WhyNot:
    """What stands in the way of `wanted`: sentences about the candidate (`version build`) that has the fewest.

    `locked` is what the lock has of that name, if it already is what is wanted. No candidate: the channels have none.
    """

    wanted: str
    locked: Package | None
    candidate: Package | None
    obstacles: tuple[str, ...]


def why_not(lock: Lock, spec: Spec, wanted: str, platform: str, settings: Settings) -> WhyNot:
    """Who in the lock, or among the requests, does not allow `wanted` (`numpy <2`)."""
    try:
        name = MatchSpec(wanted, strict=True).name.normalized
    except (InvalidMatchSpecError, ValueError) as error:
        raise InputError(
            f"`{wanted}` is not a package request such as `numpy <2`: {' '.join(str(error).split())}"
        ) from None
    packages = [package for package in lock.on(platform) if package.manager == "conda"]
    locked = next((package for package in packages if package.name == name), None)
    plain = wanted.rpartition("::")[2]
    if locked is not None and matches(plain, locked):
        return WhyNot(wanted, locked, None, ())
    with Session(spec, platform, settings) as session:
        candidates = [session.package(record) for record in session.find([plain])]
        blocked = [(obstacles(candidate, packages, spec, session.virtual), candidate) for candidate in candidates]
    if not blocked:
        return WhyNot(wanted, None, None, ())
    fewest, candidate = min(blocked, key=lambda item: (len(item[0]), -(item[1].timestamp or 0)))
    return WhyNot(wanted, None, candidate, tuple(fewest))


def why_text(reasons: Sequence[Reason]) -> str:
    """`why` for a terminal."""
    parts = []
    for reason in reasons:
        package = reason.package
        lines = [f"{package.name} {package.version} {package.build or ''} ({package.channel})".replace("  ", " ")]
        if reason.request is not None:
            lines.append(f"  asked for: `{reason.request.text}` ({reason.request.place})")
        else:
            lines.append(f"  pulled in: {' → '.join(reason.chain)}")
        lines += [f"  {user} needs `{spec}`" for user, spec in reason.needed_by]
        parts.append("\n".join(lines))
    return "\n".join(parts)


def why_not_text(answer: WhyNot) -> str:
    """`why-not` for a terminal."""
    if answer.locked is not None:
        return f"Nothing is in the way: {answer.locked.name} {answer.locked.version} is locked."
    if answer.candidate is None:
        return f"No channel has `{answer.wanted}`."
    label = f"{answer.candidate.name} {answer.candidate.version} {answer.candidate.build}"
    if not answer.obstacles:
        return f"Nothing is in the way of {label}: ask for it in environment.yml."
    return "\n".join([f"{label} comes nearest; in its way:", *(f"  - {text}" for text in answer.obstacles)])
