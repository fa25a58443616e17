"""Subcommands about what is asked for: plan, check."""

import argparse
import json

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


COMMANDS = (
    Command("plan", "the environments that a change touches, and why, as a job matrix", _plan, _plan_arguments),
    Command(
        "check", "whether specs, configs and site files are valid; every problem in one go", _check, _check_arguments
    ),
)
