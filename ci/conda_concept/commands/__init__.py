"""Subcommands: flags to edges, one step, its value to text or JSON. One module a group, found by `cli.py`."""
