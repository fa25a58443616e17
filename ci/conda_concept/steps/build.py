"""build: a candidate on the site, at its final path, that no alias or module points at yet."""

import platform as machine
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from conda_concept import __version__
from conda_concept.assembly import Assembled, Assembler, Own
from conda_concept.errors import InputError
from conda_concept.identity import build_id, spec_digest
from conda_concept.lockfile import digest
from conda_concept.model import ImageFact, Lock, Package, Release, ReleaseRecord, Source, Spec
from conda_concept.progress import Reporter
from conda_concept.render.carry import carried_scripts, host_scripts
from conda_concept.render.launcher import LauncherFacts, check_paths, choose_probe, image_files, launcher_files
from conda_concept.render.modulefile import ModuleFacts, render_modulefile
from conda_concept.render.quote import TEMPLATES
from conda_concept.runtime import base_image, base_name, ensure_base
from conda_concept.space import Demand
from conda_concept.store import AlreadyThere, Store
from conda_concept.store.door import explained
from conda_concept.store.permissions import settle
from conda_concept.store.staging import Staged, apply_tree


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be built: a checked spec, its lock (and the very text of it), and where they come from.

    `overrides` are scripts that stand for commands, `hooks` those that run in the finished prefix: name and text.
    """

    spec: Spec
    lock: Lock
    lock_text: str
    source: Source
    overrides: tuple[tuple[str, str], ...] = ()
    hooks: tuple[tuple[str, str], ...] = ()

    @property
    def platform(self) -> str:
        """The platform of this machine; `InputError` where the lock has nothing for it."""
        name = f"linux-{ {'x86_64': '64', 'aarch64': 'aarch64', 'ppc64le': 'ppc64le'}.get(machine.machine(), '?') }"
        if name not in self.lock.platforms:
            raise InputError(
                f"the lock of {self.spec.name} is for {', '.join(self.lock.platforms)}, this machine is {name}.",
                hint="Add the platform to `platforms` in config.yml and lock again, or build on another machine.",
            )
        return name

    @property
    def packages(self) -> tuple[Package, ...]:
        """What is to be installed."""
        return self.lock.on(self.platform)


@dataclass(frozen=True, slots=True)
class Built:
    """A complete candidate; `already`: it was there before, and nothing was done."""

    record: ReleaseRecord
    already: bool


def release_of(order: Order, store: Store) -> Release:
    """The release that an order makes on a site, before anything is built."""
    scripts = {f"override {name}": text.encode() for name, text in order.overrides}
    scripts |= {f"hook {name}": text.encode() for name, text in order.hooks}
    identity = build_id(
        lock_digest=digest(order.lock, order.platform),
        spec=order.spec,
        site=store.site,
        templates={**template_bytes(), **scripts},
        builder=__version__,
    )
    return Release(order.spec.name, order.spec.config.version, identity)


def template_bytes() -> Mapping[str, bytes]:
    """The templates that end up in a release."""
    return {path.name: path.read_bytes() for path in sorted(TEMPLATES.iterdir()) if path.suffix in (".sh", ".tcl")}


def build(order: Order, store: Store, assembler: Assembler, *, replace: bool = False) -> Built:
    """Build the candidate of an order, or find that it is there; with `replace`, that it is there and whole.

    Killed at any moment it leaves a marked, unfinished directory that the next run of the same order takes over; a
    failure leaves nothing.
    """
    release = release_of(order, store)
    reporter = assembler.reporter
    facts = _facts(order, store, release)
    check_paths(facts)
    with store.stage(release, again=replace and _is_damaged(release, store, reporter)) as staged:
        if isinstance(staged, AlreadyThere):
            reporter.say(f"{release} is there already: nothing to build")
            return Built(staged.record, already=True)
        demand = Demand.of(order.packages)
        store.check_space(demand.root.size, demand.root.inodes, f"build {release}")
        assembler.check_scratch(demand.scratch, f"build {release}")
        assembled = assembler.assembled(order.spec, order.packages, staged.prefix, order.hooks, _inside(facts))
        with assembled as made, reporter.step("stage"):
            with reporter.bar("copying the image") as bar:
                copied = staged.image(made.image, lambda done, total: bar.update(done=done, total=total))
            image = ImageFact(
                sha256=copied.sha256,
                size=copied.size,
                files=made.image.joined.files,
                content_size=made.image.joined.content_size,
                squash=" ".join(str(value) for value in store.site.squash.model_dump().values()),
            )
            record = _record(order, store, release, image, made)
            _write(order, store, staged, made, record)
            return Built(staged.finish(record), already=False)


def _inside(facts: LauncherFacts) -> Own:
    """What of a release's own files is in its image."""
    return lambda activation: image_files(replace(facts, activation=activation))


def _is_damaged(release: Release, store: Store, reporter: Reporter) -> bool:
    """Whether a complete release is not what its record says; every byte is read."""
    if not store.reader.complete(release):
        return False
    with reporter.bar(f"reading {release}") as bar:
        problems = store.checker.verify(release, lambda done, total: bar.update(done=done, total=total))
    for problem in problems:
        reporter.say(f"damaged: {problem.path} {problem.text}")
    return bool(problems)


def _record(order: Order, store: Store, release: Release, image: ImageFact, made: Assembled) -> ReleaseRecord:
    return ReleaseRecord(
        release=release,
        prefix=str(store.layout.prefix(release)),
        platform=order.platform,
        packages=len(order.packages),
        lock_digest=digest(order.lock, order.platform),
        spec_digest=spec_digest(order.spec),
        builder=__version__,
        built_at=store.now().isoformat(timespec="seconds"),
        source=order.source,
        image=image,
        files=(),
        commands=made.commands,
        integration=made.integration,
    )


def _facts(order: Order, store: Store, release: Release) -> LauncherFacts:
    """What a launcher says that is known before anything is built."""
    return LauncherFacts(
        release=release,
        prefix=str(store.layout.prefix(release)),
        image_sha256="",
        probe="",
        commands=(),
        base=str(store.layout.runtime / base_name(base_image(store.site))),
        site=store.site,
        config=order.spec.config,
        overrides=order.overrides,
        kernel=any(package.name == "ipykernel" for package in order.packages),
    )


def _scripts(order: Order, store: Store, made: Assembled, prefix: str) -> tuple[tuple[str, str], ...]:
    """Every command that is a script, not a launcher: config's own, those that carry, and the host's programs."""
    fitted, site = made.integration, store.site
    found = {**dict(host_scripts(fitted, prefix, site)), **dict(carried_scripts(fitted, prefix, site))}
    unwanted = order.spec.config.host_commands
    kept = {name: text for name, text in found.items() if name not in unwanted}
    return tuple(sorted({**kept, **dict(order.overrides)}.items()))


def container_base(store: Store) -> Path:
    """The container's base of a store, made if the site file has changed; users can read it whatever our umask is."""
    with explained("make the container's base"):
        settle(store.door, store.layout.runtime, store.layout.root, store.permissions)
        return ensure_base(
            store.site, store.layout.runtime, lambda tree: apply_tree(store.door, tree, store.permissions)
        )


def _write(order: Order, store: Store, staged: Staged, made: Assembled, record: ReleaseRecord) -> None:
    """Everything of a release directory beside the image."""
    facts = replace(
        _facts(order, store, record.release),
        image_sha256=record.image.sha256,
        probe=choose_probe(made.metadata),
        commands=made.commands,
        base=str(container_base(store)),
        activation=made.activation,
        overrides=_scripts(order, store, made, record.prefix),
    )
    for file in launcher_files(facts):
        if file.kind == "hardlink":
            staged.hardlink(file.content, file.path)
        else:
            staged.write(file.path, file.content.encode(), program=bool(file.mode & 0o111))
    module = ModuleFacts(launcher=facts, packages=order.packages, built_at=record.built_at)
    staged.write(store.layout.modulefile(record.release).name, render_modulefile(module).encode())
    staged.write(store.layout.locked(record.release).name, order.lock_text.encode())
    staged.write(store.layout.declared(record.release).name, made.declared.encode())
