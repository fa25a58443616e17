"""The shared mount: made once, found by all, gone when idle, never stale; and starts that are tried again."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from conda_concept.layout import Layout
from conda_concept.render.launcher import LauncherFacts
from conda_concept.run import run
from conda_concept.runtime import inside_argv
from tests.support.release import DEMO, Store
from tests.support.scheduled import unmount_all
from tests.support.user import OrdinaryUser


@pytest.fixture
def node(open_dir: Path, ordinary_user: OrdinaryUser) -> Iterator[Path]:
    """A node's local disk of its own for a test, without any mount yet."""
    open_dir.chmod(0o1777)
    yield open_dir
    unmount_all(ordinary_user, open_dir)


def settings(store: Store, node: Path, **site: object) -> LauncherFacts:
    """The demo release with other settings of the site."""
    facts = store.facts[DEMO]
    return replace(facts, site=facts.site.model_copy(update={"node_dir": str(node), **site}))


def hello(facts: LauncherFacts) -> list[str]:
    return list(inside_argv(facts, [f"{facts.prefix}/bin/hello"]))


def mounts(node: Path) -> list[Path]:
    lines = Path("/proc/self/mounts").read_text("utf-8").splitlines()
    return [Path(line.split()[1]) for line in lines if line.split()[1].startswith(f"{node}/")]


def server(user: OrdinaryUser, mount: Path) -> list[int]:
    """The processes that serve a mount."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if str(mount).encode() in words and folder.stat().st_uid == user.uid:
                found.append(int(folder.name))
        except OSError:  # it has ended
            continue
    return found


def within(seconds: float, happened: Callable[[], object]) -> None:
    """Wait for something that happens beside us."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"it did not happen within {seconds} s"
        time.sleep(0.05)


@pytest.mark.parametrize("runtime", ["namespace", "singularity"])
def test_many_starts_at_once_share_one_mount(
    store: Store, node: Path, ordinary_user: OrdinaryUser, runtime: str
) -> None:
    argv = hello(settings(store, node, runtime=runtime))
    count = {"namespace": 64, "singularity": 8}[runtime]
    with ThreadPoolExecutor(count) as pool:
        said = list(pool.map(lambda _: ordinary_user.run(argv), range(count)))
    assert {(done.stdout, done.stderr) for done in said} == {(f"hello 2 {store.prefix()}\n", "")}
    (mount,) = mounts(node)
    assert len(server(ordinary_user, mount)) == 1


def test_an_idle_mount_ends_itself_and_the_next_command_makes_it_again(
    store: Store, node: Path, ordinary_user: OrdinaryUser
) -> None:
    facts = settings(store, node, idle_seconds=5)
    argv = list(inside_argv(facts, [f"{facts.prefix}/bin/python3", "-c", "import time; time.sleep(9); import this"]))
    # Longer than the idle time, with nothing read from the image in between: a command that runs keeps its mount.
    assert "Zen of Python" in ordinary_user.run(argv).stdout
    (mount,) = mounts(node)
    within(30, lambda: not mounts(node))
    assert ordinary_user.run(hello(facts)).stdout == f"hello 2 {store.prefix()}\n"
    assert mounts(node) == [mount]


@pytest.mark.parametrize("runtime", ["namespace", "singularity"])
def test_a_program_of_the_host_keeps_the_mount_that_it_runs_on(
    store: Store, node: Path, ordinary_user: OrdinaryUser, runtime: str
) -> None:
    facts = settings(store, node, runtime=runtime, idle_seconds=5)
    script = f"sleep 9; {facts.prefix}/bin/hello; exec sh -c 'sleep 9; {facts.prefix}/bin/hello'"
    done = ordinary_user.run(list(inside_argv(facts, ["/bin/sh", "-c", script])))
    assert (done.stdout, done.stderr) == (f"hello 2 {facts.prefix}\n" * 2, "")


@pytest.mark.parametrize("own", [True, False])
def test_the_process_behind_a_mount_holds_nothing_of_the_callers(
    store: Store, node: Path, user_dir: Path, ordinary_user: OrdinaryUser, own: bool
) -> None:
    # Without a folder of its own on the node, a command mounts for itself; that mount outlives it too.
    argv = hello(settings(store, node if own else Path("/proc")))
    script = """
    exec 5>&1 10>&1 200>"$0/lock"
    flock -n 200
    "$@" | cat
    """
    begin = time.monotonic()
    done = ordinary_user.run(["/bin/bash", "-c", script, user_dir, *argv])
    assert (done.stdout, done.stderr) == (f"hello 2 {store.prefix()}\n", "")
    assert time.monotonic() - begin < 40  # an open end of a pipe would hold us until the mount is idle
    ordinary_user.run(["/usr/bin/flock", "-n", user_dir / "lock", "/bin/true"])
    if own:
        (mount,) = mounts(node)
        (pid,) = server(ordinary_user, mount)
        names = {str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()}
        assert names <= {"/dev/null", "/dev/fuse", str(store.layout.image(DEMO))}


def test_a_mount_whose_server_died_is_replaced(store: Store, node: Path, ordinary_user: OrdinaryUser) -> None:
    argv = hello(settings(store, node))
    ordinary_user.run(argv)
    (mount,) = mounts(node)
    (pid,) = server(ordinary_user, mount)
    os.kill(pid, signal.SIGKILL)
    assert ordinary_user.run(argv).stdout == f"hello 2 {store.prefix()}\n"
    (again,) = mounts(node)
    assert again == mount
    assert server(ordinary_user, mount) != [pid]


def test_another_image_at_the_same_path_is_another_mount(store: Store, node: Path, ordinary_user: OrdinaryUser) -> None:
    facts = settings(store, node)
    ordinary_user.run(hello(facts))
    ordinary_user.run(hello(replace(facts, image_sha256="0" * 64)))
    assert sorted(mount.name for mount in mounts(node)) == sorted(["0" * 64, facts.image_sha256])


def test_two_jobs_have_two_mounts(store: Store, node: Path, ordinary_user: OrdinaryUser) -> None:
    argv = hello(settings(store, node))
    for job in ("11.pbs", "12.pbs", "13[1].pbs", "13[2].pbs"):
        ordinary_user.run(argv, env={"PBS_JOBID": job})
    digest = store.facts[DEMO].image_sha256
    jobs = ("11.pbs", "12.pbs", "13_1_.pbs", "13_2_.pbs")
    assert sorted(mount.name for mount in mounts(node)) == [f"{digest}.{job}" for job in jobs]


def test_a_folder_that_somebody_else_made_is_not_used(store: Store, node: Path, ordinary_user: OrdinaryUser) -> None:
    trap = node / f"conda_concept.{ordinary_user.uid}"
    digest = store.facts[DEMO].image_sha256
    probe = trap / digest / store.facts[DEMO].probe
    probe.parent.mkdir(parents=True)
    probe.write_text("not the image", "utf-8")
    (trap / digest / "bin").mkdir()
    (trap / digest / "bin/hello").write_text("#!/bin/sh\necho trapped\n", "utf-8")
    (trap / digest / "bin/hello").chmod(0o755)
    if ordinary_user.uid == os.geteuid():  # then it is ours, and only a link is not
        trap.rename(node / "elsewhere")
        trap.symlink_to(node / "elsewhere")
    assert ordinary_user.run(hello(settings(store, node))).stdout == f"hello 2 {store.prefix()}\n"
    assert mounts(node) == []


def test_without_fusermount_each_command_mounts_for_itself(
    store: Store, node: Path, open_dir: Path, ordinary_user: OrdinaryUser
) -> None:
    # A host whose fusermount3 has no set-uid bit: here, the same programs without that one. Its own path is compiled
    # into libfuse, so the node's folder is closed instead: nothing shared can be made.
    open_dir.chmod(0o755)
    if ordinary_user.uid == os.geteuid():
        open_dir.chmod(0o555)
    assert ordinary_user.run(hello(settings(store, node))).stdout == f"hello 2 {store.prefix()}\n"
    assert mounts(node) == []


def test_a_start_on_a_mount_that_is_there_takes_three_programs(
    store: Store, node: Path, user_dir: Path, ordinary_user: OrdinaryUser
) -> None:
    # The launcher becomes the first, which becomes a shell; that starts the second and becomes the third.
    host, log = user_dir / "bin", user_dir / "log"
    host.mkdir()
    for tool in Path("/usr/bin").iterdir():
        if tool.is_file():
            (host / tool.name).write_text(f'#!/bin/sh\necho {tool.name} >>{log}\nexec {tool} "$@"\n', "utf-8")
            (host / tool.name).chmod(0o755)
    user_dir.chmod(0o777)
    argv = hello(settings(store, node, host_bin=str(host)))
    ordinary_user.run(argv)
    assert "flock" in log.read_text("utf-8").split()
    log.unlink()
    ordinary_user.run(argv)
    assert log.read_text("utf-8").split() == ["unshare", "mount", "setpriv"]


# --- who uses what ------------------------------------------------------------------------------------------------

#: What `conda-concept prune` asks, on another node: it sees no process of this one, only what the file system shows.
ELSEWHERE = """
import sys
from pathlib import Path
from conda_concept.layout import Layout
from conda_concept.model import Release
from conda_concept.store.usage import in_use
release = Release("demo", "23.04", "aaaa1111")
print(in_use(Layout(Path(sys.argv[1])), [release]).get(release, "not in use"))
"""


def seen_elsewhere(root: Path) -> str:
    """What is known of the release below `root` in a process namespace of its own, which stands for another node."""
    node = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    return run([*node, sys.executable, "-c", ELSEWHERE, root]).stdout.strip()


@pytest.mark.parametrize(
    ("runtime", "mounting", "own"),
    [
        ("namespace", "shared", True),
        ("namespace", "shared", False),
        ("singularity", "shared", True),
        ("singularity", "container", True),
    ],
)
def test_another_node_sees_that_a_job_runs(
    store: Store, node: Path, ordinary_user: OrdinaryUser, runtime: str, mounting: str, own: bool
) -> None:
    root = node / "store"
    prefix = Layout(root).prefix(DEMO)
    prefix.mkdir(parents=True)
    shutil.copy(store.layout.image(DEMO), prefix)
    facts = replace(
        settings(store, node if own else Path("/proc"), runtime=runtime, mounting=mounting), prefix=str(prefix)
    )
    assert seen_elsewhere(root) == "not in use"
    argv = ordinary_user.command(list(inside_argv(facts, ["/bin/sh", "-c", "echo ready; read wait"])))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "ready\n"
        within(10, lambda: seen_elsewhere(root) == "a lock is held on its image")
        job.communicate("end\n", timeout=20)
    for mount in mounts(node):
        ordinary_user.run(["fusermount3", "-u", mount])
    # A mount of a command alone ends itself a little later.
    if own:
        within(20, lambda: seen_elsewhere(root) == "not in use")


# --- trying again -------------------------------------------------------------------------------------------------


def fake_singularity(folder: Path, failures: int) -> Path:
    """The real program behind a script that fails so many times first, as Singularity does when a mount fails."""
    path = folder / "singularity"
    path.write_text(
        f"""#!/bin/sh
n=$(cat {folder}/count 2>/dev/null || echo 0)
echo $((n + 1)) >{folder}/count
if [ "$n" -lt {failures} ]; then echo 'FATAL:   container creation failed: squashfs I/O error' >&2; exit 255; fi
exec {os.environ.get("TEST_SINGULARITY", "/opt/singularity/bin/singularity")} "$@"
""",
        "utf-8",
    )
    path.chmod(0o755)
    (folder / "count").unlink(missing_ok=True)
    return path


def attempts(folder: Path) -> int:
    return int((folder / "count").read_text("utf-8"))


@pytest.mark.parametrize(("failures", "status"), [(0, 0), (1, 0), (2, 3), (1, 255)])
def test_a_failed_start_is_tried_again_and_leaves_no_trace(
    store: Store, node: Path, user_dir: Path, ordinary_user: OrdinaryUser, failures: int, status: int
) -> None:
    user_dir.chmod(0o777)
    fake = fake_singularity(user_dir, failures)
    facts = settings(store, node, runtime="singularity", singularity=str(fake))
    program = f"import sys; print(sys.stdin.read()); print('my error', file=sys.stderr); sys.exit({status})"
    argv = list(inside_argv(facts, [f"{facts.prefix}/bin/python3", "-c", program]))
    done = ordinary_user.run(argv, stdin="input", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (status, "input\n", "my error\n")
    assert attempts(user_dir) == failures + 1
    left = [path.name for path in (node / f"conda_concept.{ordinary_user.uid}").glob("start*")]
    assert left == []


def test_a_mount_that_ends_while_the_container_starts_is_made_again(
    store: Store, node: Path, user_dir: Path, ordinary_user: OrdinaryUser
) -> None:
    user_dir.chmod(0o777)
    fake = fake_singularity(user_dir, 0)
    gone = f'for m in {node}/conda_concept.*/*/; do [ "$n" -ge 1 ] || fusermount3 -u "$m"; done\nexec '
    fake.write_text(fake.read_text("utf-8").replace("exec ", gone), "utf-8")
    facts = settings(store, node, runtime="singularity", singularity=str(fake))
    done = ordinary_user.run(hello(facts))
    assert (done.stdout, done.stderr) == (f"hello 2 {store.prefix()}\n", "")
    assert attempts(user_dir) == 2


#: What /bin/sh is somewhere.
SHELLS = {"dash": ["/bin/dash"], "bash": ["/bin/bash", "--posix"]}


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_tries_again_passes_signals_and_ends_with_its_caller(
    store: Store, node: Path, user_dir: Path, ordinary_user: OrdinaryUser, shell: str
) -> None:
    user_dir.chmod(0o777)
    words = SHELLS[shell]
    facts = settings(store, node, runtime="singularity", singularity=str(fake_singularity(user_dir, 1)))
    program = (
        "import os, signal, sys, time; signal.signal(signal.SIGUSR1, lambda *_: sys.exit(9));"
        "print(os.getpid(), file=sys.stderr, flush=True); time.sleep(60)"
    )
    argv = [*words, *inside_argv(facts, [f"{facts.prefix}/bin/python3", "-c", program])[1:]]

    def started() -> tuple[subprocess.Popen[str], int]:
        process = subprocess.Popen(
            ordinary_user.command(argv), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        return process, int(process.stderr.readline())

    told, _ = started()
    assert attempts(user_dir) == 2
    within(10, lambda: not list((node / f"conda_concept.{ordinary_user.uid}").glob("start*")))
    told.send_signal(signal.SIGUSR1)
    assert (told.wait(timeout=20), told.communicate()[1]) == (9, "")
    killed, command = started()
    killed.kill()
    killed.communicate(timeout=20)
    within(10, lambda: not Path(f"/proc/{command}").exists())


def test_giving_up_says_what_a_help_desk_asks_for(
    store: Store, node: Path, user_dir: Path, ordinary_user: OrdinaryUser
) -> None:
    user_dir.chmod(0o777)
    facts = settings(store, node, runtime="singularity", singularity=str(fake_singularity(user_dir, 9)))
    done = ordinary_user.run(hello(facts), env={"PBS_JOBID": "42.pbs"}, check=False)
    assert done.returncode == 255
    assert attempts(user_dir) == 3
    for text in (
        "FATAL:   container creation failed",
        "the command has not run",
        "42.pbs",
        os.uname().nodename,
        f"{facts.prefix}/image.sqsh",
        f"{facts.image_sha256}, as it should be",
        "help@example.org",
        "launcher --report",
    ):
        assert text in done.stderr


def test_an_image_that_is_not_there_yet_is_waited_for(
    store: Store, node: Path, open_dir: Path, ordinary_user: OrdinaryUser
) -> None:
    facts = settings(store, node)
    prefix = open_dir / "prefix"
    prefix.mkdir()
    late = replace(facts, prefix=str(prefix))
    argv = list(inside_argv(late, ["/bin/ls", str(prefix)]))
    with subprocess.Popen(
        ordinary_user.command(argv), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as one:
        time.sleep(0.5)
        shutil.copy(store.layout.image(DEMO), prefix / "image.sqsh")
        out, err = one.communicate(timeout=30)
    assert (one.returncode, err) == (0, "")
    assert "conda-meta" in out


def test_an_image_that_is_damaged_ends_in_a_report(
    store: Store, node: Path, open_dir: Path, ordinary_user: OrdinaryUser
) -> None:
    prefix = open_dir / "prefix"
    prefix.mkdir()
    (prefix / "image.sqsh").write_bytes(b"not squashfs" * 1000)
    facts = replace(settings(store, node, start_tries=2), prefix=str(prefix))
    argv = list(inside_argv(facts, ["/bin/true"]))
    (prefix / "launcher").write_text(argv[2], "utf-8")
    done = ordinary_user.run(argv, check=False)
    assert done.returncode == 125
    assert f"cannot mount {prefix}/image.sqsh" in done.stderr
    assert f"but it should be {facts.image_sha256}" in done.stderr


def test_a_block_that_cannot_be_read_is_named(
    store: Store, node: Path, open_dir: Path, user_dir: Path, ordinary_user: OrdinaryUser
) -> None:
    # The image is a file of another image, of which one block is damaged: reading that fails as on a failing disk.
    content, outer, inner = open_dir / "content", open_dir / "outer.sqsh", user_dir / "inner"
    content.mkdir()
    (content / "image.sqsh").write_bytes(os.urandom(2 << 20) + bytes(range(256)) * (3 << 12))
    run(["/usr/bin/mksquashfs", content, outer, "-quiet", "-no-progress", "-comp", "gzip", "-b", "1M"])
    data = bytearray(outer.read_bytes())
    third = 96 + (2 << 20)  # behind the superblock and two blocks that could not be compressed
    data[third + 500 : third + 600] = bytes(100)
    outer.write_bytes(data)
    ordinary_user.run(["/bin/mkdir", inner])
    ordinary_user.run(["/usr/bin/squashfuse_ll", outer, inner])
    try:
        facts = replace(settings(store, node), prefix=str(inner))
        done = ordinary_user.run([*inside_argv(facts, [])[:4], "--report"])
    finally:
        ordinary_user.run(["/usr/bin/fusermount3", "-u", inner])
    assert "  sha256  cannot be read, in blocks of 1 MiB: 2 (Input/output error)\n" in done.stderr


#: Runs $@ where no user namespace can be made any more.
NO_NAMESPACES = 'echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"'


def test_without_user_namespaces_that_is_said(store: Store, node: Path, ordinary_user: OrdinaryUser) -> None:
    limited = ["/usr/bin/unshare", "--user", "--map-root-user", "/bin/bash", "-c", NO_NAMESPACES, "bash"]
    done = ordinary_user.run([*limited, *hello(settings(store, node))], check=False)
    assert (done.returncode, done.stdout) == (125, "")
    for text in (
        "user namespaces",
        "unshare failed",
        "max_user_namespaces",
        "2.36",
        "CONDA_CONCEPT_RUNTIME=singularity",
    ):
        assert text in done.stderr


def test_debug_says_why_there_is_no_shared_mount(
    store: Store, node: Path, open_dir: Path, ordinary_user: OrdinaryUser
) -> None:
    prefix = open_dir / "prefix"
    prefix.mkdir()
    (prefix / "image.sqsh").write_bytes(b"not squashfs" * 1000)
    facts = replace(settings(store, node, start_tries=1), prefix=str(prefix))
    said = ordinary_user.run(hello(facts), env={"CONDA_CONCEPT_DEBUG": "1"}, check=False).stderr
    assert "no shared mount can be made here: This doesn't look like a squashfs image." in said
    assert "mounting the image for this command alone" in said


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"runtime": "singularity", "singularity": "/no/singularity"}, "/no/singularity"),
        ({"runtime": "namespace", "squashfuse": "/no/squashfuse_ll"}, "/no/squashfuse_ll"),
        ({"runtime": "namespace", "host_bin": "/no/bin"}, "/no/bin/unshare"),
    ],
)
def test_a_runtime_that_cannot_work_names_what_is_missing(
    store: Store, node: Path, ordinary_user: OrdinaryUser, change: dict[str, str], missing: str
) -> None:
    done = ordinary_user.run(hello(settings(store, node, **change)), check=False)
    assert done.returncode == 125
    assert missing in done.stderr
    assert "help@example.org" in done.stderr
    unknown = ordinary_user.run([store.command("hello")], env={"CONDA_CONCEPT_RUNTIME": "docker"}, check=False)
    assert unknown.returncode == 125
    assert '"docker"' in unknown.stderr
