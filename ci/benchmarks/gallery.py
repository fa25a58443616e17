"""The comments that people see, kept in .github/gallery as Markdown and as pictures. `ci/gallery` makes them anew.

`analysis3` is the real one (1,443 packages, from tests/data) and needs nothing but that; the others are what the real
workflow files wrote, byte for byte: for the demo environment, and for tiny packages in the end-to-end tests. Tests
hold every one of them to what the program says now.
"""

import argparse
import datetime as dt
import hashlib
import re
import shutil
import struct
import sys
import tempfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lockkit import PLATFORM, real_lock, spec_of
from markdown_it import MarkdownIt
from realdata import RealData

from conda_concept.changes import diff
from conda_concept.explain import ExplainedError
from conda_concept.lockfile import digest, dumps
from conda_concept.locking import Wish, solve
from conda_concept.model import ImageFact, Release, ReleaseRecord, Source
from conda_concept.progress import Reporter
from conda_concept.render import pullrequest
from conda_concept.render.diff import Heading
from conda_concept.render.notes import Noted, release_notes
from conda_concept.render.request import Opened, answer
from conda_concept.repository import Repository
from conda_concept.requesting import Asked
from conda_concept.run import CLEAN_ENVIRONMENT, leave, run
from conda_concept.settings import Config
from conda_concept.solver import Settings
from conda_concept.steps.look import Looker
from conda_concept.steps.request import tell

TOP = Path(__file__).resolve().parents[2]
GALLERY = TOP / ".github" / "gallery"
#: Where the tests and `gallery_demo` leave what was said.
TESTS, DEMO = TOP / ".cache" / "comments", TOP / ".cache" / "comments-demo"
REQUESTS = TOP / ".cache" / "comments-requests"
HEADING = Heading(
    "analysis3-26.06",
    next_step=pullrequest.next_step("5f2b8c0d" * 5, (), trusted=True),
    commit="5f2b8c0d" * 5,
    base="main at 0a1b2c3d4e5f",
    links=(("run", "https://github.com/climate/environments/actions/runs/1"),),
)
#: Name in the gallery -> what a comment has to hold: of the demo's pull request, and of the tests.
FROM_DEMO = {
    "added-package": r"conda-concept:diff.*being built and tested.*Asked for",
    "built-and-tested": r"conda-concept:build.*### ✅.*Try it now",
    "released": r"conda-concept:release.*is published",
}
FROM_TESTS = {
    "failed-tests": r"conda-concept:build.*sadly not",
    "superseded": r"conda-concept:build.*Superseded",
    "waits-for-a-maintainer": r"conda-concept:diff.*a maintainer can start the build",
    "refused": r"conda-concept:diff.*lock of this run is refused",
    "runner-died": r"conda-concept:build.*the job ended: failure",
    "released-after-a-rebuild": r"conda-concept:release.*once more before",
    "explained": r"conda-concept:answer.*Why ",
    "build-answered": r"conda-concept:answer.*/build .*✅ The tests of",
    "not-allowed": r"conda-concept:answer.*only people who may write",
}
FROM_REQUESTS = {
    "request-fits": r"conda-concept:request:answer.*fits into.*asks for it in your name",
    "request-there-already": r"conda-concept:request:answer.*is in \S+ already",
    "request-unknown": r"conda-concept:request:answer.*No package is called",
    "request-does-not-fit": r"conda-concept:request:answer.*does not fit",
    "request-asked-twice": r"conda-concept:request:answer.*asks for this package already",
    "request-no-such-form": r"conda-concept:request:answer.*cannot be read as it is",
    "request-pull-request": r"conda-concept:for:.*Asked for by",
}


def refreshed(data: RealData) -> str:
    """The whole real history at once, from its first lock (step 2) to its last (step 26)."""
    first, *_, last = data.steps
    spec = replace(spec_of(last.environment), config=read_config())
    found = diff(real_lock(data, first), real_lock(data, last), spec, PLATFORM)
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
    stable = f"analysis3-{config.stable or config.version}"
    paths = "/g/data/hh5/public/modules", "conda_concept"
    noted = Noted(record, config, found, "analysis3-26.03", stable, None, *paths)
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
    """A request that contradicts another over what both need."""
    step = data.steps[-1]
    spec = spec_of(step.environment.replace("- dask 2026.1.*\n", "- dask 2025.*\n"))
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


def chosen(said: Iterable[str], patterns: Mapping[str, str]) -> dict[str, str]:
    """Of all that was said, in its order, the first that fits each name; `LookupError` where nothing does."""
    texts, found = list(said), {}
    for name, pattern in patterns.items():
        fitting = [text for text in texts if re.search(pattern, text, re.DOTALL)]
        if not fitting:
            raise LookupError(f"no comment shows {name}")
        found[name] = fitting[0]
    return found


def kept(folder: Path) -> list[str]:
    """The comments of a folder, in the order in which they were said."""
    paths = sorted(folder.glob("*.md"), key=lambda path: [int(word) for word in re.findall(r"\d+", path.name)])
    return [path.read_text("utf-8") for path in paths]


def bones(text: str) -> list[str]:
    """A comment's lines without what differs from run to run: names, numbers, paths, and the rows of tables."""
    lines = []
    for line in text.splitlines():
        short = re.sub(r"`[^`]*`|\[[^]]*\]\([^)]*\)", "…", line)
        short = re.sub(r'\b[0-9a-f]{8,40}\b|(?<=[\s"])/[^\s"]+|[\d.,]*\d', "0", short)  # commits, paths, numbers
        short = re.sub(r"\b(tiny|demo)\b", "…", short)
        if not line.startswith("|"):
            lines.append(short)
    return lines


def picture(path: Path, text: str, style: Path) -> None:
    """A screenshot of a comment by Chromium, 160 to 1400 pixels high, with the comment's digest in it."""
    shown = text.partition("\n")[2].replace("[!NOTE]", "**Note**")
    body = MarkdownIt("gfm-like").render(shown)
    page = (
        f"<!doctype html><meta charset='utf-8'><style>{style.read_text('utf-8')} body {{ margin: 16px; }} "
        f".markdown-body {{ width: 860px; }}</style><article class='markdown-body'>{body}</article>"
        "<script>document.title = 'height=' + document.documentElement.scrollHeight</script>"
    )
    with tempfile.TemporaryDirectory() as work:
        file, shot = Path(work) / "page.html", Path(work) / "page.png"
        file.write_text(page, "utf-8")
        words = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        # Draw when all of it is there, however busy the machine is: otherwise a picture may be half empty.
        words += [f"--user-data-dir={work}/profile", "--run-all-compositor-stages-before-draw"]
        words += ["--virtual-time-budget=10000"]
        environment = {**CLEAN_ENVIRONMENT, "HOME": work}
        said = run([*words, "--window-size=900,100", "--dump-dom", file.as_uri()], env=environment, timeout=60).stdout
        found = re.search(r"<title>height=(\d+)</title>", said)
        height = min(1400, max(160, int(found[1]) if found else 1400))  # a lower window stays white
        run([*words, f"--window-size=900,{height}", f"--screenshot={shot}", file.as_uri()], env=environment, timeout=60)
        path.write_bytes(with_digest(shot.read_bytes(), text))


_NOTE = b"Comment-SHA256\0"
_END = b"\0\0\0\0IEND\xaeB`\x82"


def with_digest(image: bytes, text: str) -> bytes:
    """A PNG that says which text it shows, in a tEXt chunk (11.3.4.3 of its specification) before its end."""
    note = b"tEXt" + _NOTE + hashlib.sha256(text.encode()).hexdigest().encode()
    chunk = struct.pack(">I", len(note) - 4) + note + struct.pack(">I", zlib.crc32(note))
    return image.removesuffix(_END) + chunk + _END


def digest_in(image: bytes) -> str:
    """The digest that `with_digest` has put into a picture, empty where there is none."""
    start = image.rfind(_NOTE)
    return image[start + len(_NOTE) :][:64].decode("ascii", "replace") if start >= 0 else ""


def write() -> None:
    """All texts anew; their pictures go."""
    with tempfile.TemporaryDirectory() as work:
        data = RealData.unpack(Path(work))
        comments = {"quarterly-refresh": refreshed(data), "release-notes": f"\n{notes(data)}"}
        comments |= {"unsolvable": unsolvable(data), **transcript()}
        comments |= {f"request-{name}": requested(data, name) for name in ("convertdate", "psyplot")}
    comments |= chosen(kept(DEMO), FROM_DEMO) | chosen(kept(TESTS), FROM_TESTS)
    comments |= chosen(kept(REQUESTS), FROM_REQUESTS)
    for name, text in comments.items():
        (GALLERY / f"{name}.md").write_text(text, "utf-8")
        (GALLERY / f"{name}.png").unlink(missing_ok=True)
        sys.stdout.write(f"{name}: {len(text):,} characters\n")


def main(argv: Sequence[str]) -> None:
    """Texts, then pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--style", type=Path, help="pictures too, in this style (npm: github-markdown-css)")
    parser.add_argument("--only-pictures", action="store_true", help="of the texts that are there")
    options = parser.parse_args(argv)
    if not options.only_pictures:
        write()
    wanted = [path for path in sorted(GALLERY.glob("*.md")) if not path.with_suffix(".png").exists()]
    for path in wanted if options.style else ():
        picture(path.with_suffix(".png"), path.read_text("utf-8"), options.style)


if __name__ == "__main__":
    main(sys.argv[1:])
    leave(0)
