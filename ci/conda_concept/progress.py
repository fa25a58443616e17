"""What people see while it runs: timed steps, progress bars, folded groups in CI, the job summary and outputs.

Everything here goes to standard error; standard output is for data.
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from tabulate import tabulate

from conda_concept.errors import ConcError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@dataclass(slots=True)
class Bar:
    """One progress bar; without a terminal it does nothing."""

    _progress: "Progress | None"
    _task: "TaskID | None"

    def update(self, *, done: int, total: int | None = None, text: str | None = None) -> None:
        """Set how much is done; `total` and `text` keep their value where they are not given."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total, description=text)


@dataclass(slots=True)
class Reporter:
    """Steps of one run, for a terminal, a plain log or GitHub's folded one."""

    stream: TextIO
    in_github: bool = False
    quiet: bool = False
    summary_file: Path | None = None
    output_file: Path | None = None
    steps: list[tuple[str, float]] = field(default_factory=list)
    _depth: int = 0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], *, quiet: bool = False) -> "Reporter":
        """A reporter for this process, told about GitHub Actions by its documented variables."""
        summary, output = environ.get("GITHUB_STEP_SUMMARY"), environ.get("GITHUB_OUTPUT")
        return cls(
            stream=sys.stderr,
            in_github=environ.get("GITHUB_ACTIONS") == "true",
            quiet=quiet,
            summary_file=Path(summary) if summary else None,
            output_file=Path(output) if output else None,
        )

    def say(self, text: str) -> None:
        """A line for people."""
        if not self.quiet:
            self.stream.write(f"{'  ' * self._depth}{text}\n")
            self.stream.flush()

    def warn(self, text: str) -> None:
        """A line that deserves a look; a GitHub annotation in CI. Never silenced."""
        if self.in_github:
            self.stream.write(f"::warning::{_github_escape(text)}\n")
        else:
            self.stream.write(f"{'  ' * self._depth}warning: {text}\n")
        self.stream.flush()

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """A timed step: folded in GitHub's log, ticked on the way out, listed in `table`."""
        started = time.monotonic()
        if self.in_github and self._depth == 0:
            self.stream.write(f"::group::{_github_escape(title)}\n")
        else:
            self.say(f"{title} …")
        self._depth += 1
        outcome = "✗"
        try:
            yield
            outcome = "✓"
        finally:
            self._depth -= 1
            seconds = time.monotonic() - started
            if self.in_github and self._depth == 0:
                self.stream.write("::endgroup::\n")
            self.say(f"{outcome} {title} ({seconds:.1f} s)")
            if self._depth == 0:
                self.steps.append((title, seconds))

    @contextmanager
    def bar(self, text: str, total: int | None = None) -> Iterator[Bar]:
        """A progress bar on a terminal; silent elsewhere."""
        if self.quiet or self.in_github or not self.stream.isatty():
            yield Bar(None, None)
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(file=self.stream), transient=True) as progress:
            yield Bar(progress, progress.add_task(text, total=total))

    def table(self) -> str:
        """The steps and their seconds as a plain table."""
        return tabulate([(title, f"{seconds:.1f}") for title, seconds in self.steps], headers=("step", "seconds"))

    def summary(self, markdown: str) -> None:
        """Add Markdown to the job summary, where there is one."""
        if self.summary_file is not None:
            with self.summary_file.open("a", encoding="utf-8") as out:
                out.write(markdown.rstrip() + "\n")

    def output(self, name: str, value: str) -> None:
        """Set a job output, where there is a job. The value may have several lines; the delimiter is unguessable."""
        if self.output_file is not None:
            mark = f"end_{os.urandom(16).hex()}"
            with self.output_file.open("a", encoding="utf-8") as out:
                out.write(f"{name}<<{mark}\n{value}\n{mark}\n")


def _github_escape(text: str) -> str:
    """GitHub's escapes for the data of a workflow command, so that text cannot become another command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


@dataclass(slots=True)
class Attempts:
    """Things of which one that fails does not keep the others; the last failure is raised at the end."""

    reporter: Reporter
    failed: ConcError | None = None

    @contextmanager
    def at(self, what: str) -> Iterator[None]:
        """Say what fails in the block, and go on behind it."""
        try:
            yield
        except ConcError as error:
            self.reporter.warn(f"{what}: {error}")
            self.failed = error

    def settle(self) -> None:
        """Raise what failed, if anything did."""
        if self.failed is not None:
            raise self.failed
