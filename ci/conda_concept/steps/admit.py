"""admit: the guard before the site's runner: who asks for what, about which commit, and is that still true."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from conda_concept.conversation import (
    Asked,
    BuildIt,
    Explain,
    PullFacts,
    Relock,
    RunFacts,
    asked_by,
    first_line,
    may_build,
    parse_command,
    shown_runs,
    still,
)
from conda_concept.errors import ConcError, InputError, NetworkError, NotFoundError, RefusedError
from conda_concept.lockfile import loads as read_lock
from conda_concept.render import answers
from conda_concept.steps.accept import Desk
from conda_concept.steps.why import why, why_text


@dataclass(frozen=True, slots=True)
class Admitted:
    """What the jobs behind the guard do: `build` these environments, or `propose` anew, or nothing.

    `base` is the branch that the pull request is to be merged into.
    `answer` is the comment that asked for it (0: none did); whoever does it has the last word in its answer. `reason`
    says why nothing is done where nobody asked.
    """

    action: str
    pull: int
    sha: str
    base: str = ""
    run: int = 0
    environments: tuple[str, ...] = ()
    package: str = ""
    answer: int = 0
    reason: str = ""

    @property
    def outputs(self) -> dict[str, str]:
        """The guard's job outputs."""
        return {
            "action": self.action,
            "pull_request": str(self.pull),
            "sha": self.sha,
            "base": self.base,
            "run": str(self.run),
            "environments": json.dumps(list(self.environments)),
            "package": self.package,
            "answer": str(self.answer),
        }


#: The run of a pull request that was opened by us: GitHub starts no workflow for it, so that it has none yet.
SOLVE_FIRST = "0"
#: How the status of a commit begins that waits for that run.
BEING_SOLVED = "Being solved"
NOTHING = Admitted("nothing", 0, "")


def admit(desk: Desk, event_name: str, event: Mapping[str, Any]) -> Admitted:
    """What an event lets happen; what it does not is refused with a reason, in words where a person asked."""
    if event_name == "workflow_dispatch":
        return _dispatched(desk, event.get("inputs") or {})
    if event_name != "issue_comment" or event.get("action") != "created":
        raise RefusedError(f"nothing is done for {event_name} {event.get('action', '')}.")
    return _commanded(desk, event)


def _dispatched(desk: Desk, inputs: Mapping[str, Any]) -> Admitted:
    number, sha, run = (str(inputs.get(key) or "") for key in ("pull_request", "sha", "run"))
    if not number.isdecimal() or not run.isdecimal():
        raise InputError("`pull_request` and `run` have to be numbers.")
    try:
        pull = desk.at(int(number), sha)
    except RefusedError as error:
        return replace(NOTHING, reason=error.message)  # a newer commit has its own run
    state, said, _ = desk.hub.status_of(pull.head_sha)
    solved = run == SOLVE_FIRST and state == "pending" and not said.startswith(BEING_SOLVED)
    if state == "success" or solved:  # whoever starts a run looks afterwards, so that it may be started twice
        return replace(NOTHING, reason="another run was quicker: that is done already")
    if run == SOLVE_FIRST:
        return Admitted("propose", pull.number, pull.head_sha, pull.base_branch)
    try:
        return _build(desk, pull, desk.hub.run(int(run)))
    except ConcError:
        # The report has said that it is being built, and nobody reads this job's log.
        again = f"Not your change: the build could not begin. `/build {sha}` tries again."
        desk.hub.status(pull.head_sha, "error", again)
        raise


def _commanded(desk: Desk, event: Mapping[str, Any]) -> Admitted:
    comment, issue = event["comment"], event["issue"]
    if "pull_request" not in issue:
        return NOTHING
    body = str(comment.get("body") or "")
    asked = Asked(int(issue["number"]), int(comment["id"]), str(comment["user"]["login"]), first_line(body)[:80])
    hub = desk.hub
    try:
        command = parse_command(body)
        if command is None:
            return NOTHING
        hub.react(asked.comment, asked.pull, "eyes")  # seen: what follows takes a moment
        pull = hub.pull(asked.pull)
        still(pull, pull.head_sha)
        allowed = may_build(hub.permission(asked.speaker))
        if not allowed and (isinstance(command, BuildIt) or asked.speaker != asked_by(pull, hub.here.bot)):
            raise RefusedError("only people who may write to this repository can ask for that.")
        admitted, words = _answer(desk, pull, command)
    except ConcError as error:
        _tell(desk, asked, "confused", answers.refused(error))
        if isinstance(error, NetworkError):
            raise
        return NOTHING  # it is said; a red run would say that something is broken
    _tell(desk, asked, "+1", words)
    return replace(admitted, answer=asked.comment)


def _tell(desk: Desk, asked: Asked, reaction: str, words: str) -> None:
    """The answer to a comment, and a reaction to it; said again for the same comment, it is the same answer."""
    desk.hub.react(asked.comment, asked.pull, reaction)
    desk.hub.say(asked.pull, answers.mark(asked.comment), answers.answer(asked, desk.hub.here.home, words))


def _answer(desk: Desk, pull: PullFacts, command: BuildIt | Relock | Explain) -> tuple[Admitted, str]:
    run = desk.hub.here.run_url
    match command:
        case BuildIt(sha):
            still(pull, sha)
            admitted = _build(desk, pull, _shown(desk, pull))
            return admitted, answers.working("It is being built and tested", run)
        case Relock(package):
            admitted = Admitted("propose", pull.number, pull.head_sha, pull.base_branch, package=package)
            return admitted, answers.working("It is being solved again", run)
        case Explain(package):
            return NOTHING, answers.explained(package, _explanation(desk, pull, package), pull.head_sha)


def _shown(desk: Desk, pull: PullFacts) -> RunFacts:
    """The run with the proposal that our comments show, whoever made it: what is built is what people have read."""
    runs = shown_runs(desk.hub.comments(pull.number), pull.head_sha, desk.hub.here.bot)
    if not runs:
        raise NotFoundError(
            f"no comment here says yet what commit {pull.head_sha[:12]} would change.",
            hint="Wait a minute, or comment `/relock`.",
        )
    if len(runs) > 1:
        raise RefusedError("the comments here come from different runs.", hint="Comment `/relock` first.")
    return desk.hub.run(min(runs))


def _build(desk: Desk, pull: PullFacts, run: RunFacts) -> Admitted:
    proposal = desk.proposal(run, pull)
    names = tuple(part.name for part in proposal.parts if part.outcome == "solved")
    if not names or len(names) != len(proposal.parts):
        raise RefusedError("not every environment of this pull request is solved; there is nothing to build yet.")
    desk.hub.status(pull.head_sha, "pending", "Being built and tested.")
    desk.note_start(run, pull, proposal)  # where a person asked, and where the report ended before it could
    return Admitted("build", pull.number, pull.head_sha, pull.base_branch, run.number, names)


def _explanation(desk: Desk, pull: PullFacts, package: str) -> str:
    proposal = desk.proposal(_shown(desk, pull), pull)
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
    return "\n\n".join(said) or "No environment of this pull request is solved."
