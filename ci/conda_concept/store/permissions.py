"""Who may do what in the store: users read and execute, owners write, others nothing.

A file has one group, so two groups need a POSIX access control list. Where a file system has none, the users' group
is kept and only the release account itself writes. A site that names no users' group lets everybody read.
"""

import errno
import grp
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from conda_concept.errors import InputError
from conda_concept.settings import Groups
from conda_concept.store.door import Door, make_directories

ACCESS = "system.posix_acl_access"
DEFAULT = "system.posix_acl_default"

Kind = Literal["directory", "program", "file"]

# Tags and layout of linux/posix_acl_xattr.h: a version, then (tag, permissions, id) for each entry.
_VERSION = struct.pack("<I", 2)
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NO_ID = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Fault:
    """How a path's permissions differ from the rule, and what that means: others may write, or users are kept out."""

    text: str
    lets_write: bool
    keeps_out: bool


@dataclass(slots=True)
class Permissions:
    """The site's rule, with groups as numbers; None where the site names none.

    `has_acl` turns False at the first file system that refuses a list; `lacking` says so once, for the report.
    """

    users: int | None = None
    owners: int | None = None
    has_acl: bool = True
    lacking: str = field(default="")

    @classmethod
    def of(cls, groups: Groups) -> "Permissions":
        """The rule that a site asks for; every unknown group is named in one `InputError`."""
        wanted = {role: name for role, name in (("users", groups.users), ("owners", groups.owners)) if name is not None}
        found: dict[str, int] = {}
        problems = []
        for role, name in wanted.items():
            try:
                found[role] = grp.getgrnam(name).gr_gid
            except KeyError:
                problems.append(f"groups.{role}: this machine has no group `{name}`")
        if problems:
            raise InputError("The site's groups are not right.", problems=problems)
        return cls(found.get("users"), found.get("owners"))

    @property
    def group(self) -> int | None:
        """The group that everything in the store has."""
        return self.users if self.users is not None else self.owners

    def mode(self, kind: Kind) -> int:
        """The permission bits, as stat(2) shows them; with a list, the group's bits there are the list's mask."""
        read = 0o4 if kind == "file" else 0o5
        others = 0 if self.users is not None else read
        group = read
        if kind == "directory" and self.owners is not None and (self.users is None or self._listed):
            group = 0o7
        special = stat.S_ISGID if kind == "directory" and self.group is not None else 0
        owner = 0o6 if kind == "file" else 0o7
        return special | owner << 6 | group << 3 | others

    @property
    def _listed(self) -> bool:
        """Whether both groups have to be named, and can be."""
        return self.users is not None and self.owners is not None and self.users != self.owners and self.has_acl

    def apply(self, door: Door, path: Path, kind: Kind) -> None:
        """Set group, list and bits of one path; what is right already is not touched."""
        present = path.lstat()
        if self.group is not None and present.st_gid != self.group:
            door.chgrp(path, self.group)
            present = path.lstat()  # a change of group may clear setgid
        if self._listed:
            self._set_lists(door, path, kind)
            present = path.lstat()
        if stat.S_IMODE(present.st_mode) != self.mode(kind):
            door.chmod(path, self.mode(kind))

    def fault(self, path: Path, kind: Kind) -> "Fault | None":
        """How one path differs from what `apply` would make of it; None: it does not."""
        present = path.lstat()
        if self._listed and not _knows_lists(path):
            self.has_acl = False
        mode, wanted = stat.S_IMODE(present.st_mode), self.mode(kind)
        if mode != wanted:
            text = f"has permissions {mode:04o} and should have {wanted:04o}"
            return Fault(text, lets_write=bool(mode & ~wanted & 0o022), keeps_out=bool(wanted & ~mode & 0o055))
        if self.group is not None and present.st_gid != self.group:
            text = f"belongs to the group {_group_name(present.st_gid)} and should to {_group_name(self.group)}"
            return Fault(text, lets_write=bool(mode & 0o020), keeps_out=True)
        if not self._listed:
            return None
        for attribute in (ACCESS, DEFAULT) if kind == "directory" else (ACCESS,):
            found = _attribute(path, attribute)
            if found != self.access_list(kind):
                name = "access list" if attribute == ACCESS else "default access list"
                text = f"has {'another' if found else 'no'} {name} where that of the site's groups should be"
                return Fault(text, lets_write=self._lets_others_write(found), keeps_out=False)
        return None

    def _lets_others_write(self, value: bytes | None) -> bool:
        """Whether a list lets a user or group write that is none of the owners."""
        named = {_USER, _GROUP}
        return any(tag in named and bits & 2 and number != self.owners for tag, bits, number in _entries(value or b""))

    def _set_lists(self, door: Door, path: Path, kind: Kind) -> None:
        wanted = self.access_list(kind)
        try:
            for attribute in (ACCESS, DEFAULT) if kind == "directory" else (ACCESS,):
                if _attribute(path, attribute) != wanted:
                    door.set_acl(path, attribute, wanted)
        except OSError as error:
            if error.errno not in {errno.ENOTSUP, errno.ENOSYS}:
                raise
            self.has_acl = False
            self.lacking = f"{path} is on a file system without access control lists: owners cannot write there."

    def access_list(self, kind: Kind) -> bytes:
        """The kernel's encoding of: owner all, users read, owners' group writes directories, others nothing."""
        execute = 0 if kind == "file" else 1
        write = 2 if kind == "directory" else 0
        owners = 4 | write | execute
        entries = (
            (_USER_OBJ, 6 | execute, _NO_ID),
            (_GROUP_OBJ, 4 | execute, _NO_ID),
            (_GROUP, owners, self.owners if self.owners is not None else _NO_ID),
            (_MASK, owners, _NO_ID),
            (_OTHER, 0, _NO_ID),
        )
        return _VERSION + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def settle(door: Door, folder: Path, root: Path, rule: Permissions) -> None:
    """Make a folder of the store and what is above it down from `root`, with the site's permissions.

    A folder that only its owner may enter is one that was made by a run that ended before it could set them; others
    keep what they have, so that a site's own choice above the store is not undone. Such a folder of another owner is
    empty, and is made anew.
    """
    for one in reversed((folder, *folder.parents)):
        closed = one.is_relative_to(root) and one.is_dir() and one.stat().st_mode & 0o077 == 0
        if closed and os.geteuid() not in {0, one.stat().st_uid}:
            with suppress(OSError):  # not empty: what is tried next says so
                door.rmdir(one)
        if make_directories(door, one) or closed:
            rule.apply(door, one, "directory")


def kind_of(mode: int) -> Kind:
    """What a path is to the rule, by its `st_mode`: a file that its owner may execute is a program."""
    if stat.S_ISDIR(mode):
        return "directory"
    return "program" if mode & stat.S_IXUSR else "file"


def obstacles(path: Path, rule: Permissions) -> tuple[str, ...]:
    """What keeps a member of the users' group (anybody, where there is none) from reading `path`, in words.

    Every folder above has to let them through, above each link on the way too, and the file itself has to be readable.
    """
    try:
        real = path.resolve(strict=True)
        found = [
            f"{folder}: {_who(rule)} may not pass through"
            for folder in dict.fromkeys(folder.resolve() for hop in _hops(path) for folder in reversed(hop.parents))
            if not _grants(folder, 1, rule)
        ]
        needed = 5 if kind_of(real.stat().st_mode) != "file" else 4
        if not _grants(real, needed, rule):
            found.append(f"{real}: {_who(rule)} may not read it")
    except OSError as error:
        return (f"{path}: {error.strerror}",)
    return tuple(found)


def _hops(path: Path) -> Iterator[Path]:
    """A path and what each link at its end leads to, as they are written; the last one is no link."""
    yield path
    while path.is_symlink():
        path = path.parent / path.readlink()
        yield path


def _grants(path: Path, bits: int, rule: Permissions) -> bool:
    """Whether a user of the site gets these bits: by the users' group where it is the path's, else as anybody."""
    present = path.stat()
    if rule.users is None or present.st_gid != rule.users:
        return present.st_mode & bits == bits
    listed = {tag: bits for tag, bits, _ in _entries(_attribute(path, ACCESS) or b"")}
    granted = listed[_GROUP_OBJ] & listed.get(_MASK, 7) if _GROUP_OBJ in listed else present.st_mode >> 3
    return granted & bits == bits


def _entries(value: bytes) -> list[tuple[int, int, int]]:
    """Tag, permissions and number of each entry of a list."""
    return [(tag, bits, number) for tag, bits, number in struct.iter_unpack("<HHI", value[len(_VERSION) :])]


def _knows_lists(path: Path) -> bool:
    """Whether the file system of a path has access control lists at all."""
    try:
        os.getxattr(path, ACCESS, follow_symlinks=False)
    except OSError as error:
        return error.errno not in {errno.ENOTSUP, errno.ENOSYS}
    return True


def _who(rule: Permissions) -> str:
    return "others" if rule.users is None else f"members of {_group_name(rule.users)}"


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _attribute(path: Path, attribute: str) -> bytes | None:
    try:
        return os.getxattr(path, attribute, follow_symlinks=False)
    except OSError:
        return None
