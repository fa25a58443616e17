"""Subcommands about new versions: `release` for people, `quarter` for the workflow."""

import argparse
import datetime as dt
from typing import Any

from conda_concept.commands.context import Command, Context
from conda_concept.errors import InputError
from conda_concept.model import Place
from conda_concept.quarter import KEEP, REFRESH, Wanted
from conda_concept.render.data import plain


def _quarter(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.site import zone
    from conda_concept.steps.quarter import Office

    del arguments
    here = context.desk.hub.here
    office = Office.of(context.desk.hub, context.repository, context.reporter)
    now = dt.datetime.now(tz=zone(context.site.time_zone))
    done = office.attend(here.event_name, here.event(), now)
    lines = [f"#{number}: {where}" for number, where in done.stands]
    context.emit(plain(done), "\n".join(lines) or "nothing to do")
    return 0


def _release_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the environment")
    parser.add_argument("version", metavar="YY.MM", help="the new version")
    parser.add_argument("--keep", action="store_true", help="keep the packages that are there; else everything moves")
    parser.add_argument("--stable", default="", metavar="YY.MM", help="what the plain name is to mean (the one before)")
    parser.add_argument("--dry-run", action="store_true", help="say what would change in config.yml; ask nobody")
    parser.add_argument("--retry", action="store_true", help="start again what has failed, or is silent")


def _release(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.steps.quarter import Office
    from conda_concept.steps.quarterwork import Rehearsal

    asked = wanted(arguments)
    if arguments.dry_run:
        shown = Rehearsal(context.repository, asked).show()
        context.emit({"label": asked.label, "branch": asked.branch, "changes": shown}, shown)
        return 0
    missing = [name for name in ("GITHUB_REPOSITORY", "GITHUB_TOKEN") if not context.environ.get(name)]
    if missing:
        raise InputError(
            f"{' and '.join(missing)} not set.",
            hint="Set them to owner/name and to a token of yours that may write issues; `--dry-run` needs neither.",
        )
    hub = context.desk.hub
    office = Office.of(hub, context.repository, context.reporter)
    issue, stands = office.ask(asked, retry=arguments.retry)
    page = f"{hub.here.home}/issues/{issue}"
    facts: dict[str, Any] = {"issue": issue, "url": page, "stands": stands}
    context.emit(facts, f"#{issue}: {stands}\n{page}")
    return 0


def wanted(arguments: argparse.Namespace) -> Wanted:
    """What somebody asks for at a terminal, held to the rules of the form."""
    from conda_concept.forms import Filled
    from conda_concept.quarter import wanted as checked

    answers = {
        "environment": arguments.name,
        "version": arguments.version,
        "packages": KEEP if arguments.keep else REFRESH,
        "stable": arguments.stable,
    }
    try:
        return checked(Filled(answers))
    except InputError as error:
        raise InputError(f"{Place('release')}: {error.message}") from None


COMMANDS: tuple[Command, ...] = (
    Command("release", "ask for a new version: issue, pull request, candidate", _release, _release_arguments),
    Command("quarter", "workflow: bring new versions one step further", _quarter),
)
