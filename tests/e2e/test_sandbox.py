"""Both ways to keep code of packages in its place, each in a whole build by an ordinary account."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conda_concept.localchannel import PackageSpec, index, write_interpreter, write_package
from conda_concept.run import run
from tests.support.user import OrdinaryUser, program

SITE = """\
name: {sandbox}
root: {root}/store
scratch: {root}/scratch-{sandbox}
cache: {root}/cache-{sandbox}
runtime: namespace
singularity: /opt/singularity/bin/singularity
binds: [/etc, /home, /usr, /tmp, {root}/apps]
sandbox: {sandbox}
"""
CONFIG = 'version: "26.11"\nvirtual_packages: {__glibc: "2.36"}\nhooks: [look.sh]\n'
ENVIRONMENT = "name: seen\nchannels: [conda-forge]\ndependencies: [python, told]\n"
#: What is to be seen and done inside, as text in the image; a failure ends the build.
HOOK = """\
#!/bin/sh
set -e
exec >"$CONDA_PREFIX/share/seen"
python3 -c 'import sys; print(sys.prefix)'
cat {root}/apps/version
sed -n 's/^ *\\([a-z0-9]*\\):.*/\\1/p' /proc/net/dev
for place in / /usr /etc {root}/apps /tmp "$CONDA_PREFIX"; do
    if touch "$place/new" 2>/dev/null; then echo "wrote $place"; fi
done
rm "$CONDA_PREFIX/new"
ls -d /home/* {root}/repository 2>/dev/null || echo none
env | sort
"""
ACTIVATE = 'export TOLD="$(cat {root}/apps/version)"\ntouch "$CONDA_PREFIX/new" 2>/dev/null && export WROTE=1\n:\n'


@dataclass(frozen=True, slots=True)
class Place:
    """A repository and a channel below `root`, all of it the ordinary user's, and the program as that user runs it."""

    root: Path
    user: OrdinaryUser
    program: tuple[list[str], dict[str, str]]

    def concept(self, *words: str, site: str) -> subprocess.CompletedProcess[str]:
        environ = {**self.program[1], "CONDA_CHANNEL_ALIAS": (self.root / "channels").as_uri()}
        argv = [*self.program[0], *words, "--repository", str(self.root / "repository"), "--site", site]
        return self.user.run(argv, env=environ, timeout=300, check=False)


@pytest.fixture
def place(open_dir: Path, user_dir: Path, ordinary_user: OrdinaryUser, apptainer: Path, bwrap: Path) -> Place:
    del apptainer, bwrap
    root = user_dir
    root.chmod(0o755)
    channel = root / "channels" / "conda-forge"
    write_interpreter(channel)
    files = {"etc/conda/activate.d/told.sh": ACTIVATE.format(root=root), "share/told": "x"}
    write_package(channel, PackageSpec("told", "1", subdir="linux-64", files=dict(files)))
    index(channel)
    texts = {"environment.yml": ENVIRONMENT, "config.yml": CONFIG, "hooks/look.sh": HOOK.format(root=root)}
    texts = {f"environments/seen/{name}": text for name, text in texts.items()}
    texts |= {f"ci/sites/{name}.yml": SITE.format(root=root, sandbox=name) for name in ("bubblewrap", "singularity")}
    for name, text in texts.items():
        path = root / "repository" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "apps").mkdir()
    (root / "apps" / "version").write_text("4.1.6\n")
    for path in root.rglob("*"):
        os.chown(path, ordinary_user.uid, -1, follow_symlinks=False)
    return Place(root, ordinary_user, program(ordinary_user, open_dir / "program"))


def test_both_make_the_same_release_and_let_nothing_out(place: Place) -> None:
    images: dict[str, Any] = {}
    assert place.concept("lock", "seen", site="bubblewrap").returncode == 0
    for name in ("bubblewrap", "singularity"):
        built = place.concept("build", "seen", "--json", site=name)
        assert built.returncode == 0, built.stderr
        record = json.loads(built.stdout)["record"]
        prefix = Path(record["prefix"])
        shown = run(["unsquashfs", "-cat", prefix / "image.sqsh", "share/seen"]).stdout
        assert shown.splitlines() == [
            *(str(prefix), "4.1.6", "lo", "wrote /tmp", f"wrote {prefix}"),
            *("none", "CONDA_PREFIX=" + str(prefix), f"CPU_COUNT={os.cpu_count()}", "HOME=/tmp", "LANG=C.UTF-8"),
            *(f"PATH={prefix}/bin:/usr/bin:/bin", "PWD=/", "PYTHONDONTWRITEBYTECODE=1", "PYTHONHASHSEED=0"),
            *("SOURCE_DATE_EPOCH=315532800", "TZ=UTC"),
        ]
        module = (prefix / "modulefile").read_text()
        assert "4.1.6" in module
        assert "WROTE" not in module
        assert list((place.root / f"scratch-{name}").iterdir()) == []
        images[name] = record["image"]
        shutil.rmtree(prefix)
    assert images["bubblewrap"] == images["singularity"]
