"""What a site file should say about a machine: each setting with its value and why, decided from facts alone."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from conda_concept.batch import Offered, offer
from conda_concept.machine import Container, FileSystem, Machine
from conda_concept.settings import Squash

#: At the top of a system, and nothing that a command inside needs to see from the host, or Singularity's own.
_NOT_BOUND = frozenset({"boot", "dev", "proc", "sys", "lost+found", "bin", "lib", "lib32", "lib64", "libx32", "sbin"})
#: Folders of the container's base in any case: a host that has a link there still has to be bound.
_ALWAYS_THERE = frozenset({"etc", "home", "root", "run", "tmp", "usr", "var"})
#: Links that the base has, or must not have.
_NOT_LINKED = frozenset({"bin", "lib", "lib32", "lib64", "libx32", "sbin", "dev", "proc", "sys"}) | _ALWAYS_THERE
#: How groups that write are called where another one reads: hh5 and hh5_w.
_WRITERS = ("_w", "-w", "_owners", "-owners", "_admin", "-admin", "_write")
#: Where a node's own disk usually is, best first.
_NODE_DISKS = ("/local", "/localscratch", "/scratch/local", "/jobfs", "/var/tmp", "/tmp")  # noqa: S108 - looked at only

Value = str | int | tuple[str, ...] | dict[str, str] | dict[str, str | int] | None


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a site file, and the words above it. A value of None is left to the program's own default."""

    key: str
    value: Value
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What somebody said instead of letting us find out; empty: find out."""

    name: str = ""
    root: str = ""
    test_user: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """A site file before it is text: the machine, the settings in order, and what is missing here."""

    machine: Machine
    settings: tuple[Setting, ...]
    missing: tuple[str, ...] = field(default=())
    executor: tuple[Offered, ...] = ()


def draft(machine: Machine, wishes: Wishes) -> Draft:
    """The site file that fits a machine. Nothing is asked; what cannot be known is `assumed`, and says so."""
    container = _container(machine)
    root = _root(machine, wishes)
    binds, groups = _binds(machine), _groups(machine)
    settings = [
        _name(machine, wishes),
        root,
        _scratch(machine),
        Setting(
            "cache", f"{root.value}/cache", ("assumed: beside the store; it may be purged, never while building.",)
        ),
        groups,
        *_runtime(machine, container, binds.value),
        *_sandbox(machine),
        binds,
        *_links(machine),
        *_libraries(machine),
        *_node(machine),
        _test_user(machine, wishes),
        Setting(
            "squash",
            Squash().model_dump(),
            ("The defaults, chosen by measurement. assumed: this kernel mounts zstd images (Linux 4.14 or newer).",),
        ),
    ]
    users = groups.value["users"] if isinstance(groups.value, dict) else ""
    return Draft(machine, tuple(settings), missing(machine), offer(machine, str(users)))


def missing(machine: Machine) -> tuple[str, ...]:
    """What has to be there before a release can be made or started, and is not."""
    needed = {
        "mksquashfs": "squashfs-tools, to make images",
        "setpriv": "util-linux 2.33 or newer, for tests",
        "git": "git",
        "patchelf": "patchelf, for the interpreter that `site check` packs",
    }
    found = [what for name, what in needed.items() if not machine.tools.get(name)]
    if not machine.containers and not machine.has_namespace_runtime:
        found.append("a runtime: Apptainer or Singularity; or squashfuse, /dev/fuse and user namespaces")
    if not machine.modules:
        found.append("Environment Modules or Lmod, for `module load`")
    if not _has_bubblewrap(machine) and not machine.containers:
        found.append(
            "what runs code of packages in a build: bubblewrap with user namespaces (as root without), or Singularity"
        )
    return tuple(found)


def _name(machine: Machine, wishes: Wishes) -> Setting:
    if wishes.name:
        return Setting("name", wishes.name, ("as you said.",))
    words = [word for word in re.split(r"[^a-z0-9]+", machine.host.lower()) if not re.fullmatch(r"login\d*|\d+", word)]
    name = re.sub(r"\d+$", "", words[0]) if words else ""
    name = name if re.match(r"[a-z]", name) and name != "localhost" else "here"
    return Setting("name", name, (f"found: this node is called {machine.host}.",))


def _root(machine: Machine, wishes: Wishes) -> Setting:
    if wishes.root:
        return Setting("root", wishes.root.rstrip("/") or "/", (*_holding(machine, wishes.root), "as you said."))
    shared = [one for one in machine.file_systems if one.mount.shared and one.writable]
    if shared:
        best = max(shared, key=lambda one: one.free)
        why = f"assumed: {best.mount.path} ({best.mount.type}) is shared and this account may write there; check."
        return Setting("root", f"{best.mount.path.rstrip('/')}/conda-concept", (why, free(best)))
    others = ", ".join(one.mount.path for one in machine.file_systems if one.mount.shared)
    home = "/opt" if machine.is_root else machine.account.home
    first = f"assumed: {home}, check. Everything published lies below it, at paths that never change."
    second = "No shared file system was found, so other nodes will not see it."
    if others:
        second = f"The shared file systems ({others}) cannot be written at their top: name a project's folder there."
    return Setting("root", f"{home.rstrip('/')}/conda-concept", (first, second, *_holding(machine, home)))


def _scratch(machine: Machine) -> Setting:
    disk = _node_disk(machine)
    kind = machine.scheduler.kind if machine.scheduler else None
    variable = {"PBS Pro": "PBS_JOBFS", "Torque": "PBS_JOBFS", "Slurm": "SLURM_TMPDIR", None: "TMPDIR"}[kind]
    where = machine.holding(disk)
    words = [f"found: {disk} is local disk of this node" + (f", {free(where)}" if where else "")]
    if kind:
        words.append(f"assumed: a job's own disk is in ${variable}; check what this site calls it.")
    return Setting("scratch", f"${{{variable}:-{disk}}}", tuple(words))


def _groups(machine: Machine) -> Setting:
    """A group and its writers' group, if the account has such a pair; anything else is for people to decide."""
    groups = machine.account.groups
    for group in groups:
        for ending in _WRITERS:
            if group + ending in groups:
                return Setting(
                    "groups",
                    {"users": group, "owners": group + ending},
                    (f"assumed: this account is in {group} and {group}{ending}; check that users are in {group}.",),
                )
    words = (
        f"assumed: everybody may read and execute; this account is in {', '.join(groups)}.",
        "For one group of users, and one of owners who may write as well:",
        "groups: {users: GROUP, owners: GROUP}",
    )
    return Setting("groups", None, words)


def _container(machine: Machine) -> Container | None:
    """The one to use: outside /usr, which is bound inside, where there is a choice."""
    return min(machine.containers, key=lambda one: one.program.startswith("/usr/"), default=None)


def _runtime(machine: Machine, container: Container | None, binds: Value) -> list[Setting]:
    if container is None:
        good = machine.has_namespace_runtime
        words = "found: no Apptainer or Singularity; user namespaces, squashfuse and /dev/fuse are there."
        bad = "assumed: nothing that can start a release was found here; see `missing` above."
        return [Setting("runtime", "namespace" if good else "singularity", (words if good else bad,))]
    also = (
        "`namespace` works here too, and starts faster; check that compute nodes have user namespaces as well."
        if machine.has_namespace_runtime
        else f"`namespace` would not work here: {_why_no_namespace(machine)}."
    )
    covered = isinstance(binds, tuple) and any(container.program.startswith(f"{bind}/") for bind in binds)
    inside = "It is visible inside as well, so one container can start another." if covered else ""
    mounting = (
        (
            "container",
            "found: it is set-uid, so it cannot see a user's mount; each container mounts the image.",
        )
        if container.setuid
        else ("shared", "found: it is not set-uid, so all commands of a user on a node can share one mount.")
    )
    if not container.setuid and not (machine.fuse and machine.tools.get("squashfuse_ll")):
        mounting = ("container", "found: without squashfuse and /dev/fuse, each container mounts the image itself.")
    return [
        Setting("runtime", "singularity", (f"found: {container.version}.", also)),
        Setting(
            "singularity", container.program, tuple(filter(None, ("found: by absolute path, links followed.", inside)))
        ),
        Setting("mounting", mounting[0], (mounting[1],)),
    ]


def _has_bubblewrap(machine: Machine) -> bool:
    return bool(machine.tools.get("bwrap")) and (machine.is_root or not machine.no_namespaces)


def _sandbox(machine: Machine) -> list[Setting]:
    """Only where bubblewrap cannot do it: a build finds it by itself, but people should know what it rests on."""
    if _has_bubblewrap(machine) or not machine.containers:
        return []
    lacks = f"user namespaces: {machine.no_namespaces}" if machine.no_namespaces else "no bubblewrap"
    words = (
        f"found: {lacks}; so a build runs code of packages in Singularity.",
        "assumed: it lets users ask for no network (`--net --network none`).",
    )
    return [Setting("sandbox", "singularity", words)]


def _why_no_namespace(machine: Machine) -> str:
    if machine.no_namespaces:
        return f"user namespaces: {machine.no_namespaces}"
    return "no /dev/fuse" if not machine.fuse else "no squashfuse_ll"


def _binds(machine: Machine) -> Setting:
    folders = (*machine.folders, *(name for name in machine.links if name in _ALWAYS_THERE))
    kept = [name for name in folders if name not in _NOT_BOUND and not name.startswith((".", "snap"))]
    if not machine.is_root:
        kept = [name for name in kept if name != "root"]
    left_out = sorted(set(folders) - set(kept) - _NOT_BOUND)
    words = ["found: the folders at the top of this node. Those that another node does not have are left out there."]
    if left_out:
        words.append(f"Left out: {', '.join(f'/{name}' for name in left_out)}.")
    return Setting("binds", tuple(f"/{name}" for name in sorted(kept)), tuple(words))


def _links(machine: Machine) -> list[Setting]:
    """Links at the top of the host that the container's base needs too, because paths in use go through them."""
    kept = {f"/{name}": text for name, text in sorted(machine.links.items()) if name not in _NOT_LINKED}
    if not kept:
        return []
    return [Setting("links", kept, ("found: links at the top of this node, which the container gets too.",))]


def _libraries(machine: Machine) -> list[Setting]:
    own = machine.libraries or "/lib64"
    folders = list(dict.fromkeys((own if own.startswith("/usr/") else f"/usr{own}", own)))
    words = ["assumed: the system's own (C++ runtime, compression) may be used by packages that do not bring them."]
    settings = []
    mpi = machine.mpi
    if mpi is not None:
        if mpi.libraries and not any(f"{mpi.libraries}/".startswith(f"{folder}/") for folder in folders):
            folders.append(mpi.libraries)
            words.append(f"found: {mpi.version or 'MPI'} has its libraries in {mpi.libraries}.")
        settings.append(
            Setting(
                "mpi_run", (mpi.program, "-n", "2"), (f"found: {mpi.version or mpi.program}; for tests with ranks.",)
            )
        )
    return [Setting("host_libraries", tuple(folders), tuple(words)), *settings]


def _node(machine: Machine) -> list[Setting]:
    settings = [Setting("node_dir", "/tmp", ("assumed: every user may write there on every node, and it is local.",))]  # noqa: S108 - a setting's value
    for key, tool in (("squashfuse", "squashfuse_ll"),):
        path = machine.tools.get(tool, "")
        words = f"found: {path}." if path else f"assumed: {tool} is not on this node; here the program's own default."
        settings.append(Setting(key, path or None, (words,)))
    return settings


def _test_user(machine: Machine, wishes: Wishes) -> Setting:
    if wishes.test_user:
        return Setting("test_user", wishes.test_user, ("as you said.",))
    if machine.is_root:
        words = (
            "assumed: `nobody`, because the release account is root here and tests never run as root.",
            "test_user: NAME",
        )
        return Setting("test_user", None, words)
    return Setting("test_user", None, ("not needed: the release account is not root, so tests run as itself.",))


def _node_disk(machine: Machine) -> str:
    """The local disk with the most room among the usual places; /tmp where none is known."""
    places = [place for place in _NODE_DISKS if (one := machine.holding(place)) and not one.mount.shared]
    places = [place for place in places if place.split("/")[1] in machine.folders]
    usual = [place for place in places if place in ("/tmp", "/var/tmp")]  # noqa: S108 - compared only
    own = [place for place in places if any(one.mount.path == place and one.writable for one in machine.file_systems)]
    return _roomiest(machine, own or usual or ["/tmp"])  # noqa: S108 - a setting's value


def _roomiest(machine: Machine, places: Sequence[str]) -> str:
    def room(place: str) -> int:
        one = machine.holding(place)
        # What is in memory comes last, however much there is of it.
        return 0 if one is None or one.mount.type == "tmpfs" else one.free

    return max(places, key=room)


def _holding(machine: Machine, path: str) -> tuple[str, ...]:
    one = machine.holding(path)
    if one is None:
        return ()
    return (f"found: {one.mount.path} is {one.mount.type}, {'shared' if one.mount.shared else 'local'}; {free(one)}",)


def free(one: FileSystem) -> str:
    """What is free on a file system, in words."""
    inodes = "" if one.inodes is None else f" and {one.inodes:,} inodes"
    return f"{one.free / 1e9:,.0f} GB{inodes} are free."
