"""What is said to the programs that keep code of packages in its place, and what of the host it sees."""

from pathlib import Path

from conda_concept.sandbox import Shown, View, bubblewrap, host_paths, singularity
from conda_concept.settings import Site

VIEW = View(
    Path("/w/base"), Path("/w"), (Shown("/usr", "/usr"), Shown("/s/tree", "/g/r/1", writable=True), Shown("/s/h", "/h"))
)


def test_what_bubblewrap_is_asked() -> None:
    assert bubblewrap("/usr/bin/bwrap", VIEW, ["/h", "a b"]) == [
        *("/usr/bin/bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--ro-bind", "/w/base", "/"),
        *("--proc", "/proc", "--dev", "/dev", "--bind", "/w/tmp", "/tmp", "--ro-bind", "/usr", "/usr"),
        *("--bind", "/s/tree", "/g/r/1", "--ro-bind", "/s/h", "/h", "--chdir", "/", "--", "/h", "a b"),
    ]


def test_what_singularity_is_asked() -> None:
    assert singularity("/opt/s", VIEW, ["/h", "a b"]) == [
        *("/opt/s", "-s", "exec", "--containall", "--no-home", "--no-mount", "bind-paths,hostfs"),
        *("--net", "--network", "none", "--workdir", "/w", "--pwd", "/", "--bind", "/usr:/usr:ro"),
        *("--bind", "/s/tree:/g/r/1", "--bind", "/s/h:/h:ro", "/w/base", "/h", "a b"),
    ]


def test_the_hosts_software_is_seen_and_neither_homes_nor_daemons() -> None:
    binds = ("/usr", "/tmp", "/tmp/apps", "/run", "/var/run/munge", "/sys/fs/cgroup", "/home", "/g/data/", "/apps")
    site = Site(name="x", root="/g/data/r", scratch="/s", cache="/c", binds=binds)
    seen = [one.target for one in host_paths(site, "/home/123/xy", lambda path: path != "/apps")]
    assert seen == ["/etc", "/g/data", "/tmp/apps", "/usr"]
    assert "/g/data" not in [one.target for one in host_paths(site, "/g/data/hh5/home", lambda _: True)]
