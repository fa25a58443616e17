"""Everything that goes wrong on the way to a candidate: one clear sentence, its exit code, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from conda_concept import cli
from conda_concept.errors import EXIT_CODES
from conda_concept.run import run
from tests.support.tiny import CONFIG, ENVIRONMENT, Tiny, replace_bytes
from tests.support.user import OrdinaryUser


@pytest.fixture
def tiny(open_dir: Path, capsys: pytest.CaptureFixture[str]) -> Tiny:
    return Tiny.make(open_dir, capsys)


def archive(tiny: Tiny, name: str) -> Path:
    return next(tiny.channel.glob(f"linux-64/{name}.conda"))


def test_the_path_without_a_failure_leaves_one_candidate_and_no_scratch(tiny: Tiny) -> None:
    assert tiny.concept("lock", "tiny").code == 0
    built = tiny.concept("build", "tiny")
    assert built.code == 0, built.err
    prefix = Path(built.out.strip())
    assert tiny.left() == [str(prefix.relative_to(tiny.root))]
    assert sorted(path.name for path in prefix.iterdir()) == [
        *("bin", "conda-lock.yml", "conda-meta", "declared.json", "etc", "image.sqsh", "launcher", "modulefile"),
        "release.json",
    ]
    again = tiny.concept("build", "tiny", "--json")
    assert again.data["already"] is True
    assert "nothing to build" in again.err


def test_two_builds_of_one_lock_are_the_same_bytes(tiny: Tiny, tmp_path: Path) -> None:
    tiny.concept("lock", "tiny")
    first = tiny.concept("build", "tiny", "--json").data["record"]
    run(["rm", "-rf", tiny.store])
    site = tiny.repository / "ci" / "sites" / "here.yml"
    other = tmp_path / "another" / "place"
    site.write_text(site.read_text().replace(f"{tiny.root}/scratch", str(other)).replace("/cache", "/second-cache"))
    second = tiny.concept("build", "tiny", "--json").data["record"]
    assert first["prefix"] == second["prefix"]
    assert first["image"]["sha256"] == second["image"]["sha256"]


def test_bad_files_are_all_told_at_once_with_exit_code_2(tiny: Tiny) -> None:
    tiny.write({"environment.yml": ENVIRONMENT.replace("conda-forge", "evil"), "config.yml": CONFIG + "verison: 1\n"})
    for command in (["check"], ["lock", "tiny"], ["build", "tiny"], ["try", "tiny"]):
        said = tiny.concept(*command)
        assert said.code == 2
        assert "environments/tiny/config.yml:3: unknown key `verison`; did you mean `version`?" in said.err
        assert "environments/tiny/environment.yml:3: channel `evil` is not allowed here" in said.err
        assert tiny.left() == []


def test_an_override_stands_for_its_command_and_changes_the_build(tiny: Tiny) -> None:
    tiny.concept("lock", "tiny")
    plain = tiny.concept("build", "tiny", "--json").data["record"]
    tiny.write({"config.yml": CONFIG + "overrides: {hello: mine.sh, other: ../x, third: no.sh, fourth: text}\n"})
    tiny.write({"mine.sh": "#!/bin/sh\necho mine\n", "text": "no script\n"})
    said = tiny.concept("check", "tiny")
    assert said.code == 2
    for problem in ("other: `../x` has to be the name", "third: there is no file", "fourth: `text` is no script"):
        assert problem in said.err
    tiny.write({"config.yml": CONFIG + "overrides: {hello: mine.sh}\n"})
    other = tiny.concept("build", "tiny", "--json").data["record"]
    assert other["release"]["build_id"] != plain["release"]["build_id"]
    assert run([f"{other['prefix']}/bin/hello"]).stdout == "mine\n"


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "chmod"])
def test_a_release_with_a_damaged_image_never_starts(tiny: Tiny, ordinary_user: OrdinaryUser, damage: str) -> None:
    tiny.concept("lock", "tiny")
    prefix = Path(tiny.concept("build", "tiny").out.strip())
    image = prefix / "image.sqsh"
    hello = [prefix / "bin" / "hello"]
    # As if it had been released a minute ago.
    for path in (image, prefix / "release.json"):
        os.utime(path, (time.time() - 60, time.time() - 60))
    assert ordinary_user.run(hello).stdout == f"hello 2.0 in {prefix}\n"
    match damage:
        case "flip":
            replace_bytes(image)
        case "truncate":
            os.truncate(image, image.stat().st_size // 2)
        case "remove":
            image.unlink()
        case _:
            image.chmod(0)
    # A mount from before would go on showing the right bytes.
    ordinary_user.bash('for m in /tmp/conda_concept."$UID"/*/; do fusermount3 -u -z "$m" || :; done')
    done = ordinary_user.run(hello, check=False)
    assert done.returncode != 0
    assert "hello 2.0" not in done.stdout
    if damage in ("flip", "truncate"):
        assert "was changed after it was released" in done.stderr
        assert "conda-concept verify tiny-26.11" in done.stderr
    assert tiny.concept("verify").code == 5


def test_errors_are_data_for_programs(tiny: Tiny) -> None:
    said = tiny.concept("build", "nothing", "--json")
    assert said.code == 11
    assert said.data["error"]["kind"] == "not found"
    assert said.data["error"]["exit_code"] == 11


def test_a_package_that_does_not_exist_gets_the_nearest_names(tiny: Tiny) -> None:
    tiny.write({"environment.yml": ENVIRONMENT.replace("hello", "hallo")})
    said = tiny.concept("lock", "tiny")
    assert said.code in (2, 3), said.err
    assert "hallo" in said.err
    assert "hello" in said.err
    assert not (tiny.repository / "environments/tiny/conda-lock.yml").exists()


def test_no_network_is_the_networks_fault(tiny: Tiny) -> None:
    tiny.environ["CONDA_CHANNEL_ALIAS"] = "http://127.0.0.1:9"
    said = tiny.concept("lock", "tiny")
    assert said.code == 4, said.err
    assert "Traceback" not in said.err
    assert not (tiny.repository / "environments/tiny/conda-lock.yml").exists()


def test_a_damaged_package_is_refused_and_leaves_nothing(tiny: Tiny) -> None:
    tiny.concept("lock", "tiny")
    replace_bytes(archive(tiny, "hello-2.0-*"))
    said = tiny.concept("build", "tiny")
    assert said.code == 5, said.err
    assert "hello-2.0-0.conda" in said.err
    assert "damaged or was replaced" in said.err
    assert tiny.left() == []


def test_a_package_that_lies_about_its_name_is_refused(tiny: Tiny) -> None:
    tiny.concept("lock", "tiny")
    lock = tiny.repository / "environments/tiny/conda-lock.yml"
    other = archive(tiny, "hello-1.0-*")
    digest = next(line for line in run(["sha256sum", other]).stdout.split())
    locked = next(line for line in run(["sha256sum", archive(tiny, "hello-2.0-*")]).stdout.split())
    archive(tiny, "hello-2.0-*").write_bytes(other.read_bytes())
    lock.write_text(lock.read_text().replace(locked, digest))
    said = tiny.concept("build", "tiny")
    assert said.code == 5, said.err
    assert "says that it is hello 1.0" in said.err
    assert tiny.left() == []


def test_a_lock_that_points_elsewhere_is_refused_before_anything_is_fetched(tiny: Tiny) -> None:
    tiny.concept("lock", "tiny")
    lock = tiny.repository / "environments/tiny/conda-lock.yml"
    lock.write_text(lock.read_text().replace("https://conda.anaconda.org/conda-forge", "https://evil.example/x"))
    said = tiny.concept("build", "tiny")
    assert said.code == 2, said.err
    assert "evil.example" in said.err
    assert tiny.left() == []


def without_singularity(tiny: Tiny) -> None:
    site = tiny.repository / "ci" / "sites" / "here.yml"
    site.write_text(site.read_text().replace("/opt/singularity/", "/no/"))


def test_a_machine_without_user_namespaces_is_no_fault_of_a_package(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said before anything is fetched, in bubblewrap's own words, and without the script that would have run."""
    tiny.concept("lock", "tiny")
    without_singularity(tiny)
    words = "bwrap: No permissions to create new namespace, likely because the kernel does not allow it"
    (tmp_path / "bwrap").write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/sbin:/usr/bin:/bin")
    said = tiny.concept("build", "tiny", "--json")
    assert said.code == 7, said.err
    assert f"bubblewrap cannot make a sandbox on this machine: {words}." in said.data["error"]["message"]
    assert "/no/bin/singularity" in said.data["error"]["message"]
    assert "download" not in said.err
    assert "activate" not in said.err + said.out
    assert tiny.left() == []


@pytest.mark.parametrize("tool", ["mksquashfs", "bwrap"])
def test_a_missing_tool_is_named(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str) -> None:
    tiny.concept("lock", "tiny")
    without_singularity(tiny)
    folder = tmp_path / "bin"
    folder.mkdir()
    for path in Path("/usr/bin").iterdir():
        if path.name != tool:
            (folder / path.name).symlink_to(path)
    monkeypatch.setenv("PATH", str(folder))
    said = tiny.concept("build", "tiny")
    assert said.code == 7, said.err
    assert f"the program `{tool}` is not on this machine" in said.err
    assert tiny.left() == []


@pytest.fixture
def small_disk(open_dir: Path) -> Iterator[Path]:
    """A file system of 256 KiB; only root can mount one, and CI is root."""
    folder = open_dir / "small"
    folder.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=64", "tmpfs", folder])
    yield folder
    run(["umount", folder])


@pytest.mark.parametrize("place", ["store", "scratch", "cache"])
def test_a_full_disk_is_said_and_leaves_nothing(tiny: Tiny, small_disk: Path, place: str) -> None:
    big = {f"share/file{number}": os.urandom(200_000) for number in range(4)}
    from conda_concept.localchannel import PackageSpec, index, write_package

    write_package(tiny.channel, PackageSpec("big", "1.0", subdir="linux-64", files=big))
    index(tiny.channel)
    tiny.write({"environment.yml": ENVIRONMENT.replace("hello", "big")})
    tiny.concept("lock", "tiny")
    site = tiny.repository / "ci" / "sites" / "here.yml"
    site.write_text(site.read_text().replace(f"{tiny.root}/{place}", str(small_disk)))
    said = tiny.concept("build", "tiny")
    assert said.code == 8, said.err
    assert "Traceback" not in said.err
    assert tiny.left() == []
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []


def test_a_kill_in_the_middle_is_made_good_by_the_same_command(tiny: Tiny) -> None:
    """The process dies while it builds; what it left is taken over."""
    tiny.concept("lock", "tiny")
    code = (
        "import os, sys\n"
        "from conda_concept import cli, image\n"
        "image.squash = lambda *a: os.kill(os.getpid(), 9)\n"
        "cli.run(sys.argv[1:], os.environ)\n"
    )
    words = ["build", "tiny", "--repository", str(tiny.repository), "--site", "here"]
    environ = {**os.environ, **tiny.environ, "PYTHONPATH": "ci"}
    done = subprocess.run([sys.executable, "-c", code, *words], env=environ, capture_output=True, check=False)
    assert done.returncode == -9, done.stderr
    listed = tiny.concept("list", "--json").data
    assert [row["state"] for row in listed] == ["incomplete"]
    built = tiny.concept("build", "tiny", "--json")
    assert built.code == 0, built.err
    assert [row["state"] for row in tiny.concept("list", "--json").data] == ["candidate"]


def test_a_store_too_deep_down_is_refused_before_anything_is_fetched(tiny: Tiny) -> None:
    tiny.concept("lock", "tiny")
    site = tiny.repository / "ci" / "sites" / "here.yml"
    site.write_text(site.read_text().replace("/store", "/store" + "/deep" * 20))
    said = tiny.concept("build", "tiny")
    assert said.code == 2, said.err
    assert "too long for the first line of a script" in said.err
    assert "download" not in said.err


def test_a_build_that_does_not_fit_is_refused_before_it_downloads(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.concept("lock", "tiny")
    real = os.statvfs("/tmp")
    few = {name: getattr(real, name) for name in dir(real) if name.startswith("f_")} | {"f_favail": 1, "f_files": 9}
    with monkeypatch.context() as patch:
        patch.setattr("conda_concept.space.os.statvfs", lambda _path: SimpleNamespace(**few))
        said = tiny.concept("build", "tiny")
    assert said.code == 8, said.err
    assert "Not enough inodes to build tiny-26.11/" in said.err
    assert "download" not in said.err
    assert tiny.left() == []


@pytest.mark.parametrize("at", [2, 9, 20, 44])
def test_a_real_build_that_was_killed_is_finished_by_the_next(tiny: Tiny, at: int) -> None:
    """The store's own proof stages small releases; this is `build` itself, killed at some of its operations."""
    tiny.concept("lock", "tiny")
    code = (
        "import os, signal, sys\nfrom benchmarks.storekit import FaultyDoor\nfrom conda_concept import cli\n"
        "from conda_concept.store import core\n"
        f"door = FaultyDoor(at={at}, on_kill=lambda: os.kill(os.getpid(), signal.SIGKILL))\n"
        "core.RealDoor = lambda: door\ncli.run(sys.argv[1:], os.environ)"
    )
    words = ("build", "tiny", "--repository", str(tiny.repository), "--site", "here")
    environ = {**os.environ, **tiny.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code, *words], env=environ, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert {row["state"] for row in tiny.concept("list", "--json").data} <= {"incomplete"}
    built = tiny.concept("build", "tiny")
    assert built.code == 0, built.err
    assert tiny.concept("verify").code == 0
    assert [row["state"] for row in tiny.concept("list", "--json").data] == ["candidate"]


def test_an_untested_candidate_is_not_published(tiny: Tiny) -> None:
    tiny.concept("lock", "tiny")
    tiny.concept("build", "tiny")
    said = tiny.concept("publish", "tiny-26.11")
    assert said.code == 10
    assert "has not been tested" in said.err
    forced = tiny.concept("publish", "tiny-26.11", "--force", "a test of the force")
    assert forced.code == 0, forced.err
    history = tiny.concept("list", "--history", "--json").data
    assert history[0]["forced"] == "a test of the force"


def test_publishing_an_older_version_moves_only_its_own_label(tiny: Tiny) -> None:
    tiny.environ["GITHUB_TRIGGERING_ACTOR"] = "octocat"
    for version in ("26.11", "26.12"):
        tiny.write({"config.yml": CONFIG.replace("26.11", version)})
        for command in (["lock", "tiny"], ["build", "tiny"]):
            assert tiny.concept(*command).code == 0
        said = tiny.concept("publish", f"tiny-{version}", "--force", "a test of the names")
        assert said.code == 0, said.err
        words = {line.split()[0]: line.split()[-1] for line in said.out.splitlines() if line.startswith("     ")}
        assert {"what", "who", "when", "lock", "FORCED"} <= set(words), said.out
        assert "octocat by " in said.out
    before = {path.name: path.readlink() for path in (tiny.store / "apps/conda_concept/envs").iterdir()}
    assert str(before["tiny"]) == "tiny-26.12"
    again = tiny.concept("publish", "tiny-26.11", "--force", "a fix of an older version", "--json")
    assert again.code == 0, again.err
    assert {path.name: path.readlink() for path in (tiny.store / "apps/conda_concept/envs").iterdir()} == before
    assert again.data["operations"] == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["publish", "tiny-26.11"], 11),
        (["rollback", "tiny"], 11),
        (["test", "tiny-26.11"], 11),
        (["verify", "tiny-26.11/12345678"], 11),
        (["plan", "--base", "nowhere"], 11),
        (["build", "../tiny"], 2),
        (["build", "tiny"], 11),
    ],
)
def test_what_is_not_there_is_not_found(tiny: Tiny, words: list[str], code: int) -> None:
    said = tiny.concept(*words)
    assert said.code == code, said.err
    assert said.err.startswith(f"conda-concept {words[0]}: ")


def test_every_code_is_explained_in_the_help() -> None:
    done = subprocess.run([sys.executable, "-m", "conda_concept", "--help"], capture_output=True, text=True, check=True)
    for code, meaning in EXIT_CODES.items():
        assert f"{code}  {meaning}" in done.stdout


def test_an_empty_list_and_history_are_data_too(tiny: Tiny) -> None:
    assert tiny.concept("list", "--json").data == []
    assert json.loads(tiny.concept("list", "--history", "--json").out) == []
