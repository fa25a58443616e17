"""Subcommands about what is built: build, test, publish, rollback, try, list, verify, doctor, prune."""

import argparse
import getpass
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from conda_concept.commands.context import Command, Context
from conda_concept.errors import InputError
from conda_concept.model import Source
from conda_concept.render.data import plain
from conda_concept.render.store import (
    event_text,
    findings_text,
    history_table,
    judgements_table,
    operations_text,
    problems_text,
    releases_table,
)
from conda_concept.steps.publish import Asked, Switched

if TYPE_CHECKING:
    from conda_concept.steps.build import Order


def who(environ: Mapping[str, str]) -> str:
    """Whom the history names: the user and machine, and who started the workflow where it is one."""
    try:
        account = getpass.getuser()
    except (KeyError, OSError):
        account = "unknown"
    here = f"{account}@{socket.gethostname()}"
    actor = environ.get("GITHUB_TRIGGERING_ACTOR", "")
    return f"{actor} by {here}" if actor else here


def _asking(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument(
        "--wait", type=float, default=60.0, metavar="SECONDS", help="for the store's lock (default: 60)"
    )


def _forcing(parser: argparse.ArgumentParser) -> None:
    _asking(parser)
    parser.add_argument("--force", default="", metavar="REASON", help="against the tests; the reason is recorded")


def _asked(context: Context, arguments: argparse.Namespace) -> Asked:
    return Asked(who(context.environ), arguments.dry_run, getattr(arguments, "force", ""), arguments.wait)


def source_arguments(parser: argparse.ArgumentParser) -> None:
    """Where a build comes from, for its record."""
    parser.add_argument("--pull-request", default="", metavar="N", help="the pull request's number, for the record")
    parser.add_argument("--author", default="", help="who asked for it, for the record")


def source_of(context: Context, arguments: argparse.Namespace) -> Source:
    """The source that the flags and the checkout say."""
    return Source(context.repository.head(), arguments.pull_request, arguments.author)


def _placing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--in-place", action="store_true", help="in this process, whatever the site's executor is")
    # What a job of the executor is given; people have no use for it.
    parser.add_argument("--order", type=Path, metavar="FILE", help=argparse.SUPPRESS)


def _build_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="an environment")
    parser.add_argument("--lock", metavar="FILE", help="instead of environments/NAME/conda-lock.yml")
    parser.add_argument("--download-only", action="store_true", help="fetch archives into the cache, and build nothing")
    parser.add_argument("--replace", action="store_true", help="build it anew if it is there already, and damaged")
    _placing(parser)
    source_arguments(parser)


def _order(context: Context, arguments: argparse.Namespace) -> "Order":
    """What is to be built: from the checkout, or from the order of a job's file."""
    from conda_concept.steps.build import Order
    from conda_concept.steps.work import read_build, read_order

    if arguments.order:
        return read_build(read_order(arguments.order)).order(context.store)
    spec = context.repository.spec(arguments.name)
    text = context.lock_text(arguments.name, arguments.lock)
    scripts = context.repository.overrides(spec), context.repository.hooks(spec)
    return Order(spec, context.read_lock(text, spec), text, source_of(context, arguments), *scripts)


def _build(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.download import fetch_all
    from conda_concept.steps.work import build

    order = _order(context, arguments)
    if arguments.download_only:
        fetched = fetch_all(order.packages, context.cache, context.reporter)
        context.emit({"bytes": fetched}, f"{fetched / 1e6:,.0f} MB fetched, the rest was there")
        return 0
    built = build(order, context.edges, replace=arguments.replace)
    context.emit(plain(built), built.record.prefix)
    return 0


def _switched(context: Context, done: Switched) -> int:
    for notice in done.notices:
        context.reporter.warn(notice)
    facts = plain(done) | {"operations": [str(operation) for operation in done.operations]}
    seconds = f"checked in {done.seconds_checking:.2f} s, switched in {done.seconds_switching:.3f} s"
    told = [f"{event_text(done.event)}\n"] if done.event else []
    text = [operations_text(done.operations, dry_run=done.dry_run), *told, f"{done.release}: {seconds}"]
    context.emit(facts, "\n".join(text))
    return 0


def _publish_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("release", metavar="RELEASE", help="LABEL/BUILDID, a path, or a label with one candidate")
    _forcing(parser)


def _publish(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.steps.publish import publish_release

    release = context.find_release(arguments.release, prefer="candidate")
    config = context.repository.spec(release.environment).config
    # An older version than the checkout's is fixed under its own label; the moving names stay with the newer ones.
    stable = (config.stable or config.version) if release.version == config.version else None
    done = publish_release(context.store, release, stable, _asked(context, arguments), context.reporter)
    return _switched(context, done)


def _rollback_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("alias", metavar="ALIAS", help="analysis3-23.04, or analysis3")
    parser.add_argument("--to", default="", metavar="BUILDID", help="instead of the one before")
    parser.add_argument("--quick", action="store_true", help="do not read the image again before switching")
    _forcing(parser)


def _rollback(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.steps.rollback import roll_back

    done = roll_back(
        context.store,
        arguments.alias,
        arguments.to,
        _asked(context, arguments),
        context.reporter,
        quick=arguments.quick,
    )
    return _switched(context, done)


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", default="", metavar="ALIAS", help="with --history: only this one")
    parser.add_argument("--history", action="store_true", help="what pointed where, when, by whom")


def _list(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.steps.list_ import list_history, list_releases

    if arguments.history:
        events = list_history(context.store, arguments.name)
        context.emit(plain(events), history_table(events))
        return 0
    if arguments.name:
        raise InputError(f"`list {arguments.name}`: a name goes with --history.")
    rows = list_releases(context.store)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 1000
    context.emit(plain(rows), releases_table(rows, width))
    return 0


def _verify_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("releases", nargs="*", metavar="RELEASE", help="default: all that are complete")


def _verify(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.errors import IntegrityError
    from conda_concept.steps.verify import verify

    wanted = [context.find_release(text, prefer="current") for text in arguments.releases]
    found = verify(context.store, wanted, context.reporter)
    context.emit(plain(found), problems_text(found.problems, len(found.releases)))
    return IntegrityError.exit_code if found.problems else 0


def _doctor_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repair", action="store_true", help="mend what is safe to mend")
    _asking(parser)


def _doctor(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.errors import IntegrityError
    from conda_concept.steps.doctor import doctor

    found = doctor(context.store, _asked(context, arguments), repair=arguments.repair)
    text = findings_text(found.findings)
    if arguments.repair:
        text = f"{operations_text(found.mended, dry_run=False)}\n\n{text}"
    facts = {"findings": plain(found.findings), "mended": [str(operation) for operation in found.mended]}
    context.emit(facts, text)
    broken = any(finding.severity == "broken" for finding in found.findings)
    return IntegrityError.exit_code if broken else 0


def _prune_arguments(parser: argparse.ArgumentParser) -> None:
    _asking(parser)
    parser.add_argument(
        "--closed", nargs="*", default=[], metavar="N", help="pull requests that are closed: their candidates may go"
    )


def _prune(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.steps.prune import prune

    configs = context.repository.configs() if (context.repository_path / "environments").is_dir() else {}
    done = prune(context.store, _asked(context, arguments), arguments.closed, configs)
    facts = plain(done) | {"operations": [str(operation) for operation in done.operations]}
    text = [judgements_table(done.judgements), operations_text(done.operations, dry_run=done.dry_run), *done.stayed]
    context.emit(facts, "\n\n".join((*text, "\n".join(done.limits))))
    return 0


def _test_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("release", metavar="RELEASE", help="LABEL/BUILDID, a path, or a label with one candidate")
    parser.add_argument("--again", action="store_true", help="also if these very bytes were tested before")
    parser.add_argument("--comment", type=Path, metavar="FILE", help="write the results as Markdown")
    _placing(parser)


def _test(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.errors import GateError
    from conda_concept.render import report
    from conda_concept.steps import judge
    from conda_concept.steps.lock import replace_file
    from conda_concept.steps.work import judge as judge_there
    from conda_concept.steps.work import read_order, read_test

    if arguments.order:
        order = read_test(read_order(arguments.order))
        release = order.release
        judged = judge.judge(release, order.spec, context.edges, again=order.again, own_tests=order.own_tests)
    else:
        release = context.find_release(arguments.release, prefer="candidate")
        spec = context.repository.spec(release.environment)
        judged = judge_there(release, spec, context.edges, again=arguments.again)
    markdown = report.comment(judged.report)
    context.reporter.summary(markdown)
    if arguments.comment:
        replace_file(arguments.comment, markdown)
    path = context.layout.tests(release)
    text = f"{report.terminal(judged.report).rstrip()}\n\nJUnit: {path}"
    context.emit(report.as_json(judged.report) | {"junit": str(path)}, text)
    return 0 if judged.report.passed else GateError.exit_code


def _try_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="an environment")
    parser.add_argument(
        "--base", default="", metavar="REF", help="what it is compared with (default: nothing, a first release)"
    )
    parser.add_argument("--comments", type=Path, metavar="DIR", help="where the comments go (default: .try/NAME)")
    parser.add_argument("--publish", action="store_true", help="publish it when its tests have passed")
    source_arguments(parser)


def _try(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.render.tried import as_data, text
    from conda_concept.steps.try_ import Attempt, try_

    attempt = Attempt(
        name=arguments.name,
        base=arguments.base,
        source=source_of(context, arguments),
        comments=(arguments.comments or context.repository_path / ".try" / arguments.name).resolve(),
        asked=Asked(who(context.environ)) if arguments.publish else None,
    )
    tried = try_(attempt, context.edges)
    lines = (f"module use {tried.trial.module_path}", f"module load {tried.trial.module}", "python3")
    result = as_data(tried.record, context.reporter.steps, [str(path) for path in tried.written], lines)
    context.emit(result, text(result))
    return 0


COMMANDS: tuple[Command, ...] = (
    Command("try", "the whole path of a pull request on this machine, with no GitHub", _try, _try_arguments),
    Command("build", "a candidate on the site, at its final path; prints that path", _build, _build_arguments),
    Command("test", "test a release as an ordinary user; JUnit XML and a verdict", _test, _test_arguments),
    Command("publish", "point the aliases at a tested release", _publish, _publish_arguments),
    Command("rollback", "point an alias at what it pointed at before", _rollback, _rollback_arguments),
    Command("list", "the releases of the store at a glance, or its history", _list, _list_arguments),
    Command("verify", "read releases again and compare every path with the record", _verify, _verify_arguments),
    Command("doctor", "what does not fit together in the store, and what it means", _doctor, _doctor_arguments),
    Command("prune", "remove what nobody needs any more", _prune, _prune_arguments),
)
