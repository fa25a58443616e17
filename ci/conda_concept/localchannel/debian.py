"""Undo what Debian changes in its Python, where that is wrong in a prefix of its own.

Debian's packages of Python patch `site` and `sysconfig`: outside a virtual environment modules go to
`local/lib/pythonX.Y/dist-packages`, never to `site-packages`, where conda puts them; `ensurepip` refuses to run; and
`pyconfig.h` includes one of the system's. In an environment this interpreter is nobody's system Python.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from conda_concept.errors import ToolError
from conda_concept.localchannel.package import PLACEHOLDER, Entry, File

_VIRTUAL = b'sys.base_prefix != sys.prefix or hasattr(sys, "real_prefix")'

#: (file below the standard library, the patched text, what gives upstream's behaviour). In virtual environments
#: Debian's code behaves like upstream's; so where it asks, it is told that it is in one.
_UNDO = (
    ("site.py", b"is_virtual_environment = " + _VIRTUAL, b"is_virtual_environment = True"),
    ("sysconfig.py", b"prefix_scheme = 'posix_local'", b"prefix_scheme = 'posix_prefix'"),
    ("ensurepip/__init__.py", b"    if hasattr(sys, 'real_prefix'):\n        return", b"    return"),
    ("distutils/sysconfig.py", b"return " + _VIRTUAL, b"return True"),
)
_OPTIONAL = "distutils/"  # a package of its own there (python3-distutils)

#: `site` is among the modules that are compiled into the executable, so its file is not what runs at the start. It
#: does look into `lib/pythonX.Y/dist-packages`, though, and obeys a `.pth` file there, which imports this.
_SITE = """\
# Give this environment the folders that Python has by its own rules, instead of Debian's dist-packages.
import os
import site
import sys

_SITE_PACKAGES = os.path.join("lib", "python%d.%d" % sys.version_info[:2], "site-packages")


def getsitepackages(prefixes=None):
    \"""Every folder for installed packages, one for each prefix.\"""
    wanted = site.PREFIXES if prefixes is None else prefixes
    return [os.path.join(prefix, _SITE_PACKAGES) for prefix in dict.fromkeys(wanted) if prefix]


site.getsitepackages = getsitepackages
sys.path[:] = [path for path in sys.path if os.path.basename(path) != "dist-packages"]
for _path in getsitepackages():
    site.addsitedir(_path)
"""


def like_upstream(files: Mapping[str, Entry], short: str, include: Path, multiarch: str) -> dict[str, Entry]:
    """The files of a Debian Python `short` (`3.11`) that have to differ, as they have to be.

    `include` is the folder of Python's headers on this machine; `multiarch` is `x86_64-linux-gnu`.

    Raises:
        ToolError: if a file is not patched as expected: this Debian is newer than this module.
    """
    changed: dict[str, Entry] = {}
    for name, debian, upstream in _UNDO:
        path = f"lib/python{short}/{name}"
        entry = files.get(path)
        if entry is None and name.startswith(_OPTIONAL):
            continue
        if not isinstance(entry, File) or debian not in entry.data:
            raise ToolError(
                f"this system's Python {short} is not the Debian one that was expected ({name} differs).",
                hint="Use a Python built from source instead (pyenv, or `./configure && make install`).",
            )
        changed[path] = File(entry.data.replace(debian, upstream))
    changed[f"lib/python{short}/_environment_site.py"] = File(_SITE.encode())
    changed[f"lib/python{short}/dist-packages/environment.pth"] = File(b"import _environment_site\n")
    header = include.parent / multiarch / include.name / "pyconfig.h"
    if header.exists():
        changed[f"include/python{short}/pyconfig.h"] = File(header.read_bytes())
    return changed


def prefix_patterns(short: str, multiarch: str) -> list[tuple[re.Pattern[bytes], bytes]]:
    """What to replace in texts about building, where the prefix is `/usr`.

    Most paths below `/usr` there are the system's and have to stay (`/usr/bin/install`); so only Python's own
    folders and values that are just the prefix or one of its main folders are replaced.
    """
    new, triplet, version = PLACEHOLDER.encode(), re.escape(multiarch.encode()), re.escape(short.encode())
    return [
        (re.compile(rb"/usr/lib(?:/" + triplet + rb")?/python" + version), new + b"/lib/python" + short.encode()),
        (re.compile(rb"/usr/include/python" + version), new + b"/include/python" + short.encode()),
        (re.compile(rb"/usr/share/python-wheels"), new + b"/share/python-wheels"),
        (re.compile(rb"/usr/lib/" + triplet + rb"(?=[/'\" \n])"), new + b"/lib"),
        (re.compile(rb"(?<=['\"= \t])/usr(?=(?:/bin|/lib|/include|/share|/share/man)?['\"\n ])"), new),
    ]
