"""site check: the whole path on this machine, from the site file to a user's prompt, in a scratch root.

`place` looks at what is there, `path` releases an environment of three packages, `users`
starts it as its users would. Everything is removed afterwards; a kill leaves the scratch root, and nothing else.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from conda_concept.checkup import Checked, Finding, Stage, Verdict, ok, wrong
from conda_concept.download import disk_error
from conda_concept.errors import ConcError
from conda_concept.steps.site_check.path import Rehearsal, scratch_root
from conda_concept.steps.site_check.place import PLACE, Ground
from conda_concept.steps.site_check.users import AS_USERS, tidy_mounts

_WORST_FIRST: tuple[Verdict, ...] = ("wrong", "warning", "not tried", "ok")
#: The stages that need a scratch root.
ALL = ("scratch root", *Rehearsal.names, *(name for name, _ in AS_USERS))

Act = Callable[[], Sequence[Finding]]
Job = Callable[[], str]
"""Runs a trivial job through the site's executor; returns what to say about it, raises `ConcError` where it fails."""


def site_check(ground: Ground, job: Job | None, *, keep: bool = False) -> Checked:
    """Try everything, in an order in which each stage stands on those before it; what cannot be tried says so.

    `keep` leaves the scratch root, for somebody else to look at or to try as a user.
    """
    stages = [_timed(ground, name, partial(look, ground)) for name, look in PLACE]
    stages.append(_timed(ground, "executor", partial(_executor, ground, job)))
    if any(stage.name == "root" and stage.verdict == "wrong" for stage in stages):
        return Checked(ground.site.name, (*stages, *_not_tried(ALL, "because of root")))
    with ExitStack() as stack:
        made: list[Rehearsal] = []

        def begin() -> list[Finding]:
            root = stack.enter_context(scratch_root(ground, keep=keep))
            made.append(Rehearsal.at(root, ground))
            stack.callback(tidy_mounts, made[0])
            return [ok(str(root))]

        stages.append(_timed(ground, "scratch root", begin))
        stages += _rehearsed(made[0]) if made else _not_tried(ALL[1:], "because of scratch root")
        return Checked(ground.site.name, tuple(stages), str(made[0].root) if keep and made else "")


def _rehearsed(rehearsal: Rehearsal) -> list[Stage]:
    """The stages of the scratch root, up to one that nothing can go on without."""
    acts: list[tuple[str, Act]] = [*rehearsal.acts(), *((name, partial(use, rehearsal)) for name, use in AS_USERS)]
    stages: list[Stage] = []
    for name, act in acts:
        stages.append(_timed(rehearsal.ground, name, act))
        if stages[-1].verdict == "wrong" and name in rehearsal.needed:
            rest = [later for later, _ in acts[len(stages) :]]
            return stages + _not_tried(rest, f"because of {name}")
    return stages


def _timed(ground: Ground, name: str, act: Act) -> Stage:
    started = time.monotonic()
    try:
        with ground.reporter.step(name):
            found = tuple(act())
    except ConcError as error:
        found = (wrong(error.message, error.hint),)
    except OSError as error:  # a stage that cannot go on must not take the others' words along
        known = disk_error(error, Path(ground.site.root))
        found = (wrong(known.message, known.hint),)
    verdict = min((one.verdict for one in found), key=_WORST_FIRST.index, default=_WORST_FIRST[-1])
    return Stage(name, verdict, found, time.monotonic() - started)


def _not_tried(names: Iterable[str], why: str) -> list[Stage]:
    return [Stage(name, "not tried", (Finding("not tried", why),)) for name in names]


def _executor(ground: Ground, job: Job | None) -> list[Finding]:
    if getattr(getattr(ground.site, "executor", None), "kind", "local") == "local":
        return [Finding("ok", "none in the site file: builds run in place")]
    if job is None:
        return [Finding("not tried", "this version cannot try it")]
    return [Finding("ok", job())]
