"""The edge to GitHub: PyGithub for the API, one door for everything that is asked of it."""

from conda_concept.github.connect import Surroundings, connect
from conda_concept.github.hub import File, Hub

__all__ = ["File", "Hub", "Surroundings", "connect"]
