"""What every subcommand gets: the process's surroundings, read once, and the edges made from them when needed."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

from conda_concept.download import Cache
from conda_concept.layout import Layout
from conda_concept.model import CHANNEL_ALIAS, Site
from conda_concept.progress import Reporter
from conda_concept.repository import Repository

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
    def cache(self) -> Cache:
        """Where archives are kept, and where they come from."""
        return Cache(Path(self.site.cache), self.channel_alias)

    @cached_property
    def workers(self) -> int:
        """The CPUs that this process may use."""
        return len(os.sched_getaffinity(0))

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
