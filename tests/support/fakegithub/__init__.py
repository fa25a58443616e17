"""A GitHub that remembers: a loopback HTTP server over a real Git repository, held to GitHub's own description."""

from tests.support.fakegithub.server import HOURLY, FakeGitHub, Fault
from tests.support.fakegithub.state import Issue, Pull, Run, State

__all__ = ["HOURLY", "FakeGitHub", "Fault", "Issue", "Pull", "Run", "State"]
