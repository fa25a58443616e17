"""A part of ci/requirements.lock: for stdin, on stdout, what conda-concept itself needs, without what checks it.

`ci/setup --program-only` installs this much in a workflow's job, where somebody waits for a comment. With arguments it
is what those packages need. It runs before anything is installed, so it needs nothing but Python: who needs whom is
what the lock's `# via` lines say.
"""

import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def name_of(requirement: str) -> str:
    """The name at the start of a requirement or of an entry, as the lock spells it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]).lower()


def of_project(project: str) -> set[str]:
    """The packages that pyproject.toml itself names, without the `dev` extra's."""
    facts = tomllib.loads(project)
    return {name_of(one) for one in (*facts["build-system"]["requires"], *facts["project"]["dependencies"])}


def needed(lock: str, wanted: set[str]) -> str:
    """The lock without the entries that none of the `wanted` packages is or needs."""
    head, *entries = re.split(r"(?m)^(?=[A-Za-z0-9])", lock)
    # An entry ends with "    # via NAME", or "    # via" and a line "    #   NAME" for each.
    wanted_by = {
        name_of(entry): {name_of(line) for line in re.findall(r"(?m)^    # (?:via)?\s*([A-Za-z0-9].*)$", entry)}
        for entry in entries
    }
    found = {*wanted}
    while more := {name for name, users in wanted_by.items() if users & found} - found:
        found |= more
    return head + "".join(entry for entry in entries if name_of(entry) in found)


if __name__ == "__main__":
    wanted = {name_of(one) for one in sys.argv[1:]} or of_project(PROJECT.read_text("utf-8"))
    sys.stdout.write(needed(sys.stdin.read(), wanted))
