"""From a lock to a finished image file in scratch, step by step; the store takes it from there."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from conda_concept import image
from conda_concept.download import Cache, disk_error, fetch_all
from conda_concept.errors import BuildError
from conda_concept.hooks import Stage, run_hooks
from conda_concept.integrating import add_files, fit
from conda_concept.layers import Layered, Layers
from conda_concept.model import Activation, Integration, Package, ReleaseFile, Spec
from conda_concept.progress import Reporter
from conda_concept.run import CommandError
from conda_concept.runtime import ACTIVATION_SCRIPT, parse_activation
from conda_concept.sandbox import Inside, Sandbox, find_sandbox
from conda_concept.scratch import Scratch, scratch_folder, sweep
from conda_concept.settings import Site
from conda_concept.space import Room, require
from conda_concept.testing import declared


@dataclass(frozen=True, slots=True)
class Assembled:
    """A squashed environment: the image, which is yet to be written, and what can be said of it.

    `metadata` are the paths of the packages' own entries in `conda-meta`, `activation` is what the packages' scripts
    and the spec's `variables:` do to a shell, `declared` what the packages say about their own tests (JSON),
    `integration` how the tree differs from what the packages brought.
    """

    image: Layered
    commands: tuple[str, ...]
    metadata: tuple[str, ...]
    activation: Activation
    declared: str
    integration: Integration = field(default_factory=Integration)


#: What the image holds that no package brings, once it is known what activation does.
Own = Callable[[Activation], Sequence[ReleaseFile]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an environment is built for, and the folder that it is built in."""

    prefix: Path
    scratch: Scratch


@dataclass(frozen=True, slots=True)
class Assembler:
    """The edges of an assembly: where archives and scratch are, how many CPUs, whom to tell."""

    site: Site
    cache: Cache
    reporter: Reporter
    workers: int

    @contextmanager
    def assembled(
        self, spec: Spec, packages: Sequence[Package], prefix: Path, hooks: Sequence[tuple[str, str]], own: Own
    ) -> Iterator[Assembled]:
        """An image of `packages` for `prefix`; everything in scratch is gone when the block ends, however it ends.

        `hooks` are scripts (name and text) that run in the finished tree before it is squashed, `own` are further
        files of ours.
        """
        with scratch_folder(Path(self.site.scratch)) as scratch:
            yield self._assemble(spec, packages, Place(prefix, scratch), hooks, own)

    def _assemble(
        self, spec: Spec, packages: Sequence[Package], place: Place, hooks: Sequence[tuple[str, str]], own: Own
    ) -> Assembled:
        prefix, scratch = place.prefix, place.scratch.path
        tree = scratch / "tree"
        tree.mkdir(mode=0o755)
        step = self.reporter.step
        sandbox = find_sandbox(self.site, scratch)  # before anything that takes long
        with step(f"download {len(packages)} packages"):
            fetched = fetch_all(packages, self.cache, self.reporter)
            self.reporter.say(f"{fetched / 1e6:,.0f} MB fetched, the rest was there")
        with step("install into a clean prefix"):
            image.install_conda(packages, tree, prefix, self.cache, self.reporter, private=bool(hooks))
            image.install_wheels(packages, tree, prefix, self.cache)
            image.settle_metadata(packages, tree, {item.name: item.text for item in spec.requests})
            self._warn(tree)
        fitted = fit(spec, self.site, tree, prefix, self.reporter)
        fitted = replace(fitted, hooks=run_hooks(hooks, Stage(sandbox, tree, prefix, self.workers), self.reporter))
        with step("run activation scripts"):
            activation = with_variables(capture_activation(tree, prefix, sandbox), spec.variables)
        # Before the layers: what stands for a package's own file keeps that package out of them.
        add_files(tree, own(activation))
        layers = Layers(packages, self.cache, scratch, self.site.squash, self.workers, self.reporter, sandbox)
        with step("compile bytecode"):
            whole = layers.compile(tree, prefix)
            done = whole.compiled
            self.reporter.say(f"{done.made:,} sources compiled, {done.kept:,} were kept from earlier builds")
        with step("squash"):
            squashed = layers.squash(whole)
            self.reporter.say(f"{len(whole.missing)} packages squashed, {len(whole.kept)} kept from earlier builds")
        commands = image.commands(tree)
        metadata = tuple(sorted(str(path.relative_to(tree)) for path in (tree / "conda-meta").glob("*.json")))
        place.scratch.discard(tree)
        with step("join the layers"):
            layered = layers.join(squashed)
        return Assembled(
            image=layered,
            commands=commands,
            metadata=metadata,
            activation=activation,
            declared=declared.to_json(declared.collect(image.unpacked(packages, self.cache))),
            integration=fitted,
        )

    def check_scratch(self, room: Room, doing: str) -> None:
        """`SpaceError` if the scratch folder's file system has less than `room`."""
        folder = Path(self.site.scratch)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(error, folder) from error
        sweep(folder)
        require(folder, room, doing, "Free some space, or name another folder as `scratch` in the site file.")

    def _warn(self, tree: Path) -> None:
        skipped = image.link_scripts(tree)
        if skipped:
            self.reporter.warn(f"link scripts do not run in a build; {len(skipped)} package(s) bring one: {skipped}")
        clobbered = image.clobbered(tree)
        if clobbered:
            self.reporter.warn(f"{len(clobbered)} file(s) belong to two packages, the last one won: {clobbered[:5]}")


def capture_activation(tree: Path, prefix: Path, sandbox: Sandbox) -> Activation:
    """What the packages' own activation scripts do to an environment, found by running them, as conda runs them."""
    words = ["/bin/bash", "-c", ACTIVATION_SCRIPT, "activation", str(prefix)]
    # Users' activation finds a read-only image too, and the tree may share files with the package cache.
    done = sandbox.run(Inside(tree, prefix, words, read_only=True), timeout=300)
    if done.returncode != 0:
        failed = CommandError(["activate", str(prefix)], done.returncode, done.stderr)
        raise BuildError(f"the activation scripts failed: {failed}")
    return parse_activation(done.stdout)


def with_variables(found: Activation, variables: Sequence[tuple[str, str]]) -> Activation:
    """An activation with an environment's own variables, which conda sets after the scripts."""
    kept = tuple((name, value) for name, value in found.set if name not in dict(variables))
    return replace(found, set=(*kept, *variables))
