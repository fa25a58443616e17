"""Every path of a store, from a root: nothing else in the project joins these names together."""

from dataclasses import dataclass
from pathlib import Path

from conda_concept.model import Release

INCOMPLETE = "incomplete"
"""The marker in a release directory that is not finished; it goes last."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths below one site's root. `product` is the first half of every module name."""

    root: Path
    product: str = "conda_concept"

    @property
    def apps(self) -> Path:
        """What is not a modulefile: releases, aliases, history, the store's lock, the runtime's base."""
        return self.root / "apps" / self.product

    @property
    def modules(self) -> Path:
        """The folder of the modulefiles; its parent is what users give to `module use`."""
        return self.root / "modules" / self.product

    @property
    def module_path(self) -> Path:
        """What `module use` takes."""
        return self.modules.parent

    @property
    def releases(self) -> Path:
        """All release directories, two levels down: LABEL/BUILD-ID."""
        return self.apps / "releases"

    @property
    def envs(self) -> Path:
        """Aliases as symlinks; looks like a conda `envs` folder to any conda."""
        return self.apps / "envs"

    @property
    def lock(self) -> Path:
        """The store's lock."""
        return self.apps / "store.lock"

    @property
    def modulerc(self) -> Path:
        """The moving names of the modules, and the default of the product."""
        return self.modules / ".modulerc"

    @property
    def candidates(self) -> Path:
        """The module tree of candidates that are to be tried; what `module use` takes for them."""
        return self.apps / "candidates"

    @property
    def history(self) -> Path:
        """What pointed where, when, by whom: one JSON object a line."""
        return self.apps / "history.jsonl"

    @property
    def notices(self) -> Path:
        """What loading a label says about its end, a file a label; its modulefile shows it."""
        return self.apps / "notices"

    @property
    def runtime(self) -> Path:
        """What the container runtimes need beside the images (the base image)."""
        return self.apps / "runtime"

    def prefix(self, release: Release) -> Path:
        """The release directory, which is the environment's prefix inside and outside."""
        return self.releases / release.label / release.build_id

    def again(self, release: Release) -> Path:
        """Where a release is built anew that is there already, before the two change places."""
        return self.releases / release.label / f".{release.build_id}.again"

    def replaced(self, release: Release, number: int) -> Path:
        """Where a release is kept, whole, that was built anew; jobs that began before may still run from it."""
        return self.releases / release.label / f".{release.build_id}.replaced-{number}"

    def incomplete(self, release: Release) -> Path:
        """The marker of an unfinished release."""
        return self.prefix(release) / INCOMPLETE

    def image(self, release: Release) -> Path:
        """The squashfs image."""
        return self.prefix(release) / "image.sqsh"

    def record(self, release: Release) -> Path:
        """The release record."""
        return self.prefix(release) / "release.json"

    def locked(self, release: Release) -> Path:
        """The release's own copy of its lock."""
        return self.prefix(release) / "conda-lock.yml"

    def modulefile(self, release: Release) -> Path:
        """The release's own modulefile; published modules are symlinks to it."""
        return self.prefix(release) / "modulefile"

    def declared(self, release: Release) -> Path:
        """What the release's packages say about their own tests, kept by the build."""
        return self.prefix(release) / "declared.json"

    def tests(self, release: Release) -> Path:
        """JUnit results of the release's tests."""
        return self.prefix(release) / "tests.xml"

    def verdict(self, release: Release) -> Path:
        """What the tests say about this image, bound to its sha256."""
        return self.prefix(release) / "tests.json"

    def bin(self, release: Release) -> Path:
        """The launchers."""
        return self.prefix(release) / "bin"

    def keep(self, release: Release) -> Path:
        """A file that pins a release: `prune` leaves it alone as long as this is there. Its text says why."""
        return self.prefix(release) / "keep"

    def notice(self, label: str) -> Path:
        """The notice of a label."""
        return self.notices / label

    def alias(self, name: str) -> Path:
        """The symlink of an alias: `analysis3-23.04`, `analysis3`."""
        return self.envs / name

    def module(self, name: str) -> Path:
        """The published modulefile of a name."""
        return self.modules / name

    def candidate_module(self, name: str) -> Path:
        """The modulefile of a candidate that is to be tried: in a tree of its own, unseen by `module avail`."""
        return self.candidates / self.product / name
