"""What users do with a release: start it in each runtime, load its module in each module system, start ranks."""

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from conda_concept.checkup import Finding, ok, warning, wrong
from conda_concept.looking import RealHost, module_systems
from conda_concept.run import CLEAN_ENVIRONMENT, Finished, run
from conda_concept.runtime import runtime_problems
from conda_concept.steps.site_check.path import NAME, Rehearsal

#: Prints what has to be the release's own prefix.
_WHERE = "import sys; print(sys.prefix)"
_MODULE_SCRIPT = """\
. "$1" >/dev/null 2>&1
module use "$2"
module load "$3"
command -v python3
python3 -c 'import sys; print(sys.prefix)'
site-check
module unload "$4"
command -v site-check || echo unloaded
"""
_LIMIT = 120
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def starts(rehearsal: Rehearsal) -> list[Finding]:
    """The interpreter, by the release account and by a user, in the site's runtime."""
    found = _start(rehearsal, rehearsal.site.runtime, [], "the release account")
    if rehearsal.ground.user is None:
        return found
    if os.geteuid() == 0:
        # Root is nobody's example: in a virtual machine or a container it may lack what Singularity wants of root.
        mend = "Nothing, if only users start commands: root needs rights there that it may not have."
        found = [warning(one.text, mend) if one.verdict == "wrong" else one for one in found]
    return found + _start(rehearsal, rehearsal.site.runtime, rehearsal.ground.drop, rehearsal.ground.user_name)


def other_runtime(rehearsal: Rehearsal) -> list[Finding]:
    """The runtime that the site does not use: users may choose it, so it is good to know."""
    other = "namespace" if rehearsal.site.runtime == "singularity" else "singularity"
    problems = runtime_problems(rehearsal.site.model_copy(update={"runtime": other}))
    if problems:
        return [ok(f"{other} cannot be chosen here: {'; '.join(problems)}")]
    found = _start(rehearsal, other, rehearsal.ground.drop, rehearsal.ground.user_name)
    return [warning(one.text, "Nothing, if nobody chooses it.") if one.verdict == "wrong" else one for one in found]


def mounted(rehearsal: Rehearsal) -> list[Finding]:
    """The mount that the commands of a user on a node share, where the site has one."""
    site = rehearsal.site
    if site.runtime == "singularity" and site.mounting == "container":
        return [ok("each container mounts the image itself (`mounting: container`)")]
    uid = rehearsal.uids[-1]
    _python(rehearsal, site.runtime, rehearsal.ground.drop)
    mounts = _mounts(rehearsal, uid)
    if mounts:
        return [ok(f"{mounts[0].parent} has the image, shared by all commands of {rehearsal.ground.user_name}")]
    mend = (
        f"Look at {site.squashfuse}, /dev/fuse and node_dir; `PREFIX/launcher --report` and CONDA_CONCEPT_DEBUG=1 help."
    )
    return [warning("no shared mount could be made, so every command mounts the image again", mend)]


def modules(rehearsal: Rehearsal) -> list[Finding]:
    """`module load`, a command by its name, `module unload`, in every module system that this machine has."""
    host = RealHost(dict(rehearsal.ground.environ))
    systems = module_systems(host)
    if not systems:
        return [wrong("no module system was found", "Install Environment Modules or Lmod, or set MODULESHOME.")]
    return [finding for one in systems for finding in _module(rehearsal, f"{one.kind} {one.version}", one.init)]


def ranks(rehearsal: Rehearsal) -> list[Finding]:
    """Ranks on one node, each through the launcher."""
    site = rehearsal.site
    if not site.mpi_run:
        return [ok("no mpi_run in the site file")]
    done, seconds = _as_users(rehearsal, [*rehearsal.ground.drop, *site.mpi_run, _command(rehearsal), "-c", _WHERE])
    lines = done.stdout.split()
    if done.returncode == 0 and lines and set(lines) == {rehearsal.released.prefix}:
        return [ok(f"{len(lines)} ranks in {seconds:.1f} s")]
    mend = "Run that line by hand; is mpi_run right for the account that runs tests?"
    return [wrong(f"`{' '.join(site.mpi_run)} python3` ended with {done.returncode}: {_last(done)}", mend)]


AS_USERS: tuple[tuple[str, Callable[[Rehearsal], Sequence[Finding]]], ...] = (
    ("start", starts),
    ("mount", mounted),
    ("other runtime", other_runtime),
    ("modules", modules),
    ("ranks", ranks),
)
"""Each stage that uses the release."""


def tidy_mounts(rehearsal: Rehearsal) -> None:
    """End the mounts that this check made, and the folders for them that were not there before."""
    if rehearsal.record is None:
        return
    for uid in rehearsal.uids:
        words = rehearsal.ground.drop if rehearsal.ground.user and uid == rehearsal.ground.user[0] else []
        folder = rehearsal.node_folder(uid)
        for mount in _mounts(rehearsal, uid):
            run([*words, f"{rehearsal.site.host_bin}/fusermount3", "-u", "-q", "-z", mount], cwd=Path("/"), check=False)
        # Also those of mounts that ended by themselves meanwhile.
        for place in folder.glob(f"{rehearsal.released.image.sha256}*"):
            with suppress(OSError):
                place.rmdir()
        if not rehearsal.node_folders.get(uid, True):
            with suppress(OSError):
                (folder / "lock").unlink(missing_ok=True)
                folder.rmdir()


def _start(rehearsal: Rehearsal, runtime: str, drop: Sequence[str], who: str) -> list[Finding]:
    """Twice: the first start mounts the image."""
    first, seconds = _python(rehearsal, runtime, drop)
    if first.returncode != 0 or first.stdout.strip() != rehearsal.released.prefix:
        said = _last(first) or f"it runs in {first.stdout.strip()}"
        mend = "Run it by hand with --keep and CONDA_CONCEPT_DEBUG=1; ci/README.md has the usual causes."
        return [wrong(f"{runtime}, as {who}: python3 ended with {first.returncode}: {said}", mend)]
    _, again = _python(rehearsal, runtime, drop)
    return [ok(f"{runtime}, as {who}: {seconds:.2f} s, then {again:.2f} s")]


def _python(rehearsal: Rehearsal, runtime: str, drop: Sequence[str]) -> tuple[Finished, float]:
    environment = {"CONDA_CONCEPT_RUNTIME": runtime}
    return _as_users(rehearsal, [*drop, _command(rehearsal), "-c", _WHERE], environment)


def _module(rehearsal: Rehearsal, system: str, init: str) -> list[Finding]:
    layout = rehearsal.edges.store.layout
    module = f"{layout.product}/{NAME}"
    script = ["bash", "--noprofile", "--norc", "-e", "-c", _MODULE_SCRIPT, "bash", init, str(layout.module_path)]
    done, seconds = _as_users(rehearsal, [*rehearsal.ground.drop, *script, module, layout.product])
    prefix = rehearsal.released.prefix
    expected = [f"{prefix}/bin/python3", prefix, f"site check in {prefix}", "unloaded"]
    if done.returncode == 0 and done.stdout.splitlines() == expected:
        return [ok(f"{system}: load, run, unload in {seconds:.1f} s")]
    mend = f"Type it by hand: `. {init}; module use {layout.module_path}; module load {module}`, with --keep."
    said = _last(done) or f"it said {done.stdout.splitlines()}, not {expected}"
    return [wrong(f"{system}: {said}", mend)]


def _as_users(
    rehearsal: Rehearsal, words: Sequence[str], more: Mapping[str, str] | None = None
) -> tuple[Finished, float]:
    """Run something as users do: from /, which everybody can read, with a clean environment and a home."""
    drop = rehearsal.ground.drop
    uid = rehearsal.uids[-1] if drop and words[: len(drop)] == drop else os.geteuid()
    environment = {**CLEAN_ENVIRONMENT, "HOME": str(rehearsal.home(uid)), **(more or {})}
    started = time.monotonic()
    done = run(words, env=environment, cwd=Path("/"), check=False, timeout=_LIMIT)
    return done, time.monotonic() - started


def _command(rehearsal: Rehearsal) -> str:
    return f"{rehearsal.released.prefix}/bin/python3"


def _mounts(rehearsal: Rehearsal, uid: int) -> list[Path]:
    """The mounts of this check's image that a user has, as the kernel lists them."""
    start = f"{rehearsal.node_folder(uid)}/{rehearsal.released.image.sha256}"
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    return [Path(line.split()[4]) for line in lines if line.split()[4].startswith(start)]


def _last(done: Finished) -> str:
    """What a program said about its end: its first lines, since a launcher that gives up ends with a report."""
    lines = [_COLOUR.sub("", line).strip() for line in (done.stderr.strip() or done.stdout.strip()).splitlines()]
    return " / ".join(lines[:3])
