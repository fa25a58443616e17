"""The checkout: environments' files as they are now or at a commit, and what changed since one."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from conda_concept.document import MAX_BYTES, Problems, SourceText, parse
from conda_concept.errors import InputError, NotFoundError
from conda_concept.model import Spec
from conda_concept.run import CLEAN_ENVIRONMENT, CommandError, Finished, run
from conda_concept.settings import Config, Site
from conda_concept.site import read_site
from conda_concept.spec import ENVIRONMENT_NAME, read_spec

#: A lock of 1,443 packages has 1.3 MB.
MAX_LOCK_BYTES = 50_000_000
#: How the release job's commit says which commit it released.
SOURCE = "Source: "


@dataclass(frozen=True, slots=True)
class Repository:
    """A folder with `environments/` and `ci/sites/`."""

    root: Path
    home: str = "/"

    def environments(self) -> tuple[str, ...]:
        """The names of all environments."""
        folder = self.root / "environments"
        if not folder.is_dir():
            raise NotFoundError(
                f"there is no folder `environments` in {self.root}.",
                hint="Run conda-concept at the top of the repository, or name it with --repository.",
            )
        return tuple(sorted(path.name for path in folder.iterdir() if (path / "environment.yml").exists()))

    def sites(self) -> tuple[str, ...]:
        """The names of all site files."""
        return tuple(sorted(path.stem for path in (self.root / "ci" / "sites").glob("*.yml")))

    def folder(self, name: str) -> Path:
        """The folder of an environment, which has to be there."""
        known = self.environments()
        if name not in known:
            if not ENVIRONMENT_NAME.match(name):
                raise InputError(f"{name!r} is not an environment's name: lower case letters, digits and _ only.")
            raise NotFoundError(f"there is no environment `{name}`; there are: {', '.join(known) or 'none'}.")
        return self.root / "environments" / name

    def spec(self, name: str) -> Spec:
        """The checked spec of an environment, or an `InputError` with everything that is wrong."""
        return read_spec(name, *self.sources(name))

    def sources(self, name: str) -> tuple[SourceText, SourceText]:
        """The texts of an environment's `environment.yml` and `config.yml`."""
        folder = self.folder(name)
        return self._source(folder / "environment.yml"), self._source(folder / "config.yml")

    def form(self, path: str) -> SourceText:
        """An issue form of the repository."""
        return self._source(self.root / path)

    def release_branches(self, name: str) -> tuple[tuple[str, str], ...]:
        """The branches on which versions of an environment are looked after: label and ref, newest version first."""
        try:
            found = self._git("for-each-ref", "--format=%(refname)", "refs/remotes/origin", "refs/heads").stdout.split()
        except CommandError:
            return ()  # no Git repository, so no branches
        labels = {ref.rpartition("/")[2]: ref for ref in sorted(found)}
        pattern = re.compile(rf"{re.escape(name)}-[0-9]{{2}}\.[0-9]{{2}}")
        return tuple((label, labels[label]) for label in sorted(labels, reverse=True) if pattern.fullmatch(label))

    def configs(self) -> dict[str, Config]:
        """The configs of all environments, by name."""
        return {name: self.spec(name).config for name in self.environments()}

    def tests(self, name: str) -> dict[str, str]:
        """The environment's own test files: path below its `tests/` to text."""
        if name not in self.environments():  # a new one, known only from a pull request's data
            return {}
        folder = self.folder(name) / "tests"
        return {
            str(path.relative_to(folder)): read_text(path, MAX_BYTES)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts
        }

    def overrides(self, spec: Spec) -> tuple[tuple[str, str], ...]:
        """The scripts that stand for commands of an environment: command name and text, from files beside its config.

        Raises one `InputError` with every one that is missing, elsewhere, or no script.
        """
        folder, problems, found = self.folder(spec.name), [], []
        for command, file in sorted(spec.config.overrides.items()):
            place = f"environments/{spec.name}/config.yml: overrides: {command}"
            if "/" in file or file.startswith("."):
                problems.append(f"{place}: `{file}` has to be the name of a file beside config.yml")
            elif not (folder / file).is_file():
                problems.append(f"{place}: there is no file `{file}` beside config.yml")
            elif not (text := read_text(folder / file, MAX_BYTES)).startswith("#!"):
                problems.append(f"{place}: `{file}` is no script; its first line has to begin with #!")
            else:
                found.append((command, text))
        if problems:
            raise InputError(f"the overrides of {spec.name} cannot be used:", problems=problems)
        return tuple(found)

    def hooks(self, spec: Spec) -> tuple[tuple[str, str], ...]:
        """The hooks of an environment in their order: name and text, from the folder `hooks/` beside its config.

        Raises one `InputError` with every one that is missing or no script.
        """
        folder, problems, found = self.folder(spec.name) / "hooks", [], []
        for name in spec.config.hooks:
            place = f"environments/{spec.name}/config.yml: hooks: {name}"
            if not (folder / name).is_file():
                problems.append(f"{place}: there is no file `hooks/{name}` beside config.yml (on the main branch)")
            elif not (text := read_text(folder / name, MAX_BYTES)).startswith("#!"):
                problems.append(f"{place}: `hooks/{name}` is no script; its first line has to begin with #!")
            else:
                found.append((name, text))
        if problems:
            raise InputError(f"the hooks of {spec.name} cannot be used:", problems=problems)
        return tuple(found)

    def lock_path(self, name: str) -> Path:
        """Where the lock of an environment is, or will be."""
        return self.folder(name) / "conda-lock.yml"

    def lock_text(self, name: str) -> str | None:
        """The lock as it is in the checkout; None where there is none yet."""
        path = self.lock_path(name)
        return read_text(path, MAX_LOCK_BYTES) if path.exists() else None

    def lock_text_at(self, name: str, ref: str) -> str | None:
        """The lock as it was at a commit; None where there was none."""
        path = f"environments/{name}/conda-lock.yml"
        commit = self.commit(ref)
        if not self._git("ls-tree", "--name-only", commit, "--", path).stdout.strip():
            return None
        return self._git("cat-file", "blob", f"{commit}:{path}").stdout

    def version_at(self, name: str, ref: str) -> str:
        """The version that an environment's config asked for at a commit; empty where it cannot be read."""
        found = self._config_at(name, ref).get("version")
        return found if isinstance(found, str) else ""

    def retired(self, name: str) -> frozenset[str]:
        """The versions that an environment's config lets go, on whatever day; none where it cannot be read."""
        found = self._config_at(name, "HEAD").get("retire")
        return frozenset(map(str, found)) if isinstance(found, dict) else frozenset()

    def _config_at(self, name: str, ref: str) -> Mapping[str, object]:
        """What an environment's config said at a commit, unchecked; empty where it cannot be read."""
        path = f"environments/{name}/config.yml"
        try:
            commit = self.commit(ref)
        except NotFoundError:
            return {}
        if not self._git("ls-tree", "--name-only", commit, "--", path).stdout.strip():
            return {}
        text = self._git("cat-file", "blob", f"{commit}:{path}").stdout
        found = parse(SourceText("config.yml", text), Problems()).data
        return found if isinstance(found, dict) else {}

    def released(self, name: str, ref: str = "HEAD") -> str:
        """The last commit that the release job made for an environment, or that changed its lock; empty for none.

        A release whose lock is the one before (another description, say) leaves its line in the changelog only.
        """
        start = self.commit(ref)
        lock = f"environments/{name}/conda-lock.yml"
        touched = self._git("log", "--first-parent", "--format=%H", "-1", start, "--", lock).stdout.strip()
        written = next((sha for sha, _ in self._written(name, start)), "")
        return written if written and (not touched or self.is_ancestor(touched, written)) else touched

    def written_down(self, name: str) -> dict[str, str]:
        """The versions that the release job wrote down on the main line, each with its last commit, newest first."""
        found: dict[str, str] = {}
        for sha, version in self._written(name, "HEAD"):
            found.setdefault(version, sha)
        return found

    def _written(self, name: str, span: str) -> tuple[tuple[str, str], ...]:
        """The commits of the main line that the release job made for an environment, with its version, newest first."""
        log = ("log", "--first-parent", "--format=%H %s", "-E", f"--grep=^Release {name}-[0-9.]+, build", span)
        subject = re.compile(rf"([0-9a-f]{{40}}) Release {re.escape(name)}-([0-9.]+), build [0-9a-f]{{8}} \[skip ci\]")
        lines = self._git(*log).stdout.splitlines()
        return tuple((found[1], found[2]) for line in lines if (found := subject.fullmatch(line)))

    def locked_version(self, name: str, ref: str = "HEAD") -> str:
        """The version whose lock a commit has; empty where there is no lock yet."""
        last = self.released(name, ref)
        return self.version_at(name, last) if last else ""

    def lock_before(self, name: str, version: str, ref: str) -> tuple[str, str] | None:
        """The version before this one, and its last lock; None for the first. `ref` is a commit that has this one."""
        path = f"environments/{name}/config.yml"
        for sha in self._git("log", "--first-parent", "--format=%H", self.commit(ref), "--", path).stdout.split():
            found = self.version_at(name, f"{sha}^")
            if found not in ("", version):
                text = self.lock_text_at(name, f"{sha}^")
                return (found, text) if text is not None else None
        return None

    def commit(self, ref: str) -> str:
        """The full SHA of a ref."""
        try:
            found = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
        except CommandError as error:
            raise NotFoundError(
                f"there is no commit `{ref}` in {self.root}.",
                hint="In CI, check out with the history (fetch-depth: 0).",
            ) from error
        return found.stdout.strip()

    def head(self) -> str:
        """The commit that is checked out; empty where this is no Git repository, `-dirty` where files differ."""
        try:
            commit = self._git("rev-parse", "HEAD").stdout.strip()
        except CommandError:
            return ""
        dirty = self._git("status", "--porcelain", "--", "environments", "ci").stdout.strip()
        return f"{commit}-dirty" if dirty else commit

    def changed_since(self, ref: str) -> tuple[str, ...]:
        """Paths that differ between the merge base with `ref` and the working tree, new files included."""
        base = self.merge_base(ref)
        changed = self._git("diff", "--name-only", "-z", "--no-renames", base, "--").stdout
        new = self._git("ls-files", "-z", "--others", "--exclude-standard").stdout
        return tuple(sorted({path for path in (changed + new).split("\0") if path}))

    def merge_base(self, ref: str) -> str:
        """The commit that the checkout and `ref` have in common last."""
        try:
            return self._git("merge-base", self.commit(ref), "HEAD").stdout.strip()
        except CommandError as error:
            raise NotFoundError(
                f"`{ref}` and the checkout have no commit in common.",
                hint="In CI, check out with the history (fetch-depth: 0).",
            ) from error

    def is_ancestor(self, sha: str, ref: str = "HEAD") -> bool:
        """Whether a commit is in the history of the checkout, or of another ref."""
        try:
            self._git("merge-base", "--is-ancestor", self.commit(sha), self.commit(ref))
        except (CommandError, NotFoundError):
            return False
        return True

    def since_released(self, name: str, others: Iterable[str] = ()) -> tuple[str, ...]:
        """The commits of the main line that changed an environment after what was last released, oldest first.

        That is counted from the commit that was released, not from the one that wrote it down: what was merged in
        between is not lost. `others` are patterns of paths that count beside the environment's folder.
        """
        last = self.released(name)
        span = f"{self._source_of(last)}..HEAD" if last else "HEAD"
        paths = (f"environments/{name}", *others)
        found = self._git("log", "--first-parent", "--reverse", "--format=%H", span, "--", *paths).stdout.split()
        own = {last, *(sha for sha, _ in self._written(name, span))}
        return tuple(sha for sha in found if sha not in own)

    def _source_of(self, released: str) -> str:
        """What a commit of the release job says that it released; itself, where it does not say."""
        body = self._git("show", "--no-patch", "--format=%B", released).stdout
        found = re.search(rf"^{SOURCE}([0-9a-f]{{40}})$", body, re.MULTILINE)
        return found[1] if found and self.is_ancestor(found[1], released) else released

    def files(self, name: str) -> dict[str, str]:
        """The files of an environment's folder at HEAD: path in it to mode and Git's digest."""
        lines = self._git("ls-tree", "-r", "-z", "--full-tree", f"HEAD:environments/{name}").stdout.split("\0")
        entries = (line.split("\t", 1) for line in lines if line)
        return {path: " ".join(facts.split()[0::2]) for facts, path in entries}

    def subject(self, sha: str) -> tuple[str, str]:
        """A commit's first line and its author's name."""
        found = self._git("show", "--no-patch", "--format=%s%x00%an", self.commit(sha)).stdout.strip()
        title, _, author = found.partition("\0")
        return title, author

    def site(self, name: str, environ: Mapping[str, str] | None) -> Site:
        """The site of a name (`ci/sites/NAME.yml`) or of a path to a site file; see `read_site` for `environ`."""
        return read_site(self.site_source(name), environ)

    def site_source(self, name: str) -> SourceText:
        """The text of a site file, by its name or path."""
        path = Path(name) if name.endswith(".yml") else self.root / "ci" / "sites" / f"{name}.yml"
        if not path.exists():
            raise NotFoundError(f"there is no site file {path}; there are: {', '.join(self.sites()) or 'none'}.")
        return self._source(path)

    def _source(self, path: Path) -> SourceText:
        shown = str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)
        return SourceText(shown, read_text(path, MAX_BYTES, shown))

    def _git(self, *words: str) -> Finished:
        # Hooks and helpers of the checkout never run: it may come from a stranger.
        safe = ["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", f"safe.directory={self.root}"]
        environment = {**CLEAN_ENVIRONMENT, "HOME": self.home, "GIT_CONFIG_NOSYSTEM": "1"}
        return run(["git", "-C", self.root, *safe, *words], env=environment)


def read_text(path: Path, limit: int, shown: str = "") -> str:
    """A file's text, refused unread if it has more than `limit` bytes."""
    name = shown or str(path)
    try:
        if path.is_symlink():
            raise InputError(f"{name} is a symbolic link; put the file itself there.")
        size = path.stat().st_size
        if size > limit:
            raise InputError(f"{name} has {size:,} bytes; {limit:,} is the limit.")
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{name} is missing.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8 text (byte {error.start}).") from error
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}.") from error
