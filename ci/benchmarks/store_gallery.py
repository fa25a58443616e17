"""What maintainers see of a store with a dozen releases: `python ci/benchmarks/store_gallery.py FOLDER`.

The releases are small, their sizes, dates and sources are like those of a year on a real site; everything else is what
`conda-concept list`, `doctor` and `prune --dry-run` print of such a store.
"""

import argparse
import datetime as dt
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.storekit import ASKED, START, build, judge, make_site, make_store, release, silent
from conda_concept.layout import Layout
from conda_concept.model import Release
from conda_concept.render.store import findings_text, history_table, judgements_table, releases_table
from conda_concept.settings import Retention
from conda_concept.steps.doctor import doctor
from conda_concept.steps.list_ import list_history, list_releases
from conda_concept.steps.prune import prune
from conda_concept.steps.publish import publish_release
from conda_concept.steps.rollback import roll_back
from conda_concept.store import RealDoor, Store

#: Version, build, day of the year when it was ready, and what happened to it then.
YEAR = (
    ("25.10", 0x0C3F91D2, -80, "publish"),
    ("26.01", 0x41F7B2A9, 5, "publish"),
    ("26.01", 0x9D02E6C4, 19, "publish"),
    ("26.01", 0xE5A83B10, 33, "publish"),
    ("26.04", 0x2B7C04F8, 90, "publish"),
    ("26.04", 0x73D9A51E, 104, "publish"),
    ("26.04", 0xB60F28C3, 118, "publish and roll back"),
    ("26.07", 0x18E4D7B5, 180, "publish"),
    ("26.07", 0x5AC3902F, 196, "fails"),
    ("26.07", 0xC471E80D, 197, "candidate"),
    ("26.07", 0xF90B56A7, 199, "unfinished"),
)
TODAY = 200


def day(store: Store, number: int) -> Store:
    """The store as it is on a day of the year."""
    return replace(store, now=lambda: START + dt.timedelta(days=number, hours=9))


def at(path: Path, number: int) -> None:
    """Finished on that day: the time of the record is what counts."""
    seconds = (START + dt.timedelta(days=number, hours=9)).timestamp()
    os.utime(path, (seconds, seconds))


def a_year(root: Path) -> Store:
    """Two environments through a year: publishes, a rollback, a failed test, what a killed build left, damage."""
    site = make_site(root, retention=Retention(grace_days=30, candidate_days=30, keep_builds=2))
    store = make_store(root, door=RealDoor(), site=site)
    tools = release("26.05", 0x6E1D0C94, "tools")
    for version, number, when, fate in YEAR:
        one = release(version, number)
        lived(day(store, when), one, when, fate)
        if number == 0x73D9A51E:
            lived(day(store, when + 3), tools, when + 3, "publish")
    store.layout.keep(release("25.10", 0x0C3F91D2)).write_text("the ocean paper, until it is printed\n")
    return day(store, TODAY)


def lived(store: Store, one: Release, when: int, fate: str) -> None:
    """Build, test and publish a release on its day, or what happened instead."""
    if fate == "unfinished":
        store.layout.prefix(one).mkdir(parents=True)
        return
    build(store, one, size=(310 + one.version.count("7") * 25) * 10**6)
    judge(store, one, passed=fate != "fails")
    at(store.layout.record(one), when)
    if fate.startswith("publish"):
        publish_release(store, one, one.version if one.environment == "tools" else "26.04", ASKED, silent())
    if fate.endswith("roll back"):
        roll_back(store, one.label, "", ASKED, silent())
    if fate == "candidate":
        store.expose(one, "analysis3-pr412")


def damaged(layout: Layout) -> None:
    """What a doctor finds after a careless afternoon."""
    layout.alias("analysis3-26.01").unlink()
    layout.alias("analysis3-26.01").symlink_to("../releases/analysis3-26.01/00000000")
    layout.releases.chmod(0o777)
    (layout.apps / ".history.jsonl.new").write_text("")


def main() -> int:
    """Write the texts."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="where the texts go; without it they are printed")
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory(prefix="store-gallery-") as work:
        Path(work).chmod(0o755)
        store = a_year(Path(work) / "store")
        rows = list_releases(store)
        texts = {
            "list": releases_table(rows, 126),
            "list   # on a terminal of 80 columns": releases_table(rows, 80),
            "list --history": history_table(list_history(store)),
            "prune --dry-run": judgements_table(prune(store, replace(ASKED, dry_run=True)).judgements),
        }
        damaged(store.layout)
        texts["doctor"] = findings_text(doctor(store, ASKED).findings)
    shown = "\n".join(f"$ conda-concept {command}\n{text}\n" for command, text in texts.items())
    shown = "\n".join(line.rstrip() for line in shown.splitlines()) + "\n"
    if folder is None:
        sys.stdout.write(shown)
    else:
        (folder / "store.txt").write_text(shown, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
