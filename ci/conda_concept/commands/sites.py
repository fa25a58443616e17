"""Subcommands about a machine: site init, site check, diagnose."""

import argparse
from pathlib import Path

from conda_concept.commands.context import Command, Context
from conda_concept.render.data import plain


def _init_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="default: from this node's name")
    parser.add_argument("--root", default="", metavar="DIR", help="where everything published shall lie")
    parser.add_argument("--test-user", default="", metavar="USER", help="whom tests run as, where we are root")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="instead of ci/sites/NAME.yml; `-` prints it and writes nothing"
    )
    parser.add_argument("--force", action="store_true", help="write over a file that is there")


def _init(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.looking import RealHost
    from conda_concept.siting import Wishes
    from conda_concept.steps.site_init import propose, write

    wishes = Wishes(arguments.name, arguments.root, arguments.test_user)
    proposed = propose(RealHost(dict(context.environ)), wishes)
    facts = {"site": proposed.name, "machine": plain(proposed.machine), "assumed": list(proposed.assumed)}
    facts |= {"missing": list(proposed.draft.missing), "text": proposed.text}
    if arguments.output == Path("-"):
        context.emit(facts, proposed.text)
        return 0
    path = arguments.output or context.repository_path / "ci" / "sites" / f"{proposed.name}.yml"
    write(proposed, path, force=arguments.force)
    lines = [f"{path} is written.", f"Look at what is assumed there: {', '.join(proposed.assumed)}."]
    lines += [f"Missing on this machine: {one}." for one in proposed.draft.missing]
    where = proposed.name if arguments.output is None else path
    context.emit(facts | {"path": str(path)}, "\n".join([*lines, f"Then: conda-concept site check --site {where}"]))
    return 0


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keep", action="store_true", help="leave the scratch root, for somebody else to try it")


def _check(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.errors import ToolError
    from conda_concept.render.sitecheck import checked_text
    from conda_concept.steps.site_check import site_check
    from conda_concept.steps.site_check.place import Ground
    from conda_concept.testing.probe import ordinary_user

    site = context.site
    user = ordinary_user(site.test_user)
    source = context.repository.site_source(context.site_name) if context.jobs else None
    ground = Ground(site, context.repository, user, context.reporter, context.environ, context.workers, source)
    checked = site_check(ground, lambda: _job(context), keep=arguments.keep)
    context.emit(plain(checked) | {"wrong": checked.wrong}, checked_text(checked))
    return ToolError.exit_code if checked.wrong else 0


def _job(context: Context) -> str:
    """A trivial job of the site's scheduler; the nearest folder above the root that is there, it has to see too."""
    from conda_concept.executor.trial import trial

    if context.jobs is None:
        return "builds run in place"
    root = Path(context.site.root)
    return trial(context.jobs, str(next(one for one in (root, *root.parents) if one.is_dir())))


def _diagnose_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", nargs="*", metavar="RELEASE|COMMAND", help="a release, or a command or folder of one (default: python3)"
    )


def _diagnose(context: Context, arguments: argparse.Namespace) -> int:
    from conda_concept.errors import IntegrityError
    from conda_concept.render.evidence import evidence_text
    from conda_concept.steps.diagnose import diagnose, find

    def by_name(text: str) -> Path:
        return context.layout.prefix(context.find_release(text, prefer="current"))

    gathered = []
    for one in find(arguments.what, context.environ, by_name):
        with context.reporter.bar(f"reading {one.release}") as bar:
            gathered.append(
                diagnose(one, context.environ, lambda done, total, bar=bar: bar.update(done=done, total=total))  # type: ignore[misc]
            )
    facts = [plain(one) | {"good": one.good} for one in gathered]
    context.emit(facts, "\n\n".join(evidence_text(one) for one in gathered))
    return 0 if all(one.good for one in gathered) else IntegrityError.exit_code


COMMANDS: tuple[Command, ...] = (
    Command("site init", "look at this machine and write a commented site file for it", _init, _init_arguments),
    Command("site check", "try the whole path on this machine, and say what is wrong", _check, _check_arguments),
    Command("diagnose", "what the help desk asks for about a release, to paste it", _diagnose, _diagnose_arguments),
)
