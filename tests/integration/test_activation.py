"""`bin/activate` and what takes it back, in the shells that people have."""

import subprocess
from pathlib import Path

import pytest

from conda_concept.model import Activation, Release
from conda_concept.render.launcher import LauncherFacts, image_files
from conda_concept.runtime import write_files
from conda_concept.settings import Config, Site

SHELLS = ("/bin/dash", "/bin/bash")


@pytest.fixture
def prefixes(tmp_path: Path) -> tuple[Path, Path]:
    """Two releases, as far as a shell reads them; each sets a variable of its own, and one that the other sets too."""
    return make(tmp_path, "one"), make(tmp_path, "two")


def make(folder: Path, name: str) -> Path:
    prefix = folder / name
    facts = LauncherFacts(
        release=Release(name, "23.04", "1a2b3c4d"),
        prefix=str(prefix),
        image_sha256="",
        probe="",
        commands=(),
        base="/base",
        site=Site(name="here", root="/r", scratch="/s", cache="/c"),
        config=Config.model_validate({"version": "23.04", "setenv": {f"OF_{name}": "it's $HOME", "BOTH": name}}),
        activation=Activation(prepend=(("LIBS", f"{prefix}/a b"),), unset=("GONE",)),
    )
    write_files(prefix, image_files(facts))
    return prefix


def said(shell: str, script: str, *words: Path, **env: str) -> dict[str, str]:
    argv = [shell, "-eu", "-c", f"{script}\nenv -0", shell, *map(str, words)]
    done = subprocess.run(argv, env={"PATH": "/usr/bin:/bin", **env}, capture_output=True, text=True, check=True)
    seen = dict(word.split("=", 1) for word in done.stdout.split("\0") if word)
    return {key: value for key, value in seen.items() if key not in ("_", "PWD", "OLDPWD", "SHLVL")}


@pytest.mark.parametrize("shell", SHELLS)
def test_entering_a_second_environment_leaves_the_first(shell: str, prefixes: tuple[Path, Path]) -> None:
    one, two = prefixes
    env = {"LIBS": "/mine", "GONE": "1"}
    both = said(shell, '. "$1/bin/activate"; LIBS=/later:$LIBS; . "$2/bin/activate"', one, two, **env)
    assert both == {
        "PATH": f"{two}/bin:/usr/bin:/bin",
        "CONDA_PREFIX": str(two),
        "CONDA_DEFAULT_ENV": "two-23.04",
        "OF_two": "it's $HOME",
        "BOTH": "two",
        "LIBS": f"{two}/a b:/later:/mine",
    }
    again = said(shell, '. "$1/bin/activate"; . "$1/bin/activate"', two, **env)
    assert again == both | {"LIBS": f"{two}/a b:/mine"}


@pytest.mark.parametrize("shell", SHELLS)
def test_leaving_takes_back_what_is_still_as_it_was_set(shell: str, prefixes: tuple[Path, Path]) -> None:
    leave = '. "$1/bin/activate"; BOTH=${2:-$BOTH}; . "$1/etc/conda/deactivate.d/conda_concept.sh"'
    clean = said(shell, leave, prefixes[0])
    assert not {"OF_one", "BOTH", "LIBS"} & clean.keys()
    assert said(shell, leave, prefixes[0], Path("mine"))["BOTH"] == "mine"
    # What the module has put aside comes back.
    saved = said(shell, leave, prefixes[0], CONDA_CONCEPT_SAVED_BOTH="old", CONDA_CONCEPT_SAVED_GONE="g")
    assert (saved["BOTH"], saved["GONE"]) == ("old", "g")
    assert not [key for key in saved if key.startswith("CONDA_CONCEPT_SAVED")]
