"""What people are told when pip fails, and what pip is told about the machine."""

import pytest

from conda_concept.errors import ConcError, InputError, NetworkError, SpaceError, ToolError
from conda_concept.localchannel.channel import _PIP_NEEDS, _explained
from conda_concept.run import CommandError


@pytest.mark.parametrize(
    ("output", "kind", "part"),
    [
        (
            "WARNING: Retrying (Retry(total=1)) after connection broken\nERROR: No matching distribution found for x\n",
            NetworkError,
            "after connection broken",
        ),
        ("ERROR: Exception:\nOSError: [Errno 28] No space left on device\n", SpaceError, "no space left"),
        ("/usr/bin/python3: No module named pip\n", ToolError, "has no pip"),
        ("ERROR: No matching distribution found for x\n\nnotice\n", InputError, "pip finds no wheels for x, y: No m"),
        ("", InputError, "it said nothing"),
    ],
)
def test_a_failure_of_pip_says_what_it_is(output: str, kind: type[ConcError], part: str) -> None:
    explained = _explained(CommandError(["pip"], 1, output), ["x", "y"])
    assert type(explained) is kind
    assert part in str(explained)
    assert explained.hint


@pytest.mark.parametrize("name", ["PIP_INDEX_URL", "HTTPS_PROXY", "https_proxy", "no_proxy", "SSL_CERT_FILE", "HOME"])
def test_pip_is_told_how_to_reach_its_index(name: str) -> None:
    assert _PIP_NEEDS.fullmatch(name)


@pytest.mark.parametrize("name", ["GITHUB_TOKEN", "PYTHONPATH", "AWS_SECRET_ACCESS_KEY", "LD_PRELOAD", "HOMEBREW"])
def test_pip_is_told_nothing_else(name: str) -> None:
    assert not _PIP_NEEDS.fullmatch(name)
