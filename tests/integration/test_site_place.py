"""What `site check` says of accounts, folders, space and commands before it tries anything."""

import io
import os
from pathlib import Path

import pytest

from conda_concept.checkup import Checked, Finding, Stage
from conda_concept.progress import Reporter
from conda_concept.render.sitecheck import checked_text
from conda_concept.repository import Repository
from conda_concept.settings import Groups
from conda_concept.space import Room
from conda_concept.steps.site_check import place, site_check
from conda_concept.steps.site_check.place import Ground
from conda_concept.testing.probe import ordinary_user as chosen
from tests.support.release import make_site
from tests.support.user import ACCOUNT


def ground(root: Path, *, groups: Groups | None = None, **settings: object) -> Ground:
    site = make_site(root, **settings).model_copy(update={"groups": groups or Groups()})
    (root / "node").mkdir(exist_ok=True)
    (root / "node").chmod(0o1777)
    repository = Repository(root / "repository")
    (root / "repository/environments").mkdir(parents=True, exist_ok=True)
    reporter = Reporter(io.StringIO(), quiet=True)
    return Ground(site, repository, chosen(ACCOUNT), reporter, {"PATH": os.environ["PATH"]}, 1)


def verdicts(found: list[Finding]) -> set[str]:
    return {one.verdict for one in found}


def text(found: list[Finding], verdict: str) -> str:
    return " ".join(f"{one.text} {one.mend}" for one in found if one.verdict == verdict)


def test_users_who_are_not_in_their_group_are_found_out(open_dir: Path) -> None:
    if os.geteuid() != 0:
        pytest.fail("these tests of groups want root", pytrace=False)
    found = place.account(ground(open_dir, groups=Groups(users="daemon", owners="games")))
    assert f"{ACCOUNT}, whom tests run as, is not in the group daemon" in text(found, "wrong")
    assert "test_user in the site file" in text(found, "wrong")
    assert "group games for owners" in text(found, "ok")
    gone = place.account(ground(open_dir, groups=Groups(owners="no_such_group")))
    assert "groups.owners: this machine has no group no_such_group" in text(gone, "wrong")


def test_an_umask_that_locks_the_account_out(open_dir: Path) -> None:
    before = os.umask(0o777)
    try:
        found = place.account(ground(open_dir))
    finally:
        os.umask(before)
    assert "umask 777 takes rights from the account itself" in text(found, "wrong")


def test_a_root_that_users_cannot_reach(open_dir: Path) -> None:
    closed = open_dir / "closed"
    closed.mkdir(mode=0o700)
    found = place.root(ground(closed))
    assert f"{closed}: others may" in text(found, "wrong")
    assert "chmod o+rx" in text(found, "wrong")
    found = place.root(ground(open_dir))
    assert verdicts(found) == {"ok"}


def test_a_root_that_is_not_there_yet_can_be_made(open_dir: Path) -> None:
    base = ground(open_dir)
    site = base.site.model_copy(update={"root": str(open_dir / "new/public")})
    found = place.root(Ground(site, base.repository, base.user, base.reporter, base.environ, 1))
    assert text(found, "ok") == f"{open_dir}/new/public is not there yet; {open_dir} can hold it "
    assert not (open_dir / "new").exists()


def test_folders_that_users_or_builds_cannot_write(open_dir: Path) -> None:
    found = place.folders(ground(open_dir, node_dir="/proc", binds=("/etc", "/nowhere")))
    assert "node_dir: " in text(found, "wrong")
    assert "binds that this node does not have are left out: /nowhere" in text(found, "ok")
    none_of_them = place.folders(ground(open_dir, binds=("/nowhere", "/neither")))
    assert "not on this node: /nowhere, /neither" in text(none_of_them, "warning")


def test_room_for_a_first_release(open_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    none = Room(0, 0)
    monkeypatch.setattr(place, "ROOM", {"root": none, "scratch": Room(10**18, 1), "cache": none})
    found = place.space(ground(open_dir))
    assert [one.verdict for one in found] == ["ok", "warning", "ok"]
    assert "A large environment wants 1,000,000,000 GB" in text(found, "warning")


def test_commands_that_are_left_to_a_host_that_has_not_got_them(open_dir: Path) -> None:
    where = ground(open_dir)
    folder = open_dir / "repository/environments/one"
    folder.mkdir()
    (folder / "environment.yml").write_text("name: one\nchannels: [conda-forge]\ndependencies: [python]\n", "utf-8")
    (folder / "config.yml").write_text('version: "26.11"\nhost_commands: [git, no-such-command]\n', "utf-8")
    found = place.host_commands(where)
    assert [one.verdict for one in found] == ["ok", "warning"]
    assert "no-such-command (one) is not in PATH" in text(found, "warning")


def test_programs_that_are_not_there(open_dir: Path) -> None:
    where = ground(open_dir, runtime="singularity", singularity="/no/singularity", mpi_run=("/no/mpirun",))
    found = place.programs(Ground(where.site, where.repository, where.user, where.reporter, {"PATH": "/nowhere"}, 1))
    said = text(found, "wrong")
    for words in (
        "mksquashfs is not there Install squashfs-tools",
        "/no/singularity is not there",
        "/no/mpirun cannot",
    ):
        assert words in said


def test_a_build_without_a_place_for_code_of_packages_is_known_before(open_dir: Path) -> None:
    where = ground(open_dir)
    assert "code of packages runs in bubblewrap during a build" in text(place.programs(where), "ok")
    site = where.site.model_copy(update={"sandbox": "singularity", "singularity": "/no/singularity"})
    found = place.programs(Ground(site, where.repository, where.user, where.reporter, where.environ, 1))
    assert "packages cannot be built on this machine: the program `/no/singularity` is not" in text(found, "wrong")
    assert "`sandbox` in the site file" in text(found, "wrong")


def test_an_executor_is_tried_by_whoever_knows_how(open_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from conda_concept.errors import ToolError
    from conda_concept.steps import site_check as module

    where = ground(open_dir)
    scheduled = SimpleNamespace(executor=SimpleNamespace(kind="pbs"))
    site = Ground(scheduled, where.repository, where.user, where.reporter, where.environ, 1)  # type: ignore[arg-type]
    assert [one.verdict for one in module._executor(where, None)] == ["ok"]
    assert [one.verdict for one in module._executor(site, None)] == ["not tried"]
    assert [one.text for one in module._executor(site, lambda: "job 7 ran on node 2")] == ["job 7 ran on node 2"]

    def fails() -> str:
        raise ToolError("qsub said no.", hint="Ask for the queue.")

    monkeypatch.setattr(module, "PLACE", (("root", lambda _: [Finding("wrong", "closed", "open it")]),))
    checked = site_check(Ground(where.site, where.repository, where.user, where.reporter, where.environ, 1), fails)
    assert [stage.verdict for stage in checked.stages[:2]] == ["wrong", "ok"]
    assert {stage.verdict for stage in checked.stages[2:]} == {"not tried"}
    stage = module._timed(site, "executor", lambda: module._executor(site, fails))
    assert (stage.verdict, stage.found[0].text, stage.found[0].mend) == ("wrong", "qsub said no.", "Ask for the queue.")


def test_the_table_and_what_to_mend() -> None:
    checked = Checked(
        "gadi",
        (
            Stage("account", "ok", (Finding("ok", "fine"),), 0.04),
            Stage("start", "wrong", (Finding("ok", "one"), Finding("wrong", "it ended", "mend it")), 3.0),
            Stage("ranks", "not tried", (Finding("not tried", "because of start"),)),
        ),
        "/r/.check-1",
    )
    said = checked_text(checked)
    assert said.splitlines()[2:6] == [
        "account  ok         0.0        ✓ fine",
        "start    wrong      3.0        ✓ one",
        "                               ✗ it ended",
        "ranks    not tried  0.0        – because of start",
    ]
    assert "✗ start: it ended\n    -> mend it" in said
    assert "Site gadi: 1 wrong, 0 to look at, 3.0 s." in said
    assert "Kept: /r/.check-1" in said
