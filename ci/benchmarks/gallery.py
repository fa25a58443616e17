"""The comments that people see, rendered from real data into a folder: `python ci/benchmarks/gallery.py FOLDER`.

The quarterly refresh is that of the real analysis3 (1,443 packages, from tests/data); what cannot be solved is asked of
the same channels. The others are what the end-to-end tests of the workflows left in `.cache/comments` and
`.cache/comments-requests`, byte for byte.
"""

import argparse
import datetime as dt
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lockkit import PLATFORM, real_lock, spec_of
from markdown_it import MarkdownIt
from realdata import RealData

from conda_concept.changes import diff
from conda_concept.explain import ExplainedError
from conda_concept.lockfile import dumps
from conda_concept.locking import Wish, solve
from conda_concept.progress import Reporter
from conda_concept.render import pullrequest
from conda_concept.render.diff import Heading
from conda_concept.render.request import Opened, answer
from conda_concept.repository import Repository
from conda_concept.requesting import Asked
from conda_concept.run import CLEAN_ENVIRONMENT, leave, run
from conda_concept.solver import Settings
from conda_concept.steps.look import Looker
from conda_concept.steps.request import tell

TOP = Path(__file__).resolve().parents[2]
SAID = TOP / ".cache" / "comments"
REQUESTS = TOP / ".cache" / "comments-requests"
HEADING = Heading(
    "analysis3-26.06",
    next_step=pullrequest.next_step("5f2b8c0d" * 5, (), trusted=True),
    commit="5f2b8c0d" * 5,
    base="main at 0a1b2c3d4e5f",
    links=(("run", "https://github.com/climate/environments/actions/runs/1"),),
)
#: Name in the gallery -> what a comment of the tests has to hold.
FROM_TESTS = {
    "added-package": r"conda-concept:diff.*being built and tested.*Asked for.*",
    "built-and-tested": r"conda-concept:build.*### ✅.*Try it now",
    "failed-tests": r"conda-concept:build.*sadly not",
    "superseded": r"conda-concept:build.*Superseded",
    "waits-for-a-maintainer": r"conda-concept:diff.*a maintainer can start the build",
    "refused": r"conda-concept:diff.*lock of this run is refused",
    "released": r"conda-concept:release.*is published",
    "released-after-a-rebuild": r"conda-concept:release.*once more before",
    "explained": r"conda-concept:answer.*Why ",
    "request-fits": r"conda-concept:request:answer.*fits into.*asks for it in your name",
    "request-there-already": r"conda-concept:request:answer.*is in \S+ already",
    "request-unknown": r"conda-concept:request:answer.*No package is called",
    "request-does-not-fit": r"conda-concept:request:answer.*does not fit",
    "request-asked-twice": r"conda-concept:request:answer.*asks for this package already",
    "request-no-such-form": r"conda-concept:request:answer.*cannot be read as it is",
    "request-pull-request": r"conda-concept:for:.*Asked for by",
}


def refreshed(data: RealData) -> str:
    """The largest step of the real history that a comment had to show."""
    steps = data.steps
    locks = [real_lock(data, step) for step in (steps[2], steps[-1])]
    found = diff(locks[0], locks[1], spec_of(steps[-1].environment), PLATFORM)
    return pullrequest.changes("analysis3", HEADING, [found])


def unsolvable(data: RealData) -> str:
    """A request that contradicts what is there."""
    step = data.steps[-1]
    spec = spec_of(re.sub(r"(?m)^- numba$", "- numba <0.50", step.environment))
    settings = Settings(channel_alias=data.alias)
    try:
        solve(spec, real_lock(data, step), Wish(), settings, Reporter(sys.stderr, quiet=True))
    except ExplainedError as error:
        return pullrequest.unsolvable("analysis3", replace(HEADING, next_step=""), error.explanation)
    raise SystemExit("that was to have no solution")


def requested(data: RealData, name: str) -> str:
    """The answer to a request for a package in the real analysis3."""
    step, folder = data.steps[-1], Path(tempfile.mkdtemp())
    environment = folder / "environments" / "analysis3"
    environment.mkdir(parents=True)
    (environment / "environment.yml").write_text(step.environment, "utf-8")
    (environment / "config.yml").write_text((TOP / "environments/analysis3/config.yml").read_text("utf-8"), "utf-8")
    (environment / "conda-lock.yml").write_text(dumps(real_lock(data, step)), "utf-8")
    now = dt.datetime.fromisoformat("2026-06-30T00:00:00+00:00")  # the day of the data
    quiet = Reporter(sys.stderr, quiet=True)
    settings = Settings(channel_alias=data.alias, now=now)
    found = Looker(Repository(folder), settings, quiet).look(Asked("analysis3", name))
    told = tell(Repository(folder), found, now)
    opened = Opened(12, "new") if found.outcome == "solved" else None
    shutil.rmtree(folder)
    return answer(replace(told, opened=opened, run="https://github.com/climate/environments/actions/runs/1"))


def from_tests() -> dict[str, str]:
    """Those that the workflows made in the tests."""
    texts = [path.read_text("utf-8") for folder in (SAID, REQUESTS) for path in sorted(folder.glob("*.md"))]
    found = {}
    for name, pattern in FROM_TESTS.items():
        matching = [text for text in texts if re.search(pattern, text, re.DOTALL)]
        if not matching:
            sys.stderr.write(f"no comment of the tests shows {name}; first run ci/test tests/e2e\n")
        else:
            found[name] = matching[0]
    return found


def picture(folder: Path, name: str, text: str, style: Path) -> None:
    """A screenshot of a comment beside its Markdown, by Chromium."""
    shown = text.partition("\n")[2].replace("[!NOTE]", "**Note**")
    body = MarkdownIt("gfm-like").render(shown)
    page = (
        f"<!doctype html><meta charset='utf-8'><style>{style.read_text('utf-8')} body {{ margin: 16px; }} "
        f".markdown-body {{ width: 860px; }}</style><article class='markdown-body'>{body}</article>"
    )
    with tempfile.TemporaryDirectory() as work:
        file = Path(work) / "page.html"
        file.write_text(page, "utf-8")
        # Tall enough for what is open of a long comment; the rest is folded or cut.
        height = min(1400, 160 + 34 * len(shown.partition("<details>")[0].splitlines()))
        quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={work}/profile"]
        what = [f"--window-size=900,{height}", f"--screenshot={folder / name}.png", file.as_uri()]
        run(["chromium", *quiet, *what], env={**CLEAN_ENVIRONMENT, "HOME": work}, timeout=60)


def main(argv: Sequence[str]) -> None:
    """Render everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--style", type=Path, help="pictures too, in this style (npm: github-markdown-css)")
    options = parser.parse_args(argv)
    folder: Path = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        data = RealData.unpack(Path(work))
        comments = {"quarterly-refresh": refreshed(data), "unsolvable": unsolvable(data), **from_tests()}
        comments |= {f"request-{name}": requested(data, name) for name in ("convertdate", "psyplot")}
    again = f"A maintainer can start it again with a comment `/build {HEADING.commit}`"
    comments["runner-died"] = pullrequest.unfinished("analysis3", "the job ended: failure", HEADING, again=again)
    for name, text in comments.items():
        (folder / f"{name}.md").write_text(text, "utf-8")
        if options.style:
            picture(folder, name, text, options.style)
        sys.stdout.write(f"{name}: {len(text):,} characters\n")


if __name__ == "__main__":
    main(sys.argv[1:])
    leave(0)
