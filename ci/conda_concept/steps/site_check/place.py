"""What a site's account, folders, disk and programs have to be, looked at without making anything that stays."""

import grp
import os
import pwd
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conda_concept.checkup import Finding, ok, warning, wrong
from conda_concept.document import SourceText
from conda_concept.errors import ConcError
from conda_concept.progress import Reporter
from conda_concept.repository import Repository
from conda_concept.run import PACKAGE_OF, run
from conda_concept.runtime import runtime_problems
from conda_concept.sandbox import find_sandbox
from conda_concept.settings import Site
from conda_concept.space import LARGE, Room, free, nearest
from conda_concept.store.permissions import Permissions, obstacles

#: What the build of a large environment wants, so that `space` says what a build would; a second image beside the
#: first, and the launchers and records of some hundred releases, have to fit into root.
ROOM = {"root": Room(2 * LARGE.root.size, 50_000), "scratch": LARGE.scratch, "cache": LARGE.cache}
#: Programs that a build uses and that are looked up in PATH; patchelf is for the interpreter that this check packs.
BUILD_TOOLS = ("mksquashfs", "unsquashfs", "git", "patchelf")


@dataclass(frozen=True, slots=True)
class Ground:
    """What is checked: the site, its repository, who we are and whom users are tried as (None: nobody but us).

    `source` is the site's file where builds and tests are jobs of its scheduler; None: they run in place.
    """

    site: Site
    repository: Repository
    user: tuple[int, int] | None
    reporter: Reporter
    environ: Mapping[str, str]
    workers: int
    source: SourceText | None = None

    @property
    def drop(self) -> list[str]:
        """The words before a command that make it a user's."""
        from conda_concept.testing.probe import drop_to

        return [] if self.user is None else drop_to(*self.user)

    @property
    def user_name(self) -> str:
        """Whom users are tried as."""
        return _user(os.geteuid() if self.user is None else self.user[0])


def account(ground: Ground) -> list[Finding]:
    """The release account's groups and umask, and the user's."""
    uid, groups = os.geteuid(), ground.site.groups
    found = [ok(f"the release account is {_user(uid)}, users are tried as {ground.user_name}")]
    for role, name in (("users", groups.users), ("owners", groups.owners)):
        if name is None:
            continue
        try:
            number = grp.getgrnam(name).gr_gid
        except KeyError:
            found.append(
                wrong(f"groups.{role}: this machine has no group {name}", "Ask for it, or correct the site file.")
            )
            continue
        if uid != 0 and number not in {os.getegid(), *os.getgroups()}:
            mend = f"Ask for membership of {name}: the account cannot give files to a group that it is not in."
            found.append(wrong(f"{_user(uid)} is not in the group {name} (groups.{role})", mend))
        elif role == "users" and ground.user is not None and number not in os.getgrouplist(*_grouped(ground.user)):
            mend = "Name a member of that group as test_user in the site file."
            found.append(wrong(f"{ground.user_name}, whom tests run as, is not in the group {name}", mend))
        else:
            found.append(ok(f"group {name} for {role}"))
    if not groups.users:
        found.append(ok("no users' group: everybody may read and execute"))
    found.append(_umask())
    if ground.user is None:
        mend = "Let a user type what --keep prints; or run the check as root with test_user in the site file."
        found.append(warning("not root, so nobody but the release account itself can be tried as a user", mend))
    return found


def _umask() -> Finding:
    umask = os.umask(0o077)
    os.umask(umask)
    if umask & 0o700:
        return wrong(f"umask {umask:03o} takes rights from the account itself", "Set `umask 022` in its profile.")
    return ok(f"umask {umask:03o}; the store sets its own permissions")


def root(ground: Ground) -> list[Finding]:
    """The store's root: it can be made and written, users get there, and two groups can be told apart."""
    site, found = ground.site, []
    path = Path(site.root)
    there = nearest(path)
    if not os.access(there, os.W_OK | os.X_OK):
        mend = f"Make {path} as an administrator and give it to {_user(os.geteuid())}, or choose another `root`."
        return [wrong(f"{there} cannot be written by {_user(os.geteuid())}", mend)]
    found.append(ok(f"{path} is there" if there == path else f"{path} is not there yet; {there} can hold it"))
    rule = Permissions.of(site.groups)
    found += [
        wrong(text, f"Let users in: `chmod o+rx` (with a users' group: `g+rx`) on {there}; `o+x` on what is above it.")
        for text in obstacles(there, rule)
    ]
    if rule.users is not None and rule.owners is not None and rule.users != rule.owners and not _has_lists(there):
        mend = "Owners besides the release account will not be able to write. Choose a file system with ACLs if needed."
        found.append(warning(f"{there} is on a file system without access control lists", mend))
    return found


def folders(ground: Ground) -> list[Finding]:
    """Scratch and cache can be written; a user can write the node's own disk; binds are there."""
    site, found = ground.site, []
    for key in ("scratch", "cache"):
        path = Path(getattr(site, key))
        there = nearest(path)
        good = os.access(there, os.W_OK | os.X_OK)
        mend = f"Make it writable for {_user(os.geteuid())}, or choose another folder as `{key}` in the site file."
        found.append(ok(f"{key}: {path}") if good else wrong(f"{key}: {there} cannot be written", mend))
    probe = run(
        [*ground.drop, "/bin/sh", "-c", 'test -w "$0" && test -x "$0"', site.node_dir], cwd=Path("/"), check=False
    )
    if probe.returncode != 0:
        mend = "Choose a folder that every user may write on every node as `node_dir` in the site file."
        found.append(wrong(f"node_dir: {ground.user_name} cannot write {site.node_dir}", mend))
    else:
        found.append(ok(f"node_dir: {site.node_dir}"))
    absent = [bind for bind in site.binds if not os.path.lexists(bind)]
    if absent:
        mend = "Nothing, if other nodes have them: they are left out where they are not."
        found.append(
            warning(f"not on this node: {', '.join(absent)}", mend)
            if len(absent) == len(site.binds)
            else ok(f"binds that this node does not have are left out: {', '.join(absent)}")
        )
    return found


def space(ground: Ground) -> list[Finding]:
    """Free bytes and inodes of every folder that builds fill."""
    found = []
    for key in ("root", "scratch", "cache"):
        wanted, folder = ROOM[key], Path(getattr(ground.site, key))
        try:
            size, inodes = free(folder)
        except OSError as error:
            found.append(wrong(f"{key}: {folder}: {error.strerror}", "Is that file system mounted?"))
            continue
        text = f"{key}: {size / 1e9:,.0f} GB" + ("" if inodes is None else f" and {inodes:,} inodes") + " free"
        if size < wanted.size or (inodes is not None and inodes < wanted.inodes):
            mend = f"A large environment wants {wanted.size / 1e9:,.0f} GB and {wanted.inodes:,} inodes there."
            found.append(warning(text, mend))
        else:
            found.append(ok(text))
    return found


def programs(ground: Ground) -> list[Finding]:
    """What builds, launchers and tests start."""
    site, found = ground.site, []
    missing = [name for name in BUILD_TOOLS if shutil.which(name, path=ground.environ.get("PATH")) is None]
    found += [wrong(f"{name} is not there", f"Install {PACKAGE_OF.get(name, name)}.") for name in missing]
    if not missing:
        found.append(ok(", ".join(BUILD_TOOLS)))
    found.append(_sandbox(site))
    problems = runtime_problems(site)
    mend = "Install it, correct its path in the site file, or choose the other `runtime` there."
    found += [wrong(f"runtime {site.runtime}: {problem}", mend) for problem in problems]
    if not problems and site.runtime == "singularity":
        found.append(ok(run([site.singularity, "--version"], check=False).stdout.strip() or site.singularity))
    fuse = run([*ground.drop, "/bin/sh", "-c", "true <>/dev/fuse"], cwd=Path("/"), check=False)
    if fuse.returncode != 0 and (site.runtime == "namespace" or site.mounting == "shared"):
        mend = "`mounting: container` in the site file (with Singularity), or let users open /dev/fuse."
        found.append(wrong(f"{ground.user_name} cannot open /dev/fuse, so has no shared mount", mend))
    if site.mpi_run and not os.access(site.mpi_run[0], os.X_OK):
        found.append(wrong(f"mpi_run: {site.mpi_run[0]} cannot be run", "Correct it in the site file."))
    return found


def _sandbox(site: Site) -> Finding:
    """What a build would run code of packages in on this machine, found as a build does."""
    there = nearest(Path(site.scratch))
    try:
        with tempfile.TemporaryDirectory(dir=there if os.access(there, os.W_OK | os.X_OK) else None) as scratch:
            return ok(f"code of packages runs in {find_sandbox(site, Path(scratch)).kind} during a build")
    except ConcError as error:
        return wrong(error.message, error.hint)


def host_commands(ground: Ground) -> list[Finding]:
    """The commands that environments of this repository leave to the host are on the host."""
    found: list[Finding] = []
    wanted: dict[str, list[str]] = {}
    try:
        for name in ground.repository.environments():
            for command in ground.repository.spec(name).config.host_commands:
                wanted.setdefault(command, []).append(name)
    except ConcError as error:
        return [warning(f"the environments cannot be read: {error.message}", "`conda-concept check` says more.")]
    for command, names in sorted(wanted.items()):
        where = shutil.which(command, path=ground.environ.get("PATH"))
        if where is None:
            mend = "Load its module before this check, install it, or take it out of host_commands."
            found.append(warning(f"{command} ({', '.join(names)}) is not in PATH", mend))
        else:
            found.append(ok(f"{command}: {where}"))
    return found or [ok("no environment leaves a command to the host")]


PLACE: tuple[tuple[str, Callable[[Ground], Sequence[Finding]]], ...] = (
    ("account", account),
    ("root", root),
    ("folders", folders),
    ("space", space),
    ("programs", programs),
    ("host commands", host_commands),
)
"""Each stage that looks at what is there."""


def _has_lists(folder: Path) -> bool:
    """Whether the file system takes an access control list: tried on a file of our own, which goes at once."""
    from conda_concept.store.permissions import ACCESS

    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".conda-concept-") as file:
            os.setxattr(file.name, ACCESS, Permissions(os.getegid(), os.getegid()).access_list("file"))
    except OSError:
        return False
    return True


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _grouped(user: tuple[int, int]) -> tuple[str, int]:
    return _user(user[0]), user[1]
