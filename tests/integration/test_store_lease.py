"""Who holds a lock, when it is free again, and that two never hold it."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.storekit import FaultyDoor, Killed
from conda_concept.errors import BusyError
from conda_concept.store.door import RealDoor
from conda_concept.store.lease import Identity, Lease, Taker, read_holder

ME = Identity.of_this_process()
DEAD = replace(ME, pid=(1 << 22) + 1, started=1)


def taker(identity: Identity = ME, *, notices: list[str] | None = None, hours: float = 1, door: object = None) -> Taker:
    told = notices if notices is not None else []
    return Taker(door or RealDoor(), identity, hours, told.append, lambda: "2026-01-01T00:00:00+00:00")  # type: ignore[arg-type]  # any door


def test_a_living_holder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "store.lock"
    with taker().held(path, "publish x"):
        with pytest.raises(BusyError, match=rf"process {os.getpid()} on .*publish x, since 2026-01-01") as error:
            taker().take(path, "prune")
        assert error.value.exit_code == 6
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("holder", "free"),
    [
        (DEAD, True),
        (replace(ME, started=ME.started - 1), True),  # the number was given to another process
        (replace(ME, boot="another"), True),
        (replace(ME, host="elsewhere"), False),
        (replace(ME, machine="another with the same name"), False),
        (replace(ME, namespace="pid:[1]"), False),
    ],
)
def test_a_holder_that_ended_is_recognised(tmp_path: Path, holder: Identity, free: bool) -> None:
    path = tmp_path / "store.lock"
    notices: list[str] = []
    taker(holder).take(path, "publish x")
    if not free:
        with pytest.raises(BusyError) as error:
            taker(notices=notices).take(path, "prune")
        assert "after 1 hours without a sign of life it is taken over" in error.value.hint
        assert notices == []
        return
    taker(notices=notices).take(path, "prune").release()
    assert ["took over from process" in notice for notice in notices] == [True]
    assert list(tmp_path.iterdir()) == []


def test_a_holder_elsewhere_counts_as_gone_without_a_sign_of_life(tmp_path: Path) -> None:
    path = tmp_path / "store.lock"
    elsewhere = replace(ME, host="elsewhere")
    lease = taker(elsewhere).take(path, "prune")
    os.utime(path, (0, 0))
    lease.refresh()
    with pytest.raises(BusyError):
        taker().take(path, "publish")
    os.utime(path, (0, 0))
    mine = taker().take(path, "publish")
    # The one that was only slow finds out before it changes anything more.
    with pytest.raises(BusyError, match="was taken over by process"):
        lease.check()
    lease.release()
    mine.check()


def test_a_file_that_no_lease_wrote_is_not_overrun(tmp_path: Path) -> None:
    path = tmp_path / "store.lock"
    path.write_text("half a")
    with pytest.raises(BusyError, match="an unknown machine"):
        taker().take(path, "publish")
    os.utime(path, (0, 0))
    taker().take(path, "publish").release()


def test_killed_at_every_step_of_taking_over(tmp_path: Path) -> None:
    path = tmp_path / "store.lock"
    reached = 0
    for at in range(1, 30):
        for old in tmp_path.iterdir():
            old.unlink()
        taker(DEAD).take(path, "publish")
        door = FaultyDoor(at=at)
        try:
            taker(replace(DEAD, started=2), door=door).take(path, "prune").release()
        except Killed:
            reached += 1
        taker().take(path, "publish").release()
        assert not path.exists()
    assert reached >= 10


def test_of_many_takers_one_holds_at_a_time(tmp_path: Path) -> None:
    """Processes that start from a dead holder's lock count in turn; a lost update would show two at once."""
    path, count = tmp_path / "store.lock", tmp_path / "count"
    count.write_text("0")
    taker(DEAD).take(path, "publish")
    children = []
    for _ in range(6):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                mine = taker(Identity.of_this_process())
                for _ in range(20):
                    with mine.held(path, "counting", wait=60):
                        count.write_text(str(int(count.read_text()) + 1))
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 6
    assert count.read_text() == "120"
    assert read_holder(path) is None


def test_what_a_lease_says(tmp_path: Path) -> None:
    lease: Lease = taker().take(tmp_path / "store.lock", "publish x")
    said = json.loads((tmp_path / "store.lock").read_text())
    assert said["identity"]["pid"] == os.getpid()
    assert said["purpose"] == "publish x"
    assert read_holder(tmp_path / "store.lock") == lease.holder
