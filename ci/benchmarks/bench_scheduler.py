"""A release of the demo environment through a real scheduler (Slurm), by an ordinary account, and its first users.

    ci/bench scheduler          makes the channel, starts a Slurm of its own, releases, starts python3 in every way

Prints the seconds of each part. Everything is in /tmp and goes afterwards.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

from conda_concept.localchannel import DEMO_EARLIER, DEMO_REQUIREMENTS, make_channel  # noqa: E402 - the path comes first
from conda_concept.progress import Reporter  # noqa: E402 - the same
from tests.conftest import MODULE_INITS  # noqa: E402 - the same
from tests.support.scheduled import Machine, scheduled  # noqa: E402 - the same
from tests.support.user import OrdinaryUser  # noqa: E402 - the same

TOP = Path(__file__).resolve().parents[2]
CHECK = "import sys, xarray, netCDF4, dask, matplotlib, scipy; print(sys.prefix)"


@contextmanager
def timed(what: str) -> Iterator[None]:
    """One line of the table."""
    started = time.monotonic()
    yield
    sys.stdout.write(f"{what:<40} {time.monotonic() - started:7.1f} s\n")
    sys.stdout.flush()


def channel(folder: Path) -> None:
    """The demo's own."""
    with timed("channel of real packages"):
        reporter = Reporter(sys.stderr, quiet=True)
        make_channel(folder / "conda-forge", DEMO_REQUIREMENTS, reporter, environ=os.environ, earlier=DEMO_EARLIER)


def release(machine: Machine) -> list[str]:
    """Lock, build and test in jobs, publish; what users should type."""
    folder = machine.root / "repository" / "environments" / "demo"
    shutil.copytree(TOP / "environments" / "demo", folder)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, machine.user.uid, -1)
    machine.site("demo", memory="4GB", download="queue")
    with timed("release: download, build, test in jobs"):
        done = machine.concept("try", "demo", "--publish", "--json", site="demo")
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    said = json.loads(done.stdout)
    for step in said["steps"]:
        sys.stdout.write(f"    {step['step']:<36} {step['seconds']:7.1f} s\n")
    sys.stdout.write(f"    jobs: {', '.join(machine.slurm.jobs().values())}\n")
    lines: list[str] = said["lines"]
    return lines


def main() -> None:
    """All of it."""
    with scheduled(OrdinaryUser.find(), channel) as machine:
        load = "; ".join(release(machine)[:-1])
        for system, init in MODULE_INITS.items():
            for runtime in ("namespace", "singularity"):
                with timed(f"first start: {system}, {runtime}"):
                    script = f". {init}; {load}; python3 -c '{CHECK}'"
                    machine.user.bash(script, env={"CONDA_CONCEPT_RUNTIME": runtime})


if __name__ == "__main__":
    main()
