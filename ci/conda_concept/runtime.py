"""The two runtimes from Python's side: the container's base, what is missing on a machine, and running inside.

How a command gets inside is said once, in the launcher's text (`templates/launcher.sh`). What runs before a release
directory is complete runs that same text through `sh -c`, so that a build sees exactly what its users will see.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from conda_concept.errors import ToolError
from conda_concept.model import Activation, ReleaseFile, Site
from conda_concept.render.launcher import LAUNCHER, LauncherFacts, render_launcher, template_text
from conda_concept.run import CLEAN_ENVIRONMENT, run

#: What every container needs a place for, whatever the site binds. The last one is Apptainer's own: with it, one
#: container can start another.
_MOUNT_POINTS = (
    "dev",
    "etc",
    "home",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
    "usr",
    "var/tmp",
    "var/lib/apptainer/mnt/session",
)
#: Where the host's /usr has what these names at the top are links to (merged /usr; Debian 12, RHEL 8 and later).
_LINKS = {"bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64", "sbin": "usr/sbin"}

#: Prints the environment as JSON, from the environment's own Python or any other.
_SHOW = "import json, os, sys; json.dump(dict(os.environ), sys.stdout)"
#: Variables that a shell changes by itself.
_NOISE = frozenset({"_", "SHLVL", "PWD", "OLDPWD", "PS1"})


def base_image(site: Site) -> tuple[ReleaseFile, ...]:
    """The container's base as a list of paths: mount points and links for the host's folders, and `inside.sh`.

    It is a plain folder, not an image: a container starts about 30 ms sooner without one more image to mount, and
    there is one less mount that can fail. It depends on the site file only.
    """
    binds = (*site.binds, site.root, site.node_dir)
    folders = {*_MOUNT_POINTS, *(bind.strip("/") for bind in binds)}
    links = {name: target for name, target in _LINKS.items() if name not in folders}
    every = {str(parent) for folder in folders for parent in (Path(folder), *Path(folder).parents)} - {"."}
    return (
        *(ReleaseFile(folder, "", 0o755, "directory") for folder in sorted(every)),
        *(ReleaseFile(name, target, 0o777, "link") for name, target in sorted(links.items())),
        ReleaseFile(f".{site.product}", template_text("inside.sh"), 0o644, "file"),
    )


def base_name(files: Sequence[ReleaseFile]) -> str:
    """A name for a base that says what is in it, so that a new one never replaces one that is in use."""
    text = json.dumps([(file.path, file.kind, file.mode, file.content) for file in files])
    return f"base-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def write_files(folder: Path, files: Sequence[ReleaseFile]) -> None:
    """Write paths below `folder`, parents included; a file or link that is there already is an error."""
    for file in files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        match file.kind:
            case "directory":
                path.mkdir(exist_ok=True)
            case "link":
                path.symlink_to(file.content)
            case "hardlink":
                path.hardlink_to(folder / file.content)
            case "file":
                with path.open("x", encoding="utf-8") as out:
                    out.write(file.content)
                path.chmod(file.mode)


def ensure_base(site: Site, folder: Path) -> Path:
    """The base's path below `folder` (a store's `runtime/`), written first if it is not there yet."""
    files = base_image(site)
    final = folder / base_name(files)
    if not final.is_dir():
        staging = folder / f"{final.name}.{os.getpid()}"
        folder.mkdir(parents=True, exist_ok=True)
        write_files(staging, files)
        staging.rename(final)
    return final


def inside_argv(facts: LauncherFacts, command: Sequence[str]) -> tuple[str, ...]:
    """The arguments that run `command` inside, without a launcher file: the image and the prefix folder must exist."""
    return ("/bin/sh", "-c", render_launcher(facts), f"{facts.prefix}/{LAUNCHER}", "--run", *command)


def capture_activation(facts: LauncherFacts) -> Activation:
    """What the packages' own activation scripts do to an environment, found by running them inside.

    They run with a bare environment and CONDA_PREFIX set, as conda runs them; nothing else of theirs is kept.
    """
    env = {**CLEAN_ENVIRONMENT, "HOME": "/", "CONDA_PREFIX": facts.prefix}
    env["PATH"] = f"{facts.prefix}/bin:{env['PATH']}"
    script = (
        'for s in "$CONDA_PREFIX"/etc/conda/activate.d/*.sh; do [ ! -f "$s" ] || . "$s" >&2; done; '
        'exec "$CONDA_PREFIX/bin/python3" -I -c "$1"'
    )
    shell = "/bin/bash"  # conda's activation scripts are bash in practice
    before = run(inside_argv(facts, (shell, "-c", 'exec "$CONDA_PREFIX/bin/python3" -I -c "$1"', "sh", _SHOW)), env=env)
    after = run(inside_argv(facts, (shell, "-c", script, "sh", _SHOW)), env=env)
    return activation_between(json.loads(before.stdout), json.loads(after.stdout))


def activation_between(before: Mapping[str, str], after: Mapping[str, str]) -> Activation:
    """The difference of two environments; a value that ends with the old one was put in front of it."""
    changed = {name: after[name] for name in sorted(after) if name not in _NOISE and before.get(name) != after[name]}
    prepend = {
        name: value.removesuffix(f":{before[name]}")
        for name, value in changed.items()
        if before.get(name) and value.endswith(f":{before[name]}")
    }
    return Activation(
        set=tuple((name, value) for name, value in changed.items() if name not in prepend),
        prepend=tuple(prepend.items()),
        unset=tuple(sorted(name for name in before if name not in after and name not in _NOISE)),
    )


def runtime_problems(site: Site) -> tuple[str, ...]:
    """Why the site's runtime cannot work on this machine: each missing program, and whether user namespaces work."""
    needed = {"namespace": _namespace_tools(site), "singularity": [site.singularity]}[site.runtime]
    if site.runtime == "singularity" and site.mounting == "shared":
        needed += [site.squashfuse, f"{site.host_bin}/fusermount3", f"{site.host_bin}/flock"]
    problems = [f"{program} is not there or cannot be run" for program in needed if not os.access(program, os.X_OK)]
    if site.runtime == "namespace" and not problems:
        probe = run(
            [f"{site.host_bin}/unshare", "--user", "--map-current-user", "--mount", "--keep-caps", "/bin/true"],
            check=False,
        )
        if probe.returncode != 0:
            problems.append(f"user namespaces do not work here: {probe.stderr.strip()}")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        problems.append("/dev/fuse cannot be opened by this user")
    return tuple(problems)


def require_runtime(site: Site) -> None:
    """Raise `ToolError` with all of `runtime_problems`."""
    problems = runtime_problems(site)
    if problems:
        raise ToolError(
            f"The runtime `{site.runtime}` cannot work on this machine: " + "; ".join(problems) + ".",
            hint="Install what is missing (`ci/setup` does on Debian), or choose the other runtime in the site file.",
        )


def _namespace_tools(site: Site) -> list[str]:
    names = ("unshare", "mount", "setpriv", "sleep", "flock", "mountpoint", "fusermount3")
    return [*(f"{site.host_bin}/{name}" for name in names), site.squashfuse]
