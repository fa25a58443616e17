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

from conda_concept.image import commands, squash
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
from conda_concept.progress import Reporter
from conda_concept.render.launcher import LauncherFacts, choose_probe, launcher_files
from conda_concept.render.modulefile import ModuleFacts, render_modulefile
from conda_concept.runtime import capture_activation, ensure_base, write_files
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


def config(version: str) -> Config:
    """The config of every release here."""
    return Config.model_validate(
        {
            "version": version,
            "description": "A small one",
            "contact": "help@example.org",
            "key_packages": ["hello"],
            "setenv": {"DEMO_HOME": "{prefix}/share/it's $HOME"},
            "prepend_path": {"DEMO_PATH": "{prefix}/demo"},
            "host_commands": ["qsub"],
        }
    )


def _channel(folder: Path, extra: Sequence[str]) -> str:
    make_channel(folder, (*USERS_TOOLS, *extra), Reporter(io.StringIO(), quiet=True), environ=os.environ)
    for version in ("1", "2"):
        files: dict[str, Entry] = {
            "bin/hello": File(f"#!/bin/sh\necho hello {version} {PLACEHOLDER}\n".encode(), executable=True),
            "bin/qsub": File(b"#!/bin/sh\necho not the host's\n", executable=True),
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
    image = layout.image(release)
    squash(tree, image, site.squash, workers=2)
    names = commands(tree)
    files = [str(path.relative_to(tree)) for path in (tree / "conda-meta").iterdir()]
    facts = LauncherFacts(
        release=release,
        prefix=str(prefix),
        image_sha256=hashlib.sha256(image.read_bytes()).hexdigest(),
        probe=choose_probe(files),
        commands=names,
        base=str(base),
        site=site,
        config=config(release.version),
        overrides=(("override-me", "#!/bin/sh\necho overridden\n"),),
        kernel="ipython" in names,
    )
    shutil.rmtree(tree)
    facts = replace(facts, activation=capture_activation(facts))
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
        layout.module(release.label).symlink_to(layout.modulefile(release))
    layout.alias("demo").symlink_to(OLD_DEMO.label)
    layout.alias("demo-unstable").symlink_to(DEMO.label)


def modulefile_with_age(facts: LauncherFacts, built_at: str, days: int) -> str:
    """A modulefile that warns after so many days."""
    site = facts.site.model_copy(update={"old_after_days": days})
    return render_modulefile(ModuleFacts(replace(facts, site=site), (), built_at))
