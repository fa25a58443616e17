"""Small releases with everything real in them: squashed images, launchers, modulefiles, as a build writes them."""

import datetime as dt
import os
import pwd
from pathlib import Path

from benchmarks.storekit import judge, make_store
from conda_concept.image import squash
from conda_concept.model import ImageFact, Package, Release, ReleaseRecord, Source
from conda_concept.render.launcher import LauncherFacts, launcher_files
from conda_concept.render.modulefile import ModuleFacts, render_modulefile
from conda_concept.run import run
from conda_concept.runtime import ensure_base
from conda_concept.settings import Config, Site
from conda_concept.store import AlreadyThere, RealDoor, Store

PROBE = "conda-meta/tool-1-0.json"
#: The account that ci/setup makes; tests/support/user.py has the same.
ACCOUNT = "concept-user"

#: What is in the image: says where it was called, which image it is in, and what the module said.
TOOL = """#!/bin/sh
called=${{0%/bin/*}}
echo "launcher=${{called##*/releases/}} image={release} module=${{CONDA_PREFIX##*/releases/}}"
"""
COMMANDS = ("tool0", "tool1")


def real_store(root: Path) -> Store:
    """A store whose commands an ordinary user can start through both runtimes."""
    node = root / "node"
    node.mkdir(parents=True)
    node.chmod(0o1777)
    site = Site(
        name="test",
        root=str(root),
        scratch=str(root / "scratch"),
        cache=str(root / "cache"),
        runtime="namespace",
        singularity="/opt/singularity/bin/singularity",
        binds=("/etc", "/usr", "/tmp"),  # noqa: S108 - a bind, not a file
        node_dir=str(node),
    )
    return make_store(root, door=RealDoor(), site=site)


def ready_real(store: Store, wanted: Release) -> Release:
    """A release that is built, image and all, and tested."""
    tree = store.layout.root / "tree"
    for path, text, mode in (
        *((f"bin/{name}", TOOL.format(release=wanted), 0o755) for name in COMMANDS),
        (PROBE, "{}\n", 0o644),
    ):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
        (tree / path).chmod(mode)
    with store.stage(wanted) as staged:
        if not isinstance(staged, AlreadyThere):
            image = store.layout.root / "image.sqsh"
            squash(tree, image, store.site.squash, 1)
            copied = staged.image(image)
            image.unlink()
            facts = LauncherFacts(
                release=wanted,
                prefix=str(staged.prefix),
                image_sha256=copied.sha256,
                probe=PROBE,
                commands=COMMANDS,
                base=str(ensure_base(store.site, store.layout.runtime)),
                site=store.site,
                config=Config(version=wanted.version),
            )
            for file in launcher_files(facts):
                if file.kind == "hardlink":
                    staged.hardlink(file.content, file.path)
                else:
                    staged.write(file.path, file.content.encode(), program=bool(file.mode & 0o111))
            package = Package("tool", "1", "conda", "linux-64", "https://example.org/tool-1-0.conda", None, None)
            built = dt.datetime(2026, 1, 1).isoformat()  # noqa: DTZ001 - the modulefile takes it for UTC
            staged.write("modulefile", render_modulefile(ModuleFacts(facts, (package,), built)).encode())
            staged.write("conda-lock.yml", f"# of {wanted}\n".encode())
            staged.finish(
                ReleaseRecord(
                    release=wanted,
                    prefix=str(staged.prefix),
                    platform="linux-64",
                    packages=1,
                    lock_digest="ab" * 32,
                    spec_digest="cd" * 32,
                    builder="conda-concept test",
                    built_at=built,
                    source=Source("0123456789abcdef", "12", "researcher"),
                    image=ImageFact(copied.sha256, copied.size, 3, 300, "zstd"),
                    files=(),
                    commands=COMMANDS,
                )
            )
    judge(store, wanted)
    return wanted


def become_user() -> None:
    """Be the ordinary user from here on, where root runs this: users of a supercomputer are not root."""
    if os.geteuid() == 0:
        entry = pwd.getpwnam(ACCOUNT)
        os.initgroups(ACCOUNT, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)


def unmount_below(folder: Path) -> None:
    """End the mounts that launchers made below a folder; whoever made them may, and root."""
    for line in Path("/proc/self/mounts").read_text("utf-8").splitlines():
        mount = line.split()[1]
        if mount.startswith(f"{folder}/"):
            run(["/usr/bin/umount", "-l", mount] if os.geteuid() == 0 else ["/usr/bin/fusermount3", "-u", "-z", mount])
