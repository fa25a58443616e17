"""The real history of analysis3, and the real spec broken in known ways: the promises of `lock`."""

import datetime as dt
import json
import lzma
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import yaml
from brokenspecs import Broken, corpus
from gallery import GALLERY, refreshed, unsolvable
from lockkit import broken_rules, moved, real_lock, spec_of
from realdata import CONFIG, RealData

from conda_concept.changes import diff
from conda_concept.errors import ConcError, IntegrityError, NetworkError, SolveTimeoutError
from conda_concept.explain import ExplainedError
from conda_concept.lockcheck import check_lock
from conda_concept.lockfile import digest, dumps, loads
from conda_concept.locking import Solved, Wish, solve
from conda_concept.model import CHANNEL_ALIAS, Lock, Spec
from conda_concept.progress import Reporter
from conda_concept.render.diff import Heading, comment
from conda_concept.repository import Repository
from conda_concept.solver import Settings, virtual_packages
from conda_concept.steps.diff import diff as diff_step
from conda_concept.steps.import_ import Wanted, import_
from conda_concept.steps.lock import Files, lock
from conda_concept.steps.why import why_not

ROOT = Path(__file__).resolve().parents[2]
QUIET = Reporter(StringIO(), quiet=True)
PANGEO = ROOT / "tests" / "data" / "pangeo"


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> RealData:
    """The real channels and history, unpacked."""
    return RealData.unpack(tmp_path_factory.mktemp("real") / "analysis3")


@pytest.fixture
def own_data(data: RealData, tmp_path: Path) -> RealData:
    """A copy that a test may change."""
    shutil.copytree(data.folder / "channels", tmp_path / "own" / "channels")
    shutil.copytree(data.folder / "history", tmp_path / "own" / "history")
    return RealData(tmp_path / "own")


def relock(data: RealData, spec: Spec, start: Lock | None, wish: Wish | None = None, **settings: object) -> Solved:
    return solve(spec, start, wish or Wish(), Settings(channel_alias=data.alias, **settings), QUIET)  # type: ignore[arg-type] # tests know the fields


def step(data: RealData, number: int) -> tuple[Spec, Lock]:
    """Spec and real lock of a step of the history."""
    found = next(step for step in data.steps if step.name.startswith(f"{number:02}-"))
    return spec_of(found.environment), real_lock(data, found)


def test_the_replay_moves_no_more_than_really_moved_and_491_in_all(data: RealData) -> None:
    total = really = 0
    for before, after in zip(data.steps, data.steps[1:], strict=False):
        spec, start = spec_of(after.environment), real_lock(data, before)
        new = relock(data, spec, start).lock
        count, real = moved(start, new), moved(start, real_lock(data, after))
        assert count <= real, after.name
        assert broken_rules(spec, new) == [], after.name
        total, really = total + count, really + real
    assert total <= 491
    assert really == 917


def test_asking_for_zarr_moves_zarr_alone(data: RealData) -> None:
    spec, start = step(data, 16)
    assert relock(data, spec, start).unchanged
    found = next(s for s in data.steps if s.name.startswith("16-")).environment
    line = next(line for line in found.splitlines() if line.startswith("- zarr"))
    asked = spec_of(found.replace(f"{line}\n", "- zarr >=3.2.0\n"))
    new = relock(data, asked, start).lock
    changes = diff(start, new, asked, "linux-64").changes
    assert [(change.name, change.kind, change.demanded) for change in changes] == [("zarr", "upgrade", True)]


def test_a_satisfied_request_changes_nothing(data: RealData) -> None:
    found = data.steps[-1].environment
    _, start = step(data, 26)
    again = relock(data, spec_of(found + "- zstandard\n- libzlib >=1.3\n"), start)
    assert again.unchanged
    assert digest(again.lock, "linux-64") == digest(start, "linux-64")


def test_refresh_and_update_move_what_they_say(data: RealData) -> None:
    spec, start = step(data, 10)
    fresh = relock(data, spec, start, Wish(refresh=True)).lock
    assert moved(start, fresh) > 100
    assert broken_rules(spec, fresh) == []
    one = relock(data, spec, start, Wish(update=("ruff",)))
    changes = diff(start, one.lock, spec, "linux-64").changes
    assert [(change.name, change.kind) for change in changes] == [("ruff", "upgrade")]


def test_a_dropped_request_takes_what_nobody_else_needs(data: RealData) -> None:
    _, start = step(data, 26)
    less = spec_of(data.steps[-1].environment.replace("- yamllint ==1.35.1\n", ""))
    changes = diff(start, relock(data, less, start).lock, less, "linux-64").changes
    assert "yamllint" in {change.name for change in changes}
    assert {change.kind for change in changes} == {"removed"}


def edit(data: RealData, path: str, change: dict[str, object] | None) -> None:
    """Change a record of the channels, or take it out."""
    channel, subdir, name = path.split("/")
    file = data.folder / "channels" / channel / subdir / "repodata.json"
    repodata = json.loads(file.read_text())
    kind = "packages.conda" if name.endswith(".conda") else "packages"
    if change is None:
        broken = data.folder / "channels" / channel / "label" / "broken" / subdir / "repodata.json"
        broken.parent.mkdir(parents=True, exist_ok=True)
        (broken.parents[1] / "noarch").mkdir(exist_ok=True)
        record = repodata[kind].pop(name)
        gone = {"info": {"subdir": subdir}, "packages": {}, "packages.conda": {}, "repodata_version": 1}
        gone[kind] = {name: record}
        broken.write_text(json.dumps(gone))
        if subdir != "noarch":
            (broken.parents[1] / "noarch" / "repodata.json").write_text('{"packages": {}, "packages.conda": {}}')
    else:
        repodata[kind][name].update(change)
    file.write_text(json.dumps(repodata))


def test_records_that_are_gone_or_broken_are_replaced_and_named(own_data: RealData) -> None:
    spec, start = step(own_data, 26)
    plotly = next(path for path in own_data.steps[-1].packages if "/plotly-6.6" in path)
    edit(own_data, plotly, None)
    found = relock(own_data, spec, start)
    assert [note for note in found.notes if "plotly-6.6" in note and "marked broken in conda-forge" in note]
    assert [(c.name, c.kind) for c in diff(start, found.lock, spec, "linux-64").changes] == [("plotly", "downgrade")]
    shutil.rmtree(own_data.folder / "channels" / "conda-forge" / "label")
    assert [note for note in relock(own_data, spec, start).notes if "is no longer in conda-forge" in note]


def test_a_broken_package_comes_back_only_by_name(own_data: RealData) -> None:
    spec, _ = step(own_data, 26)
    plotly = next(path for path in own_data.steps[-1].packages if "/plotly-6.6" in path)
    edit(own_data, plotly, None)
    allowed = spec.config.model_copy(update={"allow_broken": ("plotly",)})
    found = relock(own_data, replace(spec, config=allowed), None).lock
    assert next(p for p in found.packages if p.name == "plotly").channel == "conda-forge/label/broken"
    assert check_lock(found, replace(spec, config=allowed), "linux-64", virtual_packages(spec, "linux-64")) == []
    assert any("label/broken" in p for p in check_lock(found, spec, "linux-64", virtual_packages(spec, "linux-64")))


def test_other_bytes_below_a_locked_name_are_reported(own_data: RealData) -> None:
    spec, start = step(own_data, 26)
    path = next(path for path in own_data.steps[-1].packages if "/plotly-6.6" in path)
    edit(own_data, path, {"sha256": "f" * 64})
    found = relock(own_data, spec, start)
    assert any("plotly-6.6.0" in note and "other bytes" in note for note in found.notes)
    assert not found.unchanged


def test_a_delay_keeps_new_uploads_out_but_for_exceptions(data: RealData) -> None:
    now = dt.datetime.fromtimestamp(1782788860.785, tz=dt.UTC) + dt.timedelta(days=1)  # a day after access-intake-esm
    text = data.steps[-1].environment
    for name in ("access-intake-esm ==2026.7.1", "intake-virtual-icechunk ==0.2.2"):
        text = text.replace(f"accessnri::{name}", f"accessnri::{name.split()[0]}")
    strict = spec_of(text, CONFIG + "exclude_newer: {days: 7}\n")
    versions = {p.name: p for p in relock(data, strict, None, now=now).lock.packages}
    assert versions["access-intake-esm"].version == "2026.4.19"
    limit = (now - dt.timedelta(days=7)).timestamp() * 1000
    assert all(p.timestamp is None or p.timestamp <= limit for p in versions.values())
    for exception in ("except_channels: [accessnri]", "except_packages: [access-intake-esm]"):
        free = spec_of(text, CONFIG + f"exclude_newer: {{days: 7, {exception}}}\n")
        found = {p.name: p.version for p in relock(data, free, None, now=now).lock.packages}
        assert found["access-intake-esm"] == "2026.7.1"


@pytest.mark.parametrize("broken", tuple(corpus()), ids=lambda broken: broken.name)
def test_every_broken_spec_is_explained_by_its_cause(data: RealData, broken: Broken) -> None:
    environment, config = broken.apply(data.steps[-1].environment)
    with pytest.raises(ConcError) as caught:
        relock(data, spec_of(environment, config), None)
    message = str(caught.value)
    assert [word for word in broken.expected if word not in message] == [], message
    assert caught.value.exit_code in (2, 3)


def test_the_machine_without_cuda_12_4_is_explained(data: RealData) -> None:
    with pytest.raises(ExplainedError) as caught:
        relock(data, spec_of(data.steps[-1].environment, CONFIG.replace('"12.9"', '"12"')), None)
    assert caught.value.explanation.cause == (
        "`av` 15.1.0 needs `ffmpeg >=7.1.1,<8.0a0`, of which 7.1.1 wants `__cuda >=12.4`; config.yml says `__cuda 12`."
    )
    assert caught.value.explanation.remedies[0].startswith('set `__cuda: "12.4"` in config.yml')
    assert "which conflicts with" in caught.value.solver_text


def test_a_solve_ends_when_its_time_is_over(data: RealData) -> None:
    with pytest.raises(SolveTimeoutError, match="within 1e-06 seconds"):
        relock(data, spec_of(data.steps[-1].environment), None, time_limit=0.000001)


def test_a_damaged_package_list_and_a_dead_network_are_told_apart(own_data: RealData) -> None:
    spec = spec_of(own_data.steps[-1].environment)
    (own_data.folder / "channels" / "accessnri" / "noarch" / "repodata.json").write_text('{"packages": {"x": ')
    with pytest.raises(IntegrityError, match="damaged"):
        relock(own_data, spec, None)
    with pytest.raises(NetworkError, match="could not be reached"):
        solve(spec, None, Wish(), Settings(channel_alias="http://127.0.0.1:9"), QUIET)


def test_a_lock_names_channels_by_their_canonical_address_and_reads_as_it_was_written(data: RealData) -> None:
    spec, start = step(data, 26)
    new = relock(data, spec, start).lock
    assert all(package.url.startswith(f"{CHANNEL_ALIAS}/") for package in new.packages)
    assert loads(dumps(new)) == new
    assert all(package.sha256 and package.size and package.build for package in new.packages)
    assert check_lock(new, spec, "linux-64", virtual_packages(spec, "linux-64")) == []


def test_the_committed_lock_is_what_lock_makes_of_the_committed_spec(data: RealData, tmp_path: Path) -> None:
    out = tmp_path / "conda-lock.yml"
    done = lock(Repository(ROOT), "analysis3", Files(out=out), Wish(), Settings(channel_alias=data.alias), QUIET)
    assert done.solved.unchanged
    assert len(done.spec.requests) == 313
    assert len(done.solved.lock.packages) == 1443
    assert out.read_text() == (ROOT / "environments" / "analysis3" / "conda-lock.yml").read_text()


def test_conda_lock_itself_reads_and_renders_the_committed_lock(tmp_path: Path) -> None:
    shutil.copy(ROOT / "environments" / "analysis3" / "conda-lock.yml", tmp_path)
    command = [sys.executable, "-m", "conda_lock", "render", "--kind", "explicit", "--platform", "linux-64"]
    subprocess.run([*command, "conda-lock.yml"], cwd=tmp_path, check=True, capture_output=True)
    lines = (tmp_path / "conda-linux-64.lock").read_text().splitlines()
    assert sum(line.startswith(f"{CHANNEL_ALIAS}/") for line in lines) == 1443


def pangeo(name: str, folder: Path) -> Path:
    file = folder / f"{name}.yml"
    file.write_bytes(lzma.decompress((PANGEO / f"{name}.conda-lock.yml.xz").read_bytes()))
    return file


def test_locks_of_another_tool_survive_and_can_be_compared(tmp_path: Path) -> None:
    files = [pangeo(name, tmp_path) for name in ("base-notebook", "base-notebook-later")]
    for file in files:
        text = file.read_text()
        again = dumps(loads(text))
        assert yaml.safe_load(again) == yaml.safe_load(text)
    diffs = diff_step(files[0], files[1], None, None)
    assert [found.platform for found in diffs] == ["linux-64", "linux-aarch64", "osx-64", "osx-arm64"]
    assert all(found.changes for found in diffs)
    assert len(comment(Heading("base-notebook"), diffs)) <= 60_000


def test_a_diff_between_two_steps_fits_a_comment(data: RealData) -> None:
    _, old = step(data, 2)
    spec, new = step(data, 26)
    found = diff(old, new, spec, "linux-64")
    assert len(found.changes) > 300
    shown = comment(Heading("analysis3-26.06"), [found])
    assert len(shown) <= 60_000
    assert "**Asked for**" in shown


def test_the_gallery_shows_what_is_said_about_the_real_environment(data: RealData) -> None:
    """To the byte. Where this fails, the words of a comment have changed: run ci/gallery."""
    for name, text in (("quarterly-refresh", refreshed(data)), ("unsolvable", unsolvable(data))):
        assert (GALLERY / f"{name}.md").read_text("utf-8") == text


def test_the_largest_comment_of_the_whole_history_fits_with_nothing_important_cut(data: RealData) -> None:
    """Every step of it, as it was, and larger ones: from the months before to the end."""
    locks = [real_lock(data, one) for one in data.steps]
    spec = spec_of(data.steps[-1].environment)
    longest = 0
    for start, old in enumerate(locks):
        later = {start + 1, *([len(locks) - 1] if start % 8 == 0 else [])}
        for new in sorted(later & set(range(len(locks)))):
            found = diff(old, locks[new], spec, "linux-64")
            shown = comment(
                Heading("analysis3-26.06", links=(("run", "https://github.com/x/y/actions/runs/1"),)), [found]
            )
            longest = max(longest, len(shown))
            assert len(shown) <= 60_000
            important = [one for one in found.changes if one.demanded or one.flags]
            rows = [line for line in shown.splitlines() if line.startswith("| ")]
            for one in important:
                assert any(f"| {one.name} |" in row or f"[{one.name}]" in row for row in rows), one
    assert longest > 30_000


def test_why_not_names_who_stands_in_the_way(data: RealData) -> None:
    spec, new = step(data, 26)
    answer = why_not(new, spec, "numpy <2", "linux-64", Settings(channel_alias=data.alias))
    assert answer.candidate is not None
    assert answer.candidate.version == "1.26.4"
    assert any(text.startswith("zarr 3.2.1 needs `numpy >=2`") for text in answer.obstacles)
    assert any("`numpy >2.0` is asked for" in text for text in answer.obstacles)
    assert why_not(new, spec, "numpy >2", "linux-64", Settings(channel_alias=data.alias)).locked is not None
    assert why_not(new, spec, "numpy >99", "linux-64", Settings(channel_alias=data.alias)).candidate is None


def test_an_explicit_file_is_duplicated_exactly(data: RealData, tmp_path: Path) -> None:
    real = real_lock(data, data.steps[-1])
    explicit = tmp_path / "explicit.txt"
    explicit.write_text("@EXPLICIT\n" + "".join(f"{package.url}#{package.md5}\n" for package in real.packages))
    shutil.copytree(ROOT / "ci" / "sites", tmp_path / "ci" / "sites")
    (tmp_path / "environments").mkdir()
    settings = Settings(channel_alias=data.alias)
    repository = Repository(tmp_path)
    made = import_(repository, explicit, Wanted("copy", "26.06"), settings, QUIET)
    assert digest(made.lock, "linux-64") == digest(real, "linux-64")
    assert [note for note in made.notes if "__cuda" not in note] == []
    again = import_(repository, made.folder / "conda-lock.yml", Wanted("again", "26.06"), settings, QUIET)
    assert digest(again.lock, "linux-64") == digest(real, "linux-64")


def test_a_prefix_is_duplicated_exactly(data: RealData, tmp_path: Path) -> None:
    real = real_lock(data, data.steps[-1])
    meta = tmp_path / "prefix" / "conda-meta"
    meta.mkdir(parents=True)
    for path in data.steps[-1].packages:
        record = {**data.records[path], "url": f"{CHANNEL_ALIAS}/{path}"}
        record["requested_spec"] = "zarr >=3.2" if record["name"] == "zarr" else ""
        (meta / f"{path.rsplit('/', 1)[1]}.json").write_text(json.dumps(record))
    installer = tmp_path / "prefix" / "lib" / "python3.12" / "site-packages" / "frisky-0.1.0.dist-info" / "INSTALLER"
    installer.parent.mkdir(parents=True)
    installer.write_text("pip\n")
    (tmp_path / "environments").mkdir()
    made = import_(
        Repository(tmp_path), tmp_path / "prefix", Wanted("copy", "26.06"), Settings(channel_alias=data.alias), QUIET
    )
    assert digest(made.lock, "linux-64") == digest(real, "linux-64")
    assert [request.text for request in made.spec.requests] == ["zarr >=3.2"]
    assert any("frisky==0.1.0" in note for note in made.notes)


def test_the_whole_history_as_one_quarter_can_be_read(data: RealData) -> None:
    """From the second step to the last: 690 packages of 1,443 move, and each stands in one place."""
    (spec, new), (_, old) = step(data, 26), step(data, 2)
    moved = [one for one in diff(old, new, spec, "linux-64").changes if one.kind == "upgrade" and one.requested]
    names = tuple(one.name for one in moved if not one.demanded)[:3]
    spec = replace(spec, config=spec.config.model_copy(update={"key_packages": names}))
    found = diff(old, new, spec, "linux-64")
    text = comment(Heading("analysis3-26.06"), [found])
    assert len(found.changes) == 690
    assert len(text) <= 60_000
    assert len(text.split("<details>")[0].splitlines()) < 160  # what is open is read to its end
    order = [
        "92 added, 30 removed, 31 downgraded, 334 upgraded, 203 rebuilt. 1,381 → **1,443** packages",
        "| area | removed | downgraded | major | upgraded | added | rebuilt |",
        "| Geospatial |",
        "| R | 5 |",
        "**Gone, and asked for before or still used**",
        "**Asked for**",
        "**Packages that many use**",
        "**Downgraded**",
        "**Another major version or channel, and in environment.yml**",
        "<details><summary>Python itself: ",
        "<details><summary>Other libraries and programs: ",
    ]
    places = [text.find(part) for part in order]
    assert -1 not in places, [part for part, place in zip(order, places, strict=True) if place < 0]
    assert places == sorted(places)
    rows = re.findall(r"(?m)^\| [^|\s]+ \| ([^|]+) \|", text)
    shown = [re.sub(r"\[([^]]+)\]\(.*\)", r"\1", row) for row in rows if row not in ("removed", "package")]
    assert len(shown) == len(set(shown))
