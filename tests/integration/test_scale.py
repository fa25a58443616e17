"""The benchmark of full size, at a tiny one: its channel is the same twice, adds up, and goes the whole path."""

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from realdata import RealData
from scale_channel import Made, make_channel
from scale_latency import slow
from scale_path import World, apart, unmounted
from scale_plan import FILES, PACKAGES, Interpreter, make_plan, shares
from scale_plot import svg

TINY = 0.002


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    # A prefix in scripts' first lines: pytest's own folders are too long for that.
    path = Path(tempfile.mkdtemp(prefix="cc-"))
    path.chmod(0o755)
    yield path
    unmounted(path)
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def data(folder: Path) -> RealData:
    return RealData.unpack(folder / "data")


@pytest.fixture(scope="module")
def made(folder: Path, data: RealData) -> Made:
    return apart(make_channel, folder / "channels", data, TINY, 2)


def digests(made: Made) -> dict[str, str]:
    found = sorted(path for path in made.channel.rglob("*") if path.is_file())
    return {str(path.relative_to(made.channel)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_the_channel_is_the_same_every_time(folder: Path, data: RealData, made: Made) -> None:
    again = apart(make_channel, folder / "again", data, TINY, 1)
    assert digests(again) == digests(made)
    assert again.plan == made.plan


@pytest.mark.parametrize("fraction", [0.01, 0.1, 1, 2])
def test_every_size_adds_up(data: RealData, fraction: float) -> None:
    plan = make_plan(data, fraction, Interpreter("3.11", 1800, 700, 60_000_000, 12_000_000))
    assert plan.files == round(FILES * fraction)
    assert plan.size == pytest.approx(10e9 * fraction, rel=0.001)
    assert len(plan.packages) + 2 == pytest.approx(PACKAGES * fraction, abs=2)
    names = set(plan.by_name)
    assert all(name in names for package in plan.packages for name in package.needs)
    assert min(package.others for package in plan.packages) >= 5


def test_everything_is_reached_by_what_is_asked_for(data: RealData) -> None:
    plan = make_plan(data, 1, Interpreter("3.11", 1800, 700, 60_000_000, 12_000_000))
    packages, todo, reached = plan.by_name, list(plan.requests), set[str]()
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += packages[name].needs
    assert reached == set(packages)


def test_shares_add_up() -> None:
    assert sum(shares([3.0, 1.0, 0.0, 2.5], 1000, least=7)) == 1000
    assert shares([1.0, 0.0], 10, least=1) == [10, 0]


def test_the_whole_path(folder: Path, made: Made) -> None:
    world = World(folder, made)
    world.set_up()
    first = world.candidate()
    assert first.failures == ()
    assert first.files == made.plan.files
    assert [step.name.split()[0] for step in first.steps][-5:] == ["squash", "join", "stage", "clean", "test"]
    changed = world.candidate(*made.changed[:1])
    assert changed.failures == ()
    assert changed.release != first.release
    assert world.publish(first.release)[0].name == "publish"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
def test_what_lies_behind_latency_is_what_lies_there(tmp_path: Path) -> None:
    shutil.copytree(Path(sys.modules["json"].__file__ or "").parent, tmp_path / "a" / "json")
    (tmp_path / "a" / "link").symlink_to("json")
    (tmp_path / "a" / "large").write_bytes(os.urandom(3_000_000))
    before = {str(path): path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    with slow(tmp_path, 0.1) as counts:
        assert {str(path): path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()} == before
        assert (tmp_path / "a" / "link").readlink() == Path("json")
        with pytest.raises(FileNotFoundError):
            (tmp_path / "nothing").read_bytes()
        with pytest.raises(OSError, match="Read-only"):
            (tmp_path / "new").write_text("x")
    assert counts["open"] == len(before)
    assert counts["bytes"] == sum(map(len, before.values()))
    (tmp_path / "new").write_text("x")


def test_a_plot_has_every_series() -> None:
    drawn = svg({"one": [(1, 0.5), (100, 60.0)], "two & three": [(1, 0.0), (100, 2.0)]}, "Title", "size", "seconds")
    assert drawn.count("<polyline") == 2
    assert "two &amp; three" in drawn
