"""What a release directory holds beside its image: the launcher under every command name, and what conda looks for.

Why the launcher is as it is:

- The release's facts are rendered into it, each quoted for the shell: one file to read, nothing to source, nothing to
  compute, and no lookup that could find another release than the one the caller chose.
- All names in `bin/` are hard links of one file: one inode for all commands, and `realpath bin/python3` stays itself,
  so that tools that resolve a command (editors, `venv`) still end at a path that is right inside too.
- It runs the path that it was called by where that matters (a virtual environment's `python` finds its `pyvenv.cfg`
  by it; a link under another name), and the release's own path otherwise: an alias means the release that it pointed
  at when the command started, for as long as the command runs.
- Its variables start with `_cc_`: a shell exports every variable that came in with the environment, so an innocent
  `name=` would change a user's variable.
- Its texts for other processes are arguments (`enter.sh`, in a new namespace; `serve.sh`, which becomes the process
  behind a mount; `watch.sh`, beside a container) or part of the container's base (`inside.sh`), because the release
  directory is covered by the image inside.

- The namespace runtime is unshare, mount and setpriv of util-linux, not bubblewrap: they become the command, where
  bubblewrap stays between it and its caller, and a SIGTERM or SIGUSR1 ends bubblewrap and never reaches the command.
  On a mount that is there the launcher starts nothing on its way to `exec`; inside, `mount` is the one process that is
  started. The first command of a user on a node makes the mount, and looks first whether namespaces work at all.
- A process behind a shared mount outlives the command that started it, so it holds none of the caller's descriptors;
  and it ends when nothing on the mount is open, so every command has a file of the image open, in the highest free
  descriptor of 3 to 9.
- Retries: the namespace runtime does everything that can fail before `exec`, in processes of ours, so it tries again
  and still ends in `exec`. Singularity fails after `exec`. So, unless the site says one try, the shell stays as
  Singularity's parent, with one helper beside it, and is as little seen as a shell can be: the caller's standard error
  goes in as a descriptor that the caller does not use, Singularity's own messages into a file that is shown only when
  the launcher gives up; a signal is passed on unless the whole process group got it (`watch.sh`); a death by a signal
  is died again. What remains: an exit with 129 to 159 is seen as a death by that signal, because a shell's `wait` says
  the same of both.
- dash hands on only variables whose names it could have itself: where it is /bin/sh, exported bash functions and names
  with a dot do not come through, in either runtime.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from conda_concept.errors import InputError
from conda_concept.model import Activation, Release, ReleaseFile
from conda_concept.render.quote import templates
from conda_concept.settings import Config, Site

#: What a bind of Singularity cannot carry in a path, and what a first line (`#!`) cannot.
_UNFIT = frozenset(":,\n\t '\"\\")
#: What conda, mamba or rattler do not carry through in the value of a variable.
_AWKWARD = frozenset("'\"$`\\\n\r")
#: The kernel reads so many bytes of a first line, `#!` included (BINPRM_BUF_SIZE since Linux 5.1 is 256; before, 128).
SHEBANG_LIMIT = 128
#: The longest command name that has to fit behind the prefix in a first line.
_COMMAND_ROOM = len("/bin/python3.11") + len("#!\n")

LAUNCHER = "launcher"
"""The launcher's own name in a release directory; the names in `bin/` are hard links of it."""


@dataclass(frozen=True, slots=True)
class LauncherFacts:
    """All that the files of a release directory say.

    `probe` is a file (relative to the prefix) that is in the image and not in the release directory: whoever can open
    it looks at the image. `commands` are the executables of the image's `bin/`. `base` is the folder that
    `runtime.base_image` describes. `overrides` are command names with their scripts' text. `kernel`: the environment
    has ipykernel.
    """

    release: Release
    prefix: str
    image_sha256: str
    probe: str
    commands: tuple[str, ...]
    base: str
    site: Site
    config: Config
    activation: Activation = field(default_factory=Activation)
    overrides: tuple[tuple[str, str], ...] = ()
    kernel: bool = False


def check_paths(facts: LauncherFacts) -> None:
    """Raise `InputError` with every path that a launcher, a bind or a first line could not carry."""
    paths = {"prefix": facts.prefix, "base": facts.base, "node_dir": facts.site.node_dir}
    paths |= {f"bind {path}": path for path in (*facts.site.binds, *facts.config.binds)}
    problems = [f"{what}: `{path}` is not an absolute path" for what, path in paths.items() if path[:1] != "/"]
    problems += [
        f"{what}: `{path}` holds one of `: , ' \" \\` or a space" for what, path in paths.items() if _UNFIT & set(path)
    ]
    if len(facts.prefix) + _COMMAND_ROOM > SHEBANG_LIMIT:
        problems.append(f"prefix: `{facts.prefix}` is too long for the first line of a script on every kernel")
    if problems:
        raise InputError("These paths cannot be used for a release:", problems=problems)


def render_launcher(facts: LauncherFacts) -> str:
    """The launcher's text."""
    check_paths(facts)
    site, config = facts.site, facts.config
    return (
        templates()
        .get_template("launcher.sh")
        .render(
            label=str(facts.release),
            prefix=facts.prefix,
            image=f"{facts.prefix}/image.sqsh",
            digest=facts.image_sha256,
            probe=facts.probe,
            runtime=site.runtime,
            singularity=site.singularity,
            base=facts.base,
            mounting=site.mounting,
            node_dir=site.node_dir,
            product=site.product,
            idle_seconds=site.idle_seconds,
            start_tries=site.start_tries,
            squashfuse=site.squashfuse,
            host_bin=site.host_bin,
            contact=config.contact,
            binds=tuple(dict.fromkeys((*site.binds, *config.binds, site.root))),
            unset=config.unset,
            enter=template_text("enter.sh"),
            serve=template_text("serve.sh"),
            watch=template_text("watch.sh"),
        )
    )


def template_text(name: str) -> str:
    """A shell template that has no settings, without the comments that are for its readers here."""
    text = templates().get_template(name).render()
    return "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("#"))


def launcher_files(facts: LauncherFacts) -> tuple[ReleaseFile, ...]:
    """Everything to write into a release directory beside image, lock, record, tests and modulefile.

    The launcher comes before its hard links; apart from those the tuple is sorted by path.
    """
    unlinked = {"activate", *dict(facts.overrides), *facts.config.host_commands}
    links = [ReleaseFile(f"bin/{name}", LAUNCHER, 0o755, "hardlink") for name in sorted({*facts.commands} - unlinked)]
    own = [
        *image_files(facts),
        ReleaseFile("conda-meta/history", _history(facts), 0o644, "file"),
        ReleaseFile("conda-meta/state", _state(facts), 0o644, "file"),
        ReleaseFile("etc/conda/activate.d/conda_concept.sh", _hook(facts, on=True), 0o644, "file"),
    ]
    launcher = ReleaseFile(LAUNCHER, render_launcher(facts), 0o755, "file")
    return (launcher, *links, *sorted(own, key=lambda file: file.path))


def image_files(facts: LauncherFacts) -> tuple[ReleaseFile, ...]:
    """What is in the image as well as beside it: a notebook, or any other program inside, finds the same as its user.

    That are the scripts that stand for commands, and what enters and leaves the environment. Nothing here depends on
    the image itself.
    """
    own = [
        ReleaseFile("bin/activate", _activate_script(facts), 0o644, "file"),
        ReleaseFile("etc/conda/deactivate.d/conda_concept.sh", _hook(facts, on=False), 0o644, "file"),
        *(ReleaseFile(f"bin/{name}", text, 0o755, "file") for name, text in facts.overrides),
    ]
    if facts.kernel:
        place = f"share/jupyter/kernels/{facts.release.label}/kernel.json"
        own.append(ReleaseFile(place, _kernel(facts), 0o644, "file"))
    return tuple(own)


def environment_variables(facts: LauncherFacts) -> tuple[tuple[str, str], ...]:
    """What activation and config set, config last."""
    merged = dict(facts.activation.set) | {name: _filled(value, facts) for name, value in facts.config.setenv.items()}
    return tuple(sorted(merged.items()))


def path_variables(facts: LauncherFacts) -> tuple[tuple[str, str], ...]:
    """What activation and config put in front of path variables."""
    extra = ((name, _filled(value, facts)) for name, value in facts.config.prepend_path.items())
    return (*facts.activation.prepend, *sorted(extra))


def _filled(value: str, facts: LauncherFacts) -> str:
    """A value of config with `{prefix}`, and the site's word for each of its `host_software`, filled in."""
    for name, place in {**facts.site.host_software, "prefix": facts.prefix}.items():
        value = value.replace(f"{{{name}}}", place)
    return value


def unset_variables(facts: LauncherFacts) -> tuple[str, ...]:
    """What activation takes out of a shell, but for what is set all the same.

    Whatever activates does it, and brings it back: the module, `bin/activate`, conda by our hook. The launcher does
    not: who sets such a variable after that means it. (What no command may see is the config's `unset`.)
    """
    kept = {name for name, _ in (*environment_variables(facts), *path_variables(facts))}
    return tuple(name for name in facts.activation.unset if name not in kept)


def _history(facts: LauncherFacts) -> str:
    """conda, mamba and micromamba take a folder with this file for an environment; they only ask that it is there."""
    return f"# {facts.release}, made by conda-concept; it is read-only\n"


def _state(facts: LauncherFacts) -> str:
    """The variables of an environment as conda keeps them: it sets them on activation and restores them after."""
    plain, _ = _for_conda(facts)
    return json.dumps({"version": 1, "env_vars": dict(plain)}, indent=2, sort_keys=True) + "\n"


def _for_conda(facts: LauncherFacts) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The variables that conda's state file can carry, and the others.

    conda 24 does not quote an apostrophe in a value, and rattler expands a dollar sign; both would hand the rest of the
    value to the shell as a command. Those go into our own hook, where they are quoted.
    """
    variables = environment_variables(facts)
    awkward = [(name, value) for name, value in variables if _AWKWARD & set(value)]
    return [pair for pair in variables if pair not in awkward], awkward


def _kernel(facts: LauncherFacts) -> str:
    """A kernelspec that any Jupyter server can use; named by release, so that several live beside each other.

    The kernel starts in a shell that has activated its release, and left the server's. (`env` of a kernelspec can
    neither take away a variable nor put something in front of one that may not be there, and expands dollar signs.)
    """
    start = '. "$0/bin/activate" && exec "$0/bin/python3" "$@"'
    spec = {
        "argv": ["/bin/sh", "-c", start, facts.prefix, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": facts.release.label,
        "language": "python",
        "metadata": {"debugger": True},
    }
    return json.dumps(spec, indent=2, sort_keys=True) + "\n"


def _hook(facts: LauncherFacts, on: bool) -> str:
    """What a user's conda sources on activation and deactivation.

    On activation it says what conda's own `state` cannot. On deactivation it takes all of it back, because whatever
    enters another environment of ours sources it, too.
    """
    variables = _for_conda(facts)[1] if on else environment_variables(facts)
    return (
        templates()
        .get_template("hook.sh")
        .render(paths=path_variables(facts), variables=variables, unset=unset_variables(facts), on=on)
    )


def _activate_script(facts: LauncherFacts) -> str:
    """What editors source: `. PREFIX/bin/activate`. Must not be a launcher, which would replace their shell."""
    return (
        templates()
        .get_template("activate.sh")
        .render(
            prefix=facts.prefix,
            label=facts.release.label,
            variables=environment_variables(facts),
            paths=path_variables(facts),
            unset=unset_variables(facts),
        )
    )


def choose_probe(image_files: Sequence[str]) -> str:
    """The file whose presence shows that the image is in place: the first package's own entry in `conda-meta`.

    `image_files` are relative to the prefix. Raises `InputError` for a tree without packages.
    """
    found = sorted(path for path in image_files if path.startswith("conda-meta/") and path.endswith(".json"))
    if not found:
        raise InputError("The image holds no package: nothing matches conda-meta/*.json.")
    return found[0]
