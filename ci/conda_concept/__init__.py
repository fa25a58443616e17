"""conda-concept: a CI-native release system for the shared conda environments of a supercomputer."""

__version__ = "0.1.0"
