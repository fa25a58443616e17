"""A small real store for the tests of launchers, runtimes and modules: three releases with a real interpreter."""

import asyncio
import hashlib
import io
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rattler import Gateway, VirtualPackage, install, solve

from conda_concept.assembly import capture_activation
from conda_concept.image import commands, squash
from conda_concept.integrating import add_files, carry_out, owned_paths
from conda_concept.integration import plan
from conda_concept.layout import Layout
from conda_concept.localchannel import (
    PLACEHOLDER,
    Entry,
    File,
    PackageSpec,
    index,
    make_channel,
    write_package,
)
from conda_concept.model import Package, Release
from conda_concept.operations import module_target
from conda_concept.progress import Reporter
from conda_concept.render.launcher import LauncherFacts, choose_probe, image_files, launcher_files
from conda_concept.render.modulefile import ModuleFacts, render_modulefile
from conda_concept.render.modulerc import modulerc
from conda_concept.runtime import ensure_base, write_files
from conda_concept.sandbox import Inside, find_sandbox
from conda_concept.settings import Config, Site

SINGULARITY = "/opt/singularity/bin/singularity"
DEMO = Release("demo", "23.04", "aaaa1111")
OLD_DEMO = Release("demo", "23.01", "bbbb2222")
OTHER = Release("other", "23.04", "cccc3333")

#: What users do with an interpreter that has more than the standard library.
USERS_TOOLS = ("pip", "ipython", "ipykernel", "virtualenv")

_ACTIVATE = """\
export HELLO_DATA="$CONDA_PREFIX/share/hello data"
export HELLO_PATH="$CONDA_PREFIX/share/hello${HELLO_PATH:+:$HELLO_PATH}"
_hello_own=1 HELLO_LATER=1
unset _hello_own HELLO_GONE HELLO_LATER
"""


@dataclass(frozen=True, slots=True)
class Store:
    """Three published releases below `layout.root`, each with the facts that its files were made from."""

    layout: Layout
    site: Site
    facts: dict[Release, LauncherFacts]

    def prefix(self, release: Release = DEMO) -> Path:
        """A release's directory."""
        return self.layout.prefix(release)

    def command(self, name: str, release: Release = DEMO) -> str:
        """A command's full path."""
        return str(self.layout.bin(release) / name)


def make_site(root: Path, **settings: object) -> Site:
    """The tests' site: everything of this machine that a user's command may want to see."""
    values: dict[str, object] = {
        "name": "test",
        "root": str(root),
        "scratch": str(root / "scratch"),
        "cache": str(root / "cache"),
        "runtime": "namespace",
        "singularity": SINGULARITY,
        "binds": ("/etc", "/usr", "/opt", "/srv", "/no/such/folder"),
        "node_dir": str(root / "node"),
    }
    return Site.model_validate(values | settings)


def make_store(root: Path, work: Path, *, extra: Sequence[str] = (), compiled: bool = False) -> Store:
    """Build the three releases: a channel of the running interpreter and a few files, installs, images, files.

    For measurements: `extra` are requirements, as pip takes them, that the demo release has too, and `compiled` puts
    bytecode into the images, as a build does.
    """
    channel = _channel(work / "channel", extra)
    site = make_site(root)
    layout = Layout(root)
    (root / "node").mkdir(parents=True)
    (root / "node").chmod(0o1777)
    base = ensure_base(site, layout.runtime)
    facts = {}
    for release, hello in ((DEMO, "2"), (OLD_DEMO, "1"), (OTHER, "1")):
        tools = () if release == OLD_DEMO else USERS_TOOLS
        specs = ("python", f"hello =={hello}", *tools, *(extra if release == DEMO else ()))
        tree = _tree(channel, specs, layout.prefix(release), work)
        if compiled:
            prefix = layout.prefix(release)
            words = [f"{prefix}/bin/python3", "-I", "-B", "-m", "compileall", "-f", "-qq", "-j2"]
            words += ["--invalidation-mode", "unchecked-hash", f"{prefix}/lib"]
            find_sandbox(site, work).run(Inside(tree, prefix, words))
        facts[release] = _release(layout, site, base, release, tree)
    _aliases(layout)
    return Store(layout, site, facts)


def config(release: Release) -> Config:
    """The config of a release: each environment sets variables that the other does not."""
    name = release.environment.upper()
    return Config.model_validate(
        {
            "version": release.version,
            "description": "A small one",
            "contact": "help@example.org",
            "key_packages": ["hello"],
            "setenv": {f"{name}_HOME": "{prefix}/share/it's $HOME", "HELLO_MODE": f"of {release}"},
            "prepend_path": {f"{name}_PATH": "{prefix}/demo", "LD_LIBRARY_PATH": f"/usr/lib/{release.label}"},
            "host_commands": ["qsub", "newgrp", "module"],
        }
    )


def _channel(folder: Path, extra: Sequence[str]) -> str:
    make_channel(folder, (*USERS_TOOLS, *extra), Reporter(io.StringIO(), quiet=True), environ=os.environ)
    for version in ("1", "2"):
        files: dict[str, Entry] = {
            "bin/hello": File(f"#!/bin/sh\necho hello {version} {PLACEHOLDER}\n".encode(), executable=True),
            **{
                f"bin/{name}": File(b"#!/bin/sh\necho not the host's\n", executable=True)
                for name in ("qsub", "newgrp", "module")
            },
            "etc/conda/activate.d/hello.sh": _ACTIVATE,
            "share/hello/data": version,
        }
        write_package(folder, PackageSpec("hello", version, subdir="linux-64", files=files))
    index(folder)
    return folder.as_uri()


def _tree(channel: str, specs: Sequence[str], prefix: Path, work: Path) -> Path:
    tree = work / prefix.name

    async def both() -> None:
        gateway = Gateway(cache_dir=work / "gateway")
        records = await solve([channel], specs, gateway=gateway, virtual_packages=VirtualPackage.detect())
        await install(records, tree, cache_dir=work / "cache", alternative_target_prefix=prefix, show_progress=False)

    asyncio.run(both())
    return tree


def _release(layout: Layout, site: Site, base: Path, release: Release, tree: Path) -> LauncherFacts:
    prefix = layout.prefix(release)
    prefix.mkdir(parents=True)
    carry_out(tree, plan(release.environment, config(release), site, owned_paths(tree, needed=False)), {})
    names = commands(tree)
    facts = LauncherFacts(
        release=release,
        prefix=str(prefix),
        image_sha256="",
        probe=choose_probe([str(path.relative_to(tree)) for path in (tree / "conda-meta").iterdir()]),
        commands=names,
        base=str(base),
        site=site,
        config=config(release),
        activation=capture_activation(tree, prefix, find_sandbox(site, tree.parent)),
        overrides=(("override-me", "#!/bin/sh\necho overridden\n"),),
        kernel="ipython" in names,
    )
    add_files(tree, image_files(facts))
    image = layout.image(release)
    squash(tree, image, site.squash, workers=2)
    shutil.rmtree(tree)
    facts = replace(facts, image_sha256=hashlib.sha256(image.read_bytes()).hexdigest())
    write_files(prefix, launcher_files(facts))
    package = Package(
        "hello", "2", "conda", "linux-64", "https://conda.anaconda.org/x/linux-64/h-2-0.conda", None, None
    )
    layout.modulefile(release).write_text(render_modulefile(ModuleFacts(facts, (package,), "2023-04-01")), "utf-8")
    return facts


def _aliases(layout: Layout) -> None:
    layout.envs.mkdir()
    layout.modules.mkdir(parents=True)
    for release in (DEMO, OLD_DEMO, OTHER):
        layout.alias(release.label).symlink_to(f"../releases/{release}")
        layout.module(release.label).symlink_to(module_target(release.label, layout.product))
    for name, release in (("demo", OLD_DEMO), ("demo-unstable", DEMO)):
        layout.alias(name).symlink_to(release.label)
        layout.module(name).symlink_to(module_target(name, layout.product))
    layout.modulerc.write_text(modulerc(layout.product, "demo"), "utf-8")


def modulefile_with_age(facts: LauncherFacts, built_at: str, days: int) -> str:
    """A modulefile that warns after so many days."""
    site = facts.site.model_copy(update={"old_after_days": days})
    return render_modulefile(ModuleFacts(replace(facts, site=site), (), built_at))
