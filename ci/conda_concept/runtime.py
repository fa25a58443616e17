"""The two runtimes from Python's side: the container's base, what is missing on a machine, and running inside.

How a command gets inside is said once, in the launcher's text (`templates/launcher.sh`). What runs before a release
directory is complete runs that same text through `sh -c`, so that a build sees exactly what its users will see.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from conda_concept.errors import ToolError
from conda_concept.model import Activation, ReleaseFile
from conda_concept.render.launcher import LAUNCHER, LauncherFacts, render_launcher, template_text
from conda_concept.run import run
from conda_concept.settings import Site

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

#: What a variable is set to before the scripts run a second time: what they put in front of it ends with this.
_MARK = "/conda-concept-mark"
#: For bash, with the prefix as its argument: prints three environments, each as `env -0` does and with a NUL more
#: between them: before the packages' activation scripts, after them (run by bash, in order, as conda does), and after
#: them with every variable that they set or unset having been there before. Then the names that are gone by now, each
#: with a NUL. What is named in small letters or begins with _ is a script's own, and nobody's setting.
ACTIVATION_SCRIPT = f"""
export CONDA_PREFIX="$1" PATH="$1/bin:$PATH"
activate() {{
    for script in "$CONDA_PREFIX"/etc/conda/activate.d/*.sh; do [ ! -f "$script" ] || . "$script" >&2; done
}}
env -0
printf '\\0'
(activate; env -0)
printf '\\0'
names=$(compgen -e | sort)
gone=()
unset() {{ builtin unset "$@"; gone+=("$@"); }}
away() {{
    for name in "${{gone[@]}}"; do [[ ! $name =~ ^[A-Z][A-Z0-9_]*$ || -v $name ]] || printf '%s\\n' "$name"; done
}}
for name in $(activate; comm -13 <(echo "$names") <(compgen -e | sort); away); do export "$name={_MARK}"; done
activate
env -0
printf '\\0'
away | sort -u | tr '\\n' '\\0'
"""
#: Variables that a shell changes by itself.
_NOISE = frozenset({"_", "SHLVL", "PWD", "OLDPWD", "PS1"})


def base_image(site: Site) -> tuple[ReleaseFile, ...]:
    """The container's base as a list of paths: mount points and links for the host's folders, and `inside.sh`.

    It is a plain folder, not an image: a container starts about 30 ms sooner without one more image to mount, and
    there is one less mount that can fail. It depends on the site file only.
    """
    binds = (*site.binds, site.root, site.node_dir)
    own = {path.strip("/"): target for path, target in site.links.items()}
    folders = {*_MOUNT_POINTS, *(bind.strip("/") for bind in binds)}
    every = {str(parent) for folder in folders for parent in (Path(folder), *Path(folder).parents)} - {"."}
    links = {name: target for name, target in (_LINKS | own).items() if name not in every}
    every |= {str(parent) for link in links for parent in Path(link).parents} - {"."}
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
                path.chmod(file.mode)  # whatever the umask is
            case "link":
                path.symlink_to(file.content)
            case "hardlink":
                path.hardlink_to(folder / file.content)
            case "file":
                with path.open("x", encoding="utf-8") as out:
                    out.write(file.content)
                path.chmod(file.mode)


def ensure_base(site: Site, folder: Path, settle: Callable[[Path], None] = lambda _: None) -> Path:
    """The base's path below `folder` (a store's `runtime/`), written first if it is not there yet.

    `settle` gives a folder and all in it the store's permissions, before anybody sees it. Two builds may do this at
    once, on two machines: the first one's stays.
    """
    files = base_image(site)
    final = folder / base_name(files)
    if final.is_dir():
        return final
    folder.mkdir(parents=True, exist_ok=True)
    staging = Path(mkdtemp(prefix=f".{final.name}.", dir=folder))
    try:
        staging.chmod(0o755)
        write_files(staging, files)
        settle(staging)
        staging.rename(final)
    except OSError:
        if not final.is_dir():
            raise
    finally:
        rmtree(staging, ignore_errors=True)
    return final


def inside_argv(facts: LauncherFacts, command: Sequence[str]) -> tuple[str, ...]:
    """The arguments that run `command` inside, without a launcher file: the image and the prefix folder must exist."""
    return ("/bin/sh", "-c", render_launcher(facts), f"{facts.prefix}/{LAUNCHER}", "--run", *command)


def parse_activation(said: str) -> Activation:
    """What `ACTIVATION_SCRIPT` printed as the activation that it means."""
    *environments, names = said.split("\0\0")
    before, after, again = (_variables(part) for part in environments)
    # A value that is longer by the mark was put in front of what was there.
    seen = {name: _MARK for name in after if name not in before and again.get(name) == f"{after[name]}:{_MARK}"}
    found = activation_between(before | seen, after | {name: again[name] for name in seen})
    gone = {name for name in names.split("\0") if name and name not in again}
    return replace(found, unset=tuple(sorted({*found.unset, *gone})))


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


def _variables(said: str) -> dict[str, str]:
    """`env -0`'s output as a dictionary."""
    return dict(word.split("=", 1) for word in said.split("\0") if "=" in word)


def runtime_problems(site: Site) -> tuple[str, ...]:
    """Why the site's runtime cannot work on this machine: each missing program, and whether user namespaces work."""
    needed = {"namespace": _namespace_tools(site), "singularity": [site.singularity]}[site.runtime]
    if site.runtime == "singularity" and site.mounting == "shared":
        needed += [site.squashfuse, *(f"{site.host_bin}/{name}" for name in ("bash", "fusermount3", "flock"))]
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
    names = ("unshare", "mount", "setpriv", "sleep", "bash", "flock", "mountpoint", "fusermount3")
    return [*(f"{site.host_bin}/{name}" for name in names), site.squashfuse]
