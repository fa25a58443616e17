"""Values to plain data for `--json`: what `json.dumps` takes, and nothing lost."""

import dataclasses
import datetime as dt
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any


def plain(value: object) -> Any:
    """Dataclasses to mappings, tuples and sets to lists, paths and times to text; the rest as it is."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(plain(item) for item in value)
    if isinstance(value, dt.date):
        return value.isoformat()
    return str(value) if isinstance(value, PurePath) else value
