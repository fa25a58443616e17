"""`conda-concept`: flags to settings, settings to edges, one step, an exit code."""

import argparse
import gc
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any, NoReturn

from conda_concept import __version__
from conda_concept.commands import environments, github, locks, quarter, releases, requests, sites
from conda_concept.commands.context import Command, Context
from conda_concept.errors import EXIT_CODES, ConcError
from conda_concept.run import leave

COMMANDS: tuple[Command, ...] = (
    *environments.COMMANDS,
    *requests.COMMANDS,
    *locks.COMMANDS,
    *releases.COMMANDS,
    *quarter.COMMANDS,
    *sites.COMMANDS,
    *github.COMMANDS,
)
#: The first word of commands that have two, and what they are about.
GROUPS = {"site": "about this machine: `init` writes a site file for it, `check` tries the whole path"}


def parser() -> argparse.ArgumentParser:
    """The command line; the same on a laptop and in CI."""
    shared = argparse.ArgumentParser(add_help=False)
    group = shared.add_argument_group("for every command")
    group.add_argument("--repository", default=".", metavar="DIR", help="the checkout (default: here)")
    group.add_argument(
        "--site", metavar="NAME", help="ci/sites/NAME.yml, or a file (default: $CONDA_CONCEPT_SITE, local)"
    )
    group.add_argument(
        "--channel-alias", metavar="URL", help="where channel names live (default: $CONDA_CHANNEL_ALIAS, conda's own)"
    )
    group.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    group.add_argument("--quiet", action="store_true", help="no progress on standard error")
    codes = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())
    top = argparse.ArgumentParser(
        prog="conda-concept",
        description="Release large shared conda environments on a supercomputer.",
        epilog=f"exit codes:\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"conda-concept {__version__}")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    groups: dict[str, Any] = {}
    for command in COMMANDS:
        first, _, second = command.name.partition(" ")
        if second and first not in groups:
            words = GROUPS[first]
            group_parser = subparsers.add_parser(first, help=words, description=words)
            groups[first] = group_parser.add_subparsers(metavar="COMMAND", required=True)
        place = groups[first] if second else subparsers
        sub = place.add_parser(second or first, help=command.help, description=command.help, parents=[shared])
        command.arguments(sub)
        sub.set_defaults(handler=command.handler, command=command.name)
    return top


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """One command to its exit code. Expected failures become their message; a surprise keeps its traceback."""
    arguments = parser().parse_args(argv)
    context = Context.from_arguments(arguments, environ)
    try:
        return int(arguments.handler(context, arguments))
    except ConcError as error:
        if context.as_json:
            facts = {"kind": error.kind, "message": error.message, "hint": error.hint, "exit_code": error.exit_code}
            context.stdout.write(json.dumps({"error": facts}, indent=2) + "\n")
        sys.stderr.write(f"conda-concept {arguments.command}: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write(f"conda-concept {arguments.command}: interrupted; run the same command again.\n")
        return 130


def _interrupted(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise KeyboardInterrupt


def main() -> NoReturn:
    """The console script; it ends as `leave` says, so that its status is right however it came to its end."""
    signal.signal(signal.SIGTERM, _interrupted)
    # A short life with many small lasting values: looking for garbage as often as Python does by itself doubles the
    # time of reading a lock.
    gc.set_threshold(100_000, 20, 20)
    code = 1
    try:
        code = run(sys.argv[1:], os.environ)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 2
    except BrokenPipeError:
        # Whoever read our output went away (`| head`): nothing more to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except BaseException:  # noqa: BLE001 - a surprise keeps its traceback, and the process ends here anyway
        sys.excepthook(*sys.exc_info())
    leave(code)
