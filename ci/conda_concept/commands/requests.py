"""Subcommands about packages that somebody wants: request, search, and the two jobs that answer an issue."""

import argparse
import datetime as dt
import json
from pathlib import Path

from tabulate import tabulate

from conda_concept.commands.context import Command, Context
from conda_concept.errors import InputError, RefusedError, UnsolvableError
from conda_concept.render.data import plain


def _request_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("package", metavar="PKG", help="a name, or CHANNEL::NAME")
    parser.add_argument("--env", default="", metavar="NAME", help="the environment (default: the only one)")
    parser.add_argument("--pip", action="store_true", help="from PyPI, for what no conda channel has")
    parser.add_argument("--version", default="", metavar="SPEC", help="`2.1`, `>=2.1,<3` (default: what fits)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="only the answer (the default)")
    how.add_argument("--write", action="store_true", help="add it to environment.yml, if it fits")


def _request(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.render.request import text
    from conda_concept.requesting import ANY_CHANNEL, PYPI, asked
    from conda_concept.steps.look import Looker
    from conda_concept.steps.request import tell, write

    channel, _, name = arguments.package.rpartition("::")
    if channel and arguments.pip:
        raise InputError("--pip takes a package from PyPI, so no channel goes with it.")
    source = PYPI if arguments.pip else channel or ANY_CHANNEL
    repository = context.repository
    wanted = asked(_environment(context, arguments.env), name, source, arguments.version, file="the request")
    found = Looker(repository, context.solver_settings(), context.reporter).look(wanted)
    told = tell(repository, found, dt.datetime.now(tz=dt.UTC))
    words, written = text(told), ""
    if arguments.write and found.outcome == "solved":
        written = write(repository, found.asked)
        words += f"\nwritten: {written}; a pull request does the rest (CI writes the lock)\n"
    elif found.outcome == "solved":
        words += "\nnothing is written; --write adds it to environment.yml\n"
    facts = found.model_dump(mode="json", exclude={"part": {"lock"}}, by_alias=True)
    more = {
        "line": told.edit.entry if told.edit else found.asked.text,
        "replaces": told.edit.before if told.edit else "",
    }
    more |= {"held": plain(told.held), "changes": plain(told.diffs), "written": written}
    context.emit(facts | more, words)
    codes = {"solved": 0, "present": 0, "unsolvable": UnsolvableError.exit_code, "unknown": 11, "refused": 12}
    return codes.get(found.outcome, 4)


def _environment(context: Context, name: str) -> str:
    known = context.repository.environments()
    if name:
        context.repository.folder(name)  # says which there are, if this is none
        return name
    if len(known) != 1:
        raise InputError(f"which environment? --env NAME; there are: {', '.join(known) or 'none'}.")
    return known[0]


def _search_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("package", metavar="PKG", help="a name, or a glob: 'xarray*'")
    parser.add_argument("--env", default="", metavar="NAME", help="only this environment")
    parser.add_argument("--all", action="store_true", help="also releases that no alias points at any more")


def _search(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.steps.search import search

    found = search(context.store, arguments.package, environment=arguments.env, former=arguments.all)
    for problem in found.unread:
        context.reporter.warn(problem)
    rows = [
        (hit.release.label, hit.release.build_id, " ".join(hit.names), hit.package.name, hit.package.version)
        for hit in found.hits
    ]
    table = tabulate(rows, headers=("release", "build", "names", "package", "version"), disable_numparse=True)
    context.emit(plain(found), f"{table}\n\n{found.left_out}" if found.left_out else table)
    return 0


def _look_into_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the finding to write")


def _look_into(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.forms import digest
    from conda_concept.requesting import dumps
    from conda_concept.steps.answer import call_of, wanted_in
    from conda_concept.steps.lock import replace_file
    from conda_concept.steps.look import Looker

    name, path = (context.environ.get(f"GITHUB_EVENT_{key}", "") for key in ("NAME", "PATH"))
    event = json.loads(Path(path).read_bytes()) if path else {}
    try:
        call = call_of(name, event)
        wanted = wanted_in(context.repository, call.number, call.body)
    except (InputError, RefusedError) as error:
        # The other job says so, or does nothing; it reads event and form by itself.
        context.emit({"outcome": error.kind, "message": error.message}, str(error))
        replace_file(arguments.out, "{}\n")
        return 0
    looker = Looker(context.repository, context.solver_settings(), context.reporter, digest(call.body))
    found = looker.look(wanted)
    replace_file(arguments.out, dumps(found))
    context.emit({"outcome": found.outcome, "line": found.asked.text}, f"{found.asked.text}: {found.outcome}")
    return 0


def _answer(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.steps.answer import Answering, call_of

    del arguments
    hub = context.desk.hub
    event = hub.here.event()
    branch = str((event.get("repository") or {}).get("default_branch") or "main")
    try:
        call = call_of(hub.here.event_name, event)
        now = dt.datetime.now(tz=dt.UTC)
        done = Answering(hub, context.repository, branch, int(hub.here.run or 0), now).make(call)
    except RefusedError as error:
        context.reporter.warn(str(error))
        context.emit({"nothing": error.message}, f"nothing to do: {error.message}")
        return 0
    pull = f", pull request #{done.pull}" if done.pull else ""
    context.emit(plain(done), f"#{done.issue}: {done.outcome}{pull}")
    return 0


COMMANDS: tuple[Command, ...] = (
    Command("request", "whether a package fits into an environment, and what it brings", _request, _request_arguments),
    Command("search", "in which releases a package is, at which version", _search, _search_arguments),
    Command("look-into", "workflow: look into a package request, without any right", _look_into, _look_into_arguments),
    Command("answer", "workflow: answer a package request and open its pull request", _answer),
)
