"""The guard itself: each way to the outside is closed in unit tests."""

import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.support.guard import no_effects


def _connect() -> None:
    with socket.socket() as client:
        client.connect(("127.0.0.1", 9))


def _fork() -> None:
    process = multiprocessing.get_context("fork").Process(target=int)
    process.start()


WAYS: dict[str, Callable[[], object]] = {
    "subprocess": lambda: subprocess.run([sys.executable, "-c", ""], check=True),
    "shell": lambda: os.system("true"),  # noqa: S605 - the guard is to stop exactly this
    "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "multiprocessing": _fork,
    "connection": _connect,
    "name lookup": lambda: socket.getaddrinfo("localhost", 80),
}


@pytest.mark.parametrize("way", WAYS)
def test_effect_is_stopped_and_remembered(way: str, effects: list[str]) -> None:
    with pytest.raises(AssertionError, match="must not start processes or open connections"):
        WAYS[way]()
    assert len(effects) == 1
    effects.clear()


def test_guard_ends_with_its_block() -> None:
    with no_effects() as seen:
        pass
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
    assert seen == []
