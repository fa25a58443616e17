"""The guard of the unit tests: while it is up, Python code that starts a process or opens a connection fails."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

#: Audit events of Python itself, so the guard sees every way there is and nothing has to be patched.
#: Libraries that start processes or connections in compiled code do not tell, and are not seen.
FORBIDDEN = frozenset(
    {
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "os.system",
        "socket.bind",
        "socket.connect",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "socket.sendto",
        "subprocess.Popen",
    }
)


class _State:
    """One hook a process (a hook cannot be taken away again); `seen` is the list of the test that is running."""

    installed = False
    seen: list[str] | None = None


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _State.seen is None or event not in FORBIDDEN:
        return
    what = f"{event}{arguments!r}"
    _State.seen.append(what)
    raise AssertionError(
        f"a unit test must not start processes or open connections: {what}. "
        "Hand the effect in as an argument, or move the test to tests/integration."
    )


@contextmanager
def no_effects() -> Iterator[list[str]]:
    """Forbid processes and connections until the end of the block.

    Yields the list of what was tried, for the case that the code under test swallows the AssertionError.
    """
    if not _State.installed:
        sys.addaudithook(_hook)
        _State.installed = True
    seen: list[str] = []
    _State.seen = seen
    try:
        yield seen
    finally:
        _State.seen = None
