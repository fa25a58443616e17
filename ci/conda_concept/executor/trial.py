"""A trivial job, so that a site's settings can be tried before a build needs them."""

import secrets
import time
from contextlib import suppress

from conda_concept.errors import ToolError
from conda_concept.executor.jobs import Jobs
from conda_concept.executor.task import Task

#: Says where it runs, whether it sees the store's root there, and that our program starts there.
_SCRIPT = """\
uname -n
if [ -d "$1" ]; then echo yes; else echo no; fi
shift
"$@" --version
"""


def trial(jobs: Jobs, root: str) -> str:
    """Run it in the queue of builds and say how it went; `root` is a folder that jobs have to see.

    Raises what a build's job would: `SchedulerError` with the scheduler's words; `ToolError` for a node that does not
    see the store.
    """
    started = time.monotonic()
    small = {"cpus": 1, "memory": "900MB", "walltime": "00:05:00", "jobfs": None}
    key = f"site-check-{secrets.token_hex(4)}"
    argv = ("/bin/sh", "-c", _SCRIPT, "sh", root, *(jobs.command or ("echo",)))
    try:
        out = jobs.run(Task(key, "a trivial job", argv, jobs.pbs.build.model_copy(update=small))).out
    finally:
        with suppress(OSError):
            (jobs.folder / key).rmdir()
    node, sees, *version = out.splitlines() or ["", ""]
    if sees != "yes":
        raise ToolError(
            f"a job on {node} does not see {root}.",
            hint="Name its file system in `storage` of the executor, or choose a `root` that every node sees.",
        )
    seconds = time.monotonic() - started
    return (
        f"a job in {jobs.pbs.build.queue or 'the default queue'} ran on {node} in {seconds:.0f} s: {' '.join(version)}"
    )
