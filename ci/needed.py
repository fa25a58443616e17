"""The part of ci/requirements.lock that conda-concept itself needs, without what checks it: for stdin, on stdout.

`ci/setup --program-only` installs this much in a workflow's job, where somebody waits for a comment. It runs before
anything is installed, so it needs nothing but Python: who needs whom is what the lock's `# via` lines say.
"""

import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def name_of(requirement: str) -> str:
    """The name at the start of a requirement or of an entry, as the lock spells it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]).lower()


def needed(lock: str, project: str) -> str:
    """The lock without the entries that only the `dev` extra wants."""
    facts = tomllib.loads(project)
    head, *entries = re.split(r"(?m)^(?=[A-Za-z0-9])", lock)
    # An entry ends with "    # via NAME", or "    # via" and a line "    #   NAME" for each.
    wanted_by = {
        name_of(entry): {name_of(line) for line in re.findall(r"(?m)^    # (?:via)?\s*([A-Za-z0-9].*)$", entry)}
        for entry in entries
    }
    found = {name_of(one) for one in (*facts["build-system"]["requires"], *facts["project"]["dependencies"])}
    while more := {name for name, users in wanted_by.items() if users & found} - found:
        found |= more
    return head + "".join(entry for entry in entries if name_of(entry) in found)


if __name__ == "__main__":
    sys.stdout.write(needed(sys.stdin.read(), PROJECT.read_text("utf-8")))
