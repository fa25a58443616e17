"""The executor of a site, made from its settings and this process's surroundings."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from conda_concept.document import SourceText
from conda_concept.executor.jobs import Jobs
from conda_concept.executor.process import private
from conda_concept.executor.scheduler import Scheduler
from conda_concept.executor.tool import tool
from conda_concept.progress import Reporter
from conda_concept.run import CLEAN_ENVIRONMENT
from conda_concept.settings import PbsExecutor
from conda_concept.site import names_in
from conda_concept.store import Store
from conda_concept.store.door import explained
from conda_concept.store.permissions import Permissions

#: Hours without a sign of life after which another machine's process no longer counts as looking after a job.
STALE_HOURS = 0.25


def jobs(
    pbs: PbsExecutor,
    site: SourceText,
    store: Store,
    environ: Mapping[str, str],
    channel_alias: str,
    reporter: Reporter,
) -> Jobs:
    """How heavy steps become jobs. Of our surroundings a job gets only what the site file names: never a token."""
    folder = Path(pbs.folder or f"{store.site.cache}/jobs")
    with explained(f"use {folder} for jobs"):
        private(folder)
    copy = tool(folder / "tool")
    shared, own = names_in(site)
    environment = {
        **CLEAN_ENVIRONMENT,
        **{name: environ[name] for name in shared if name in environ},
        **pbs.variables,
        "PYTHONPATH": copy.python_path,
        "PYTHONUNBUFFERED": "1",
    }
    return Jobs(
        scheduler=Scheduler(pbs),
        folder=folder,
        # Tasks are looked after by one account, and the cache may be on a file system of another kind.
        taker=replace(store.taker, stale_hours=STALE_HOURS, permissions=Permissions()),
        reporter=reporter,
        command=copy.argv,
        flags=("--repository", "{folder}", "--site", "{folder}/site.yml", "--channel-alias", channel_alias),
        environment=environment,
        passed=tuple(sorted(own)),
        files={"site.yml": site.text},
    )
