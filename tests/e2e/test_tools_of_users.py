"""What users bring along: conda's way to activate, editors that ask an interpreter about itself, MPI."""

import json
import re
import subprocess
import sys
from pathlib import Path

from rattler.shell import ActivationVariables, Shell, activate

from tests.e2e.conftest import Inside
from tests.support.release import DEMO, Store
from tests.support.user import OrdinaryUser


def test_conda_activate_finds_sets_and_starts(inside: Inside, tmp_path: Path) -> None:
    # rattler is the library of mamba's and pixi's successors; its activator reads what conda's reads.
    prefix = inside.store.layout.alias("demo-unstable")
    variables = ActivationVariables(current_path=["/usr/bin", "/bin"])
    script = tmp_path / "activate.sh"
    script.write_text(activate(prefix, variables, Shell.bash).script, "utf-8")
    show = 'printf "%s\\n" "$CONDA_PREFIX" "$HELLO_DATA" "$HELLO_PATH"; command -v python3; hello'
    said = inside.bash(f"{script.read_text('utf-8')}\n{show}").splitlines()
    real = inside.store.prefix()
    assert said == [
        str(prefix),
        f"{real}/share/hello data",
        f"{real}/share/hello",
        f"{prefix}/bin/python3",
        f"hello 2 {real}",
    ]


def test_the_envs_folder_looks_like_condas(store: Store) -> None:
    # conda lists a folder of an `envs` directory if it has conda-meta/history, and mamba likewise.
    names = {path.name for path in store.layout.envs.iterdir() if (path / "conda-meta/history").is_file()}
    assert names == {"demo", "demo-23.01", "demo-23.04", "demo-unstable", "other-23.04"}


def test_hooks_of_activation_undo_what_they_did(inside: Inside) -> None:
    hooks = inside.store.prefix() / "etc/conda"
    script = f"""
        for before in unset mine; do
            if [ $before = unset ]; then unset HELLO_PATH; else HELLO_PATH=/mine; fi
            . {hooks}/activate.d/conda_concept.sh; . {hooks}/deactivate.d/conda_concept.sh
            echo "${{HELLO_PATH-unset}}"
        done"""
    assert inside.bash(script) == "unset\n/mine\n"


def test_sourcing_the_activation_script_does_what_the_module_does(inside: Inside) -> None:
    script = ". $1/bin/activate; command -v python3; echo $CONDA_DEFAULT_ENV; echo $HELLO_DATA"
    prefix = inside.store.prefix()
    said = inside.bash(script, prefix).splitlines()
    assert said == [f"{prefix}/bin/python3", "demo-23.04", f"{prefix}/share/hello data"]


def test_an_editor_may_ask_in_every_way(inside: Inside) -> None:
    python = inside.store.command("python3")
    real = inside.bash('readlink -f "$1"', python).strip()
    ask = "import json, sys; print(json.dumps([sys.executable, sys.prefix, sys.version_info[:3]]))"
    answers = {inside.out(argv) for argv in ([python, "-c", ask], [python, "-I", "-c", ask], [real, "-I", "-c", ask])}
    (answer,) = answers
    assert json.loads(answer)[:2] == [python, str(inside.store.prefix())]
    assert inside.out([python, "-m", "site", "--user-base"]).strip()
    version = inside.out([python, "--version"])
    assert re.fullmatch(r"Python 3\.\d+\.\d+\n", version)
    listed = inside.out([python, "-m", "pip", "--disable-pip-version-check", "list", "--format=json"])
    assert {item["name"] for item in json.loads(listed)} >= {"pip"}


def test_mpi_ranks_start_through_launchers(inside: Inside) -> None:
    program = (
        "import os, sys; print(os.environ['OMPI_COMM_WORLD_RANK'], os.environ['OMPI_COMM_WORLD_SIZE'], sys.prefix)"
    )
    argv = ["/usr/bin/mpirun", "--oversubscribe", "-np", "4", inside.store.command("python3"), "-c", program]
    done = inside.user.run(argv, env=inside.environment())
    assert sorted(done.stdout.splitlines()) == [f"{rank} 4 {inside.store.prefix()}" for rank in range(4)]


def test_a_release_has_few_inodes(store: Store) -> None:
    prefix = store.prefix(DEMO)
    inodes = {path.lstat().st_ino for path in (prefix, *prefix.rglob("*"))}
    assert len(inodes) < 40
    launchers = {
        path.stat().st_ino for path in (prefix / "bin").iterdir() if path.name not in ("activate", "override-me")
    }
    assert launchers == {(prefix / "launcher").stat().st_ino}


def test_the_launcher_passes_shellcheck(store: Store, ordinary_user: OrdinaryUser) -> None:
    # SC2016: the text for the namespace is one quoted word. SC2030, SC2031: PATH is changed in subshells on purpose.
    checker = Path(sys.executable).with_name("shellcheck")
    templates = Path(__file__).resolve().parents[2] / "ci/conda_concept/templates"
    for argv in (
        [str(checker), "-e", "SC2016,SC2030,SC2031", str(store.prefix() / "launcher")],
        [str(checker), str(templates / "enter.sh"), str(templates / "inside.sh")],
        [str(checker), "-e", "SC2016", "-s", "sh", str(store.prefix() / "bin/activate")],
    ):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")
    assert ordinary_user.run(["/bin/dash", "-n", store.prefix() / "launcher"]).stderr == ""
    assert ordinary_user.run(["/bin/bash", "--posix", "-n", store.prefix() / "launcher"]).stderr == ""
