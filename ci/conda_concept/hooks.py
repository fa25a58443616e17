"""Run the main branch's hooks in a finished prefix, in the sandbox, and note every path that they change.

A hook sees the prefix at its real path, what commands see of the host (its MPI too), and no network. The prefix must
not share files with the package cache (`image.install_conda(private=True)`), because a hook may write into a file.
"""

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conda_concept.errors import BuildError
from conda_concept.integrating import settle_hook
from conda_concept.model import HookFact
from conda_concept.progress import Reporter
from conda_concept.run import CommandError
from conda_concept.sandbox import ENVIRONMENT, Inside, Sandbox, Shown

#: Long enough for `jupyter lab build`; a hook that hangs has to end some time.
SECONDS = 3600.0
#: Where the hook lies inside.
PLACE = "/hook"
#: 1980-01-01, the first moment that a zip file can name: tools that ask for it write no other time.
EPOCH = "315532800"


@dataclass(frozen=True, slots=True)
class Stage:
    """Where hooks run: in a sandbox, with a tree at its prefix, on so many CPUs."""

    sandbox: Sandbox
    tree: Path
    prefix: Path
    workers: int


Snapshot = Mapping[str, tuple[int, int, int, int]]


def run_hooks(hooks: Sequence[tuple[str, str]], stage: Stage, reporter: Reporter) -> tuple[HookFact, ...]:
    """Run all hooks in order, each a timed step, and keep `conda-meta` true after each."""
    facts = []
    for name, text in hooks:
        with reporter.step(f"hook {name}"):
            fact = run_hook(name, text, stage)
            settle_hook(stage.tree, fact)
            reporter.say(
                f"{len(fact.added)} path(s) added, {len(fact.changed)} changed, {len(fact.removed)} removed; "
                "the release record lists them"
            )
            facts.append(fact)
    return tuple(facts)


def run_hook(name: str, text: str, stage: Stage) -> HookFact:
    """Run one hook and say what it changed; `BuildError` with the end of what it said if it ends badly."""
    tree = stage.tree
    script = tree.parent / f"hook-{name}"
    script.write_text(text, encoding="utf-8")
    script.chmod(0o755)
    before = snapshot(tree)
    shown, variables = (Shown(str(script), PLACE),), _variables(stage.prefix, stage.workers)
    done = stage.sandbox.run(Inside(tree, stage.prefix, [PLACE], shown, variables), SECONDS)
    script.unlink()
    if done.returncode != 0:
        failed = CommandError([name], done.returncode, done.stdout + done.stderr)
        raise BuildError(
            f"the hook {name} failed: {failed}",
            hint="It runs without network and can write only into the prefix and /tmp.",
        )
    return compare(name, hashlib.sha256(text.encode()).hexdigest(), before, snapshot(tree))


def _variables(prefix: Path, workers: int) -> dict[str, str]:
    return {
        "PATH": f"{prefix}/bin:{ENVIRONMENT['PATH']}",
        "CONDA_PREFIX": str(prefix),
        "CPU_COUNT": str(workers),
        "PYTHONDONTWRITEBYTECODE": "1",  # the build compiles afterwards, without time stamps
        "PYTHONHASHSEED": "0",
        "SOURCE_DATE_EPOCH": EPOCH,
    }


def snapshot(tree: Path) -> Snapshot:
    """What tells one state of every file and link from another: inode, size, time of last change, mode."""
    found: dict[str, tuple[int, int, int, int]] = {}
    todo = [str(tree)]
    while todo:
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    todo.append(entry.path)
                else:
                    path = os.path.relpath(entry.path, tree)
                    found[path] = (status.st_ino, status.st_size, status.st_ctime_ns, status.st_mode)
    return found


def compare(name: str, digest: str, before: Snapshot, after: Snapshot) -> HookFact:
    """The difference of two snapshots."""
    return HookFact(
        name=name,
        sha256=digest,
        added=tuple(sorted(after.keys() - before.keys())),
        changed=tuple(sorted(path for path in before.keys() & after.keys() if before[path] != after[path])),
        removed=tuple(sorted(before.keys() - after.keys())),
    )
