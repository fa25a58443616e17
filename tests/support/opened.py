"""Let the ordinary user run this checkout where it lies in a folder that only root may enter: in root's own view."""

import os
import sys
from pathlib import Path

#: Holds each path by a bind mount, covers the closed folders above with empty open ones, and puts the paths back.
_SCRIPT = """\
set -e
umask 022
hold=$1
shift
count=0
paths=
while [ "$1" != -- ]; do
    mkdir -p "$hold/$count"
    mount --bind "$1" "$hold/$count"
    paths="$paths $1"
    count=$((count + 1))
    shift
done
shift
count=0
for path in $paths; do
    above=$path
    closed=
    while above=$(dirname "$above"); [ "$above" != / ]; do
        if [ -e "$above" ] && [ -z "$(find "$above" -maxdepth 0 -perm -o=x)" ]; then closed=$above; fi
    done
    if [ -n "$closed" ]; then mount -t tmpfs -o mode=755 none "$closed"; fi
    if [ ! -d "$path" ]; then mkdir -p "$path"; mount --bind "$hold/$count" "$path"; fi
    count=$((count + 1))
done
cd /
exec "$@"
"""


def opened(hold: Path) -> list[str]:
    """The words before a command of root's, from which on the checkout and its interpreter can be read by everybody.

    In a mount namespace of its own: nobody else sees it, and mounts made there go with it. `hold` is an empty folder.
    """
    checkout = Path(__file__).parents[2]
    paths = dict.fromkeys((str(checkout), os.path.realpath(sys.prefix), os.path.realpath(sys.base_prefix)))
    wanted = [path for path in paths if path != "/usr"]
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", _SCRIPT, "sh", str(hold), *wanted, "--"]
