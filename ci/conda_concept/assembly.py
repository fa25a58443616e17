"""From a lock to a finished image file in scratch, step by step; the store takes it from there."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from conda_concept import image, sandbox
from conda_concept.download import Cache, disk_error, fetch_all
from conda_concept.errors import BuildError
from conda_concept.model import Package, Site, Spec
from conda_concept.progress import Reporter
from conda_concept.run import CommandError, run


@dataclass(frozen=True, slots=True)
class Assembled:
    """A squashed environment: the tree it was made from, the image file, and what can be said of them."""

    tree: Path
    image: Path
    files: int
    content_size: int
    commands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Assembler:
    """The edges of an assembly: where archives and scratch are, how many CPUs, whom to tell."""

    site: Site
    cache: Cache
    reporter: Reporter
    workers: int

    @contextmanager
    def assembled(self, spec: Spec, packages: Sequence[Package], prefix: Path) -> Iterator[Assembled]:
        """An image of `packages` for `prefix`; everything in scratch is gone when the block ends, however it ends."""
        scratch = self._scratch()
        try:
            yield self._assemble(spec, packages, prefix, scratch)
        except OSError as error:
            raise disk_error(error, scratch) from error
        finally:
            rmtree(scratch, ignore_errors=True)

    def _scratch(self) -> Path:
        folder = Path(self.site.scratch)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return Path(mkdtemp(prefix="conda-concept-build-", dir=folder))
        except OSError as error:
            raise disk_error(error, folder) from error

    def _assemble(self, spec: Spec, packages: Sequence[Package], prefix: Path, scratch: Path) -> Assembled:
        tree, target = scratch / "tree", scratch / "image.sqsh"
        tree.mkdir(mode=0o755)
        step = self.reporter.step
        with step(f"download {len(packages)} packages"):
            fetched = fetch_all(packages, self.cache, self.reporter)
            self.reporter.say(f"{fetched / 1e6:,.0f} MB fetched, the rest was there")
        with step("install into a clean prefix"):
            image.install_conda(packages, tree, prefix, self.cache, self.reporter)
            image.install_wheels(packages, tree, prefix, self.cache)
            image.settle_metadata(packages, tree, {item.name: item.text for item in spec.requests})
            self._warn(tree)
        with step("compile bytecode"):
            self._compile(tree, prefix)
        with step("squash"):
            files, size = image.tree_size(tree)
            image.squash(tree, target, self.site.squash, self.workers)
        return Assembled(tree, target, files, size, image.commands(tree))

    def _warn(self, tree: Path) -> None:
        skipped = image.link_scripts(tree)
        if skipped:
            self.reporter.warn(f"link scripts do not run in a build; {len(skipped)} package(s) bring one: {skipped}")
        clobbered = image.clobbered(tree)
        if clobbered:
            self.reporter.warn(f"{len(clobbered)} file(s) belong to two packages, the last one won: {clobbered[:5]}")

    def _compile(self, tree: Path, prefix: Path) -> None:
        if not (tree / "bin" / "python3").exists():
            return
        words = image.compile_argv(prefix, self.workers)
        done = run(sandbox.command(tree, prefix, words), check=False)
        # Status 1 is a file that is not Python for this version (templates, Python 2 samples): real packages have some.
        if done.returncode not in (0, 1):
            raise BuildError(f"bytecode could not be compiled: {CommandError(words, done.returncode, done.stderr)}")
