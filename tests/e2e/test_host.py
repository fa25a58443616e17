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
from tests.support.hostmpi import HOOK, PROGRAM, external, host_tree, hydro, openmpi, openssh
from tests.support.user import OrdinaryUser

SITE = """\
name: here
root: {root}/store
scratch: {root}/scratch
cache: {root}/cache
runtime: namespace
singularity: /opt/singularity/bin/singularity
binds: [/etc, /usr, /tmp]
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
carry: [ssh, orted]
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
while case $1 in -*) true ;; *) false ;; esac; do shift; done
node=$1
shift
echo "$node $*" >>"$FAR_LOG"
exec env -i HOME="$HOME" USER="$USER" SHELL=/bin/sh PATH=/usr/bin:/bin NODE="$node" \\
    unshare --user --map-current-user --uts --keep-caps /bin/sh -c '
        hostname "$NODE"
        exec setpriv --ambient-caps=-all --inh-caps=-all /bin/sh -c "$1"' sh "$*"
"""


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
    channel = root / "channels" / "conda-forge"
    write_interpreter(channel)
    for spec in (openmpi(), external(), hydro(), openssh()):
        write_package(channel, spec)
    index(channel)
    host_tree(root / "apps" / "openmpi")
    asked = "channels: [conda-forge]\ndependencies: [python, hydro, openssh, "
    made.write("replaced", {"environment.yml": f'name: replaced\n{asked}"openmpi=*=h*"]\n', "config.yml": REPLACED})
    made.write("replaced", {"hooks/fonts.sh": HOOK, "tests/mpi/meet.py": PROGRAM})
    made.write("outer", {"environment.yml": f'name: outer\n{asked}"openmpi=4.1.6=external_*"]\n'})
    made.write("outer", {"config.yml": EXTERNAL})
    (root / "node").mkdir()
    (root / "node").chmod(0o1777)
    sites = root / "repository" / "ci" / "sites"
    sites.mkdir(parents=True)
    (sites / "here.yml").write_text(SITE.format(root=root))
    for name in ("replaced", "outer"):
        assert made.concept("lock", name) == 0
        assert made.concept("build", name) == 0
    yield made
    for line in Path("/proc/self/mounts").read_text("utf-8").splitlines():
        mount = line.split()[1]
        if mount.startswith(f"{root}/"):
            run(["/usr/bin/umount", "-l", mount] if os.geteuid() == 0 else ["/usr/bin/fusermount3", "-u", "-z", mount])
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def tree(host: Host) -> Path:
    """The image of the release whose files were replaced, unpacked."""
    run(["unsquashfs", "-q", "-n", "-d", host.root / "tree", host.prefix("replaced") / "image.sqsh"])
    return host.root / "tree"


def test_the_record_says_how_the_image_differs_from_its_packages(host: Host) -> None:
    apps, made = host.root / "apps" / "openmpi", host.record("replaced")["integration"]
    assert made["removed"] == [
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
    assert made["carried"] == ["orted", "ssh"]
    (hook,) = made["hooks"]
    assert hook["added"] == ["share/hydro/interfaces", "var/cache/fonts/list"]
    assert (hook["changed"], hook["removed"]) == (["share/hydro/notes"], ["share/hydro/draft"])
    assert host.record("outer")["integration"]["replaced"] == []


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


def test_its_own_tests_look_at_all_of_it(host: Host) -> None:
    code = host.concept("test", "replaced-26.11")
    report = read_junit(host.prefix("replaced") / "tests.xml")
    outcomes = {result.title: result.outcome for result in report.results}
    wanted: tuple[str, ...] = ("host removed openssh", "host removed openmpi", "host replaced openmpi", "host-libraries hydro")
    wanted += ("host ssh", "host orted", "host mpirun", "mpi meet.py")
    wanted += ("files openmpi", "files hydro", "depends hydro", "lock packages")
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
    real = os.path.realpath("/usr/lib/x86_64-linux-gnu/libmpi.so.40")
    assert sorted(said.splitlines()) == [f"{rank} 3 here {prefix}/bin/python3 {real}" for rank in range(3)]


@pytest.mark.parametrize("runtime", ["namespace", "singularity"])
def test_ranks_on_two_nodes_have_the_environment(host: Host, runtime: str, user_dir: Path) -> None:
    """The other nodes start with a clean environment; `ssh` and `orted` of the release take the release along."""
    prefix = host.prefix("replaced")
    shell = user_dir / "ssh"
    shell.write_text(FAR_SHELL)
    shell.chmod(0o755)
    (user_dir / "log").touch()
    (user_dir / "log").chmod(0o666)
    env = {"CONDA_CONCEPT_RUNTIME": runtime, "FAR_LOG": str(user_dir / "log"), "PATH": f"{user_dir}:/usr/bin:/bin"}
    program = host.root / "repository/environments/replaced/tests/mpi/meet.py"
    words = "mpirun --oversubscribe -H nodea:2,nodeb:2 -n 4 -x NODE python3"
    done = host.user.run(["/bin/sh", "-c", f'. "$0/bin/activate"; exec {words} "$1"', prefix, program], env=env)
    real = os.path.realpath("/usr/lib/x86_64-linux-gnu/libmpi.so.40")
    nodes = ["nodea", "nodea", "nodeb", "nodeb"]
    assert sorted(done.stdout.splitlines()) == [
        f"{rank} 4 {node} {prefix}/bin/python3 {real}" for rank, node in enumerate(nodes)
    ]
    assert {line.split()[0] for line in (user_dir / "log").read_text().splitlines()} == {"nodea", "nodeb"}
