"""The demo: what a pull request goes through, with real tools and no GitHub. `ci/demo` sets up and starts it."""

import argparse
import io
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conda_concept import cli
from conda_concept.errors import ConcError
from conda_concept.localchannel import DEMO_EARLIER, DEMO_REQUIREMENTS, earlier_channel, make_channel
from conda_concept.progress import Reporter
from conda_concept.render.tried import text
from conda_concept.run import CLEAN_ENVIRONMENT, leave, run

TOP = Path(__file__).resolve().parent.parent
#: What the played pull request adds: it brings `distributed`, which wants exactly its own release of dask, so that
#: adding one package has to move another.
ADDED = "dask-jobqueue"
CHECK = "import dask_jobqueue, xarray, sys; print('xarray', xarray.__version__, 'in', sys.prefix)"


@dataclass(frozen=True, slots=True)
class Demo:
    """The demo's folder (channel, a repository of its own, comments) and the environment of every command."""

    folder: Path
    environ: Mapping[str, str]
    reporter: Reporter
    local: bool

    @property
    def repository(self) -> Path:
        """A Git repository with nothing but the demo environment and the site file."""
        return self.folder / "repository"

    def git(self, *words: str) -> str:
        """Git in that repository, with an identity of its own."""
        identity = ["-c", "user.name=demo", "-c", "user.email=demo@example.org", "-c", "init.defaultBranch=main"]
        environment = {**CLEAN_ENVIRONMENT, "HOME": str(self.folder)}
        return run(["git", "-C", self.repository, *identity, *words], env=environment).stdout.strip()

    def channels(self, when: str) -> Path:
        """Where channel names live `then`, at the first release, and `now`, when the pull request comes."""
        return self.folder / "channels" / when

    def make_channels(self) -> None:
        """A channel of real packages, and the same as it was before its latest upload."""
        with self.reporter.step("make a channel of real packages"):
            now, then = (self.channels(when) / "conda-forge" for when in ("now", "then"))
            made = make_channel(now, DEMO_REQUIREMENTS, self.reporter, environ=os.environ, earlier=DEMO_EARLIER)
            if made.made or not then.exists():
                earlier_channel(now, then, DEMO_EARLIER)

    def concept(self, when: str, *words: str) -> dict[str, Any]:
        """One `conda-concept` command, as anybody would type it; its result as data. Ends the demo if it fails."""
        if self.local:
            words = (*words, "--channel-alias", self.channels(when).as_uri())
        self.reporter.say(f"\n$ conda-concept {' '.join(words)}")
        out = io.StringIO()
        with redirect_stdout(out):
            code = cli.run([*words, "--json", "--repository", str(self.repository)], self.environ)
        if code != 0:
            leave(code)
        result: dict[str, Any] = json.loads(out.getvalue())
        return result

    def begin(self) -> bool:
        """The repository on its way: False where a run before this one has merged the pull request already."""
        if not (self.repository / ".git").exists():
            shutil.rmtree(self.repository, ignore_errors=True)
            shutil.copytree(TOP / "environments" / "demo", self.repository / "environments" / "demo")
            (self.repository / "ci" / "sites").mkdir(parents=True)
            shutil.copy(TOP / "ci" / "sites" / "local.yml", self.repository / "ci" / "sites")
            self.git("init", "--quiet")
            self.git("add", "--all")
            self.git("commit", "--quiet", "--message", "Ask for an environment")
        return "released" not in self.tags()

    def release(self) -> None:
        """The first release: everything is new."""
        self.concept("then", "try", "demo", "--publish", "--comments", str(self.folder / "comments" / "first-release"))
        self._keep_lock("first-release")
        self.git("tag", "released")

    def request(self) -> None:
        """A researcher's pull request: one line."""
        if "request" not in self.tags():
            path = self.repository / "environments" / "demo" / "environment.yml"
            path.write_text(path.read_text("utf-8").replace("  - dask\n", f"  - dask\n  - {ADDED}\n"), "utf-8")
            self.git("commit", "--quiet", "--all", "--message", f"Add {ADDED}")
            self.git("tag", "request")

    def play(self) -> dict[str, Any]:
        """Everything that happens to the pull request, up to its publication."""
        self.git("checkout", "--quiet", "request")
        comments = self.folder / "comments" / "pull-request"
        words = ("--publish", "--comments", str(comments), "--pull-request", "1", "--author", "a-researcher")
        result = self.concept("now", "try", "demo", "--base", "released", *words)
        self.git("checkout", "--quiet", "main")
        if "merged" not in self.tags():
            self._keep_lock("pull-request")
            self.git("tag", "merged")
        return result

    def tags(self) -> list[str]:
        """How far an earlier run came."""
        return self.git("tag").split()

    def _keep_lock(self, comments: str) -> None:
        lock = self.folder / "comments" / comments / "conda-lock.yml"
        shutil.copy(lock, self.repository / "environments" / "demo" / "conda-lock.yml")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "Lock what was published")


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The demo's options."""
    parser = argparse.ArgumentParser(prog="ci/demo", description=__doc__)
    parser.add_argument("--channel", choices=("local", "conda-forge"), default="local", help="where packages come from")
    parser.add_argument("--folder", type=Path, default=TOP / ".demo", help="for everything but the store (.demo)")
    parser.add_argument("--root", help="where the store is (default: that of ci/sites/local.yml)")
    return parser.parse_args(argv)


def settings(options: argparse.Namespace) -> dict[str, str]:
    """The environment of the demo's commands."""
    environ = dict(os.environ)
    environ["CONDA_CONCEPT_CACHE"] = str(options.folder / "cache")
    if options.root:
        environ["CONDA_CONCEPT_ROOT"] = options.root
    return environ


def main(argv: Sequence[str]) -> int:
    """Play it; returns the exit code."""
    options = arguments(argv)
    options.folder = options.folder.resolve()
    options.folder.mkdir(parents=True, exist_ok=True)
    reporter = Reporter.from_environment(os.environ)
    demo = Demo(options.folder, settings(options), reporter, local=options.channel == "local")
    try:
        if demo.local:
            demo.make_channels()
        if demo.begin():
            demo.release()
        demo.request()
        result = demo.play()
    except ConcError as error:
        sys.stderr.write(f"ci/demo: {error}\n")
        return error.exit_code
    show(result, options.folder, reporter)
    return 0


def show(result: dict[str, Any], folder: Path, reporter: Reporter) -> None:
    """The comments that the pull request would get, the table, and what to type."""
    for path in result["comments"]:
        sys.stdout.write(f"\n{'─' * 20} comment {Path(path).relative_to(folder)} {'─' * 20}\n\n")
        sys.stdout.write(Path(path).read_text("utf-8"))
    result["steps"][:0] = [{"step": name, "seconds": seconds} for name, seconds in reporter.steps]
    result["lines"][-1] = f'python3 -c "{CHECK}"'
    sys.stdout.write("\n" + text(result) + "\n")


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
