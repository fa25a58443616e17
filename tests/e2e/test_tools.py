"""The tools themselves, as an ordinary user, without a line of ours: a failure here is the machine's."""

import subprocess
from pathlib import Path

import pytest

from tests.support.user import OrdinaryUser

SAY = """#!/bin/sh
echo "inside $0"
printf '[%s]\\n' "$@"
cat
exit 7
"""
ARGUMENTS = ("two words", "", "new\nline", "'quotes\"", "$HOME")
SAID = "[two words]\n[]\n[new\nline]\n['quotes\"]\n[$HOME]\n"


def _squash(mksquashfs: Path, folder: Path, image: Path) -> None:
    subprocess.run([mksquashfs, folder, image, "-quiet", "-no-progress", "-all-root"], check=True, capture_output=True)


@pytest.fixture
def prefix(mksquashfs: Path, open_dir: Path) -> Path:
    """A folder with `image.sqsh` in it, both with a bin/say at the same place."""
    inside, prefix = open_dir / "inside", open_dir / "release"
    for folder, text in ((inside, SAY), (prefix, "#!/bin/sh\necho outside\n")):
        say = folder / "bin/say"
        say.parent.mkdir(parents=True)
        say.write_text(text)
        say.chmod(0o755)
    _squash(mksquashfs, inside, prefix / "image.sqsh")
    return prefix


@pytest.fixture
def container(apptainer: Path, mksquashfs: Path, open_dir: Path, prefix: Path) -> list[str | Path]:
    """The words before a command that run it in a container: empty base image, the host's /usr, the prefix's image."""
    base = open_dir / "base"
    for name in ("dev", "etc", "home", "opt", "proc", "root", "run", "sys", "tmp", "usr", "var/tmp"):
        (base / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        (base / name).symlink_to(f"usr/{name}")
    _squash(mksquashfs, base, open_dir / "base.sqsh")
    image = f"{prefix}/image.sqsh:{prefix}:image-src=/"
    return [apptainer, "-s", "exec", "--bind", "/etc,/usr", "--bind", image, open_dir / "base.sqsh"]


def test_user_is_ordinary(ordinary_user: OrdinaryUser, open_dir: Path) -> None:
    assert ordinary_user.run(["id", "-u"]).stdout.strip() not in {"", "0"}
    assert ordinary_user.run(["touch", open_dir / "x"], check=False).returncode != 0 or not ordinary_user.become


def test_user_has_a_clean_environment(ordinary_user: OrdinaryUser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAK", "from the tests")
    names = {line.split("=", 1)[0] for line in ordinary_user.run(["env"], env={"EXTRA": "1"}).stdout.splitlines()}
    assert names == {"EXTRA", "HOME", "LANG", "LOGNAME", "PATH", "SHELL", "USER"}


def test_container_shows_the_image_at_the_path_of_its_own_folder(
    ordinary_user: OrdinaryUser, container: list[str | Path], prefix: Path
) -> None:
    say = prefix / "bin/say"
    done = ordinary_user.run([*container, say, *ARGUMENTS], stdin="input\n", check=False)
    assert (done.stdout, done.stderr, done.returncode) == (f"inside {say}\n{SAID}input\n", "", 7)
    assert ordinary_user.run([say]).stdout == "outside\n"


def test_container_keeps_working_folder_user_and_temporary_files(
    ordinary_user: OrdinaryUser, container: list[str | Path], user_dir: Path
) -> None:
    done = ordinary_user.run([*container, "/bin/sh", "-c", "pwd; id -un; echo $HOME; echo kept >file"], cwd=user_dir)
    assert done.stdout.splitlines() == [str(user_dir), ordinary_user.name, str(ordinary_user.home)]
    assert (user_dir / "file").read_text() == "kept\n"


def test_apptainer_is_not_in_what_containers_bind(apptainer: Path) -> None:
    assert not apptainer.resolve().is_relative_to("/usr")


def test_namespace_shows_the_image_at_the_path_of_its_own_folder(
    ordinary_user: OrdinaryUser, squashfuse: Path, bwrap: Path, prefix: Path, user_dir: Path
) -> None:
    say = prefix / "bin/say"
    ordinary_user.run([squashfuse, "-o", "timeout=60", prefix / "image.sqsh", user_dir])
    try:
        enter: list[str | Path] = [bwrap, "--dev-bind", "/", "/", "--ro-bind", user_dir, prefix, "--"]
        done = ordinary_user.run([*enter, say, *ARGUMENTS], stdin="input\n", check=False)
        assert (done.stdout, done.stderr, done.returncode) == (f"inside {say}\n{SAID}input\n", "", 7)
    finally:
        ordinary_user.run(["fusermount3", "-u", user_dir])
    assert ordinary_user.run([say]).stdout == "outside\n"


def test_module_is_loaded_and_unloaded(ordinary_user: OrdinaryUser, module_init: Path, open_dir: Path) -> None:
    (open_dir / "tool").mkdir()
    (open_dir / "tool/1.0").write_text("#%Module1.0\nsetenv TOOL {a b}\nprepend-path PATH /tool/bin\n")
    done = ordinary_user.bash(
        '. "$1"; module use "$2"; module load tool/1.0; echo "$TOOL|$PATH"; '
        'module unload tool; echo "${TOOL-gone}|$PATH"',
        module_init,
        open_dir,
    )
    path = "/usr/local/bin:/usr/bin:/bin"
    assert done.stdout.splitlines() == [f"a b|/tool/bin:{path}", f"gone|{path}"]


def test_module_systems_do_not_mix(ordinary_user: OrdinaryUser, envmodules_init: Path, lmod_init: Path) -> None:
    ask = '. "$1"; echo "${LMOD_VERSION-none}"; module --version 2>&1'
    modules = ordinary_user.bash(ask, envmodules_init).stdout
    lmod = ordinary_user.bash(ask, lmod_init).stdout
    assert modules.startswith("none\nModules Release ")
    assert "Modules based on Lua" in lmod
    assert not lmod.startswith("none")
