"""Run code of packages while an image is made: no network, nothing to write but the tree itself and /tmp.

The tree is seen at its real prefix, so what is compiled or captured there is what users will have. Of the host it sees
what users' commands see (the site's binds and links), read-only, but no socket of a daemon and no home of ours.

Two programs can make such a place: bubblewrap, which wants user namespaces, and the site's Singularity, which does
without them where it is set-uid. Both show the same paths over the same base.
"""

import os
import pwd
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from conda_concept.errors import ToolError
from conda_concept.run import Finished, find_tool, refuse_killed, run
from conda_concept.runtime import base_image, write_files
from conda_concept.settings import SandboxKind, Site

#: What a program finds set, whatever the caller has.
ENVIRONMENT: Mapping[str, str] = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "TZ": "UTC"}  # noqa: S108 - the sandbox's own
#: Never the host's: the sandbox has its own, or daemons listen below.
_OWN, _WITHHELD = ("/tmp", "/var/tmp"), ("/dev", "/proc", "/run", "/sys", "/var/run")  # noqa: S108 - the sandbox's own
#: Where the tree of a trial is seen.
_TRIAL = Path("/conda-concept-trial")
#: Said inside before the command begins: without it, what is on standard error is the sandbox's own failure.
_BEGUN = "conda-concept: the command begins"
_BEGIN = f"echo '{_BEGUN}' >&2; exec \"$@\""


@dataclass(frozen=True, slots=True)
class Shown:
    """A path of this machine, and where it is seen inside; `writable` there or not."""

    source: str
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Inside:
    """What is to run: `words`, with `tree` at `prefix`; `shown` besides, and `variables` beside `ENVIRONMENT`."""

    tree: Path
    prefix: Path
    words: Sequence[str]
    shown: tuple[Shown, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """All that there is inside: `base` at the top, `work/tmp` as /tmp, and what is shown, in order."""

    base: Path
    work: Path
    shown: tuple[Shown, ...]


def bubblewrap(tool: str, view: View, words: Sequence[str]) -> list[str]:
    """Every namespace is new, so there is no network but an unconnected loopback; the child dies with us."""
    shown = [(("--bind" if one.writable else "--ro-bind"), one.source, one.target) for one in view.shown]
    return [
        *(tool, "--unshare-all", "--die-with-parent", "--new-session", "--ro-bind", str(view.base), "/"),
        *("--proc", "/proc", "--dev", "/dev", "--bind", f"{view.work}/tmp", "/tmp"),  # noqa: S108 - the sandbox's own
        *(word for words_of_one in shown for word in words_of_one),
        *("--chdir", "/", "--", *words),
    ]


def singularity(tool: str, view: View, words: Sequence[str]) -> list[str]:
    """Nothing that its own settings would bind, no network but a loopback: the one that every user may ask for."""
    shown = [f"{one.source}:{one.target}{'' if one.writable else ':ro'}" for one in view.shown]
    return [
        *(tool, "-s", "exec", "--containall", "--no-home", "--no-mount", "bind-paths,hostfs"),
        *("--net", "--network", "none", "--workdir", str(view.work), "--pwd", "/"),
        *(word for bind in shown for word in ("--bind", bind)),
        *(str(view.base), *words),
    ]


def host_paths(site: Site, home: str, exists: Callable[[str], bool] = os.path.exists) -> tuple[Shown, ...]:
    """What of the host is to be seen, parents first; nothing below which `home` lies, since keys are there."""

    def is_fit(bind: str) -> bool:
        withheld = bind in _OWN or any(_is_below(bind, place) for place in _WITHHELD)
        return not withheld and not _is_below(home, bind) and exists(bind)

    binds = {"/etc", "/usr", *(bind.rstrip("/") for bind in site.binds if bind != "/")}
    return tuple(Shown(bind, bind) for bind in sorted(binds) if is_fit(bind))


def _is_below(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder}/")


@dataclass(frozen=True, slots=True)
class Sandbox:
    """One of the two ways, on this machine."""

    site: Site
    kind: SandboxKind

    def run(self, inside: Inside, timeout: float | None = None) -> Finished:
        """How the command ended and what it said.

        `ToolError` where the sandbox could not be made or the command was killed, which is never the command's fault.
        """
        variables = [f"{name}={value}" for name, value in {**ENVIRONMENT, **inside.variables}.items()]
        words = ("/bin/sh", "-c", _BEGIN, "sh", "/usr/bin/env", "-i", *variables, *inside.words)
        with self._view(inside) as view:
            if self.kind == "bubblewrap":
                argv = bubblewrap(str(find_tool("bwrap")), view, words)
            else:
                argv = singularity(self.site.singularity, view, words)
            done = run(argv, cwd=Path("/"), timeout=timeout, check=False)
        refuse_killed(inside.words, done.returncode)
        before, begun, said = done.stderr.partition(f"{_BEGUN}\n")
        if not begun:
            why = " ".join((before or done.stdout).split())[-500:] or f"it ended with {done.returncode}"
            raise ToolError(f"{self.kind} cannot make a sandbox on this machine: {why}.", hint=_HINT)
        return Finished(tuple(inside.words), done.returncode, done.stdout, said)

    def problem(self, scratch: Path) -> str:
        """Why it does not work on this machine; empty where it does. Tried in a folder below `scratch`."""
        tree = Path(mkdtemp(prefix="trial-", dir=scratch))
        script = f"touch {_TRIAL}/written && tail -n +2 /proc/net/route"
        try:
            done = self.run(Inside(tree, _TRIAL, ("/bin/sh", "-c", script)), timeout=120)
        except ToolError as error:
            return error.message
        finally:
            rmtree(tree, ignore_errors=True)
        if done.returncode != 0:
            return f"{self.kind} makes a sandbox that cannot write its tree: {' '.join(done.stderr.split())}."
        return f"{self.kind} makes a sandbox that has a network." if done.stdout.strip() else ""

    @contextmanager
    def _view(self, inside: Inside) -> Iterator[View]:
        """A base with a place for all that is shown, beside the tree for as long as it is needed."""
        home = pwd.getpwuid(os.geteuid()).pw_dir
        tree = Shown(str(inside.tree), str(inside.prefix), writable=not inside.read_only)
        shown = (*host_paths(self.site, home), tree, *inside.shown)
        work = Path(mkdtemp(prefix="sandbox-", dir=inside.tree.parent))
        try:
            for folder in ("base", "tmp"):
                (work / folder).mkdir()
            (work / "tmp").chmod(0o1777)
            write_files(work / "base", base_image(self.site))
            for one in shown:
                top = work if _is_below(one.target, "/tmp") else work / "base"  # noqa: S108 - the sandbox's own
                place = top / one.target.lstrip("/")
                place.parent.mkdir(parents=True, exist_ok=True)
                if Path(one.source).is_dir():
                    place.mkdir(exist_ok=True)
                else:
                    place.touch()
            yield View(work / "base", work, shown)
        finally:
            rmtree(work, ignore_errors=True)


def find_sandbox(site: Site, scratch: Path) -> Sandbox:
    """The sandbox that the site names, or else the first that works here; `ToolError` with why none does."""
    kinds: tuple[SandboxKind, ...] = (site.sandbox,) if site.sandbox else ("bubblewrap", "singularity")
    problems = []
    for kind in kinds:
        found = Sandbox(site, kind)
        problem = found.problem(scratch)
        if not problem:
            return found
        problems.append(problem)
    raise ToolError(f"packages cannot be built on this machine: {' '.join(problems)}", hint=_HINT)


_HINT = (
    "A build runs code of packages without network: by bubblewrap with user namespaces, or by the site's Singularity "
    "(`sandbox` in the site file)."
)
