"""A channel of tiny packages and a repository that asks for them: the whole path in a second, without Python inside."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from conda_concept import cli
from conda_concept.localchannel import PLACEHOLDER, PackageSpec, index, write_package

SITE = """\
name: here
root: {root}/store
scratch: {root}/scratch
cache: {root}/cache
runtime: namespace
singularity: /opt/singularity/bin/singularity
binds: [/etc, /usr, /tmp]
"""
CONFIG = 'version: "26.11"\ndescription: tiny\n'
ENVIRONMENT = "name: tiny\nchannels:\n  - conda-forge\ndependencies:\n  - hello\n"


def package(name: str, version: str, *depends: str) -> PackageSpec:
    """A package with one command, which says what it is and where it thinks that it is."""
    script = f'#!/bin/sh\necho "{name} {version} in {PLACEHOLDER}" "$@"\n'
    return PackageSpec(name, version, subdir="linux-64", depends=depends, files={f"bin/{name}": script}, license="MIT")


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended: exit code, data, and what it told people."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Tiny:
    """The repository `root/repository`, the channel `root/channels/conda-forge`, and a site below `root`."""

    root: Path
    capsys: pytest.CaptureFixture[str]
    environ: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, root: Path, capsys: pytest.CaptureFixture[str]) -> "Tiny":
        """Everything on its way: hello 1.0 and 2.0, world (needs hello), far (needs what there is not)."""
        tiny = cls(root, capsys, {"CONDA_CHANNEL_ALIAS": (root / "channels").as_uri(), "HOME": str(root)})
        for spec in (package("hello", "1.0"), package("hello", "2.0"), package("world", "1.0", "hello >=2")):
            write_package(tiny.channel, spec)
        index(tiny.channel)
        tiny.write({"environment.yml": ENVIRONMENT, "config.yml": CONFIG})
        sites = tiny.repository / "ci" / "sites"
        sites.mkdir(parents=True)
        (sites / "here.yml").write_text(SITE.format(root=root))
        return tiny

    @property
    def repository(self) -> Path:
        return self.root / "repository"

    @property
    def channel(self) -> Path:
        return self.root / "channels" / "conda-forge"

    @property
    def store(self) -> Path:
        return self.root / "store"

    def write(self, files: Mapping[str, str]) -> None:
        """Files of the environment."""
        folder = self.repository / "environments" / "tiny"
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text)

    def concept(self, *words: str) -> Said:
        """One `conda-concept` command in this process."""
        self.capsys.readouterr()
        code = cli.run([*words, "--repository", str(self.repository), "--site", "here"], self.environ)
        said = self.capsys.readouterr()
        return Said(code, said.out, said.err)

    def left(self) -> list[str]:
        """What a failed command left: releases of any kind, and folders in scratch."""
        places = [*self.store.glob("apps/*/releases/*/*"), *self.root.glob("scratch/*")]
        return sorted(str(path.relative_to(self.root)) for path in places)


def replace_bytes(path: Path) -> str:
    """Damage a file in its middle; the digest before."""
    data = bytearray(path.read_bytes())
    before = hashlib.sha256(data).hexdigest()
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    return before
