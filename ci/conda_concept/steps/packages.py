"""The packages of a lock by name and version only, a hundred times quicker than reading all of it."""

import re
from dataclasses import dataclass

from conda_concept.lockfile import loads

#: The first lines of a package as we write them (`lockfile.dumps`), and as conda-lock does.
_ENTRY = re.compile(
    r"^- name: (?P<q1>['\"]?)(?P<name>[^\s'\"]+)(?P=q1)\n"
    r"  version: (?P<q2>['\"]?)(?P<version>[^\s'\"]+)(?P=q2)\n"
    r"  manager: (?P<manager>conda|pip)\n"
    r"  platform: (?P<platform>[a-z0-9-]+)\n",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True, order=True)
class Named:
    """One package of a lock."""

    name: str
    version: str
    manager: str
    platform: str


def listed(text: str) -> tuple[Named, ...]:
    """The packages of a lock's text; where it is not written as we write it, the whole of it is read."""
    _, mark, entries = text.partition("\npackage:\n")
    found = [
        Named(one["name"], one["version"], one["manager"], one["platform"]) for one in _ENTRY.finditer(f"\n{entries}")
    ]
    if mark and found and len(found) == f"\n{entries}".count("\n- "):
        return tuple(found)
    return tuple(Named(one.name, one.version, one.manager, one.platform) for one in loads(text).packages)
