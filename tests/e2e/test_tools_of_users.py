"""What users bring along: conda's way to activate, editors that ask an interpreter about itself, MPI."""

import json
import re
import subprocess
import sys
from pathlib import Path

from rattler.shell import ActivationVariables, Shell, activate

from tests.e2e.conftest import Inside
from tests.support.release import DEMO, OTHER, Store
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


#: conda's own activator, as conda-lock carries it; conda's `conda activate` evaluates what it prints.
CONDA = (
    "import sys; from conda_lock._vendor.conda.activate import PosixActivator as A; print(A(sys.argv[1:]).execute())"
)


def conda(*words: str, **variables: str) -> str:
    """The shell text that conda makes of `conda activate NAME` or `conda deactivate`."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CONDA, *words],
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_conda_itself_activates_by_name_and_takes_everything_back(inside: Inside) -> None:
    # Not `demo`: conda 24 does not quote an apostrophe in a variable's value, and demo has one to try us.
    envs, name = str(inside.store.layout.envs), OTHER.label
    alias = inside.store.layout.alias(name)
    on = conda("activate", name, CONDA_ENVS_PATH=envs)
    shown = 'printf "%s\n" "$CONDA_PREFIX" "$CONDA_DEFAULT_ENV" "$HELLO_DATA"; command -v python3; hello'
    real = inside.store.prefix(OTHER)
    said = inside.bash(f"export PATH=/usr/bin:/bin\n{on}\n{shown}").splitlines()
    assert said[:4] == [str(alias), name, f"{real}/share/hello data", f"{alias}/bin/python3"]
    assert said[4].endswith(f" {real}")
    within = {"CONDA_PREFIX": str(alias), "CONDA_DEFAULT_ENV": name, "CONDA_SHLVL": "1", "CONDA_ENVS_PATH": envs}
    off = conda("deactivate", **within, PATH=f"{alias}/bin:/usr/bin:/bin")
    left = inside.bash(f"export PATH=/usr/bin:/bin\n{on}\n{off}\n" + 'echo "<${CONDA_PREFIX-}><${HELLO_DATA-}>"')
    assert left == "<><>\n"


def test_the_envs_folder_looks_like_condas(store: Store) -> None:
    # conda lists a folder of an `envs` directory if it has conda-meta/history, and mamba likewise.
    names = {path.name for path in store.layout.envs.iterdir() if (path / "conda-meta/history").is_file()}
    assert names == {"demo", "demo-23.01", "demo-23.04", "demo-unstable", "other-23.04"}


def test_hooks_of_activation_undo_what_they_did(inside: Inside) -> None:
    hooks = inside.store.prefix() / "etc/conda"
    script = f"""
        for before in unset mine; do
            if [ $before = unset ]; then unset HELLO_PATH HELLO_GONE; else HELLO_PATH=/mine HELLO_GONE='a b'; fi
            . {hooks}/activate.d/conda_concept.sh; echo "${{HELLO_GONE-none}}"
            . {hooks}/deactivate.d/conda_concept.sh; echo "${{HELLO_PATH-unset}} ${{HELLO_GONE-unset}}"
        done"""
    assert inside.bash(script) == "none\nunset unset\nnone\n/mine a b\n"


def test_sourcing_the_activation_script_does_what_the_module_does(inside: Inside) -> None:
    script = (
        "export HELLO_GONE=1; . $1/bin/activate; command -v python3; echo $CONDA_DEFAULT_ENV;"
        "echo $HELLO_DATA${HELLO_GONE-}"
    )
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


def test_virtualenv_makes_an_environment_on_top(inside: Inside, home: Path) -> None:
    inside.out([inside.store.command("virtualenv"), "--quiet", "--no-download", home / "on top"])
    ask = "import sys; print(sys.prefix); print(sys.base_prefix)"
    said = inside.out([home / "on top/bin/python", "-c", ask])
    assert said == f"{home / 'on top'}\n{inside.store.prefix()}\n"


def test_ipython_reads_and_answers(inside: Inside) -> None:
    said = inside.bash(
        'echo "print(6 * 7)" | "$1" --simple-prompt --no-banner --colors=NoColor', inside.store.command("ipython")
    )
    assert "42" in said


KERNELS = """
import json, sys
from jupyter_client import KernelManager

answers = {}
for name in sys.argv[1:]:
    manager = KernelManager(kernel_name=name)
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    said = []
    code = "import os, sys; print(sys.prefix, os.environ['CONDA_PREFIX'], os.environ['PATH'].split(':')[0])"
    asked = client.execute("print('on', flush=True); import time; time.sleep(50)")
    while client.get_iopub_msg(timeout=30)["msg_type"] != "stream":
        pass
    manager.interrupt_kernel()
    while client.get_shell_msg(timeout=30)["parent_header"].get("msg_id") != asked:
        pass
    hook = lambda message: said.append(message["content"].get("text", ""))
    client.execute_interactive(code, output_hook=hook, timeout=30)
    answers[name] = "".join(said).split()
    client.stop_channels()
    manager.shutdown_kernel()
print(json.dumps(answers))
"""


def test_one_server_has_kernels_of_several_releases(inside: Inside, home: Path) -> None:
    # The server runs in one environment; its own kernel is `python3`, the others are named by their release.
    (home / "kernels.py").write_text(KERNELS, "utf-8")
    layout = inside.store.layout
    jupyter_path = ":".join(f"{layout.prefix(release)}/share/jupyter" for release in (DEMO, OTHER))
    env = {
        "JUPYTER_PATH": jupyter_path,
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
        "PATH": f"{layout.bin(DEMO)}:/usr/bin:/bin",
        "CONDA_PREFIX": str(inside.store.prefix()),
    }
    argv = [inside.store.command("python3"), str(home / "kernels.py"), "python3", "other-23.04"]
    done = inside.user.run(argv, env=inside.environment(env), cwd=home)
    answers = json.loads(done.stdout.splitlines()[-1])
    for name, release in (("python3", DEMO), ("other-23.04", OTHER)):
        prefix = str(inside.store.prefix(release))
        assert answers[name] == [prefix, prefix, f"{prefix}/bin"]


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
