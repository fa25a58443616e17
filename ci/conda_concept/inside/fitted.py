"""Is the image fitted to the host as its config says: what was removed is gone, what was replaced is the host's?

Who links against a replaced library is asked of the host's own loader, with `--list`, as ldd(1) does: it maps the
libraries and says where they came from, and starts nothing of them.
"""

from __future__ import annotations

import glob
import os
import re
import subprocess

#: `libmpi.so.40 => /apps/openmpi/lib/libmpi.so.40 (0x00007f…)`
LINE = re.compile(r"^\s*(\S+) => (.+?)(?: \(0x[0-9a-f]+\))?$", re.MULTILINE)


def look(prefix: str, removed: list[str], links: dict[str, str]) -> dict[str, object]:
    """Removed paths that are there all the same, and path -> what is wrong with a link."""
    here = [path for path in removed if os.path.lexists(os.path.join(prefix, path))]
    wrong = {path: problem for path, target in links.items() if (problem := _link_problem(prefix, path, target))}
    return {"present": here, "wrong": wrong}


def _link_problem(prefix: str, path: str, target: str) -> str:
    full = os.path.join(prefix, path)
    try:
        found = os.readlink(full)
    except OSError as error:
        return f"{path} should be a link to {target}: {error.strerror}"
    if found != target:
        return f"{path} is a link to {found}, not to {target}"
    return "" if os.path.exists(full) else f"{path} is a link to {target}, which cannot be seen inside"


def loader(machine_folders: tuple[str, ...] = ("/lib64", "/lib")) -> str | None:
    """The host's dynamic loader."""
    found = [path for folder in machine_folders for path in sorted(glob.glob(f"{folder}/ld-linux*.so.*"))]
    return found[0] if found else None


def resolved(path: str) -> dict[str, str]:
    """Library name -> where the host's loader takes it from for this file; `not found` where it does not.

    Raises `OSError` where the loader cannot be asked.
    """
    program = loader()
    if program is None:
        raise OSError("there is no dynamic loader in /lib64 or /lib")
    words = [program, "--list", path]
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=60, check=False)
    if done.returncode != 0 and not done.stdout:
        raise OSError(done.stderr.strip()[-300:] or f"the loader ended with {done.returncode}")
    return dict(LINE.findall(done.stdout))
