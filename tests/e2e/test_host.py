"""An environment on its host: removed and replaced files, the host's MPI in real ranks, hooks, other nodes."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import rattler
from conda_lock._vendor.conda.core.prefix_data import PrefixData

from conda_concept import cli
from conda_concept.localchannel import index, write_interpreter, write_package
from conda_concept.run import run
from conda_concept.testing.junit import read_junit
from tests.support.hostmpi import HOOK, PROGRAM, SITE_PACKAGES, external, host_tree, hydro, openmpi, openssh, tracer
from tests.support.user import OrdinaryUser

SITE = """\
name: here
root: {root}/store
scratch: {root}/scratch
cache: {root}/cache
runtime: namespace
singularity: /opt/singularity/bin/singularity
binds: [/etc, /usr, /tmp, {root}/apps]
node_dir: {root}/node
host_libraries: [{root}/apps, /usr/lib, /lib]
host_software: {{openmpi: {root}/apps/openmpi}}
host_files_required: true
nodes: ["node?"]
mpi_run: [/usr/bin/mpirun, --oversubscribe, -n, "3"]
"""
#: Ranks in user namespaces of their own cannot read each other's memory; Open MPI says so at each start.
QUIET = 'virtual_packages: {__glibc: "2.36"}\nsetenv: {OMPI_MCA_btl_vader_single_copy_mechanism: none}\n'
REPLACED = f"""\
version: "26.11"
{QUIET}
remove:
  openssh: ["**"]
  openmpi: [lib/libmpi.so.40.*, lib/openmpi/**, share/**]
  hydro: ["lib/**/hydro_draft.py"]
replace:
  openmpi:
    root: "{{openmpi}}"
    files:
      - {{path: lib/libmpi.so, to: lib/libmpi.so.40}}
      - {{path: lib/libmpi_mpifh.so.40, to: "lib/{{compiler}}/{{name}}"}}
      - {{path: lib/lib*.so.40, to: "lib/{{name}}"}}
      - {{path: bin/*, to: "{{path}}"}}
    variants:
      compiler: {{by_needed: {{GNU: ["libgfortran.so.*"], Intel: ["libifport.so.*"]}}, otherwise: Intel}}
carry: [ssh, pbs_tmrsh, orted, mpirun]
hooks: [fonts.sh]
"""
EXTERNAL = f"""\
version: "26.11"
{QUIET}
prepend_path: {{LD_LIBRARY_PATH: "{{openmpi}}/lib"}}
host_commands: [ssh, scp]
"""
#: A second node, as far as a shell can tell: another name, and nothing of the caller's environment.
FAR_SHELL = """\
#!/bin/sh
options() {
    skip=0
    while case $1 in -o) n=2 ;; -*) n=1 ;; *) false ;; esac; do
        skip=$((skip + n))
        shift "$n"
    done
}
options "$@"
shift "$skip"
node=${1#*@}
shift
options "$@"
shift "$skip"
echo "$node $*" >>"$FAR_LOG"
[ -z "$FAR_ONLY_LOG" ] || exit 0
exec env -i HOME="$HOME" USER="$USER" SHELL=/bin/sh PATH=/usr/bin:/bin NODE="$node" \\
    unshare --user --map-current-user --uts --keep-caps /bin/sh -c '
        hostname "$NODE"
        exec setpriv --ambient-caps=-all --inh-caps=-all /bin/sh -c "$1"' sh "$*"
"""
#: What a rank has to have mapped.
REAL_MPI = os.path.realpath("/usr/lib/x86_64-linux-gnu/libmpi.so.40")


@dataclass(frozen=True, slots=True)
class Host:
    """A repository, a channel, a host's software and a store below `root`, as an ordinary user sees them."""

    root: Path
    user: OrdinaryUser

    def concept(self, *words: str) -> int:
        environ = {"CONDA_CHANNEL_ALIAS": (self.root / "channels").as_uri(), "HOME": str(self.root)}
        return cli.run([*words, "--repository", str(self.root / "repository"), "--site", "here"], environ)

    def write(self, name: str, files: Mapping[str, str]) -> None:
        for path, text in files.items():
            place = self.root / "repository" / "environments" / name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)

    def prefix(self, name: str) -> Path:
        return next(self.root.glob(f"store/apps/*/releases/{name}-*/*"))

    def record(self, name: str) -> Any:
        return json.loads((self.prefix(name) / "release.json").read_text("utf-8"))

    def run(self, argv: Sequence[str | Path], **env: str) -> str:
        """What a command prints; it may not say anything on standard error."""
        done = self.user.run(argv, env=env)
        assert done.stderr == ""
        return done.stdout


@pytest.fixture(scope="module")
def host(ordinary_user: OrdinaryUser) -> Iterator[Host]:
    root = Path(tempfile.mkdtemp(prefix="conda-concept-host-", dir="/tmp"))
    root.chmod(0o755)
    made = Host(root, ordinary_user)
    try:
        fill(made)
        yield made
    finally:
        for line in Path("/proc/self/mounts").read_text("utf-8").splitlines():
            mount = line.split()[1]
            if mount.startswith(f"{root}/"):
                end = ["/usr/bin/umount", "-l"] if os.geteuid() == 0 else ["/usr/bin/fusermount3", "-u", "-z"]
                run([*end, mount])
        shutil.rmtree(root)


def fill(host: Host) -> None:
    """Both ways to the host's MPI, each as a release."""
    root, channel = host.root, host.root / "channels" / "conda-forge"
    write_interpreter(channel)
    for spec in (openmpi(), external(), hydro(), openssh(), tracer()):
        write_package(channel, spec)
    index(channel)
    host_tree(root / "apps" / "openmpi")
    asked = "channels: [conda-forge]\ndependencies: [python, hydro, openssh, "
    host.write("replaced", {"environment.yml": f'name: replaced\n{asked}"openmpi=*=h*"]\n', "config.yml": REPLACED})
    host.write("replaced", {"hooks/fonts.sh": HOOK, "tests/mpi/meet.py": PROGRAM})
    host.write("outer", {"environment.yml": f'name: outer\n{asked}tracer, "openmpi=4.1.6=external_*"]\n'})
    host.write("outer", {"config.yml": EXTERNAL})
    (root / "node").mkdir()
    (root / "node").chmod(0o1777)
    sites = root / "repository" / "ci" / "sites"
    sites.mkdir(parents=True)
    (sites / "here.yml").write_text(SITE.format(root=root))
    for name in ("replaced", "outer"):
        assert host.concept("lock", name) == 0
        assert host.concept("build", name) == 0


@pytest.fixture(scope="module")
def tree(host: Host) -> Path:
    """The image of the release whose files were replaced, unpacked."""
    run(["unsquashfs", "-q", "-n", "-d", host.root / "tree", host.prefix("replaced") / "image.sqsh"])
    return host.root / "tree"


def test_the_record_says_how_the_image_differs_from_its_packages(host: Host) -> None:
    apps, made = host.root / "apps" / "openmpi", host.record("replaced")["integration"]
    assert made["removed"] == [
        ["hydro", [f"{SITE_PACKAGES}/hydro_draft.py"]],
        ["openmpi", ["lib/libmpi.so.40.30.6", "lib/openmpi/mca_btl_tcp.so", "share/openmpi/help.txt"]],
        ["openssh", ["bin/scp", "bin/ssh", "etc/ssh/config"]],
    ]
    assert {one["path"]: one["target"] for one in made["replaced"]} == {
        "bin/mpirun": f"{apps}/bin/mpirun",
        "bin/orted": f"{apps}/bin/orted",
        "lib/libmpi.so": f"{apps}/lib/libmpi.so.40",
        "lib/libmpi.so.40": f"{apps}/lib/libmpi.so.40",
        "lib/libmpi_mpifh.so.40": f"{apps}/lib/GNU/libmpi_mpifh.so.40",  # whoever uses it asks for GNU's runtime
    }
    assert made["carried"] == ["mpirun", "orted", "pbs_tmrsh", "ssh"]
    (hook,) = made["hooks"]
    assert hook["added"] == ["share/hydro/interfaces", "var/cache/fonts/list"]
    assert hook["changed"] == [f"{SITE_PACKAGES}/hydro_settings.py", "share/hydro/notes"]
    assert hook["removed"] == ["share/hydro/draft"]
    outer = host.record("outer")["integration"]
    assert (outer["removed"], outer["replaced"]) == ([["openssh", ["bin/scp", "bin/ssh"]]], [])


def test_conda_meta_tells_the_truth_to_conda_and_rattler(tree: Path) -> None:
    for path in (tree / "conda-meta").glob("*.json"):
        record = rattler.PrefixRecord.from_path(path)
        for fact in record.paths_data.paths:
            assert os.path.lexists(tree / fact.relative_path), fact.relative_path
    listed = {record.name: record for record in PrefixData(tree).iter_records()}  # type: ignore[no-untyped-call]
    assert {name: listed[name].channel.canonical_name for name in ("openssh", "openmpi", "hydro")} == {
        "openssh": "host",
        "openmpi": "host",
        "hydro": "conda-forge",
    }
    assert (listed["openssh"].version, listed["openssh"].build) == ("9.6", "0")
    assert listed["openssh"].files == ()
    assert "share/hydro/draft" not in listed["hydro"].files
    assert not (tree / "lib" / "openmpi").exists()


def test_a_hook_has_no_network_and_never_writes_into_the_shared_cache(host: Host, tree: Path) -> None:
    assert (tree / "share/hydro/interfaces").read_text().split() == ["lo"]
    assert (tree / "share/hydro/notes").read_text() == "notes\nappended\n"
    (cached,) = host.root.glob("cache/packages/hydro-*/share/hydro/notes")
    assert cached.read_text() == "notes\n"
    assert str(host.prefix("replaced")) in (tree / "var/cache/fonts/list").read_text()


def test_bytecode_is_of_what_removals_and_hooks_have_left(host: Host, tree: Path) -> None:
    code = "import hydro_settings; print(hydro_settings.MADE_BY, hydro_settings.__cached__)"
    said = host.run([host.prefix("replaced") / "bin/python3", "-c", code])
    assert said.startswith("the hook ")
    assert Path(said.split()[-1]).name in {path.name for path in (tree / SITE_PACKAGES / "__pycache__").iterdir()}
    assert not list(tree.rglob("hydro_draft*"))


def test_its_own_tests_look_at_all_of_it(host: Host) -> None:
    code = host.concept("test", "replaced-26.11")
    report = read_junit(host.prefix("replaced") / "tests.xml")
    outcomes = {result.title: result.outcome for result in report.results}
    wanted: tuple[str, ...] = (
        "host removed openssh",
        "host removed openmpi",
        "host replaced openmpi",
        "host-libraries hydro",
    )
    wanted += ("host ssh", "host orted", "host mpirun", "mpi meet.py")
    wanted += ("files openmpi", "files hydro", "depends hydro", "lock packages")
    assert {title: outcomes.get(title, "") for title in wanted} == dict.fromkeys(wanted, "passed")
    assert {result.title: result.note for result in report.results}["mpi meet.py"] == "", "the store was read-only"
    assert code == 0
    assert host.concept("verify") == 0
    assert host.concept("doctor") == 0


def test_the_tests_find_the_hosts_mpi_as_the_module_leads_there(host: Host) -> None:
    """One library is only in the folder that LD_LIBRARY_PATH names, one in the system's too."""
    code = host.concept("test", "outer-26.11")
    outcomes = {one.title: one.outcome for one in read_junit(host.prefix("outer") / "tests.xml").results}
    wanted = ("libraries hydro", "libraries tracer", "host-libraries hydro", "host-libraries tracer")
    assert {title: outcomes.get(title, "") for title in wanted} == dict.fromkeys(wanted, "passed")
    assert code == 0


@pytest.mark.parametrize("runtime", ["namespace", "singularity"])
@pytest.mark.parametrize("name", ["replaced", "outer"])
def test_ldd_shows_the_hosts_mpi_and_ranks_really_start(host: Host, name: str, runtime: str) -> None:
    """By replacement, and by conda-forge's external build and the module's LD_LIBRARY_PATH."""
    prefix = host.prefix(name)
    script = '. "$0/bin/activate"; "$0/launcher" --run /usr/bin/ldd "$0/lib/libhydro.so"'
    ldd = host.run(["/bin/sh", "-c", script, prefix], CONDA_CONCEPT_RUNTIME=runtime)
    found = {line.split()[0]: line.split()[2] for line in ldd.splitlines() if "=>" in line}
    shown = prefix / "lib" if name == "replaced" else host.root / "apps" / "openmpi" / "lib"
    assert found["libmpi.so.40"] == f"{shown}/libmpi.so.40"
    assert found["libopen-rte.so.40"].startswith("/lib/")
    start = '. "$0/bin/activate"; exec mpirun --oversubscribe -n 3 python3 "$1"'
    program = host.root / "repository/environments/replaced/tests/mpi/meet.py"
    said = host.run(["/bin/sh", "-c", start, prefix, program], CONDA_CONCEPT_RUNTIME=runtime)
    assert sorted(said.splitlines()) == [f"{rank} 3 here {prefix}/bin/python3 {REAL_MPI}" for rank in range(3)]


@dataclass(frozen=True, slots=True)
class Far:
    """Other nodes, as far as a remote shell can tell, and what was asked of them."""

    host: Host
    folder: Path
    runtime: str

    @property
    def env(self) -> dict[str, str]:
        log, path = str(self.folder / "log"), f"{self.folder}:/usr/bin:/bin"
        return {"CONDA_CONCEPT_RUNTIME": self.runtime, "FAR_LOG": log, "PATH": path}

    @property
    def asked(self) -> list[str]:
        return (self.folder / "log").read_text().splitlines()

    def sh(self, script: str, *words: str | Path) -> str:
        """What a shell script prints that has the prefix as `$0`; it has to say nothing on standard error."""
        return self.host.run(["/bin/sh", "-c", script, self.host.prefix("replaced"), *words], **self.env)


@pytest.fixture(params=["namespace", "singularity"])
def far(request: pytest.FixtureRequest, host: Host, user_dir: Path) -> Far:
    runtime: str = request.param
    for name in ("ssh", "pbs_tmrsh"):
        (user_dir / name).write_text(FAR_SHELL)
        (user_dir / name).chmod(0o755)
    (user_dir / "log").touch()
    (user_dir / "log").chmod(0o666)
    return Far(host, user_dir, runtime)


def test_ranks_on_two_nodes_have_the_environment(far: Far) -> None:
    """The other nodes start with a clean environment; `ssh` and `orted` of the release take the release along."""
    prefix = far.host.prefix("replaced")
    program = far.host.root / "repository/environments/replaced/tests/mpi/meet.py"
    words = "mpirun --oversubscribe -H nodea:2,nodeb:2 -n 4 python3"
    said = far.sh(f'. "$0/bin/activate"; exec {words} "$1"', program)
    nodes = ["nodea", "nodea", "nodeb", "nodeb"]
    assert sorted(said.splitlines()) == [
        f"{rank} 4 {node} {prefix}/bin/python3 {REAL_MPI}" for rank, node in enumerate(nodes)
    ]
    assert {line.split()[0] for line in far.asked} == {"nodea", "nodeb"}


def test_mpirun_of_the_release_needs_no_module(far: Far) -> None:
    prefix = far.host.prefix("replaced")
    said = far.sh('exec "$0/bin/mpirun" --oversubscribe -n 2 python3 -c "$1"', "import sys; print(sys.prefix)")
    assert said.splitlines() == [str(prefix)] * 2
    assert far.asked == []


WHERE = 'import os, sys; print(sys.prefix, os.environ["CONDA_PREFIX"], sys.argv[1:], sys.stdin.read())'


@pytest.mark.parametrize("shell", ["ssh -q -o BatchMode=yes me@nodea", "ssh nodea -x", "pbs_tmrsh other"])
def test_a_remote_command_finds_the_release(far: Far, shell: str) -> None:
    """With the remote shell's own rules for quotes and variables, with standard input and exit status."""
    prefix = far.host.prefix("replaced")
    remote = f"cd / && python3 -c '{WHERE}' \"a  b\" $NODE;  exit 3"
    said = far.sh(f'printf in | "$0/bin/"{shell} "$1"; echo $?', remote)
    node = far.asked[0].split()[0]
    assert said == f"{prefix} {prefix} ['a  b', '{node}'] in\n3\n"
    assert node in ("nodea", "other")


def test_ssh_to_a_host_that_is_no_node_is_the_plain_ssh(far: Far) -> None:
    """Git's servers take only the very words of Git. A job's own nodes count, whatever they are called."""
    assert far.sh('"$0/bin/ssh" git@example.org "echo git-upload-pack repo"') == "git-upload-pack repo\n"
    assert far.asked == ["example.org echo git-upload-pack repo"]
    (far.folder / "nodes").write_text("x.example.org\nexample.example.org\n")
    far.sh('PBS_NODEFILE="$1" "$0/bin/ssh" example true', far.folder / "nodes")
    assert "--carried" in far.asked[1]


def test_ssh_from_inside_takes_the_release_along_as_well(far: Far) -> None:
    """As a notebook or `subprocess` would; what arrives is run outside, as the other node's daemon would."""
    prefix = far.host.prefix("replaced")
    code = 'import subprocess; subprocess.run(["ssh", "nodeb", "python3", "-c", "\'import sys; print(sys.prefix)\'"])'
    far.sh('. "$0/bin/activate"; FAR_ONLY_LOG=1 exec python3 -c "$1"', code)
    node, command = far.asked[0].split(" ", 1)
    assert node == "nodeb"
    assert command.startswith(f"/bin/sh {prefix}/bin/ssh --carried {far.runtime} ")
    assert far.host.user.run(["/bin/sh", "-c", command]).stdout == f"{prefix}\n"


def test_another_build_in_other_folders_at_another_time_is_the_same_bytes(host: Host) -> None:
    """With an interpreter and its bytecode, the host's files, and a hook. The last one: it takes the release away."""
    prefix, first = host.prefix("replaced"), host.record("replaced")
    shutil.rmtree(prefix)
    site = host.root / "repository/ci/sites/here.yml"
    elsewhere = site.read_text().replace("/scratch", "/elsewhere/deep/down").replace("/cache", "/second-cache")
    site.write_text(elsewhere)
    assert host.concept("build", "replaced") == 0
    second = host.record("replaced")
    assert (second["prefix"], second["image"]) == (first["prefix"], first["image"])
    assert second["built_at"] != first["built_at"]
