"""The build id: eight hex digits of everything that determines a release's bytes and behaviour."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from conda_concept.model import Spec
from conda_concept.settings import Site, TestsConfig

#: Long enough that two builds of one label do not meet (1 in 4 billion a pair), short enough to be said aloud.
DIGITS = 8


#: Of a config: what names mean and when, but not what is in a release. Changing these builds nothing anew.
PLANS = ("stable", "refresh", "quarterly", "retire")


def build_id(*, lock_digest: str, spec: Spec, site: Site, templates: Mapping[str, bytes], builder: str) -> str:
    """The id of the release that these inputs make; the same inputs always make the same id.

    `templates` are the texts of launcher and modulefile by file name. Of the site only what ends up in a release
    counts: where it lives, how it is started, how it is squashed.
    """
    elsewhere = {"name", "scratch", "cache", "groups", "executor", "time_zone", "sandbox"}
    parts: dict[str, Any] = {
        "lock": lock_digest,
        "spec": spec_digest(spec),
        "site": site.model_dump(mode="json", exclude=elsewhere),
        "templates": {name: hashlib.sha256(data).hexdigest() for name, data in templates.items()},
        "builder": builder,
    }
    return _digest(parts)[:DIGITS]


def spec_digest(spec: Spec) -> str:
    """sha256 of what is asked for, whatever its comments, order and line numbers."""
    return _digest(
        {
            "name": spec.name,
            "channels": spec.channels,
            "requests": sorted((request.manager, request.text) for request in spec.requests),
            "variables": sorted(spec.variables),
            "config": spec.config.model_dump(mode="json", exclude=set(PLANS)),
        }
    )


def tests_digest(config: TestsConfig, own_tests: Mapping[str, str]) -> str:
    """sha256 of what the tests of a release are asked, beside what its packages bring: a verdict is about that."""
    return _digest({"config": config.model_dump(mode="json"), "own": dict(own_tests)})


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
