"""admit: the guard before the site's runner: who asks for what, about which commit, and is that still true."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conda_concept.conversation import (
    PROPOSING,
    BuildIt,
    Explain,
    PullFacts,
    Relock,
    RunFacts,
    marker,
    may_build,
    parse_command,
    still,
)
from conda_concept.errors import ConcError, InputError, NetworkError, NotFoundError, RefusedError
from conda_concept.github.hub import newest
from conda_concept.lockfile import loads as read_lock
from conda_concept.render.quote import code, fenced
from conda_concept.steps.accept import Desk
from conda_concept.steps.why import why, why_text


@dataclass(frozen=True, slots=True)
class Admitted:
    """What the jobs behind the guard do: `build` these environments, or `propose` anew, or nothing."""

    action: str
    pull: int
    sha: str
    run: int = 0
    environments: tuple[str, ...] = ()
    package: str = ""

    @property
    def outputs(self) -> dict[str, str]:
        """The guard's job outputs."""
        return {
            "action": self.action,
            "pull_request": str(self.pull),
            "sha": self.sha,
            "run": str(self.run),
            "environments": json.dumps(list(self.environments)),
            "package": self.package,
        }


NOTHING = Admitted("nothing", 0, "")


def admit(desk: Desk, event_name: str, event: Mapping[str, Any]) -> Admitted:
    """What an event lets happen; what it does not is refused with a reason, in words where a person asked."""
    if event_name == "workflow_dispatch":
        inputs = event.get("inputs") or {}
        number, sha, run = (str(inputs.get(key) or "") for key in ("pull_request", "sha", "run"))
        if not number.isdecimal() or (run and not run.isdecimal()):
            raise InputError("`pull_request` and `run` have to be numbers.")
        if not run:  # a pull request that our own token opened: it starts nothing by itself
            return Admitted("propose", int(number), desk.at(int(number), sha).head_sha)
        return _build(desk, desk.at(int(number), sha), desk.hub.run(int(run)))
    if event_name != "issue_comment" or event.get("action") != "created":
        raise RefusedError(f"nothing is done for {event_name} {event.get('action', '')}.")
    return _commanded(desk, event)


def _commanded(desk: Desk, event: Mapping[str, Any]) -> Admitted:
    comment, issue = event["comment"], event["issue"]
    if "pull_request" not in issue:
        return NOTHING
    number, speaker = int(comment["id"]), str(comment["user"]["login"])
    hub = desk.hub
    try:
        command = parse_command(str(comment.get("body") or ""))
        if command is None:
            return NOTHING
        pull = hub.pull(int(issue["number"]))
        still(pull, pull.head_sha)
        allowed = may_build(hub.permission(speaker))
        if not allowed and (isinstance(command, BuildIt) or speaker != pull.author):
            raise RefusedError("only people who may write to this repository can ask for that.")
        admitted = _answer(desk, pull, command)
    except ConcError as error:
        hub.react(number, int(issue["number"]), "confused")
        hub.say(int(issue["number"]), marker("answer", "command"), _told(str(comment.get("body") or ""), error))
        if isinstance(error, NetworkError):
            raise
        return NOTHING  # it is said; a red run would say that something is broken
    hub.react(number, pull.number, "+1")
    return admitted


def _told(body: str, error: ConcError) -> str:
    asked = body.replace("\r\n", "\n").split("\n", 1)[0][:80]
    return f"### {code(asked)}: not done\n\n{fenced(str(error)[:2000])}\n"


def _answer(desk: Desk, pull: PullFacts, command: BuildIt | Relock | Explain) -> Admitted:
    match command:
        case BuildIt(sha):
            still(pull, sha)
            return _build(desk, pull, _run_with_proposal(desk, pull))
        case Relock(package):
            return Admitted("propose", pull.number, pull.head_sha, package=package)
        case Explain(package):
            _explain(desk, pull, package)
            return NOTHING


def _run_with_proposal(desk: Desk, pull: PullFacts) -> RunFacts:
    found = newest(desk.hub.runs_of(pull.head_sha), PROPOSING, "pull_request")
    if found is None:
        raise NotFoundError(
            f"nothing is computed for commit {pull.head_sha[:12]} yet.", hint="Wait a minute, or comment `/relock`."
        )
    return found


def _build(desk: Desk, pull: PullFacts, run: RunFacts) -> Admitted:
    proposal = desk.proposal(run, pull)
    names = tuple(part.name for part in proposal.parts if part.outcome == "solved")
    if not names or len(names) != len(proposal.parts):
        raise RefusedError("not every environment of this pull request is solved; there is nothing to build yet.")
    desk.hub.status(pull.head_sha, "pending", "Being built and tested.")
    return Admitted("build", pull.number, pull.head_sha, run.number, names)


def _explain(desk: Desk, pull: PullFacts, package: str) -> None:
    proposal = desk.proposal(_run_with_proposal(desk, pull), pull)
    said = []
    for part in proposal.parts:
        if part.outcome != "solved":
            continue
        spec, lock = desk.spec(part.name, pull.head_sha), read_lock(part.lock)
        for platform in spec.config.platforms:
            try:
                said.append(f"{part.name}, {platform}\n{why_text(why(lock, spec, package, platform))}")
            except NotFoundError as error:
                said.append(f"{part.name}: {error.message}")
    text = "\n\n".join(said) or "No environment of this pull request is solved."
    footer = f"<sub>commit {code(pull.head_sha[:12])}</sub>"
    words = f"### Why {code(package)} is there\n\n{fenced(text[:20_000])}\n\n{footer}\n"
    desk.hub.say(pull.number, marker("answer", "command"), words)
