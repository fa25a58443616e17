"""What `site init` makes of a machine: facts from answers, decisions from facts, and the file's text."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conda_concept.batch import build_queue
from conda_concept.document import SourceText
from conda_concept.errors import InputError
from conda_concept.looking import look
from conda_concept.machine import (
    Mount,
    Scheduler,
    parse_default,
    parse_library,
    parse_modules,
    parse_mounts,
    parse_queues,
    parse_version,
)
from conda_concept.render.sitefile import site_file
from conda_concept.settings import Site
from conda_concept.site import read_site
from conda_concept.siting import Wishes, draft
from conda_concept.steps.site_init import propose
from tests.support.machines import BARE, GADI, MACHINES, SLURM, FakeHost

GOLDEN = Path(__file__).parents[1] / "data" / "sites"


def site_of(host: FakeHost, wishes: Wishes = Wishes()) -> Site:  # noqa: B008 - frozen
    return read_site(SourceText("x.yml", site_file(draft(look(host), wishes))), {})


@pytest.mark.parametrize("name", sorted(MACHINES))
def test_the_file_for_a_machine_is_what_it_was(name: str) -> None:
    text = propose(MACHINES[name], Wishes()).text
    assert text == (GOLDEN / f"{name}.yml").read_text("utf-8")
    assert max(len(line) for line in text.splitlines()) <= 120


def test_a_machine_with_a_set_uid_singularity() -> None:
    site = site_of(GADI)
    assert (site.name, site.runtime, site.mounting) == ("gadi", "singularity", "container")
    assert site.singularity == "/opt/singularity/bin/singularity"
    assert (site.groups.users, site.groups.owners) == ("hh5", "hh5_w")
    # /etc is a link there: it is bound all the same, since the container has a folder of that name.
    assert {"/etc", "/half-root", "/apps", "/g", "/iointensive"} <= set(site.binds)
    assert not {"/proc", "/sys", "/dev", "/root", "/images"} & set(site.binds)
    assert dict(site.links) == {"/images": "half-root/images"}
    assert site.scratch == "/local"
    assert site.host_libraries == ("/usr/lib64", "/lib64", "/apps/openmpi/4.1.5/lib")


def test_a_machine_with_slurm_and_user_namespaces() -> None:
    site = site_of(SLURM)
    assert (site.name, site.runtime, site.mounting) == ("here", "singularity", "shared")
    assert site.root == "/gpfs/conda-concept"
    assert site.scratch == "/scratch/local"
    assert site.groups.users is None
    machine = look(SLURM)
    assert machine.scheduler is not None
    assert machine.scheduler.queues == ("data", "short", "long", "gpu")
    assert "# executor:\n#   kind: pbs\n#   dialect: slurm\n" in site_file(draft(machine, Wishes()))


@pytest.mark.parametrize("name", ["gadi", "slurm"])
def test_the_executor_that_is_offered_can_be_taken(name: str) -> None:
    text = site_file(draft(look(MACHINES[name]), Wishes()))
    head, _, offered = text.partition("# executor:\n")
    taken = head + "executor:\n" + offered.replace("# ", "", 1).replace("\n# ", "\n")
    executor = read_site(SourceText("x.yml", taken), {}).executor
    assert executor.kind == "pbs"
    assert executor.download_job is not None
    found = (executor.dialect, executor.project, executor.build.queue, executor.build.jobfs)
    assert found == {"gadi": ("pbspro", "w97", "normal", "50GB"), "slurm": ("slurm", None, "short", None)}[name]
    moving = executor.download_job
    assert (executor.download, moving.queue, moving.cpus) == ("queue", {"gadi": "copyq", "slurm": "data"}[name], 1)


def test_a_queue_for_builds_is_never_one_that_moves_data() -> None:
    def of(*queues: str, default: str = "") -> str:
        return build_queue(Scheduler("PBS Pro", "1", ("qsub",), "/bin", queues, default))[0]

    assert of("copyq", "express", "normal") == "normal"
    assert of("copyq", "express", default="express") == "express"
    assert of("copyq", "express") == of() == ""


def test_a_machine_that_lacks_everything_says_what_is_missing() -> None:
    missing = " ".join(draft(look(BARE), Wishes()).missing)
    for word in ("squashfs-tools", "bubblewrap", "Singularity", "util-linux", "a runtime", "patchelf"):
        assert word in missing
    machine = look(BARE)
    assert machine.scheduler is not None
    assert (machine.scheduler.kind, machine.scheduler.queues) == ("Torque", ())
    assert machine.no_namespaces == "unshare: unrecognized option '--map-current-user'"


def test_what_somebody_says_counts_and_is_checked() -> None:
    site = site_of(GADI, Wishes("raven", "/g/data/xy00/public/", "tester"))
    assert (site.name, site.root, site.test_user) == ("raven", "/g/data/xy00/public", "tester")
    assert site.cache == "/g/data/xy00/public/cache"
    with pytest.raises(InputError, match="absolute path"):
        propose(GADI, Wishes(root="relative"))


def test_everything_assumed_is_named() -> None:
    assert propose(GADI, Wishes()).assumed == (
        "root",
        "scratch",
        "cache",
        "groups",
        "sandbox",
        "host_libraries",
        "node_dir",
        "squashfuse",
        "squash",
        "executor",
    )


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_name_of_a_machine_can_break_the_file(name: str, root: str) -> None:
    """Hosts, folders and wishes may hold anything; the file stays one that our parser reads as it was meant."""
    wishes = Wishes(name, f"/{root}" if root else "")
    site = read_site(SourceText("x.yml", site_file(draft(look(SLURM), wishes))), None)
    assert site.name == (name or "here")
    if root and "$" not in root:
        assert site.root == f"/{root}".rstrip("/")


def test_mounts_from_the_kernel() -> None:
    text = (
        "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
        "28 27 0:25 / /with\\040space ro shared:1 master:2 - nfs4 server:/x rw\n"
        "29 27 0:26 / /dev/shm rw - tmpfs tmpfs rw\n"
        "30 27 0:27 / /sys rw - sysfs sysfs rw\n"
        "31 27 0:28 / /over rw - ext4 /dev/vdb rw\n"
        "32 27 0:29 / /over rw - lustre x rw\n"
    )
    assert parse_mounts(text) == (Mount("/", "ext4"), Mount("/over", "lustre"), Mount("/with space", "nfs4"))
    assert [mount.shared for mount in parse_mounts(text)] == [False, True, True]


def test_what_programs_say_of_themselves() -> None:
    old = parse_modules("VERSION=3.2.10\nDATE=2012-12-21\n", "/i")
    assert old is not None
    assert (old.kind, old.version) == ("Environment Modules", "3.2.10")
    assert parse_modules("bash: module: command not found", "/i") is None
    assert parse_version("pbs_version = 2022.1.1") == "2022.1.1"
    assert parse_version("nothing") == ""
    assert parse_queues("PBS Pro", "Queue Max\n----- ---\nnormal 0\nexpress 0\n") == ("normal", "express")
    assert parse_default("PBS Pro", "Server: x\n    default_queue = workq\n") == "workq"
    assert parse_default("Slurm", "long\nnormal*\n") == "normal"
    assert parse_default("Slurm", "long\n") == ""
    assert parse_queues("Slurm", "normal*\nlong\n") == ("normal", "long")
    assert parse_library("\tlibc.so.6 (libc6,x86-64) => /lib64/libc.so.6\n", "libc.so.6") == "/lib64"
    assert parse_library("", "libc.so.6") == ""
