"""`site check` and `site init` on this machine, by root and by an ordinary user: what they say and what they leave."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.opened import opened
from tests.support.scheduled import unmount_all
from tests.support.user import ACCOUNT, OrdinaryUser

#: Both runtimes and both module systems of a machine that ci/setup has prepared.
SITE = """\
name: here
root: {root}/store/public
scratch: {root}/scratch
cache: {root}/cache
runtime: {runtime}
singularity: /opt/singularity/bin/singularity
binds: [/etc, /usr, /opt, /tmp]
host_libraries: [/usr/lib, /lib]
node_dir: {root}/node
mpi_run: [/usr/bin/mpirun, --oversubscribe, -n, "2"]
"""
PROGRAM = [sys.executable, "-m", "conda_concept"]
STAGES = (
    *("account", "root", "folders", "space", "programs", "host commands", "executor"),
    *("scratch root", "channel", "lock", "build", "permissions", "tests", "publish"),
    *("start", "mount", "other runtime", "modules", "ranks"),
)


@dataclass(frozen=True, slots=True)
class Machine:
    """A folder with a site file in it, and what it holds before and after."""

    root: Path

    def site(self, runtime: str = "namespace", more: str = "") -> Path:
        path = self.root / "here.yml"
        path.write_text(SITE.format(root=self.root, runtime=runtime) + more, "utf-8")
        return path

    def words(self, site: Path, *more: str) -> list[str]:
        return [*PROGRAM, "site", "check", "--site", str(site), "--repository", str(self.root), "--json", *more]

    def left(self) -> list[str]:
        """Everything below but the site file and the folders that were there before."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.name != "here.yml")


@pytest.fixture
def machine(open_dir: Path, ordinary_user: OrdinaryUser) -> Iterator[Machine]:
    for name in ("environments", "node", "scratch"):
        (open_dir / name).mkdir()
    (open_dir / "node").chmod(0o1777)
    (open_dir / "scratch").chmod(0o1777)
    yield Machine(open_dir)
    unmount_all(ordinary_user, open_dir)


def run(words: Sequence[str]) -> tuple[int, Any, str]:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300, cwd="/")
    return done.returncode, json.loads(done.stdout or "null"), done.stderr


def stages(data: Any) -> dict[str, str]:
    return {stage["name"]: stage["verdict"] for stage in data["stages"]}


def said(data: Any, name: str) -> str:
    return " ".join(one["text"] for stage in data["stages"] if stage["name"] == name for one in stage["found"])


def test_root_tries_the_whole_path_as_a_user(machine: Machine, ordinary_user: OrdinaryUser) -> None:
    # The account's own group is the users', so that nobody else can read what is released here.
    groups = f"groups: {{users: {ACCOUNT}, owners: root}}\n" if os.geteuid() == 0 else ""
    words = machine.words(machine.site("namespace", f"test_user: {ACCOUNT}\n{groups}"))
    homes = {name: Path("/", name).exists() for name in (".apptainer", ".singularity")}
    code, data, err = run(["sh", "-c", 'umask 077; exec "$@"', "sh", *words])
    assert code == 0, err
    assert homes == {name: Path("/", name).exists() for name in homes}
    assert tuple(stages(data)) == STAGES
    assert set(stages(data).values()) <= {"ok", "warning"}
    assert stages(data)["start"] == "ok"
    if os.geteuid() == 0:
        assert f"users are tried as {ordinary_user.name}" in said(data, "account")
        assert f"namespace, as {ACCOUNT}" in said(data, "start")
        assert f"group {ACCOUNT} for users group root for owners" in said(data, "account")
    assert f"singularity, as {ordinary_user.name}" in said(data, "other runtime")
    assert f"shared by all commands of {ordinary_user.name}" in said(data, "mount")
    assert "3 packages locked" in said(data, "lock")
    assert "2 ranks" in said(data, "ranks")
    for system in ("Environment Modules", "Lmod"):
        assert f"{system} " in said(data, "modules")
    assert machine.left() == ["environments", "node", "scratch"]
    assert not any(f" {machine.root}/" in line for line in Path("/proc/self/mounts").read_text("utf-8").splitlines())


def test_an_ordinary_account_writes_a_site_file_and_tries_what_it_can(
    machine: Machine, ordinary_user: OrdinaryUser, tmp_path: Path
) -> None:
    before = [*opened(tmp_path), *ordinary_user.command([])] if os.geteuid() == 0 else []
    if before:
        os.chown(machine.root, ordinary_user.uid, -1)
    words = ["site", "init", "new", "--root", str(machine.root / "public"), "--repository", str(machine.root), "--json"]
    code, data, err = run([*before, *PROGRAM, *words])
    assert code == 0, err
    path = machine.root / "ci/sites/new.yml"
    assert data["path"] == str(path)
    assert {one["kind"] for one in data["machine"]["modules"]} == {"Environment Modules", "Lmod"}
    assert data["machine"]["no_namespaces"] == ""
    assert data["missing"] == []
    code, again, _ = run([*before, *PROGRAM, *words])
    assert (code, again["error"]["kind"]) == (12, "refused")
    path.write_text(path.read_text("utf-8").replace("node_dir: /tmp", f"node_dir: {machine.root}/node"), "utf-8")
    code, data, err = run([*before, *machine.words(path)])
    assert code == 0, err
    found = stages(data)
    assert found.pop("account") == "warning"
    assert "nobody but the release account itself" in said(data, "account")
    assert set(found.values()) <= {"ok", "warning"}
    assert "singularity, as the release account" in said(data, "start")
    assert machine.left() == ["ci", "ci/sites", "ci/sites/new.yml", "environments", "node", "scratch"]


def test_a_group_that_is_not_there_ends_it_early(machine: Machine) -> None:
    code, data, _ = run(machine.words(machine.site(more="groups: {users: no_such_group}\n")))
    assert code == 7
    assert "no group no_such_group" in said(data, "account")
    assert {name for name, verdict in stages(data).items() if verdict == "not tried"} == set(STAGES[7:])


def test_what_is_wrong_is_said_with_what_to_do(machine: Machine) -> None:
    site = machine.site("singularity")
    text = site.read_text("utf-8").replace("/opt/singularity/bin/singularity", "/no/singularity")
    site.write_text(text.replace(f"{machine.root}/node", "/proc"), "utf-8")
    code, data, _ = run(machine.words(site))
    assert code == 7
    wrong = {name for name, verdict in stages(data).items() if verdict == "wrong"}
    assert wrong == {"folders", "programs", "tests", "publish", "start", "modules", "ranks"}
    for stage in data["stages"]:
        for one in stage["found"]:
            assert one["verdict"] != "wrong" or one["mend"], one
    assert "/no/singularity is not there" in said(data, "programs")
    assert machine.left() == ["environments", "node", "scratch"]


def test_a_full_root_keeps_the_table(machine: Machine) -> None:
    """Only root can mount one, and CI is root."""
    full = machine.root / "store"
    full.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", full], check=True)
    try:
        code, data, err = run(machine.words(machine.site()))
        left = list(full.rglob("*"))
    finally:
        subprocess.run(["umount", full], check=True)
    assert code == 7, err
    assert "Traceback" not in err
    assert tuple(stages(data)) == STAGES
    assert stages(data)["space"] == "warning"
    assert "no space left below" in said(data, "channel")
    assert left == []


def start(words: Sequence[str], machine: Machine, reached: str) -> subprocess.Popen[bytes]:
    """A check that has come as far as a path below its scratch root."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
    until = time.monotonic() + 120
    while not list(machine.root.glob(f"store/public/.check-*/{reached}")):
        assert process.poll() is None, "it ended before it came so far"
        assert time.monotonic() < until
        time.sleep(0.02)
    return process


def test_an_interrupt_leaves_nothing(machine: Machine) -> None:
    process = start(machine.words(machine.site()), machine, "apps/*/releases/*/*")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 130
    assert machine.left() == ["environments", "node", "scratch"]


def test_a_kill_leaves_the_scratch_root_and_nothing_else(machine: Machine) -> None:
    process = start(machine.words(machine.site()), machine, "apps/*/releases/*/*")
    process.kill()
    process.wait(timeout=60)
    top = [path for path in machine.left() if ".check-" not in path]
    assert top == ["environments", "node", "scratch", "store", "store/public"]
    assert len(list(machine.root.glob("store/public/*"))) == 1
