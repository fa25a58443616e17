"""Small packages, locks and specs for tests that need no channel."""

from typing import Any

from conda_concept.model import CHANNEL_ALIAS, Lock, Package, Place, Request, Spec
from conda_concept.settings import Config

PLATFORM = "linux-64"


def package(name: str, version: str = "1.0", *depends: str, **more: Any) -> Package:
    """A conda package of conda-forge; its hashes depend on name, version and build."""
    build = more.pop("build", "0")
    channel = more.pop("channel", "conda-forge")
    mark = f"{abs(hash((name, version, build))):x}"
    subdir = "noarch" if more.get("noarch") else PLATFORM
    known: dict[str, Any] = {
        "md5": mark.rjust(32, "0")[:32],
        "sha256": mark.rjust(64, "0")[:64],
        "url": f"{CHANNEL_ALIAS}/{channel}/{subdir}/{name}-{version}-{build}.conda",
        "build": build,
        "build_number": 0,
        "size": 1000,
        "license": "MIT",
    }
    return Package(
        name=name,
        version=version,
        manager="conda",
        platform=PLATFORM,
        depends=tuple(sorted(depends)),
        **{**known, **more},
    )


def pip_package(name: str, version: str = "1.0", *depends: str, **more: Any) -> Package:
    """A wheel on some host."""
    known: dict[str, Any] = {
        "url": f"https://wheels.example/{name}-{version}-py3-none-any.whl",
        "md5": None,
        "sha256": "a" * 64,
    }
    return Package(
        name=name, version=version, manager="pip", platform=PLATFORM, depends=tuple(depends), **{**known, **more}
    )


def lock(*packages: Package, platform: str = PLATFORM) -> Lock:
    """A lock of one platform."""
    return Lock(packages, ("conda-forge",), (platform,), ((platform, "0" * 64),))


def spec(*requests: str, pip: tuple[str, ...] = (), **config: Any) -> Spec:
    """A spec that asks for these, one a line from line 10 on."""
    settings = {"version": "23.04", "allowed_channels": ("conda-forge",), **config}
    found = []
    for number, text in enumerate(requests, 10):
        channel, _, rest = text.rpartition("::")
        name = rest.split()[0]
        found.append(Request(text, name, "conda", Place("environment.yml", number), channel or None))
    for number, text in enumerate(pip, 90):
        found.append(Request(text, text.split("=")[0].split("@")[0].strip(), "pip", Place("environment.yml", number)))
    return Spec("demo", ("conda-forge",), tuple(found), (), Config(**settings))
