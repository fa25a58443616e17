"""What users bring along: conda's way to activate, editors that ask an interpreter about itself, MPI."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from rattler.shell import ActivationVariables, Shell, activate

from conda_concept.model import Release
from tests.e2e.conftest import Inside
from tests.e2e.test_launch import talk
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


CONDA = Path(__file__).parents[1] / "support" / "conda.py"


def conda(*words: str, **variables: str) -> str:
    """What conda itself prints for these words."""
    return conda_through((), *words, **variables)


def conda_through(before: Sequence[str], *words: str, **variables: str) -> str:
    """The same with words put in front of the whole command."""
    done = subprocess.run(
        [*before, sys.executable, CONDA, *words],
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("release", [DEMO, OTHER], ids=str)
def test_conda_itself_activates_by_name_and_takes_everything_back(inside: Inside, release: Release) -> None:
    # Both have a value with an apostrophe and a dollar sign, which conda 24 does not quote.
    envs, name, own = str(inside.store.layout.envs), release.label, release.environment.upper()
    alias = inside.store.layout.alias(name)
    on = conda("shell.posix", "activate", name, CONDA_ENVS_PATH=envs)
    shown = f'printf "%s\n" "$CONDA_PREFIX" "$CONDA_DEFAULT_ENV" "${own}_HOME"; command -v python3; hello'
    real = inside.store.prefix(release)
    said = inside.bash(f"export PATH=/usr/bin:/bin\n{on}\n{shown}").splitlines()
    assert said[:4] == [str(alias), name, f"{real}/share/it's $HOME", f"{alias}/bin/python3"]
    assert said[4].endswith(f" {real}")
    within = {"CONDA_PREFIX": str(alias), "CONDA_DEFAULT_ENV": name, "CONDA_SHLVL": "1", "CONDA_ENVS_PATH": envs}
    off = conda("shell.posix", "deactivate", **within, PATH=f"{alias}/bin:/usr/bin:/bin")
    left = inside.bash(f"export PATH=/usr/bin:/bin\n{on}\n{off}\n" + f'echo "<${{CONDA_PREFIX-}}><${{{own}_HOME-}}>"')
    assert left == "<><>\n"


#: What the announcement of 2023 had to say does not work, typed by a user. README.md shows what comes out.
SESSION = """\
cat hello.py
./hello.py
conda env list
conda activate demo
command -v python3
python3 -c 'import sys; print(sys.prefix)'
conda deactivate
command -v python3
"""
SHOWN = Path(__file__).parents[2] / ".github" / "gallery" / "shebang-and-conda.txt"


def test_an_interpreters_path_as_first_line_and_conda_activate(
    store: Store, ordinary_user: OrdinaryUser, user_dir: Path
) -> None:
    envs = str(store.layout.envs)
    alias = f"{envs}/demo"
    within = {"CONDA_PREFIX": alias, "CONDA_DEFAULT_ENV": "demo", "CONDA_SHLVL": "1", "PATH": f"{alias}/bin:/usr/bin"}
    script = user_dir / "hello.py"
    script.write_text(f"#!{alias}/bin/python3\nimport sys\n\nprint('hello from', sys.prefix)\n", "utf-8")
    script.chmod(0o755)
    said = {
        "activate": conda("shell.posix", "activate", "demo", CONDA_ENVS_PATH=envs),
        "deactivate": conda("shell.posix", "deactivate", CONDA_ENVS_PATH=envs, **within),
        "env": f"cat <<'E'\n{conda('env', 'list', CONDA_ENVS_PATH=envs)}E\n",
    }
    for name, text in said.items():
        (user_dir / name).write_text(text, "utf-8")
    # As the shell function of `conda init` does it: evaluate what conda prints.
    lines = ["conda() { . ./$1; }", "export CONDA_CONCEPT_RUNTIME=namespace PATH=/usr/bin"]
    for line in SESSION.splitlines():
        lines += [f"printf '$ %s\\n' {shlex.quote(line)}", line]
    out = ordinary_user.bash("\n".join(lines), cwd=user_dir).stdout
    out = out.replace(str(store.layout.root), "/opt/site").replace(sys.prefix, "/home/me/conda")
    # conda sorts by path, and where our conda lies sorts otherwise than the user's.
    first, table, rest = re.split(r"(?s)(?<=environments:\n#\n)(.*?\n)(?=\n)", out)
    out = first + "".join(sorted(table.splitlines(True), key=lambda line: line.split()[-1])) + rest
    shown = "".join(f"{line.rstrip()}\n" for line in out.splitlines())
    assert shown == SHOWN.read_text("utf-8"), shown


def test_conda_env_list_has_every_name(store: Store) -> None:
    envs = store.layout.envs
    shown = dict(
        line.split() for line in conda("env", "list", CONDA_ENVS_PATH=str(envs)).splitlines() if str(envs) in line
    )
    assert shown == {
        name: str(envs / name) for name in ("demo", "demo-23.01", "demo-23.04", "demo-unstable", "other-23.04")
    }
    # conda lists a folder of an `envs` directory if it has conda-meta/history, and mamba likewise.
    assert all((envs / name / "conda-meta/history").is_file() for name in shown)


def test_conda_list_sees_the_packages_where_the_image_is(store: Store) -> None:
    # conda reads a file for each package, and a release has fewer than 40 outside its image. So a bare `conda list` of
    # a name is empty, and the launcher runs it where the packages are.
    envs = {"CONDA_ENVS_PATH": str(store.layout.envs), "CONDA_CONCEPT_RUNTIME": "namespace"}
    outside = conda("list", "-n", DEMO.label, **envs).splitlines()
    assert [line for line in outside if not line.startswith("#")] == []
    launcher = str(store.prefix() / "launcher")
    inside = conda_through((launcher, "--run"), "list", "-p", str(store.prefix()), **envs).splitlines()
    listed = {line.split()[0]: line.split()[1] for line in inside if not line.startswith("#")}
    assert listed["hello"] == "2"
    assert listed["python"] == ".".join(str(part) for part in sys.version_info[:3])
    assert {"pip", "ipython", "ipykernel"} <= listed.keys()


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


def test_ipython_has_the_terminal(inside: Inside, home: Path) -> None:
    env = inside.environment({"TERM": "dumb", "IPYTHONDIR": str(home)})
    argv = inside.user.command([inside.store.command("ipython"), "--no-banner", "--colors=NoColor"], env)
    said = talk(
        argv,
        ("In [1]: ", "6 * 7\n"),
        # Between a prompt and a result there are colours and cursors.
        ("42\r\n", "import sys; print(sys.stdin.isatty(), sys.prefix)\n"),
        (f"True {inside.store.prefix()}", "exit\n"),
    )
    assert said.endswith("[exit 0]")


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
    code = "import os, sys, json; print(json.dumps([sys.prefix, dict(os.environ)]))"
    asked = client.execute("print('on', flush=True); import time; time.sleep(50)")
    while client.get_iopub_msg(timeout=30)["msg_type"] != "stream":
        pass
    manager.interrupt_kernel()
    while client.get_shell_msg(timeout=30)["parent_header"].get("msg_id") != asked:
        pass
    hook = lambda message: said.append(message["content"].get("text", ""))
    client.execute_interactive(code, output_hook=hook, timeout=30)
    answers[name] = json.loads("".join(said))
    client.stop_channels()
    manager.shutdown_kernel()
print(json.dumps(answers))
"""


def test_one_server_has_kernels_of_several_releases(inside: Inside, modules: str, home: Path) -> None:
    # The server runs in one environment, with its module loaded; kernels are named by their release. What the user
    # had set before, and what the user set after, is the user's in every kernel.
    (home / "kernels.py").write_text(KERNELS, "utf-8")
    store = inside.store
    env = {
        "JUPYTER_PATH": f"{store.prefix(OTHER)}/share/jupyter",
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
        "LD_LIBRARY_PATH": "/usr/lib/mine",
        "HELLO_GONE": "1",
        "MINE": "it's $HOME",
    }
    script = f'{modules} module load conda_concept/demo-23.04; python3 "$1/kernels.py" demo-23.04 python3 other-23.04'
    answers = json.loads(inside.bash(script, home, cwd=home, **env).splitlines()[-1])
    for name, release in (("demo-23.04", DEMO), ("python3", DEMO), ("other-23.04", OTHER)):
        prefix, seen = answers[name]
        own, others = release.environment.upper(), {"DEMO", "OTHER"} - {release.environment.upper()}
        assert prefix == str(store.prefix(release))
        assert {key: seen.get(key) for key in ("CONDA_PREFIX", "CONDA_DEFAULT_ENV", "HELLO_MODE", "MINE")} == {
            "CONDA_PREFIX": prefix,
            "CONDA_DEFAULT_ENV": release.label,
            "HELLO_MODE": f"of {release}",
            "MINE": "it's $HOME",
        }
        assert seen[f"{own}_HOME"] == f"{prefix}/share/it's $HOME"
        assert seen["LD_LIBRARY_PATH"] == f"/usr/lib/{release.label}:/usr/lib/mine"
        assert "HELLO_GONE" not in seen
        assert seen["PATH"].split(":")[0] == f"{prefix}/bin"
        assert seen["PATH"].count("/releases/") == 1
        assert not [key for key in seen if key.startswith(tuple(f"{other}_" for other in others))]


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
        [str(checker), *(str(templates / f"{name}.sh") for name in ("enter", "inside", "serve", "watch"))],
        [str(checker), "-e", "SC2016", "-s", "sh", str(store.prefix() / "bin/activate")],
    ):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")
    assert ordinary_user.run(["/bin/dash", "-n", store.prefix() / "launcher"]).stderr == ""
    assert ordinary_user.run(["/bin/bash", "--posix", "-n", store.prefix() / "launcher"]).stderr == ""
