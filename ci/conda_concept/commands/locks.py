"""Subcommands about locks: lock, diff, why, why-not, import."""

import argparse
import datetime as dt
from pathlib import Path

from conda_concept.commands.context import Command, Context


def _lock_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the environment")
    parser.add_argument(
        "--from", dest="start", type=Path, metavar="LOCK", help="the lock to start from (default: its own)"
    )
    parser.add_argument("--refresh", action="store_true", help="solve everything anew, keep nothing")
    parser.add_argument("--update", nargs="+", default=[], metavar="PKG", help="free these, and what must follow")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the lock to write (default: its own)")
    parser.add_argument("--comment", type=Path, metavar="FILE", help="write what changes, or why not, as Markdown")
    parser.add_argument("--time-limit", type=_seconds, metavar="SECONDS", help="for one solve (default: 600)")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 86_400:
        raise argparse.ArgumentTypeError("seconds between 0 and 86400")
    return value


def _lock(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.explain import ExplainedError
    from conda_concept.locking import Wish
    from conda_concept.render import diff as render
    from conda_concept.render import unsolvable
    from conda_concept.steps.diff import compare
    from conda_concept.steps.lock import Files, lock, replace_file

    settings = context.solver_settings(arguments.time_limit)
    wish = Wish(arguments.refresh, tuple(arguments.update))
    files = Files(arguments.start, arguments.out)
    try:
        done = lock(context.repository, arguments.name, files, wish, settings, context.reporter)
    except ExplainedError as error:
        if arguments.comment:
            label = context.repository.spec(arguments.name).label
            replace_file(arguments.comment, unsolvable.comment(render.Heading(label), error.explanation))
        raise
    heading = render.Heading(done.spec.label, notes=done.solved.notes)
    diffs = compare(done.before, done.solved.lock, done.spec, settings.now)
    if arguments.comment:
        replace_file(arguments.comment, render.comment(heading, diffs))
    facts = {
        "file": str(done.file),
        "written": done.written,
        "unchanged": done.solved.unchanged,
        "packages": len(done.solved.lock.packages),
        "seconds": round(done.solved.seconds, 3),
        "notes": list(done.solved.notes),
        "diff": render.as_data(heading, diffs),
    }
    context.emit(facts, render.text(heading, diffs))
    return 0


def _diff_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", metavar="OLD", help="a lock, an environment's folder, or - for none")
    parser.add_argument("new", type=Path, metavar="NEW", help="a lock or an environment's folder")
    parser.add_argument("--format", choices=("text", "md", "json"), help="default: text")
    parser.add_argument(
        "--for", dest="name", metavar="NAME", help="the environment (default: the one that NEW lies in)"
    )


def _diff(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.render import diff as render
    from conda_concept.steps.diff import diff, spec_beside

    spec = context.repository.spec(arguments.name) if arguments.name else spec_beside(arguments.new)
    old = None if arguments.old == "-" else Path(arguments.old)
    diffs = diff(old, arguments.new, spec, dt.datetime.now(tz=dt.UTC))
    heading = render.Heading(spec.label if spec else arguments.new.name)
    form = arguments.format or ("json" if context.as_json else "text")
    show = {"text": render.text, "md": render.comment, "json": render.as_json}[form]
    context.stdout.write(show(heading, diffs).rstrip("\n") + "\n")
    return 0


def _why_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the environment")
    parser.add_argument("package", metavar="PKG", help="a package of its lock")
    parser.add_argument("--platform", help="default: the first one of config.yml")


def _why(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.steps.lock import load_lock
    from conda_concept.steps.why import why, why_text

    spec = context.repository.spec(arguments.name)
    lock = load_lock(context.repository.lock_path(arguments.name))
    reasons = why(lock, spec, arguments.package, arguments.platform or spec.config.platforms[0])
    value = [
        {
            "name": reason.package.name,
            "manager": reason.package.manager,
            "version": reason.package.version,
            "requested": reason.request is not None,
            "chain": list(reason.chain),
            "needed_by": [{"name": user, "spec": text} for user, text in reason.needed_by],
        }
        for reason in reasons
    ]
    context.emit(value, why_text(reasons))
    return 0


def _why_not_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the environment")
    parser.add_argument("spec", metavar="'PKG SPEC'", help="what you would like instead, such as 'numpy <2'")
    parser.add_argument("--platform", help="default: the first one of config.yml")


def _why_not(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.steps.lock import load_lock
    from conda_concept.steps.why import why_not, why_not_text

    spec = context.repository.spec(arguments.name)
    lock = load_lock(context.repository.lock_path(arguments.name))
    platform = arguments.platform or spec.config.platforms[0]
    answer = why_not(lock, spec, arguments.spec, platform, context.solver_settings())
    value = {
        "wanted": answer.wanted,
        "locked": answer.locked is not None,
        "candidate": f"{answer.candidate.version} {answer.candidate.build}" if answer.candidate else None,
        "obstacles": list(answer.obstacles),
    }
    context.emit(value, why_not_text(answer))
    return 0


def _import_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="SOURCE", help="a conda prefix, an explicit file, or a lock")
    parser.add_argument("name", metavar="NAME", help="the new environment's name")
    parser.add_argument("--version", required=True, metavar="YY.MM", help="its version")
    parser.add_argument("--platform", default="linux-64", help="default: linux-64")


def _import(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.steps.import_ import Wanted, import_

    wanted = Wanted(arguments.name, arguments.version, arguments.platform)
    made = import_(context.repository, arguments.source, wanted, context.solver_settings(), context.reporter)
    for note in made.notes:
        context.reporter.warn(note)
    value = {"folder": str(made.folder), "packages": len(made.lock.packages), "notes": list(made.notes)}
    text = f"{made.folder}: {len(made.spec.requests):,} requests, {len(made.lock.packages):,} packages"
    context.emit(value, text)
    return 0


COMMANDS = (
    Command(
        "lock", "solve an environment, moving only what must, and write its conda-lock.yml", _lock, _lock_arguments
    ),
    Command("diff", "what changes from one lock to another", _diff, _diff_arguments),
    Command("why", "who asked for a package of a lock, and who needs it", _why, _why_arguments),
    Command("import", "an environment's files from one that exists", _import, _import_arguments),
    Command("why-not", "what stands in the way of another version", _why_not, _why_not_arguments),
)
