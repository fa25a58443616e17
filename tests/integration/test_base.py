"""The container's base: made from the site file, anew only when that changes, readable, and pruned when unused."""

import grp
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from conda_concept.document import SourceText
from conda_concept.errors import InputError
from conda_concept.runtime import base_image, base_name, ensure_base
from conda_concept.site import read_site
from tests.support.release import make_site
from tests.support.tiny import Tiny


@pytest.fixture
def tight_umask() -> Iterator[None]:
    """What some accounts have in their profile."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def bases(tiny: Tiny) -> list[str]:
    return sorted(path.name for path in (tiny.store / "apps/conda_concept/runtime").iterdir())


def bind_more(tiny: Tiny, folder: str) -> None:
    path = tiny.repository / "ci/sites/here.yml"
    path.write_text(path.read_text("utf-8").replace("/tmp]", f"/tmp, {folder}]"), "utf-8")


def build(tiny: Tiny) -> str:
    done = tiny.concept("build", "tiny", "--json")
    assert done.code == 0, done.err
    return str(done.data["record"]["prefix"])


def prune_at_once(tiny: Tiny) -> None:
    path = tiny.repository / "ci/sites/here.yml"
    path.write_text(f"{path.read_text('utf-8')}retention: {{candidate_days: 0}}\n", "utf-8")


def test_everybody_can_read_it_whatever_the_accounts_umask(
    open_dir: Path, capsys: pytest.CaptureFixture[str], tight_umask: None
) -> None:
    del tight_umask
    tiny = Tiny.make(open_dir, capsys)
    tiny.concept("lock", "tiny")
    build(tiny)
    runtime = tiny.store / "apps/conda_concept/runtime"
    for path in (runtime, *runtime.rglob("*")):
        wanted = 0o5 if path.is_dir() else 0o4
        assert path.is_symlink() or path.stat().st_mode & wanted == wanted, path


def test_it_is_the_users_groups_where_the_site_has_one(open_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if os.geteuid() != 0:
        pytest.fail("files can be given to another group by root only", pytrace=False)
    tiny = Tiny.make(open_dir, capsys)
    site = tiny.repository / "ci/sites/here.yml"
    site.write_text(f"{site.read_text('utf-8')}groups: {{users: daemon, owners: games}}\n", "utf-8")
    tiny.concept("lock", "tiny")
    build(tiny)
    runtime = tiny.store / "apps/conda_concept/runtime"
    for path in (runtime, *runtime.rglob("*")):
        assert path.lstat().st_gid == grp.getgrnam("daemon").gr_gid, path
        assert path.is_symlink() or path.stat().st_mode & 0o007 == 0, path


def test_it_is_made_anew_only_when_the_site_file_says_so(open_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = Tiny.make(open_dir, capsys)
    tiny.concept("lock", "tiny")
    build(tiny)
    (first,) = bases(tiny)
    inode = (tiny.store / "apps/conda_concept/runtime" / first).stat().st_ino
    tiny.write({"config.yml": 'version: "26.11"\ndescription: another build\n'})
    build(tiny)
    assert bases(tiny) == [first]
    assert (tiny.store / "apps/conda_concept/runtime" / first).stat().st_ino == inode
    bind_more(tiny, "/srv")
    build(tiny)
    assert len(bases(tiny)) == 2


def test_prune_takes_a_base_with_the_last_release_that_names_it(
    open_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = Tiny.make(open_dir, capsys)
    tiny.concept("lock", "tiny")
    old = build(tiny)
    (first,) = bases(tiny)
    bind_more(tiny, "/srv")
    new = build(tiny)
    assert tiny.concept("prune").code == 0
    assert len(bases(tiny)) == 2
    for prefix in (new, old):
        assert sum(name in Path(prefix, "launcher").read_text("utf-8") for name in bases(tiny)) == 1
    Path(new, "keep").touch()
    prune_at_once(tiny)
    planned = tiny.concept("prune", "--dry-run")
    assert f"remove the container base {first}, which no release uses" in planned.out
    assert len(bases(tiny)) == 2
    assert tiny.concept("prune").code == 0
    assert not Path(old).exists()
    assert [name == first for name in bases(tiny)] == [False]
    assert bases(tiny)[0] in Path(new, "launcher").read_text("utf-8")


def test_prune_keeps_what_the_site_file_asks_for_now_and_takes_what_a_kill_left(
    open_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = Tiny.make(open_dir, capsys)
    tiny.concept("lock", "tiny")
    build(tiny)
    (first,) = bases(tiny)
    runtime = tiny.store / "apps/conda_concept/runtime"
    for name, age in ((".base-000000000000.x1", 7200), (".base-000000000000.x2", 0), (".base-111111111111.gone", 0)):
        (runtime / name / "etc").mkdir(parents=True)
        os.utime(runtime / name, (0, runtime.stat().st_mtime - age))
    prune_at_once(tiny)
    assert tiny.concept("prune").code == 0
    assert bases(tiny) == [".base-000000000000.x2", first]


def test_the_base_has_the_sites_own_links(tmp_path: Path) -> None:
    links = {"/images": "half-root/images", "/opt/pbs": "../half-root/opt/pbs", "/var/old": "../half-root/var"}
    site = make_site(tmp_path, binds=("/etc", "/half-root", "/usr"), links=links)
    base = ensure_base(site, tmp_path / "runtime")
    assert (base / "images").readlink() == Path("half-root/images")
    assert (base / "opt/pbs").readlink() == Path("../half-root/opt/pbs")
    assert (base / "var/old").readlink() == Path("../half-root/var")
    assert (base / "half-root").is_dir()
    assert re.fullmatch(r"base-[0-9a-f]{12}", base.name)
    assert base.name == base_name(base_image(site)) != base_name(base_image(make_site(tmp_path)))
    assert [path.name for path in (tmp_path / "runtime").iterdir()] == [base.name]


def test_links_that_cannot_be_are_all_said() -> None:
    text = (
        "name: x\nroot: /r\nscratch: /s\ncache: /c\nbinds: [/etc, /opt/singularity]\n"
        "links:\n  /etc: half-root/etc\n  /opt: half-root/opt\n  images: half-root/images\n  /a/../b: c\n"
    )
    with pytest.raises(InputError) as caught:
        read_site(SourceText("ci/sites/x.yml", text), {})
    assert [problem.split(": ", 1)[0] for problem in caught.value.problems] == [
        f"ci/sites/x.yml:{line}" for line in (7, 8, 9, 10)
    ]
    said = " ".join(caught.value.problems)
    for words in ("/etc is a bind already", "/opt/singularity is below /opt", "'images' has to be an absolute path"):
        assert words in said
