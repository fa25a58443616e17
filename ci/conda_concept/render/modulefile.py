"""The modulefile of a release: one Tcl text for Environment Modules and Lmod."""

import datetime as dt
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from conda_concept.model import Package
from conda_concept.render.launcher import LauncherFacts, environment_variables, path_variables, unset_variables
from conda_concept.render.quote import templates


@dataclass(frozen=True, slots=True)
class ModuleFacts:
    """What a modulefile says beyond the launcher's facts.

    `packages` are the locked packages of the release's platform, `built_at` its ISO 8601 date or time in UTC.
    """

    launcher: LauncherFacts
    packages: Sequence[Package]
    built_at: str


def render_modulefile(facts: ModuleFacts) -> str:
    """The modulefile's text: what it sets, `module help`, `module whatis`, and the warning about an old release."""
    launcher, site, config = facts.launcher, facts.launcher.site, facts.launcher.config
    release = launcher.release
    built = dt.datetime.fromisoformat(facts.built_at).replace(tzinfo=dt.UTC)
    old = built + dt.timedelta(days=site.old_after_days)
    return (
        templates()
        .get_template("modulefile.tcl")
        .render(
            product=site.product,
            label=release.label,
            build_id=release.build_id,
            prefix=launcher.prefix,
            releases=posixpath.dirname(posixpath.dirname(launcher.prefix)),
            variables=environment_variables(launcher),
            paths=path_variables(launcher),
            unset=unset_variables(launcher),
            help_lines=_help_lines(facts, built),
            whatis_lines=_whatis_lines(facts),
            notice=posixpath.normpath(posixpath.join(launcher.prefix, "../../../notices", release.label)),
            old_after=int(old.timestamp()) if site.old_after_days else 0,
            old_text=f"{release.label} was built on {built:%Y-%m-%d}; a newer release of {release.environment} may be"
            f" there: module avail {site.product}/{release.environment}"
            + (f" (questions: {config.contact})" if config.contact else ""),
        )
    )


def key_versions(facts: ModuleFacts) -> str:
    """`python 3.11.4, numpy 1.25.0, …`: Python first, then the config's key packages in their order."""
    versions = {package.name: package.version for package in facts.packages}
    names = dict.fromkeys(("python", *facts.launcher.config.key_packages))
    return ", ".join(f"{name} {versions[name]}" for name in names if name in versions)


def _whatis_lines(facts: ModuleFacts) -> list[str]:
    release, config = facts.launcher.release, facts.launcher.config
    lines = [
        f"Name: {release.environment}",
        f"Version: {release.version}, build {release.build_id}",
        f"Description: {config.description}" if config.description else "",
        f"Packages: {len(facts.packages)}" + (f" ({keys})" if (keys := key_versions(facts)) else ""),
        f"Contact: {config.contact}" if config.contact else "",
    ]
    return [line for line in lines if line]


def _help_lines(facts: ModuleFacts, built: dt.datetime) -> list[str]:
    launcher, config = facts.launcher, facts.launcher.config
    lines = [
        f"{launcher.release.label}" + (f": {config.description}" if config.description else ""),
        "",
        f"{len(facts.packages)} packages, {len(launcher.commands)} commands, built on {built:%Y-%m-%d}.",
        key_versions(facts),
        f"Everything that is in it: {launcher.prefix}/conda-lock.yml",
        f"Python: {launcher.prefix}/bin/python3 (also as the first line of a script, and for virtual environments)",
        f"Questions: {config.contact}" if config.contact else "",
    ]
    return [line for i, line in enumerate(lines) if line or i == 1]
