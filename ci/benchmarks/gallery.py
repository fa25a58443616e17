"""The comments that people see, rendered from real data into a folder: `python ci/benchmarks/gallery.py FOLDER`.

The quarterly refresh is that of the real analysis3 (1,443 packages, from tests/data); what cannot be solved is asked of
the same channels. The others are what the end-to-end tests of the workflows left in `.cache/comments`, byte for byte.
"""

import argparse
import re
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
from conda_concept.lockfile import digest
from conda_concept.locking import Wish, solve
from conda_concept.model import ImageFact, Release, ReleaseRecord, Source
from conda_concept.progress import Reporter
from conda_concept.render import pullrequest
from conda_concept.render.diff import Heading
from conda_concept.render.notes import Noted, release_notes
from conda_concept.repository import Repository
from conda_concept.run import CLEAN_ENVIRONMENT, leave, run
from conda_concept.settings import Config
from conda_concept.solver import Settings

TOP = Path(__file__).resolve().parents[2]
SAID = TOP / ".cache" / "comments"
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
}


def refreshed(data: RealData) -> str:
    """The whole real history as one quarter: from its second step to its last."""
    steps = data.steps
    locks = [real_lock(data, step) for step in (steps[0], steps[-1])]
    found = diff(locks[0], locks[1], spec_of(steps[-1].environment), PLATFORM)
    return pullrequest.changes("analysis3", HEADING, [found])


def notes(data: RealData) -> str:
    """The release notes of that quarter, as users of the real analysis3 would have got them."""
    steps = data.steps
    old, new = (real_lock(data, step) for step in (steps[0], steps[-1]))
    config = read_config()
    spec = replace(spec_of(steps[-1].environment), config=config)
    image = ImageFact("5f2b8c0d" * 8, 5_301_000_000, 289_524, 10_000_000_000, "zstd")
    record = ReleaseRecord(
        release=Release("analysis3", config.version, "1a2b3c4d"),
        prefix="",
        platform=PLATFORM,
        packages=len(new.on(PLATFORM)),
        lock_digest=digest(new, PLATFORM),
        spec_digest="",
        builder="",
        built_at="",
        source=Source(),
        image=image,
        files=(),
        commands=(),
    )
    found = (diff(old, new, spec, PLATFORM),)
    noted = Noted(record, config, found, "analysis3-26.03", None, "/g/data/hh5/public/modules", "conda_concept")
    return release_notes(noted)


def read_config() -> Config:
    """That of analysis3 here."""
    return Repository(TOP).spec("analysis3").config


def transcript() -> dict[str, str]:
    """The checklist while a candidate can be tried, out of the transcript that the tests wrote."""
    text = (TOP / ".cache" / "quarter.md").read_text("utf-8")
    part = re.split(r"\n## \d", text.partition("## 6. ")[2])[0]
    lines = [line[2:] for line in part.splitlines() if line.startswith(">")]
    return {"quarter": text, "release-checklist": "\n".join(lines) + "\n"}


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


def from_tests() -> dict[str, str]:
    """Those that the workflows made in the tests."""
    texts = [path.read_text("utf-8") for path in sorted(SAID.glob("*.md"))]
    found = {}
    for name, pattern in FROM_TESTS.items():
        matching = [text for text in texts if re.search(pattern, text, re.DOTALL)]
        if not matching:
            sys.stderr.write(f"no comment of the tests shows {name}; first run ci/test tests/e2e/test_workflows.py\n")
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
        comments |= {"release-notes": f"\n{notes(data)}", **transcript()}
    again = f"A maintainer can start it again with a comment `/build {HEADING.commit}`"
    comments["runner-died"] = pullrequest.unfinished("analysis3", "the job ended: failure", HEADING, again=again)
    for name, text in comments.items():
        (folder / f"{name}.md").write_text(text, "utf-8")
        if options.style and name != "quarter":
            picture(folder, name, text, options.style)
        sys.stdout.write(f"{name}: {len(text):,} characters\n")


if __name__ == "__main__":
    main(sys.argv[1:])
    leave(0)
