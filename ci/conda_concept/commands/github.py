"""Subcommands that workflows run: pull requests, builds, releases, maintenance."""

import argparse
import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING

from conda_concept.commands.context import Command, Context
from conda_concept.commands.releases import who
from conda_concept.errors import InputError, RefusedError
from conda_concept.render.data import plain
from conda_concept.render.quote import fenced

if TYPE_CHECKING:
    from conda_concept.conversation import PullFacts


def _propose_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base", required=True, metavar="REF", help="the branch that it is to be merged into")
    parser.add_argument("--update", default="", metavar="PKG", help="this package may move too")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the proposal to write")


def _propose(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.proposal import dumps
    from conda_concept.steps.lock import replace_file
    from conda_concept.steps.propose import Proposer, Question

    question = Question(arguments.base, context.site_name, arguments.update)
    proposal = Proposer(context.repository, question, context.solver_settings(), context.reporter).propose()
    replace_file(arguments.out, dumps(proposal))
    facts = [{"environment": part.name, "outcome": part.outcome} for part in proposal.parts]
    lines = [f"{part.name}: {part.outcome}" for part in proposal.parts]
    context.emit(facts, "\n".join(lines) or "no environment is touched")
    return 0


def _about(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pull-request", type=int, default=0, metavar="N", help="the pull request's number")
    parser.add_argument("--sha", default="", help="the commit that it is about, all 40 digits")
    parser.add_argument("--run", type=int, default=0, metavar="ID", help="the run that brings the proposal")
    parser.add_argument("--answer", type=int, default=0, metavar="ID", help="the comment that asked for this; 0: none")


def _nothing(context: Context, error: RefusedError) -> int:
    """A newer commit, or closed meanwhile: nothing is wrong, and nothing is to be done."""
    context.reporter.warn(str(error))
    context.emit({"nothing": error.message}, f"nothing to do: {error.message}")
    return 0


def _superseded(context: Context, arguments: argparse.Namespace, error: RefusedError) -> int:
    """A newer commit: whoever asked about this one is told."""
    from conda_concept.render import answers
    from conda_concept.steps.reply import finish

    finish(context.desk.hub, arguments.pull_request, arguments.answer, answers.SUPERSEDED)
    return _nothing(context, error)


def _subject(context: Context, arguments: argparse.Namespace) -> "PullFacts":
    """The pull request that is named, or the one that the run in the event was made for."""
    desk = context.desk
    if arguments.pull_request:
        return desk.at(arguments.pull_request, arguments.sha)
    return desk.pull_of(desk.hub.run(desk.hub.here.awaited_run))


def _report(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.conversation import MovedOnError
    from conda_concept.errors import ConcError
    from conda_concept.render import answers
    from conda_concept.steps.reply import finish, point
    from conda_concept.steps.report import Report

    desk = context.desk
    try:
        pull = _subject(context, arguments)
    except RefusedError as error:
        return _superseded(context, arguments, error)
    try:
        run = desk.hub.run(arguments.run or desk.hub.here.awaited_run)
        done = Report(desk, run, pull, dt.datetime.now(tz=dt.UTC), context.site_name).make()
    except MovedOnError as error:
        return _superseded(context, arguments, error)
    except ConcError:
        finish(desk.hub, pull.number, arguments.answer, answers.OURS)
        raise
    if done.untouched:
        finish(desk.hub, pull.number, arguments.answer, answers.NOTHING)
    else:
        point(desk.hub, pull.number, arguments.answer, "diff", [name for name, _ in done.verdicts])
    for table in done.tables:  # GitHub takes a summary of one MiB
        context.reporter.summary(fenced(table[:300_000]))
    lines = [f"{name}: {verdict}" for name, verdict in done.verdicts] or ["nothing to say"]
    context.emit(plain(done), "\n".join([*lines, *(["the build is started"] if done.building else [])]))
    return 0


def _admit(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.steps.admit import admit

    del arguments
    here = context.desk.hub.here
    admitted = admit(context.desk, here.event_name, here.event())
    for name, value in admitted.outputs.items():
        context.reporter.output(name, value)
    words = " ".join((admitted.action, *admitted.environments)) + (f": {admitted.reason}" if admitted.reason else "")
    context.emit(admitted.outputs, words)
    return 0


def _candidate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the environment")
    _about(parser)


def _candidate(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.steps.candidate import Candidate

    desk = context.desk
    try:
        pull = desk.at(arguments.pull_request, arguments.sha)
    except RefusedError as error:
        return _nothing(context, error)
    record = Candidate(desk, context.edges, pull, desk.hub.run(arguments.run), arguments.name).make()
    context.emit(plain(record), record.prefix)
    return 0


def _settle_arguments(parser: argparse.ArgumentParser) -> None:
    _about(parser)
    parser.add_argument("--environments", required=True, metavar="JSON", help="the environments that were to be built")
    parser.add_argument("--result", required=True, help="GitHub's word on the jobs: success, failure, cancelled")


def _settle(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.steps.candidate import settle
    from conda_concept.steps.reply import point

    names = json.loads(arguments.environments)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError("--environments has to be a JSON list of names.")
    try:
        pull = _subject(context, arguments)
    except RefusedError as error:
        return _superseded(context, arguments, error)
    settle(context.desk, pull, tuple(names), arguments.result)
    point(context.desk.hub, pull.number, arguments.answer, "build", names)
    context.emit({"result": arguments.result}, arguments.result)
    return 0


def _due_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--branch", default="", help="the branch that is checked out")


def _due(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.steps.merged import Line

    hub = context.desk.hub if context.environ.get("GITHUB_TOKEN") else None
    names = Line(context.repository, arguments.branch, context.site_name).due(hub)
    context.reporter.output("environments", json.dumps(list(names)))
    context.reporter.output("any", "true" if names else "false")
    context.emit(list(names), "\n".join(names) or "nothing is due")
    return 0


def _settle_release(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.steps.merged import Line, settle_release

    told = settle_release(context.desk.hub, Line(context.repository, arguments.branch, context.site_name))
    words = ", ".join(f"#{number}" for number in told)
    context.emit({"told": list(told)}, f"told: {words}" if told else "nobody had to be told")
    return 0


def _deliver_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the environment")
    parser.add_argument("--branch", required=True, help="the branch that is checked out, where the lock is committed")


def _deliver(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.steps.merged import Line
    from conda_concept.steps.publish import Asked
    from conda_concept.steps.release import Publication

    line = Line(context.repository, arguments.branch, context.site_name)
    asked = Asked(who(context.environ), wait=600.0)
    done = Publication(context.desk.hub, context.edges, line, arguments.name, asked).make()
    text = (
        f"announced: {done.page}"
        if done.page and done.nothing
        else done.nothing or f"published {done.record.release if done.record else ''}"
    )
    context.emit(plain(done), text + (f"\nbuilt {done.rebuilt}" if done.rebuilt else ""))
    return 0


def _maintain(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.errors import IntegrityError
    from conda_concept.render.store import judgements_table, problems_text
    from conda_concept.steps.maintain import maintain
    from conda_concept.steps.publish import Asked

    del arguments
    asked, configs = Asked(who(context.environ), wait=600.0), context.repository.configs()
    done = maintain(context.store, context.desk.hub, configs, asked, context.reporter)
    found = done.verified
    words = [judgements_table(done.pruned.judgements), problems_text(found.problems, len(found.releases))]
    text = "\n\n".join(words)
    context.reporter.summary(f"```text\n{text}\n```")
    facts = {"removed": [str(one) for one in done.pruned.operations], "problems": plain(found.problems)}
    context.emit(facts, text)
    return IntegrityError.exit_code if found.problems else 0


COMMANDS: tuple[Command, ...] = (
    Command("propose", "workflow: what a pull request would change, as data", _propose, _propose_arguments),
    Command("report", "workflow: check that data and comment on the pull request", _report, _about),
    Command("admit", "workflow: whether an event may start a build, and of what", _admit),
    Command("candidate", "workflow: build, test and offer what a pull request asks", _candidate, _candidate_arguments),
    Command("settle", "workflow: the last word on all builds of a commit", _settle, _settle_arguments),
    Command("due", "workflow: the environments that were merged and are not released yet", _due, _due_arguments),
    Command(
        "deliver",
        "workflow: publish what was merged, write it down, announce a new version",
        _deliver,
        _deliver_arguments,
    ),
    Command("settle-release", "workflow: the last word on a release that ended badly", _settle_release, _due_arguments),
    Command("maintain", "workflow: prune and verify the store", _maintain),
)
