"""Subcommands about what is built: build, test, publish, rollback, list, verify, try."""

from conda_concept.commands.context import Command

COMMANDS: tuple[Command, ...] = ()
