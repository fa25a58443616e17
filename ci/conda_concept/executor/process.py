"""What this process is to the machine while it looks after jobs: its own folders, its umask, its signals."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from conda_concept.errors import RefusedError


def private(folder: Path) -> None:
    """A folder of ours alone: who could write here would run programs in our name."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.stat()
    if found.st_uid != os.geteuid():
        raise RefusedError(
            f"{folder} belongs to somebody else; jobs are not written there.",
            hint="Name another `folder` in the site file's executor.",
        )
    if found.st_mode & 0o077:
        folder.chmod(0o700)


def umask() -> int:
    """This process's umask, which can only be read by setting it."""
    present = os.umask(0o077)
    os.umask(present)
    return present


@contextmanager
def undisturbed() -> Iterator[None]:
    """No interrupt for the length of a block: the runner sends a second one, and a job would be left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            with suppress(TypeError):  # a handler that Python did not set
                signal.signal(number, handler)
