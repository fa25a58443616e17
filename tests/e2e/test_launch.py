"""Commands of an environment, called by an ordinary user in every way that users call them, through both runtimes."""

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Inside
from tests.support.release import DEMO, OLD_DEMO, OTHER, Store
from tests.support.user import OrdinaryUser

WHO = "import json, sys; print(json.dumps([sys.prefix, sys.executable, sys.argv[1:]]))"


def who(text: str) -> tuple[str, str, list[str]]:
    prefix, executable, arguments = json.loads(text)
    return prefix, executable, arguments


def test_the_path_inside_is_the_path_outside(inside: Inside) -> None:
    prefix, executable, _ = who(inside.python(WHO))
    assert prefix == str(inside.store.prefix())
    assert executable == inside.store.command("python3")
    assert inside.python("import sysconfig; print(sysconfig.get_path('purelib'))").startswith(prefix)
    assert os.path.realpath(executable) == executable


def test_arguments_standard_input_and_exit_status_come_through(inside: Inside) -> None:
    odd = ["a b", "it's", 'say "x"', "line\nbreak", "$HOME `id`", "", "*", "\\", "é", "--explain", "-"]
    assert who(inside.python(WHO, *odd))[2] == odd
    python = inside.store.command("python3")
    assert inside.out([python, "-"], stdin="import sys; print(len(sys.stdin.read()))\n") == "0\n"
    assert inside.out([python, "-c", "import sys; print(sys.stdin.read())"], stdin="x\ny") == "x\ny\n"
    for status in (0, 1, 3, 125, 255):
        program = f"import sys; print('out'); print('err', file=sys.stderr); sys.exit({status})"
        done = inside.user.run([python, "-c", program], env=inside.environment(), check=False)
        assert (done.returncode, done.stdout, done.stderr) == (status, "out\n", "err\n")


def test_a_command_is_found_by_name_path_alias_and_link(inside: Inside, home: Path) -> None:
    store = inside.store
    assert inside.out([store.command("hello")]) == f"hello 2 {store.prefix()}\n"
    by_name = inside.bash('export PATH="$1:$PATH"; hello; command -v hello', store.layout.bin(DEMO))
    assert by_name == f"hello 2 {store.prefix()}\n{store.command('hello')}\n"
    assert inside.bash('cd "$1"; ./bin/hello; cd bin; ./hello', store.prefix()) == f"hello 2 {store.prefix()}\n" * 2
    through_alias = inside.out([store.layout.alias("demo-unstable") / "bin" / "python3", "-c", WHO])
    assert who(through_alias)[0] == str(store.prefix())
    assert inside.out([store.layout.alias("demo") / "bin" / "hello"]) == f"hello 1 {store.prefix(OLD_DEMO)}\n"
    inside.bash('ln -s "$1" "$2/python3"; ln -s "$1" "$2/py"', store.command("python3"), home)
    for name in ("python3", "py"):
        assert who(inside.out([home / name, "-c", WHO]))[0] == str(store.prefix())
    assert who(inside.out(["./py", "-c", WHO], cwd=home))[0] == str(store.prefix())


def test_a_command_that_the_environment_has_not_got_is_said_to_be_missing(inside: Inside) -> None:
    done = inside.user.run(
        [inside.store.prefix() / "launcher", "--run", str(inside.store.prefix() / "bin/nothing")],
        env=inside.environment(),
        check=False,
    )
    assert done.returncode == 127
    assert "bin/nothing: no such command" in done.stderr


@pytest.mark.parametrize("where", ["outside", "inside"])
def test_host_commands_are_the_hosts_and_overrides_are_ours(inside: Inside, home: Path, where: str) -> None:
    """The environment ships all three, and so a notebook that calls them must not get those."""
    bin_ = inside.store.layout.bin(DEMO)
    assert not {"qsub", "newgrp", "module"} & {path.name for path in bin_.iterdir()}
    inside.bash('mkdir "$1/host"; printf "#!/bin/sh\\necho the host has got: \\$*\\n" >"$1/host/qsub"', home)
    inside.bash('chmod +x "$1/host/qsub"', home)
    look = "import shutil, subprocess; subprocess.run(['qsub', 'a b']); subprocess.run(['override-me'])"
    look += ";print(shutil.which('newgrp'), shutil.which('module'))"
    python = inside.store.command("python3") if where == "inside" else "/usr/bin/python3"
    path = f"{bin_}:{home}/host:/usr/bin:/bin"
    said = inside.out([python, "-u", "-c", look], PATH=path, HOME=str(home))
    assert said == "the host has got: a b\noverridden\n/usr/bin/newgrp None\n"


def test_newgrp_is_the_hosts_own(store: Store, ordinary_user: OrdinaryUser) -> None:
    group = ordinary_user.bash("id -gn").stdout.strip()
    said = ordinary_user.bash('export PATH="$1:$PATH"; echo "id -gn" | newgrp "$2"', store.layout.bin(DEMO), group)
    assert said.stdout == f"{group}\n"


def test_modules_are_loaded_from_inside(inside: Inside, modules: str) -> None:
    """`module` is a function of the shell; what it starts is the host's, and so is what it finds."""
    run = "import subprocess, sys; subprocess.run(['bash', '-c', sys.argv[1]], check=True)"
    script = f"{modules} module load conda_concept/other-23.04; hello"
    path = f"{inside.store.layout.bin(DEMO)}:/usr/bin:/bin"
    assert inside.python(run, script, PATH=path) == f"hello 1 {inside.store.prefix(OTHER)}\n"


def test_scripts_start_with_the_interpreters_path(inside: Inside, home: Path) -> None:
    python = inside.store.command("python3")
    for first_line in (f"#!{python}", f"#!{python} -E", f"#!/usr/bin/env -S {python} -u"):
        inside.bash('printf "%s\\n%s\\n" "$1" "$2" >"$3/script"; chmod +x "$3/script"', first_line, WHO, home)
        prefix, _, arguments = who(inside.out([home / "script", "x y"]))
        assert (prefix, arguments) == (str(inside.store.prefix()), ["x y"])


def test_the_environment_is_the_callers(inside: Inside, home: Path) -> None:
    show = "import json, os; print(json.dumps(dict(os.environ)))"
    mine = {
        "LD_LIBRARY_PATH": "/some/lib",
        "PS1": "mine ",
        "prefix": "p",
        "image": "i",
        "runtime": "r",
        "PATH": "/usr/bin:/bin:/odd path",
        "HOME": str(home),
        "EMPTY": "",
        "PYTHONHOME": "/nonsense",
        "MULTI": "a\nb",
    }
    seen = json.loads(inside.python(show, **mine))
    expected = json.loads(inside.out(["/usr/bin/python3", "-c", show], **(mine | {"PYTHONHOME": ""})))
    del expected["PYTHONHOME"]
    for noise in ("_", "PWD", "OLDPWD", "SHLVL", "LC_CTYPE"):
        seen.pop(noise, None)
        expected.pop(noise, None)
    assert seen == expected


def test_the_working_directory_is_kept(inside: Inside, home: Path) -> None:
    here = "import os; print(os.getcwd())"
    for folder in (home, Path("/srv"), Path("/tmp"), Path("/"), inside.store.prefix()):
        assert inside.out([inside.store.command("python3"), "-c", here], cwd=folder) == f"{folder}\n"


def test_a_working_directory_that_no_bind_names_is_kept(inside: Inside) -> None:
    # Not below any folder that the site file names, nor a home.
    folder = Path("/var/local")
    here = "import os; print(os.getcwd(), len(os.listdir('.')) >= 0)"
    assert inside.out([inside.store.command("python3"), "-c", here], cwd=folder) == f"{folder} True\n"


def test_a_virtual_environment_on_top_works_without_a_module(inside: Inside, home: Path) -> None:
    venv = home / "venv"
    inside.out([inside.store.command("python3"), "-m", "venv", venv])
    inside.bash(
        'mkdir "$1/src"; cd "$1/src"; mkdir tiny; echo "def main(): print(\'tiny works\')" >tiny/__init__.py;'
        "printf \"[project]\\nname='tiny'\\nversion='1'\\n[project.scripts]\\ntiny='tiny:main'\\n\" >pyproject.toml",
        home,
    )
    make_wheel(home / "tiny-1-py3-none-any.whl")
    inside.out(
        [
            venv / "bin/pip",
            "--disable-pip-version-check",
            "-q",
            "install",
            "--no-index",
            home / "tiny-1-py3-none-any.whl",
        ]
    )
    prefix, executable, _ = who(inside.out([venv / "bin/python", "-c", WHO]))
    assert (prefix, executable) == (str(venv), str(venv / "bin/python"))
    assert inside.out([venv / "bin/tiny"]) == "tiny works\n"
    base = inside.out([venv / "bin/python", "-c", "import sys; print(sys.base_prefix)"])
    assert base == f"{inside.store.prefix()}\n"


def test_links_and_virtual_environments_in_a_folder_that_no_bind_names(inside: Inside) -> None:
    folder = Path(tempfile.mkdtemp(dir="/var/local"))
    try:
        shutil.chown(folder, inside.user.uid)
        inside.bash('ln -s "$1" "$2/py"', inside.store.command("python3"), folder)
        assert who(inside.out([folder / "py", "-c", WHO]))[0] == str(inside.store.prefix())
        inside.out([inside.store.command("python3"), "-m", "venv", "--without-pip", folder / "v"], cwd=folder)
        assert who(inside.out([folder / "v/bin/python", "-c", WHO]))[0] == str(folder / "v")
    finally:
        shutil.rmtree(folder)


def make_wheel(path: Path) -> None:
    """A wheel with one console script, written by hand: pip needs no build backend for it."""
    import zipfile

    info = "tiny-1.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tiny.py", "def main():\n    print('tiny works')\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/entry_points.txt", "[console_scripts]\ntiny = tiny:main\n")
        wheel.writestr(f"{info}/RECORD", "")


def test_subprocesses_and_pools(inside: Inside, home: Path) -> None:
    program = home / "pools.py"
    text = """
import concurrent.futures, multiprocessing, subprocess, sys

def prefix(_):
    return sys.prefix

if __name__ == "__main__":
    argv = [sys.executable, "-c", "import sys; print(sys.prefix)"]
    print(subprocess.run(argv, capture_output=True, text=True).stdout, end="")
    for method in ("spawn", "fork"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            print(*set(pool.map(prefix, range(4))))
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        print(*set(pool.map(prefix, range(4))))
"""
    program.write_text(text, "utf-8")
    assert inside.out([inside.store.command("python3"), program]) == f"{inside.store.prefix()}\n" * 4


def test_a_command_of_another_environment_called_from_inside_one(inside: Inside) -> None:
    other = inside.store.command("python3", OTHER)
    call = (
        "import subprocess;"
        f"argv = [{other!r}, '-c', 'import sys; print(sys.prefix)'];"
        "print(subprocess.run(argv, capture_output=True, text=True))"
    )
    said = inside.python(call)
    assert f"stdout='{inside.store.prefix(OTHER)}\\n', stderr=''" in said
    own = f"import os; os.execv({inside.store.command('hello')!r}, ['hello'])"
    assert inside.python(own) == f"hello 2 {inside.store.prefix()}\n"


# --- signals and terminals ----------------------------------------------------------------------------------------

LISTENER = """
import signal, sys, time
def note(number, frame):
    print(signal.Signals(number).name, flush=True)
    if number == signal.SIGTERM:
        sys.exit(7)
for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP"):
    signal.signal(getattr(signal, name), note)
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""


def start(inside: Inside, code: str) -> subprocess.Popen[str]:
    """A Python program in the environment, without a terminal; the caller's own pid is the launcher's."""
    argv = inside.user.command([inside.store.command("python3"), "-u", "-c", code], inside.environment())
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_signals_to_the_launchers_process_reach_the_command(inside: Inside) -> None:
    with start(inside, LISTENER) as process:
        assert line(process) == "ready"
        for number in (signal.SIGUSR1, signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            process.send_signal(number)
            assert line(process) == number.name
        assert process.wait(timeout=20) == 7
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_command_without_a_handler_dies_of_the_signal(inside: Inside) -> None:
    with start(inside, "import time; print('ready', flush=True); time.sleep(60)") as process:
        assert line(process) == "ready"
        process.terminate()
        assert process.wait(timeout=20) == -signal.SIGTERM
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_nohup_protects_the_command(inside: Inside) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGHUP); print('still here')"
    done = inside.user.run(["/usr/bin/nohup", inside.store.command("python3"), "-c", code], env=inside.environment())
    assert (done.stdout, done.stderr) == ("still here\n", "")


def test_a_killed_launcher_takes_the_command_along(inside: Inside) -> None:
    with start(inside, "import os, time; print(os.getpid(), flush=True); time.sleep(60)") as process:
        pid = int(line(process))
        process.kill()
        process.wait(timeout=20)
        for _ in range(100):
            if not Path(f"/proc/{pid}").exists():
                return
            time.sleep(0.05)
        pytest.fail(f"process {pid} is still there")


def talk(argv: list[str], *steps: tuple[str, str]) -> str:
    """Run a program on a terminal of its own: wait for each text, then type the answer; return all that it wrote."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(argv[0], argv)  # noqa: S606 - only a child of pty.fork has the terminal
    seen = ""
    for awaited, typed in steps:
        seen = read_until(terminal, seen, awaited)
        os.write(terminal, typed.encode())
    seen = read_until(terminal, seen, None)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return f"{seen}[exit {os.waitstatus_to_exitcode(status)}]"


def read_until(terminal: int, seen: str, awaited: str | None) -> str:
    mark = len(seen)
    deadline = time.monotonic() + 30
    while awaited is None or awaited not in seen[mark:]:
        if not select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0]:
            pytest.fail(f"waited for {awaited!r} in vain; so far: {seen!r}")
        try:
            data = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        seen += data.decode()
    return seen


def test_an_interactive_interpreter_has_the_terminal(inside: Inside) -> None:
    argv = inside.user.command([inside.store.command("python3"), "-q"], inside.environment({"TERM": "dumb"}))
    said = talk(
        argv,
        (">>> ", "import sys, os; print(os.isatty(0), os.isatty(1), os.isatty(2), os.ttyname(0))\n"),
        (">>> ", "import time; print('sleep' + 'ing'); time.sleep(60)\n"),
        ("sleeping", "\x03"),
        (">>> ", "input('name? ')\n"),
        ("name? ", "me\n"),
        (">>> ", "sys.exit(5)\n"),
    )
    assert "True True True /dev/pts/" in said
    assert "KeyboardInterrupt" in said
    assert "'me'" in said
    assert said.endswith("[exit 5]")


def test_explain_and_debug_say_what_is_run_and_do_not_run_it(inside: Inside) -> None:
    launcher = inside.store.prefix() / "launcher"
    said = inside.out([launcher, "--explain", "python3", "-c", "print('it is run')", "a b"])
    words = inside.user.run(["/bin/sh", "-c", f"set -- {said}\nprintf '%s\\n' \"$@\""]).stdout.splitlines()
    assert words[0] == {"namespace": "/usr/bin/unshare", "singularity": inside.store.site.singularity}[inside.runtime]
    assert words[-4:] == [inside.store.command("python3"), "-c", "print('it is run')", "a b"]
    assert (
        inside.out([inside.store.command("hello")], CONDA_CONCEPT_EXPLAIN="1") != f"hello 2 {inside.store.prefix()}\n"
    )
    done = inside.user.run([inside.store.command("hello")], env=inside.environment({"CONDA_CONCEPT_DEBUG": "1"}))
    assert done.stdout == f"hello 2 {inside.store.prefix()}\n"
    assert "running" in done.stderr
    assert "exec" in done.stderr or "start 1 of" in done.stderr


#: A /dev with the files of drivers, seen by one command only: $1 are their names.
DRIVERS = """
set -e
mount -t tmpfs none "$2"
touch "$2/null"; mount --bind /dev/null "$2/null"
for name in $1; do touch "$2/$name"; done
mount --rbind "$2" /dev
exec "$3" --explain python3
"""


@pytest.mark.parametrize(
    ("files", "flags"), [("", []), ("nvidiactl", ["--nv"]), ("kfd", ["--rocm"]), ("nvidiactl kfd", ["--nv", "--rocm"])]
)
def test_drivers_are_passed_through_where_the_host_has_them(
    store: Store, ordinary_user: OrdinaryUser, user_dir: Path, files: str, flags: list[str]
) -> None:
    # The namespace runtime shows the whole host, drivers too; only a container has to be told.
    words = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c", DRIVERS, "drivers", files]
    launcher = store.prefix() / "launcher"
    said = ordinary_user.run([*words, user_dir, launcher], env={"CONDA_CONCEPT_RUNTIME": "singularity"}).stdout.split()
    assert sorted(word for word in said if word in {"--nv", "--rocm"}) == flags
    assert said[0] == store.site.singularity


def test_the_tests_run_on_the_interpreter_of_the_image(inside: Inside) -> None:
    # The image was made from this interpreter, so that the assertions above compare like with like.
    assert inside.python("import sys; print(sys.version)") == f"{sys.version}\n"
