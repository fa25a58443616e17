"""What a site file could say about a machine's scheduler: a proposal for people to look at, from facts alone."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from conda_concept.machine import Machine, Scheduler

#: Queues for moving data: one CPU, and a network where compute nodes have none.
_MOVES_DATA = re.compile(r"copy|data|dtn|transfer|xfer", re.IGNORECASE)
#: What ordinary jobs go to where nothing says which queue is the default, by the names that sites give it.
_USUAL = ("normal", "batch", "compute", "standard", "regular", "general", "main", "workq", "short")

Item = str | int | Mapping[str, str | int] | None


@dataclass(frozen=True, slots=True)
class Offered:
    """One line below `executor:`, and why it is so; a value of None is left out and only spoken of."""

    key: str
    value: Item
    why: str = ""


def offer(machine: Machine, group: str) -> tuple[Offered, ...]:
    """The executor of a machine with a scheduler; `group` is the users', which is a project on many machines."""
    one = machine.scheduler
    if one is None:
        return ()
    queue, why = build_queue(one)
    named: dict[str, str | int] = {"queue": queue} if queue else {}
    own_disk: dict[str, str | int] = {"jobfs": "50GB"} if "jobfs" in machine.folders else {}
    sizes: dict[str, str | int] = {"cpus": 4, "memory": "16GB", "walltime": "04:00:00"}
    lines = [Offered("kind", "pbs")]
    lines += [Offered("dialect", "slurm")] if one.kind == "Slurm" else []
    lines += [Offered("bin", one.folder), *_project(one, group), *_storage(machine, one)]
    lines.append(Offered("build", {**named, **sizes, **own_disk}, f"{why}; assumed: enough for a large environment"))
    moving = next((name for name in one.queues if _MOVES_DATA.search(name) and name != queue), "")
    if moving:
        size: dict[str, str | int] = {"queue": moving, "cpus": 1, "memory": "4GB", "walltime": "02:00:00"}
        lines.append(Offered("download", "queue", f"assumed: the nodes of {moving} have a network, others have none"))
        lines.append(Offered("download_job", size))
    else:
        lines.append(Offered("download", "here", "assumed: the runner's node has a network, compute nodes have none"))
    return tuple(lines)


def build_queue(one: Scheduler) -> tuple[str, str]:
    """The queue for builds, and how it was chosen; empty: the scheduler's own choice."""
    if one.default:
        return one.default, f"found: {one.default} is the default queue"
    fit = [name for name in one.queues if not _MOVES_DATA.search(name)]
    usual = next((name for name in _USUAL if name in fit), "")
    if usual:
        return usual, f"assumed: {usual} is for ordinary jobs"
    return "", "assumed: the scheduler's default queue will do"


def _storage(machine: Machine, one: Scheduler) -> list[Offered]:
    shared = ", ".join(system.mount.path for system in machine.file_systems if system.mount.shared)
    if one.kind != "PBS Pro" or not shared:
        return []
    words = f"assumed: jobs see {shared} without asking; where they have to ask, as in `-l storage=`: storage: [NAME]"
    return [Offered("storage", None, words)]


def _project(one: Scheduler, group: str) -> list[Offered]:
    if one.project:
        return [
            Offered("project", one.project, "found: $PROJECT; assumed: jobs of the release account are charged to it")
        ]
    return [Offered("project", group, "assumed: the users' group has an allocation")] if group else []
