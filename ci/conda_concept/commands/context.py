"""What every subcommand gets: the process's surroundings, read once, and the edges made from them when needed."""

import argparse
import datetime as dt
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from conda_concept.errors import InputError, NotFoundError
from conda_concept.layout import Layout
from conda_concept.model import CHANNEL_ALIAS, Lock, Release, Spec
from conda_concept.progress import Reporter
from conda_concept.repository import MAX_LOCK_BYTES, Repository, read_text
from conda_concept.settings import Site

if TYPE_CHECKING:
    from conda_concept.assembly import Assembler
    from conda_concept.download import Cache
    from conda_concept.executor.jobs import Jobs
    from conda_concept.solver import Settings
    from conda_concept.steps.accept import Desk
    from conda_concept.steps.edges import Edges
    from conda_concept.store import Store
    from conda_concept.store.finding import Prefer

Handler = Callable[["Context", argparse.Namespace], int]


@dataclass
class Context:
    """The settings of one run. Properties are made at first use, so that `--help` and `diff` stay quick."""

    environ: Mapping[str, str]
    repository_path: Path
    site_name: str
    channel_alias: str
    as_json: bool
    reporter: Reporter
    #: Heavy steps run in this process, whatever the site's executor is: we are its job, or somebody wants it so.
    in_place: bool = False
    stdout: TextIO = field(default_factory=lambda: sys.stdout)

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace, environ: Mapping[str, str]) -> "Context":
        """Flags first, then environment variables, then defaults."""
        return cls(
            environ=environ,
            repository_path=Path(arguments.repository).resolve(),
            site_name=arguments.site or environ.get("CONDA_CONCEPT_SITE") or "local",
            channel_alias=arguments.channel_alias or environ.get("CONDA_CHANNEL_ALIAS") or CHANNEL_ALIAS,
            as_json=arguments.json,
            reporter=Reporter.from_environment(environ, quiet=arguments.quiet),
            in_place=getattr(arguments, "in_place", False),
        )

    @cached_property
    def repository(self) -> Repository:
        """The checkout."""
        return Repository(self.repository_path, home=self.environ.get("HOME", "/"))

    @cached_property
    def site(self) -> Site:
        """The site's settings."""
        return self.repository.site(self.site_name, self.environ)

    @cached_property
    def layout(self) -> Layout:
        """The site's paths."""
        return Layout(Path(self.site.root), self.site.product)

    @cached_property
    def cache(self) -> "Cache":
        """Where archives are kept, and where they come from."""
        from conda_concept.download import Cache

        return Cache(Path(self.site.cache), self.channel_alias)

    @cached_property
    def store(self) -> "Store":
        """The site's store."""
        from conda_concept.store import Store

        return Store.open(self.layout, self.site, self.reporter.warn)

    @cached_property
    def assembler(self) -> "Assembler":
        """What builds images here."""
        from conda_concept.assembly import Assembler

        return Assembler(self.site, self.cache, self.reporter, self.workers)

    @cached_property
    def edges(self) -> "Edges":
        """Everything that a whole path needs."""
        from conda_concept.steps.edges import Edges

        settings = self.solver_settings()
        return Edges(self.repository, self.store, self.assembler, settings, self.reporter, self.workers, self.jobs)

    @cached_property
    def jobs(self) -> "Jobs | None":
        """Where heavy steps run: the site's scheduler; None: here."""
        from conda_concept.executor.setup import jobs
        from conda_concept.settings import LocalExecutor, PbsExecutor

        match self.site.executor:
            case PbsExecutor() as pbs if not self.in_place:
                source = self.repository.site_source(self.site_name)
                return jobs(pbs, source, self.store, self.environ, self.channel_alias, self.reporter)
            case LocalExecutor() | PbsExecutor():
                return None

    @cached_property
    def desk(self) -> "Desk":
        """GitHub, and the checkout of the main branch, as a job of GitHub Actions has them."""
        from conda_concept.github import Hub, Surroundings
        from conda_concept.steps.accept import Desk

        return Desk(Hub(Surroundings.of(self.environ)), self.repository)

    def solver_settings(self, time_limit: float | None = None) -> "Settings":
        """How this run solves."""
        from conda_concept.solver import TIME_LIMIT, Settings

        return Settings(
            channel_alias=self.channel_alias,
            time_limit=time_limit or TIME_LIMIT,
            now=dt.datetime.now(tz=dt.UTC),
            cache=Path(self.site.cache) / "repodata",
            pip_index=self.environ.get("PIP_INDEX_URL", ""),
            environ=self.environ,
        )

    def find_release(self, text: str, *, prefer: "Prefer") -> Release:
        """The release that somebody means by `text`."""
        from conda_concept.store.finding import find_release

        return find_release(self.store.reader.state(), self.layout, text, prefer=prefer)

    def lock_text(self, name: str, file: str | None) -> str:
        """The text of an environment's lock, or of the file that is named instead."""
        text = read_text(Path(file), MAX_LOCK_BYTES) if file else self.repository.lock_text(name)
        if text is None:
            raise NotFoundError(f"{name} has no lock yet.", hint=f"Make one with `conda-concept lock {name}`.")
        return text

    def read_lock(self, text: str, spec: Spec) -> Lock:
        """A lock that is fit for a build: from allowed channels only, hashed, whole."""
        from conda_concept.lockcheck import check_lock
        from conda_concept.lockfile import loads
        from conda_concept.solver import virtual_packages

        lock = loads(text)
        problems = [
            problem
            for platform in lock.platforms
            for problem in check_lock(lock, spec, platform, virtual_packages(spec, platform))
        ]
        if problems:
            raise InputError(f"the lock of {spec.name} does not fit its spec:", problems=problems)
        return lock

    @cached_property
    def workers(self) -> int:
        """The CPUs that this process may use."""
        from conda_concept.executor.cpus import cpus

        return cpus(self.environ)

    def emit(self, value: Mapping[str, Any] | list[Any], text: str) -> None:
        """The result on standard output: `value` for programs, `text` for people."""
        self.stdout.write(json.dumps(value, indent=2) + "\n" if self.as_json else text.rstrip("\n") + "\n")


@dataclass(frozen=True, slots=True)
class Command:
    """One subcommand: `arguments` adds its flags, `handler` does it and returns the exit code."""

    name: str
    help: str
    handler: Handler
    arguments: Callable[[argparse.ArgumentParser], None] = lambda parser: None  # noqa: ARG005 - no flags of its own
