"""How long `conda-concept search` takes in a store of dozens of releases with the real lock of analysis3.

`./ci/bench search`; the whole command as a user types it, the search alone, and what reading one lock whole takes.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tabulate import tabulate

from conda_concept.layout import Layout
from conda_concept.lockfile import loads
from conda_concept.run import CLEAN_ENVIRONMENT, run
from conda_concept.settings import Site
from conda_concept.steps.search import search
from conda_concept.store import Store

TOP = Path(__file__).resolve().parents[2]
SITE = "name: bench\nroot: {root}\nscratch: {root}\ncache: {root}\n"


def fill(root: Path, releases: int) -> Layout:
    """Releases as far as a search looks at them, each with an alias and the real lock."""
    layout = Layout(root)
    layout.envs.mkdir(parents=True)
    text = (TOP / "environments" / "analysis3" / "conda-lock.yml").read_text("utf-8")
    for number in range(releases):
        label, build = f"analysis3-{10 + number // 12:02}.{1 + number % 12:02}", f"{number:08x}"
        folder = layout.releases / label / build
        folder.mkdir(parents=True)
        (folder / "release.json").write_text("{}")
        (folder / "conda-lock.yml").write_text(text)
        layout.alias(label).symlink_to(f"../releases/{label}/{build}")
    return layout


def median(times: int, what: Callable[[], object]) -> float:
    """Seconds of wall time."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        what()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def main(argv: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--releases", type=int, nargs="*", default=[12, 40])
    parser.add_argument("--times", type=int, default=9)
    options = parser.parse_args(argv)
    rows = []
    for releases in options.releases:
        with tempfile.TemporaryDirectory() as work:
            root = Path(work) / "store"
            layout = fill(root, releases)
            site = Path(work) / "site.yml"
            site.write_text(SITE.format(root=root))
            settings = Site(name="bench", root=str(root), scratch=work, cache=work)
            store = Store.open(layout, settings, lambda _: None)
            hits = len(search(store, "xarray").hits)
            command = [sys.executable, "-m", "conda_concept", "search", "xarray", "--site", str(site)]
            environment = {**CLEAN_ENVIRONMENT, "PYTHONPATH": str(TOP / "ci")}
            rows.append(
                {
                    "releases": releases,
                    "hits": hits,
                    "search": median(options.times, lambda one=store: search(one, "xarray")),  # type: ignore[misc]
                    "command": median(options.times, lambda argv=command, env=environment: run(argv, env=env)),  # type: ignore[misc]
                }
            )
    text = (TOP / "environments" / "analysis3" / "conda-lock.yml").read_text("utf-8")
    whole = median(3, lambda: loads(text))
    if options.json:
        sys.stdout.write(json.dumps({"rows": rows, "one_lock_whole": whole}, indent=2) + "\n")
        return
    table = [(row["releases"], row["hits"], f"{row['search']:.2f} s", f"{row['command']:.2f} s") for row in rows]
    sys.stdout.write(tabulate(table, headers=("releases of 1,443 packages", "hits", "search", "whole command")) + "\n")
    sys.stdout.write(f"reading one such lock whole: {whole:.2f} s\n")


if __name__ == "__main__":
    main(sys.argv[1:])
