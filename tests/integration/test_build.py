"""Builds: hooks, files of the host, a cache that two builds share, and a log that names what it did."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conda_concept import space
from conda_concept.document import SourceText
from conda_concept.integrating import drop_scripts
from conda_concept.localchannel import PackageSpec, index, write_package
from conda_concept.repository import Repository
from conda_concept.spec import read_spec
from conda_concept.steps.accept import Desk
from tests.support.tiny import CONFIG, ENVIRONMENT, Tiny


@pytest.fixture
def tiny(open_dir: Path, capsys: pytest.CaptureFixture[str]) -> Tiny:
    made = Tiny.make(open_dir, capsys)
    assert made.concept("lock", "tiny").code == 0
    return made


def hook(tiny: Tiny, text: str) -> None:
    tiny.write({"config.yml": CONFIG + "hooks: [mine.sh]\n"})
    folder = tiny.repository / "environments" / "tiny" / "hooks"
    folder.mkdir(exist_ok=True)
    (folder / "mine.sh").write_text(text)


def test_the_log_names_every_package_with_its_seconds(tiny: Tiny) -> None:
    tiny.write({"environment.yml": ENVIRONMENT + "  - world\n"})
    tiny.concept("lock", "tiny")
    said = tiny.concept("build", "tiny").err
    assert sorted(line.split()[1:] for line in said.splitlines() if " s  " in line) == [
        ["s", "hello", "2.0", "0"],
        ["s", "world", "1.0", "0"],
    ]


def test_a_hook_that_fails_is_named_with_what_it_said_and_leaves_nothing(tiny: Tiny) -> None:
    hook(tiny, "#!/bin/sh\necho building the lab\necho no node here >&2\nexit 4\n")
    said = tiny.concept("build", "tiny")
    assert said.code == 9
    assert "the hook mine.sh failed: `mine.sh` ended with exit code 4" in said.err
    assert "building the lab\nno node here" in said.err
    assert tiny.left() == []


def test_a_hook_may_not_change_the_record_of_packages(tiny: Tiny) -> None:
    hook(tiny, '#!/bin/sh\nrm "$CONDA_PREFIX"/conda-meta/hello-*.json\n')
    said = tiny.concept("build", "tiny")
    assert said.code == 9
    assert "the hook mine.sh changed conda-meta/hello-2.0-0.json" in said.err
    assert tiny.left() == []


def test_a_hook_sees_the_finished_prefix_and_changes_the_build(tiny: Tiny) -> None:
    plain = tiny.concept("build", "tiny", "--json").data["record"]
    hook(tiny, '#!/bin/sh\nhello >"$CONDA_PREFIX/share/said" || exit 1\n'.replace("share/", ""))
    record = tiny.concept("build", "tiny", "--json").data["record"]
    assert record["integration"]["hooks"][0]["added"] == ["said"]
    assert record["release"] != plain["release"]
    hook(tiny, "#!/bin/sh\n# another text\n")
    assert tiny.concept("build", "tiny", "--json").data["record"]["release"] != record["release"]


def test_programs_inside_find_the_hosts_commands_and_our_scripts(tiny: Tiny) -> None:
    tiny.write({"environment.yml": ENVIRONMENT + "  - world\n"})
    tiny.concept("lock", "tiny")
    tiny.write({"config.yml": CONFIG + "host_commands: [hello, qsub]\noverrides: {world: mine.sh, new: mine.sh}\n"})
    tiny.write({"mine.sh": "#!/bin/sh\necho mine\n"})
    record = tiny.concept("build", "tiny", "--json").data["record"]
    assert record["integration"]["removed"] == [["hello", ["bin/hello"]]]
    tree = tiny.root / "looked-at"
    subprocess.run(["unsquashfs", "-q", "-n", "-d", tree, Path(record["prefix"]) / "image.sqsh"], check=True)
    inside = {path.name: path.read_text() for path in (tree / "bin").iterdir()}
    assert inside.keys() == {"activate", "new", "world"}
    assert inside["new"] == inside["world"] == "#!/bin/sh\necho mine\n"
    outside = Path(record["prefix"]) / "bin"
    assert {path.name: path.read_text() for path in outside.iterdir()} == inside
    own = {name: json.loads((tree / f"conda-meta/{name}-0.json").read_text()) for name in ("hello-2.0", "world-1.0")}
    assert "bin/hello" not in own["hello-2.0"]["files"]
    assert {"_path": "bin/world", "path_type": "softlink"} in own["world-1.0"]["paths_data"]["paths"]


def test_a_command_of_the_host_that_a_wheel_brings_goes_as_well(tmp_path: Path) -> None:
    folder = tmp_path / "lib/python3.11/site-packages/x-1.dist-info"
    folder.mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    for name in ("qsub", "other"):
        (tmp_path / "bin" / name).write_text("")
    lines = ["x/__init__.py,sha256=a,1", "../../../bin/other,,", '"a,b.py",,']
    (folder / "RECORD").write_text("\n".join([*lines, "../../../bin/qsub,sha256=b,2", ""]))
    drop_scripts(tmp_path, ["qsub", "absent"])
    assert [path.name for path in (tmp_path / "bin").iterdir()] == ["other"]
    assert (folder / "RECORD").read_text().splitlines() == lines


def test_hooks_that_are_not_there_are_all_told(tiny: Tiny) -> None:
    hook(tiny, "no script\n")
    tiny.write({"config.yml": CONFIG + "hooks: [mine.sh, other.sh]\noverrides: {hello: absent.sh}\n"})
    for words in (["check"], ["build", "tiny"]):
        said = tiny.concept(*words)
        assert said.code == 2
        if words == ["check"]:
            assert "overrides: hello: there is no file `absent.sh`" in said.err
            assert "hooks: mine.sh: `hooks/mine.sh` is no script" in said.err
            assert "hooks: other.sh: there is no file `hooks/other.sh`" in said.err
    assert tiny.left() == []


def test_a_maintainer_looks_at_new_hooks_and_new_places_of_the_host(tiny: Tiny) -> None:
    """They are data of a pull request; what they name is main's or the host's."""
    desk = Desk(hub=None, main=Repository(tiny.repository))  # type: ignore[arg-type]  # nothing is asked of GitHub
    replaced = 'replace: {hello: {root: /apps/x, files: [{path: bin/*, to: "{path}"}]}}\n'
    asked = read_spec("tiny", SourceText("e", ENVIRONMENT), SourceText("c", CONFIG + "hooks: [mine.sh]\n" + replaced))
    assert desk._widened(asked) == ("hook mine.sh", "files of the host below /apps/x")


def test_a_file_of_the_host_that_is_not_there_is_said_and_refused_where_the_site_wants_it(tiny: Tiny) -> None:
    site = tiny.repository / "ci/sites/here.yml"
    site.write_text(site.read_text() + f"host_software: {{greeter: {tiny.root}/apps}}\n")
    site.write_text(site.read_text().replace("binds: [", f"binds: [{tiny.root}/apps, "))
    replaced = 'replace: {hello: {root: "{greeter}", files: [{path: bin/*, to: "{path}"}]}}\n'
    tiny.write({"config.yml": CONFIG + replaced})
    said = tiny.concept("build", "tiny")
    assert said.code == 0
    assert f"bin/hello of hello -> {tiny.root}/apps/bin/hello" in said.err
    site.write_text(site.read_text() + "host_files_required: true\n")
    strict = tiny.concept("build", "tiny")
    assert strict.code == 9
    assert "1 file(s) of the host that this release links to are not on this machine" in strict.err
    prefix = Path(said.out.strip())
    absent = subprocess.run([prefix / "bin" / "hello"], capture_output=True, text=True, check=False)
    assert absent.returncode == 127
    assert "hello is the host's own program, which is not here" in absent.stderr
    program = tiny.root / "apps" / "bin" / "hello"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "the host says $*"\n')
    program.chmod(0o755)
    assert (
        subprocess.run([prefix / "bin/hello", "a b"], capture_output=True, check=True).stdout == b"the host says a b\n"
    )
    assert json.loads((prefix / "release.json").read_text())["integration"]["replaced"][0]["path"] == "bin/hello"


def test_an_archive_that_is_no_package_is_named(tiny: Tiny) -> None:
    """As the lock has it, so no digest tells: a channel's mistake."""
    archive = next(tiny.channel.glob("linux-64/hello-2.0-*.conda"))
    before, size = hashlib.sha256(archive.read_bytes()).hexdigest(), archive.stat().st_size
    archive.write_bytes(b"?" * size)
    lock = tiny.repository / "environments/tiny/conda-lock.yml"
    lock.write_text(lock.read_text().replace(before, hashlib.sha256(archive.read_bytes()).hexdigest()))
    said = tiny.concept("build", "tiny")
    assert said.code == 5
    assert "hello-2.0-0.conda has the bytes that the lock says, but is no conda package" in said.err
    assert tiny.left() == []


@pytest.mark.parametrize("words", [(), ("--download-only",)])
@pytest.mark.parametrize(("left", "lacks"), [((1000, None), "0.0 GB free"), ((10**12, 12), "12 left, 400 are needed")])
def test_space_and_inodes_are_asked_for_before_anything_is_fetched(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], left: tuple[int, int | None], lacks: str
) -> None:
    real = space.free
    monkeypatch.setattr(space, "free", lambda folder: left if folder.name == "cache" else real(folder))
    said = tiny.concept("build", "tiny", *words)
    assert said.code == 8
    assert f"{tiny.root}/cache has {lacks}" in said.err
    assert not (tiny.root / "cache" / "archives").exists()
    assert tiny.left() == []


def test_scratch_is_asked_for_inodes(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    real = space.free
    monkeypatch.setattr(space, "free", lambda folder: (10**12, 12) if folder.name == "scratch" else real(folder))
    said = tiny.concept("build", "tiny")
    assert said.code == 8
    assert "Not enough inodes to build tiny-26.11/" in said.err
    assert f"{tiny.root}/scratch has 12 left, 400 are needed" in said.err


def test_builds_at_once_share_a_cache_that_is_still_empty(tiny: Tiny) -> None:
    """Each is a process of its own, as two runners would be; both have everything to fetch and to unpack."""
    files = {f"share/big/file{number}": os.urandom(2000) for number in range(300)}
    for number in range(6):
        write_package(
            tiny.channel,
            PackageSpec(
                f"big{number}",
                "1.0",
                subdir="linux-64",
                files={path.replace("big", f"big{number}"): data for path, data in files.items()},
            ),
        )
    index(tiny.channel)
    wanted = "".join(f"  - big{number}\n" for number in range(6))
    sites = tiny.repository / "ci" / "sites"
    processes = []
    tiny.write({"environment.yml": ENVIRONMENT + wanted})
    assert tiny.concept("lock", "tiny").code == 0
    for name in ("one", "two", "three"):
        text = (sites / "here.yml").read_text().replace("/store", f"/{name}")
        (sites / f"{name}.yml").write_text(text)
        words = ["build", "tiny", "--site", name, "--repository", str(tiny.repository), "--json"]
        environ = {**os.environ, **tiny.environ}
        argv = [sys.executable, "-m", "conda_concept", *words]
        processes.append(subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    for process in processes:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        record = json.loads(out)["record"]
        assert record["image"]["files"] > 1800
    assert not list(tiny.root.glob("cache/**/*.part"))
