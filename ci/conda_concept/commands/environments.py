"""Subcommands about what is asked for: plan, check, lock, diff."""

import argparse
import datetime as dt
import json
from pathlib import Path

from tabulate import tabulate

from conda_concept.commands.context import Command, Context
from conda_concept.matrix import github_matrix


def _plan_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base", required=True, metavar="REF", help="compare with the merge base of this commit")


def _plan(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.steps.plan import plan

    found = plan(context.repository, arguments.base, context.site_name)
    matrix = github_matrix(found)
    context.reporter.output("matrix", json.dumps(matrix))
    context.reporter.output("any", "true" if found else "false")
    rows = [(item.environment, ", ".join(item.reasons)) for item in found]
    text = tabulate(rows, headers=("environment", "because of")) if rows else "no environment is touched"
    context.emit(matrix, text)
    return 0


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="environments (default: all, and all site files)")


def _check(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.steps.check import check

    checked = check(context.repository, arguments.names)
    valid = [*(f"environment {name}" for name in checked.environments), *(f"site {name}" for name in checked.sites)]
    context.emit(
        {"environments": list(checked.environments), "sites": list(checked.sites)},
        "\n".join(f"✓ {name}" for name in valid),
    )
    return 0


def _lock_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="an environment")
    parser.add_argument(
        "--from", dest="start", metavar="LOCK", help="the lock to start from (default: the one there is)"
    )
    parser.add_argument("--refresh", action="store_true", help="solve everything anew")
    parser.add_argument("--update", nargs="+", default=[], metavar="PKG", help="free only these, and what must follow")
    parser.add_argument("--out", metavar="FILE", help="instead of environments/NAME/conda-lock.yml")
    parser.add_argument("--time-limit", type=float, metavar="SECONDS", help="for solving and explaining (default: 600)")


def _lock(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.locking import Wish
    from conda_concept.steps.lock import Files, lock

    files = Files.of(
        context.repository.folder(arguments.name),
        start=Path(arguments.start) if arguments.start else None,
        out=Path(arguments.out) if arguments.out else None,
    )
    wish = Wish(refresh=arguments.refresh, update=tuple(arguments.update))
    done = lock(files, wish, context.solver_settings(arguments.time_limit), context.reporter)
    facts = {
        "file": str(files.out),
        "written": done.written,
        "unchanged": done.solved.unchanged,
        "packages": len(done.solved.lock.packages),
        "seconds": round(done.solved.seconds, 3),
        "notes": list(done.solved.notes),
    }
    context.emit(facts, str(files.out))
    return 0


def _diff_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", metavar="OLD", help="a lock, or a folder with one; - for none")
    parser.add_argument("new", metavar="NEW", help="a lock, or a folder with one")
    parser.add_argument("--format", choices=("text", "md", "json"), default="text", help="default: text")


def _diff(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.render import diff as render
    from conda_concept.steps.diff import diff, spec_beside

    new = Path(arguments.new)
    old = None if arguments.old == "-" else Path(arguments.old)
    spec = spec_beside(new)
    diffs = diff(old, new, spec, dt.datetime.now(tz=dt.UTC))
    heading = render.Heading(spec.label if spec else new.stem)
    wanted = "json" if context.as_json else arguments.format
    shown = {"text": render.text, "md": render.comment, "json": render.as_json}[wanted](heading, diffs)
    context.stdout.write(shown.rstrip("\n") + "\n")
    return 0


COMMANDS = (
    Command("lock", "solve an environment and write its conda-lock.yml", _lock, _lock_arguments),
    Command("diff", "what changes between two locks, and why", _diff, _diff_arguments),
    Command("plan", "the environments that a change touches, and why, as a job matrix", _plan, _plan_arguments),
    Command(
        "check", "whether specs, configs and site files are valid; every problem in one go", _check, _check_arguments
    ),
)
