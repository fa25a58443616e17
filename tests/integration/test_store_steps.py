"""The commands as a maintainer meets them: gates, reasons, dry runs, space, use, repairs."""

import datetime as dt
import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.storekit import (
    ASKED,
    START,
    Dead,
    FaultyDoor,
    Killed,
    broken,
    build,
    contents,
    judge,
    make_site,
    make_store,
    ready,
    release,
    silent,
)
from conda_concept.errors import (
    BusyError,
    ConcError,
    GateError,
    InputError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    SpaceError,
)
from conda_concept.layout import Layout
from conda_concept.model import Release, Verdict
from conda_concept.record import verdict_to_text
from conda_concept.settings import Config, Retention
from conda_concept.steps.doctor import doctor
from conda_concept.steps.list_ import list_history, list_releases
from conda_concept.steps.prune import prune
from conda_concept.steps.publish import Asked, publish_release
from conda_concept.steps.rollback import roll_back
from conda_concept.store import AlreadyThere, Store
from conda_concept.store.finding import find_release
from conda_concept.store.lease import Holder, read_holder
from conda_concept.store.usage import in_use, limits

OLD, ONE, TWO, THREE = release("23.01", 1), release("23.04", 2), release("23.04", 3), release("23.04", 4)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = make_store(tmp_path / "root")
    for one in (OLD, ONE, TWO):
        ready(made, one)
    publish_release(made, OLD, "23.01", ASKED, silent())
    publish_release(made, ONE, "23.01", ASKED, silent())
    return made


def live(store: Store) -> dict[str, str]:
    return {alias.name: alias.target for alias in store.reader.state().aliases}


# --- publish ------------------------------------------------------------------------------------------------------


def test_a_dry_run_says_what_the_real_run_does_and_changes_nothing(store: Store) -> None:
    before = contents(store.layout.root)
    door = FaultyDoor()
    dry = publish_release(replace(store, door=door), TWO, "23.01", replace(ASKED, dry_run=True), silent())
    assert door.log == []
    assert contents(store.layout.root) == before
    real = publish_release(store, TWO, "23.01", ASKED, silent())
    assert dry.operations == real.operations
    assert [str(operation) for operation in real.operations] == [
        "alias analysis3-23.04 -> 00000003 (was 00000002)",
        "history: publish by tester@here",
    ]


def test_the_history_says_who_what_when_from_where(store: Store) -> None:
    line = json.loads(store.layout.history.read_text().splitlines()[-1])
    assert line["who"] == "tester@here"
    assert line["when"] == "2026-01-01T00:00:00+00:00"
    assert line["release"] == {"environment": "analysis3", "version": "23.04", "build_id": "00000002"}
    source = {"commit": "0123456789abcdef", "pull_request": "12", "author": "researcher", "base_lock": ""}
    assert line["source"] == source
    assert line["lock_digest"] == "ab" * 32
    assert {move["alias"]: move["after"] for move in line["moves"]} == {
        "analysis3-23.04": "00000002",
        "analysis3-unstable": "analysis3-23.04",
    }


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (None, "has not been tested"),
        (Verdict("f" * 64, passed=True, counts=()), r"are of another image \(ffffffffffff…\)"),
        ("failed", "did not pass: 10 passed"),
    ],
)
def test_the_tests_decide_unless_a_reason_is_given(store: Store, verdict: object, words: str) -> None:
    build(store, THREE)
    if verdict == "failed":
        judge(store, THREE, passed=False)
    elif isinstance(verdict, Verdict):
        store.write_verdict(THREE, verdict_to_text(verdict).encode(), b"")
    before = live(store)
    with pytest.raises(GateError, match=words):
        publish_release(store, THREE, "23.01", ASKED, silent())
    assert live(store) == before
    if words.startswith("are of another"):
        return  # results of another image are damage, and no reason overrules damage
    forced = publish_release(store, THREE, "23.01", replace(ASKED, force="the fix cannot wait"), silent())
    assert live(store)["analysis3-23.04"] == THREE.build_id
    assert "because: the fix cannot wait" in forced.notices[0]
    assert list_history(store)[0].forced == "the fix cannot wait"


def test_a_reason_that_was_not_needed_is_not_recorded(store: Store) -> None:
    publish_release(store, TWO, "23.01", replace(ASKED, force="to be sure"), silent())
    assert list_history(store)[0].forced == ""


def test_a_stable_version_that_is_not_there_is_said(store: Store) -> None:
    done = publish_release(store, TWO, "22.12", ASKED, silent())
    assert any("analysis3-22.12, which is to be stable, is not published here" in notice for notice in done.notices)
    assert live(store)["analysis3"] == "analysis3-23.01"


def test_the_plain_name_moves_to_what_is_checked_too(store: Store) -> None:
    """`stable` names another version: publishing one release must not move people to a damaged other one."""
    newest = ready(store, release("23.07", 5))
    before = live(store)
    store.layout.image(ONE).write_bytes(b"other bytes")
    with pytest.raises(IntegrityError, match=r"(?s)`analysis3` is to mean analysis3-23.04 .*image.sqsh: has 11 b"):
        publish_release(store, newest, "23.04", ASKED, silent())
    assert live(store) == before
    publish_release(store, TWO, None, ASKED, silent())
    publish_release(store, newest, "23.04", ASKED, silent())
    assert store.reader.state().release("analysis3") == TWO
    # It means it already: publishing something else does not ask for it once more.
    store.layout.image(TWO).write_bytes(b"other bytes")
    publish_release(store, ready(store, release("23.07", 6)), "23.04", ASKED, silent())


@pytest.mark.parametrize(
    ("harm", "kind", "words"),
    [
        (lambda store: store.layout.incomplete(ONE).write_text(""), IntegrityError, "is not complete"),
        (lambda store: judge(store, ONE, passed=False), GateError, "did not pass"),
        (
            lambda store: store.layout.prefix(ONE).rename(store.layout.root / "gone"),
            NotFoundError,
            "no release analysis3-23.04/00000002",
        ),
    ],
)
def test_a_stable_version_that_cannot_be_meant_is_refused(
    store: Store, harm: Callable[[Store], object], kind: type[ConcError], words: str
) -> None:
    newest = ready(store, release("23.07", 5))
    before = live(store)
    harm(store)
    with pytest.raises(kind, match=words) as error:
        publish_release(store, newest, "23.04", ASKED, silent())
    assert "name another version as `stable`" in error.value.hint
    assert live(store) == before


def test_what_the_plain_name_would_mean_is_looked_at_again_under_the_lock(store: Store) -> None:
    newest, before = ready(store, release("23.07", 5)), live(store)

    class Meddling(FaultyDoor):
        def create(self, path: Path) -> int:
            if path.name.startswith(".store.lock"):
                publish_release(store, TWO, None, ASKED, silent())
            return super().create(path)

    with pytest.raises(RefusedError, match="analysis3-23.04 was moved by somebody else meanwhile"):
        publish_release(replace(store, door=Meddling()), newest, "23.04", ASKED, silent())
    assert live(store) == {**before, "analysis3-23.04": TWO.build_id}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_sentence_and_the_old_state(store: Store, number: int) -> None:
    before = (live(store), store.layout.modulerc.read_text(), store.layout.history.read_text())
    full = replace(store, door=FaultyDoor(at=1, failure=number, sticky=True))
    with pytest.raises(SpaceError, match="What was live before is still live") as error:
        publish_release(full, TWO, "23.01", ASKED, silent())
    assert error.value.hint
    assert (live(store), store.layout.modulerc.read_text(), store.layout.history.read_text()) == before


def few_left(patch: pytest.MonkeyPatch, below: Path, what: str) -> None:
    """A file system with this little: `f_bavail` blocks, or `f_favail` inodes."""
    real = os.statvfs(below)
    values = {name: getattr(real, name) for name in dir(real) if name.startswith("f_")} | {what: 1}
    patch.setattr("conda_concept.space.os.statvfs", lambda _path: SimpleNamespace(**values))


def test_too_little_space_is_known_before(store: Store) -> None:
    with pytest.raises(SpaceError, match=r"Not enough space to build x: .* GB are needed"):
        store.check_space(1 << 60, 1, "build x")
    with pytest.raises(SpaceError, match="Not enough inodes to build x"):
        store.check_space(1, 1 << 60, "build x")
    store.check_space(1, 1, "build x")


def test_a_publish_that_does_not_fit_is_refused_before_it_begins(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(store.layout.root)
    for what, words in (("f_bavail", "Not enough space to publish"), ("f_favail", "Not enough inodes to publish")):
        with monkeypatch.context() as patch:
            few_left(patch, store.layout.apps, what)
            door = FaultyDoor()
            with pytest.raises(SpaceError, match=words):
                publish_release(replace(store, door=door), TWO, "23.01", ASKED, silent())
            assert door.log == []
    assert contents(store.layout.root) == before


def test_what_others_made_in_place_of_an_alias_is_not_overwritten(store: Store) -> None:
    store.layout.alias("analysis3").unlink()
    store.layout.alias("analysis3").mkdir()
    with pytest.raises(RefusedError, match="is a directory"):
        publish_release(store, TWO, "23.04", ASKED, silent())
    assert live(store)["analysis3-23.04"] == ONE.build_id
    assert store.reader.state().temporaries == ()


# --- rollback -----------------------------------------------------------------------------------------------------


def test_rollback_and_forward_again(store: Store) -> None:
    publish_release(store, TWO, "23.04", ASKED, silent())
    assert roll_back(store, "analysis3-23.04", "", ASKED, silent()).release == ONE
    assert roll_back(store, "analysis3-23.04", TWO.build_id, ASKED, silent()).release == TWO
    assert roll_back(store, "analysis3", "", ASKED, silent(), quick=True).release == OLD
    assert live(store)["analysis3"] == "analysis3-23.01"
    assert (store.layout.modules / "analysis3").resolve() == store.layout.modulefile(OLD)
    assert broken(store) == []


@pytest.mark.parametrize(
    ("name", "to", "kind", "words"),
    [
        ("analysis9", "", NotFoundError, "no alias `analysis9`"),
        ("analysis3-23.01", "", NotFoundError, "no earlier release"),
        ("analysis3-23.04", "ffffffff", NotFoundError, "no release analysis3-23.04/ffffffff"),
        ("analysis3-23.04", "23.01", InputError, "to a build id"),
        ("analysis3-23.04", "analysis3-23.01/00000001", InputError, "is not a release of analysis3-23.04"),
        ("analysis3", "00000002", InputError, "to a label"),
        ("analysis3", "demo-23.01", InputError, "is not a release of analysis3"),
        ("analysis3", "analysis3-23.04/00000003", InputError, "does not point at 00000003"),
    ],
)
def test_rollbacks_that_make_no_sense(store: Store, name: str, to: str, kind: type[Exception], words: str) -> None:
    before = live(store)
    with pytest.raises(kind, match=words):
        roll_back(store, name, to, ASKED, silent())
    assert live(store) == before


def test_a_rollback_does_not_undo_what_somebody_else_did_meanwhile(store: Store) -> None:
    publish_release(store, TWO, "23.04", ASKED, silent())
    ready(store, THREE)

    class Meddling(FaultyDoor):
        def create(self, path: Path) -> int:
            if path.name.startswith(".store.lock"):
                publish_release(store, THREE, "23.04", ASKED, silent())
            return super().create(path)

    with pytest.raises(InputError, match="was moved to 00000004 by somebody else meanwhile"):
        roll_back(replace(store, door=Meddling()), "analysis3-23.04", "", ASKED, silent())
    assert live(store)["analysis3-23.04"] == THREE.build_id


# --- names --------------------------------------------------------------------------------------------------------


def test_what_people_call_a_release(store: Store) -> None:
    state, layout = store.reader.state(), store.layout
    for text in ("analysis3-23.04/00000003", "00000003", str(layout.prefix(TWO)), "analysis3-23.04"):
        assert find_release(state, layout, text, prefer="candidate") == TWO
    assert find_release(state, layout, "analysis3-23.04", prefer="current") == ONE
    assert find_release(state, layout, "analysis3", prefer="current") == OLD
    assert find_release(state, layout, str(layout.alias("analysis3")), prefer="current") == OLD
    ready(store, THREE)
    with pytest.raises(InputError, match="is not one release") as error:
        find_release(store.reader.state(), layout, "analysis3-23.04", prefer="candidate")
    assert error.value.problems == (str(TWO), str(THREE))
    for text in ("analysis3-22.01", "../../etc", "/etc", "ffffffff"):
        with pytest.raises(NotFoundError):
            find_release(state, layout, text, prefer="current")


# --- staging ------------------------------------------------------------------------------------------------------


def test_staging_refuses_what_does_not_belong(store: Store) -> None:
    with store.stage(THREE) as staged:
        assert not isinstance(staged, AlreadyThere)
        for path in ("../x", "/etc/x", "release.json", "incomplete"):
            with pytest.raises(InputError, match="cannot be a path of a release"):
                staged.write(path, b"")
        for text in ("/etc/passwd", "../../..", "../.."):
            with pytest.raises(InputError, match="leads out of the release"):
                staged.symlink(text, "bin/x")
        with pytest.raises(InputError, match="There is no image at"):
            staged.image(Path("/nonexistent"))
    assert not store.layout.prefix(THREE).exists()


def test_two_builds_of_one_release_do_not_meet(store: Store) -> None:
    with store.stage(THREE) as staged:
        assert not isinstance(staged, AlreadyThere)
        with pytest.raises(BusyError, match=r"building analysis3-23\.04/00000004"), store.stage(THREE):
            pass
        assert staged.prefix.is_dir()
    assert not store.layout.prefix(THREE).exists()


def test_an_image_from_elsewhere_is_copied_and_hashed(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "x.sqsh"
    source.write_bytes(os.urandom(9 << 20))
    told: list[int] = []
    with store.stage(THREE) as staged:
        assert not isinstance(staged, AlreadyThere)
        copied = staged.image(source, lambda done, _total: told.append(done))
        assert staged.prefix.joinpath("image.sqsh").read_bytes() == source.read_bytes()
    assert copied.size == 9 << 20
    assert told == [4 << 20, 8 << 20, 9 << 20]


# --- prune --------------------------------------------------------------------------------------------------------


def aged(store: Store, **rules: float) -> Store:
    """The store many years on, under a policy that keeps nothing unless `rules` say so."""
    policy = {"grace_days": 0, "candidate_days": 0, "keep_builds": 0, **rules}
    site = make_site(store.layout.root, retention=Retention.model_validate(policy))
    return replace(store, site=site, now=lambda: START + dt.timedelta(days=30000))


def test_prune_says_first_and_keeps_what_is_live(store: Store) -> None:
    dry = prune(aged(store), replace(ASKED, dry_run=True))
    assert store.layout.prefix(TWO).is_dir()
    real = prune(aged(store), ASKED)
    assert dry.operations == real.operations
    assert {one.release for one in real.judgements if not one.keep} == {TWO}
    assert not store.layout.prefix(TWO).exists()
    assert list_history(store)[0].removed == (str(TWO),)
    assert broken(store) == []


def test_a_keep_file_and_a_process_keep_a_release(store: Store) -> None:
    ready(store, THREE)
    store.layout.keep(TWO).write_text("the paper of 2026\n")
    seeing = replace(aged(store), in_use=lambda releases: in_use(store.layout, releases))
    command = [sys.executable, "-c", "import sys, time; f = open(sys.argv[1]); print(flush=True); time.sleep(60)"]
    with subprocess.Popen([*command, store.layout.image(THREE)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            found = {one.release: one.why for one in prune(seeing, ASKED).judgements}
        finally:
            process.kill()
    assert found[TWO] == "pinned: the paper of 2026"
    assert found[THREE].startswith(f"in use: process {process.pid} of this machine uses")
    assert store.layout.prefix(THREE).is_dir()
    prune(seeing, ASKED)
    assert not store.layout.prefix(THREE).exists()
    assert store.layout.prefix(TWO).is_dir()


def test_a_command_of_another_user_is_seen_by_how_it_was_called(store: Store) -> None:
    """As the release account sees the processes of users: command lines, and nothing that they have open."""
    called = str(store.layout.bin(TWO) / "python3")
    command = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)", called]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            found = in_use(store.layout, [ONE, TWO])
        finally:
            process.kill()
    assert found == {TWO: f"process {process.pid} of this machine uses {called}"}


def test_a_lock_on_the_image_keeps_a_release_though_no_process_is_seen(store: Store) -> None:
    """As on another node: the holder's file is no path of the store, and nothing of the store is in its words."""
    image = store.layout.image(TWO)
    elsewhere = store.layout.root.with_name("elsewhere")
    for lock in ("fcntl.flock(f, fcntl.LOCK_SH)", "fcntl.lockf(f, fcntl.LOCK_SH)"):
        elsewhere.hardlink_to(image)  # the same file by another name, as another mount would show it
        program = f"import fcntl, sys, time; f = open(sys.argv[1]); {lock}; print(flush=True); time.sleep(60)"
        with subprocess.Popen([sys.executable, "-c", program, elsewhere], stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                process.stdout.readline()
                assert in_use(store.layout, [ONE, TWO]) == {TWO: "a lock is held on its image"}
            finally:
                process.kill()
        assert in_use(store.layout, [ONE, TWO]) == {}
        elsewhere.unlink()


def test_a_root_that_is_a_link_hides_nobody(store: Store) -> None:
    """The kernel shows what a process has open without links, and the site file names the link."""
    link = store.layout.root.with_name("link")
    link.symlink_to(store.layout.root)
    layout = Layout(link)
    command = [
        sys.executable,
        "-c",
        "import sys, time; f = open(sys.stdin.readline()); print(flush=True); time.sleep(60)",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(str(layout.image(TWO)))
            process.stdin.close()
            process.stdout.readline()
            assert in_use(layout, [ONE, TWO]) == {
                TWO: f"process {process.pid} of this machine uses {store.layout.image(TWO)}"
            }
        finally:
            process.kill()
    mounts = f"/dev/vda / ext4 rw 0 0\nmds:/fs {store.layout.root.resolve()} lustre rw,flock 0 0\n"
    assert f"{store.layout.root.resolve()} is lustre" in limits(layout, mounts)[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("mds:/fs {} lustre rw,flock,lazystatfs 0 0", "seen by the locks"),
        ("mds:/fs {} lustre rw,localflock 0 0", "NOT seen"),
        ("mds:/fs {} lustre rw 0 0", "NOT seen"),
        ("server:/x {} nfs4 rw,local_lock=none 0 0", "seen by the locks"),
        ("server:/x {} nfs rw,nolock 0 0", "NOT seen"),
        ("fs {} gpfs rw 0 0", "NOT seen"),
        ("/dev/sda1 {} xfs rw 0 0", "one machine"),
    ],
)
def test_prune_says_what_it_cannot_see(store: Store, line: str, said: str) -> None:
    mounts = f"/dev/vda / ext4 rw 0 0\n{line.format(store.layout.root)}\ntmpfs {store.layout.root}x tmpfs rw 0 0\n"
    assert said in limits(store.layout, mounts)[0]
    assert prune(aged(store), replace(ASKED, dry_run=True)).limits[0] == limits(store.layout)[0]


def test_what_begins_to_be_used_after_the_decision_stays(store: Store) -> None:
    answers = iter([{}, {TWO: "process 7"}])
    done = prune(replace(aged(store), in_use=lambda _releases: next(answers)), ASKED)
    assert done.stayed == (f"{TWO} is in use: process 7",)
    assert store.layout.prefix(TWO).is_dir()
    assert store.reader.complete(TWO)


def test_the_candidates_of_closed_pull_requests_go_at_once(store: Store) -> None:
    store.expose(TWO, "analysis3-pr12")
    keeping = aged(store, candidate_days=36500)
    assert prune(keeping, ASKED, ["13"]).operations == ()
    store.expose(TWO, "analysis3-pr14")
    assert prune(keeping, ASKED, ["12"]).operations == ()  # another pull request still tries it
    store.hide(["analysis3-pr14"])
    prune(keeping, ASKED, ["12"])
    assert not store.layout.prefix(TWO).exists()
    assert store.reader.state().candidates == {}


def begun_elsewhere(store: Store, one: Release, *, hours_ago: float) -> None:
    """A build on a node that cannot be asked, with its last sign of life so long ago."""
    elsewhere = replace(store, identity=replace(store.identity, host="node7"))
    marker = store.layout.incomplete(one)
    marker.parent.mkdir(parents=True)
    elsewhere.taker.take(marker, f"building {one}")
    seen = marker.stat().st_mtime - hours_ago * 3600
    os.utime(marker, (seen, seen))


def test_a_build_of_a_node_that_died_is_pruned_after_lock_hours(store: Store) -> None:
    begun_elsewhere(store, THREE, hours_ago=2.1)
    assert [row.trouble for row in list_releases(store) if row.release == THREE] == ["left unfinished"]
    prune(store, ASKED)
    assert not store.layout.prefix(THREE).exists()
    begun_elsewhere(store, THREE, hours_ago=1.9)
    judged = {one.release: one.why for one in prune(store, ASKED).judgements}
    assert judged[THREE].startswith("being built by process")
    assert store.layout.prefix(THREE).is_dir()


def test_a_long_build_gives_signs_of_life(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conda_concept.store.lease.PULSE_SECONDS", 0.02)
    marker = store.layout.incomplete(THREE)
    with store.stage(THREE):
        os.utime(marker, (0, 0))
        deadline = time.monotonic() + 20
        while marker.stat().st_mtime == 0:  # this process does something else than staging, for long
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_build_that_begins_meanwhile_stays_and_the_rest_is_pruned(store: Store) -> None:
    half = release("22.01", 9)
    store.layout.prefix(half).mkdir(parents=True)

    class Meddling(FaultyDoor):
        def link(self, source: Path, path: Path) -> None:
            if path == store.layout.incomplete(half) and not path.exists():
                store.taker.take(path, f"building {half}")
            super().link(source, path)

    done = prune(replace(aged(store), door=Meddling()), ASKED)
    assert [text.partition(":")[0] for text in done.stayed] == [f"{half} stays"]
    assert store.layout.prefix(half).is_dir()
    assert not store.layout.prefix(TWO).exists()


def test_prune_leaves_what_is_locked_alone(store: Store) -> None:
    with store.locked("publish x"), pytest.raises(BusyError, match="publish x"):
        prune(aged(store), ASKED)
    assert store.layout.prefix(TWO).is_dir()


# --- list and doctor ----------------------------------------------------------------------------------------------


def test_a_list_of_everything(store: Store) -> None:
    publish_release(store, TWO, "23.01", ASKED, silent())
    build(store, THREE)
    store.layout.prefix(release("23.07", 9)).mkdir(parents=True)
    (store.layout.prefix(OLD) / "release.json").write_text("{}")
    rows = [(str(row.release), row.state, row.tests, bool(row.trouble)) for row in list_releases(store)]
    assert rows == [
        ("analysis3-23.07/00000009", "incomplete", "", True),
        ("analysis3-23.04/00000003", "published", "passed", False),
        ("analysis3-23.04/00000002", "former", "passed", False),
        ("analysis3-23.04/00000004", "candidate", "not tested", False),
        ("analysis3-23.01/00000001", "published", "", True),
    ]


def findings(store: Store) -> dict[str, tuple[str, str]]:
    """What the doctor finds in the store itself; the folder that tests run in is closed to others, as it should be."""
    outside = {str(folder) for folder in store.layout.root.parents}
    return {
        one.where.removeprefix(f"{store.layout.root}/"): (one.severity, one.what)
        for one in doctor(store, ASKED).findings
        if one.where not in outside
    }


def test_a_store_in_order(store: Store) -> None:
    assert findings(store) == {}


def test_the_doctor_mends_what_is_safe_and_nothing_else(store: Store) -> None:
    layout = store.layout
    publish_release(store, TWO, "23.01", ASKED, silent())
    layout.modulerc.write_text(layout.modulerc.read_text().replace("analysis3", "analysis2"))
    layout.module("analysis3-unstable").unlink()
    layout.module("analysis3-23.01").unlink()
    layout.module("analysis3-22.10").symlink_to("../../apps/conda_concept/envs/analysis3-22.10/modulefile")
    layout.envs.chmod(0o777)
    layout.bin(TWO).chmod(0o700)
    layout.image(ONE).chmod(0o600)
    store.expose(ONE, "analysis3-pr1")
    layout.candidate_module("analysis3-pr2").symlink_to("../../releases/analysis3-22.10/00000001/modulefile")
    layout.envs.joinpath(".analysis3.new").symlink_to("nowhere")
    half = layout.prefix(release("23.07", 9))
    half.mkdir(parents=True)
    layout.history.write_text(layout.history.read_text() + "half a li")
    layout.alias("analysis3-22.11").symlink_to("../releases/analysis3-22.11/00000001")
    found = findings(store)
    broken_before = {where for where, (severity, _) in found.items() if severity == "broken"}
    assert {
        "alias analysis3-22.11",
        "module analysis3-22.10",
        "module analysis3-23.01",
        "module analysis3-unstable",
        "modules/conda_concept/.modulerc",
        f"{TWO}/bin",
    } <= broken_before
    assert found["apps/conda_concept/envs"] == ("risk", "has permissions 0777 and should have 0755")
    assert found[f"{ONE}/image.sqsh"][0] == "risk"
    assert found["candidate module analysis3-pr2"][0] == "untidy"
    assert found["apps/conda_concept/envs/.analysis3.new"][0] == "untidy"
    assert found["analysis3-23.07/00000009"][0] == "untidy"
    assert found["apps/conda_concept/history.jsonl"][0] in {"risk", "untidy"}
    doctor(store, ASKED, repair=True)
    left = findings(store)
    # What a name means is for people to decide: only the alias that leads nowhere is left, and its module.
    assert set(left) <= {"alias analysis3-22.11", "module analysis3-22.11", "apps/conda_concept/history.jsonl"}
    assert "alias analysis3-22.11" in left
    assert not half.exists()
    assert layout.history.with_name("history.jsonl.damaged").read_text() == "half a li\n"
    layout.alias("analysis3-22.11").unlink()
    doctor(store, ASKED, repair=True)
    assert findings(store) == {}
    assert broken(store) == []


def test_the_doctor_tells_of_modulefiles_of_other_releases(store: Store) -> None:
    layout = store.layout
    text = layout.modulefile(ONE).read_text()
    layout.modulefile(ONE).write_text(text.replace("00000002", "00000003"))
    severity, what = findings(store)["apps/conda_concept/releases/analysis3-23.04/00000002/modulefile"]
    assert (severity, what) == ("broken", "names analysis3-23.04/00000003")


def test_several_maintainers_at_once(store: Store) -> None:
    """Each waits for its turn: nobody fails, nothing is lost, and every move is written down."""
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                mine = make_store(store.layout.root)
                asked = Asked(who=f"maintainer{number}", wait=60.0)
                for turn in range(5):
                    publish_release(mine, (ONE, TWO)[(number + turn) % 2], "23.01", asked, silent())
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert broken(store) == []
    events, problems = store.reader.history()
    assert problems == ()
    moves = [move for event in events for move in event.moves if move.alias == "analysis3-23.04"]
    assert [move.before for move in moves[1:]] == [move.after for move in moves[:-1]]
    assert moves[-1].after == live(store)["analysis3-23.04"]
    assert len({event.who for event in events}) > 1


def test_what_goes_away_while_it_is_looked_at_is_no_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's lease before it has its name: listed, and gone a moment later."""
    lease = store.layout.apps / ".store.lock.0123456789abcdef"
    lease.write_text("")

    def looked_at(path: Path) -> Holder | None:
        found = read_holder(path)
        path.unlink(missing_ok=True)
        return found

    monkeypatch.setattr("conda_concept.store.reading.read_holder", looked_at)
    assert store.reader.state().temporaries == ()


def test_a_store_of_this_machine(store: Store) -> None:
    """What the command line opens: real door, clock, identity, and eyes for who uses what."""
    told: list[str] = []
    opened = Store.open(store.layout, store.site, told.append)
    before = dt.datetime.now(tz=dt.UTC) - dt.timedelta(seconds=1)
    done = publish_release(opened, TWO, "23.01", ASKED, silent())
    assert done.event is not None
    assert dt.datetime.fromisoformat(done.event.when) >= before
    assert 0 < done.seconds_switching < 60
    assert opened.identity.pid == os.getpid()
    assert opened.in_use([TWO]) == {}
    assert told == []


def test_nobody_is_asked_twice(store: Store) -> None:
    asked = Asked(who="someone@else", wait=0.0)
    assert publish_release(store, ONE, "23.01", asked, silent()).operations == ()
    assert [event.who for event in list_history(store)] == ["tester@here"] * 2


# --- versions that go away ----------------------------------------------------------------------------------------


def at(store: Store, day: str) -> Store:
    moment = dt.datetime.fromisoformat(f"{day}T12:00:00+00:00")
    return replace(store, now=lambda: moment)


def retiring(day: str, version: str = "23.01") -> dict[str, Config]:
    return {"analysis3": Config(version="23.04", retire={version: dt.date.fromisoformat(day)}, contact="the help desk")}


def test_a_version_warns_until_its_day_then_loses_its_names_and_goes_after_the_grace(store: Store) -> None:
    publish_release(store, ONE, "23.04", ASKED, silent())  # nothing means 23.01 but its own label
    notice = store.layout.notice(OLD.label)
    kept = Retention(grace_days=10, keep_builds=9)
    store = replace(store, site=store.site.model_copy(update={"retention": kept}))
    prune(at(store, "2027-01-31"), ASKED, (), retiring("2027-01-31"))
    done = prune(at(store, "2027-01-31"), ASKED, (), retiring("2027-01-31"))
    assert "analysis3-23.01 goes away after 31 January 2027" in notice.read_text("utf-8")
    assert "the help desk" in notice.read_text("utf-8")
    assert OLD.label in live(store)
    assert done.operations == ()
    prune(at(store, "2027-01-31"), ASKED, (), retiring("2027-03-31"))  # put off
    assert "31 March 2027" in notice.read_text("utf-8")

    dry = prune(at(store, "2027-02-01"), replace(ASKED, dry_run=True), (), retiring("2027-01-31"))
    assert OLD.label in live(store)
    real = prune(at(store, "2027-02-01"), ASKED, (), retiring("2027-01-31"))
    assert [str(one) for one in real.operations] == [str(one) for one in dry.operations]
    assert OLD.label not in live(store)
    assert not store.layout.module(OLD.label).is_symlink()
    assert not notice.exists()
    assert store.layout.prefix(OLD).is_dir()  # jobs may still run in it
    assert broken(store) == []
    prune(at(store, "2027-02-10"), ASKED, (), retiring("2027-01-31"))
    assert store.layout.prefix(OLD).is_dir()
    prune(at(store, "2027-02-12"), ASKED, (), retiring("2027-01-31"))
    assert not store.layout.prefix(OLD).exists()
    assert {one.label for one in (ONE, TWO)} <= set(live(store))


def test_what_a_plain_name_means_is_never_retired(store: Store) -> None:
    prune(at(store, "2027-01-31"), ASKED, (), retiring("2027-01-31"))
    done = prune(at(store, "2027-02-01"), ASKED, (), retiring("2027-01-31"))
    assert "`analysis3` means it still: it stays" in done.stayed[0]
    assert OLD.label in live(store)
    assert store.layout.notice(OLD.label).exists()


def test_a_notice_goes_when_the_day_is_taken_back(store: Store) -> None:
    prune(at(store, "2026-01-02"), ASKED, (), retiring("2027-01-31"))
    prune(at(store, "2026-01-02"), ASKED, (), {"analysis3": Config(version="23.04")})
    assert not store.layout.notice(OLD.label).exists()


@pytest.mark.parametrize("number", range(1, 30, 2))
def test_a_full_disk_while_a_version_is_retired_leaves_all_or_nothing(store: Store, number: int) -> None:
    publish_release(store, ONE, "23.04", ASKED, silent())
    prune(at(store, "2027-01-31"), ASKED, (), retiring("2027-01-31"))
    before = live(store)
    door = FaultyDoor(at=number, failure=errno.ENOSPC)
    with suppress(ConcError, OSError):
        prune(at(replace(store, door=door, identity=Dead.identity()), "2027-02-01"), ASKED, (), retiring("2027-01-31"))
    assert broken(store) == []
    assert live(store) in (before, {name: to for name, to in before.items() if name != OLD.label})
    prune(at(store, "2027-02-01"), ASKED, (), retiring("2027-01-31"))
    assert OLD.label not in live(store)
    assert store.reader.state().notices == {}


def test_a_version_has_its_grace_wherever_the_run_ended_that_took_its_names(store: Store) -> None:
    """Also between its names and the line in the history, where only the publish long ago was written down."""
    publish_release(store, ONE, "23.04", ASKED, silent())
    store = replace(store, site=store.site.model_copy(update={"retention": Retention(grace_days=10)}))
    shutil.copytree(store.layout.root, store.layout.root.with_name("before"), symlinks=True)
    ended = 0
    for at_call in range(1, 200):
        shutil.rmtree(store.layout.root)
        shutil.copytree(store.layout.root.with_name("before"), store.layout.root, symlinks=True)
        killed = replace(store, door=FaultyDoor(at=at_call), identity=Dead.identity())
        try:
            prune(at(killed, "2027-02-01"), ASKED, (), retiring("2027-01-31"))
        except Killed:
            ended += 1
        else:
            break
        dry = prune(at(store, "2027-02-01"), replace(ASKED, dry_run=True), (), retiring("2027-01-31"))
        assert not [one for one in dry.judgements if one.release == OLD and not one.keep]
        # The next night; if it is the first to take the names away, or to write it down, grace begins then.
        prune(at(store, "2027-02-02"), ASKED, (), retiring("2027-01-31"))
        assert OLD.label not in live(store)
        moves = [move for event in list_history(store) for move in event.moves]
        assert [move.before for move in moves if move.alias == OLD.label and not move.after] == [OLD.build_id]
        prune(at(store, "2027-02-10"), ASKED, (), retiring("2027-01-31"))
        assert store.layout.prefix(OLD).is_dir(), at_call
        prune(at(store, "2027-02-13"), ASKED, (), retiring("2027-01-31"))
        assert not store.layout.prefix(OLD).exists(), at_call
    assert ended >= 10


def test_what_a_publish_left_has_its_grace_though_nobody_wrote_the_publish_down(store: Store) -> None:
    store = replace(store, site=store.site.model_copy(update={"retention": Retention(grace_days=10, keep_builds=0)}))
    store.layout.alias(TWO.label).unlink()
    store.layout.alias(TWO.label).symlink_to(f"../releases/{TWO}")
    prune(at(store, "2027-02-01"), ASKED)
    assert store.layout.prefix(ONE).is_dir()


def test_the_doctor_writes_down_what_nobody_has(store: Store) -> None:
    publish_release(store, ONE, "23.04", ASKED, silent())
    for path in (store.layout.alias(OLD.label), store.layout.module(OLD.label)):
        path.unlink()
    history = f"{store.layout.history.relative_to(store.layout.root)}"
    assert findings(store)[history] == ("untidy", f"does not say that {OLD.label} was taken away")
    doctor(store, ASKED, repair=True)
    assert [(move.alias, move.after) for move in list_history(store)[0].moves] == [(OLD.label, "")]
    assert findings(store) == {}
