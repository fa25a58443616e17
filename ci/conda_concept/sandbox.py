"""Run code of packages while an image is made: no network, nothing to write but the tree itself.

The tree is seen at its real prefix, so what is compiled or captured there is what users will have.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from conda_concept.run import find_tool

#: The host's system folders, read-only; some are links into /usr, which have to stay links.
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc")

#: What a program finds set, whatever the caller has.
ENVIRONMENT: Mapping[str, str] = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "TZ": "UTC"}  # noqa: S108 - the sandbox's own


def argv(
    tool: Path,
    tree: Path,
    prefix: Path,
    links: Mapping[str, str],
    command: Sequence[str],
    options: Sequence[str] = (),
) -> list[str]:
    """The bubblewrap line that runs `command` with `tree` at `prefix`; `links` are the system folders that are links.

    Every namespace is new, so there is no network but an unconnected loopback; the child dies with us. `options` are
    further words for bubblewrap.
    """
    system: list[str] = []
    for folder in SYSTEM:
        system += ["--symlink", links[folder], folder] if folder in links else ["--ro-bind-try", folder, folder]
    variables = [word for name, value in ENVIRONMENT.items() for word in ("--setenv", name, value)]
    return [
        *(str(tool), "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", *variables, *system),
        *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--bind", str(tree), str(prefix)),  # noqa: S108 - the sandbox's own
        *(*options, "--chdir", "/", "--", *command),
    ]


def system_links(folders: Iterable[str] = SYSTEM) -> dict[str, str]:
    """Which system folders are symlinks on this host, and where to."""
    return {folder: str(Path(folder).readlink()) for folder in folders if Path(folder).is_symlink()}


def command(tree: Path, prefix: Path, words: Sequence[str], options: Sequence[str] = ()) -> list[str]:
    """`argv` for this host."""
    return argv(find_tool("bwrap"), tree, prefix, system_links(), words, options)
