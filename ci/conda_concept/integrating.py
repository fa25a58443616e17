"""Fit a staged prefix to its host: carry a plan out, and keep `conda-meta` true afterwards.

What `conda-meta` says of a package that was touched: name, version, build, dependencies and address stay, because that
is what the environment was solved with and what `conda env export` should tell others. Paths that are gone are gone
from its lists, links to the host are listed as links without a digest. Where nothing of the package's own is left, its
channel reads `host`: that is what `conda list` shows.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from conda_concept.errors import BuildError, IntegrityError
from conda_concept.inside.elf import read_elf
from conda_concept.integration import Owned, plan, wanted_of
from conda_concept.model import HookFact, HostLink, Integration, ReleaseFile, Spec
from conda_concept.progress import Reporter
from conda_concept.render.carry import carried_scripts
from conda_concept.settings import Site

HOST_CHANNEL = "host"
"""The channel of a package that the host provides altogether."""


def fit(spec: Spec, site: Site, tree: Path, prefix: Path, reporter: Reporter) -> Integration:
    """Do to a staged prefix what its config asks for; nothing where it asks for nothing."""
    if not wanted_of(spec.config):
        return Integration()
    with reporter.step("fit to the host"):
        needed = any(one.variants for one in spec.config.replace.values())
        made = plan(spec.name, spec.config, site, owned_paths(tree, needed=needed))
        check_targets(made, site.name, reporter, required=site.host_files_required)
        scripts = {f"bin/{name}": text for name, text in carried_scripts(made, str(prefix), site)}
        carry_out(tree, made, scripts)
        linked = {link.path for link in made.replaced}
        drop_scripts(tree, (name for name in spec.config.host_commands if f"bin/{name}" not in linked))
        gone = sum(len(paths) for _, paths in made.removed)
        reporter.say(f"{gone} path(s) removed, {len(made.replaced)} are the host's: {', '.join(package_names(made))}")
    return made


def owned_paths(tree: Path, *, needed: bool) -> tuple[Owned, ...]:
    """What the packages of a staged prefix own, as `conda-meta` has it; `needed`: and what their binaries ask for."""
    found = []
    for record in _records(tree).values():
        package = str(record["name"])
        kinds = {fact["_path"]: fact.get("path_type") for fact in (record.get("paths_data") or {}).get("paths") or ()}
        for path in record["files"]:
            # Of 290,000 files few are links or libraries, so what the record knows is not asked of the disk.
            full = f"{tree}/{path}"
            link = os.readlink(full) if kinds.get(path, "softlink") == "softlink" and os.path.islink(full) else None  # noqa: PTH114, PTH115 - hundreds of thousands
            found.append(Owned(package, path, link, _needed(full) if needed and link is None else ()))
    return tuple(found)


def _needed(path: str) -> tuple[str, ...]:
    """What an ELF file asks for; a damaged one asks for nothing (tests tell)."""
    if not (".so" in path.rpartition("/")[2] or "/bin/" in path):
        return ()
    try:
        elf = read_elf(path)
    except (OSError, ValueError):
        return ()
    return elf.needed if elf else ()


def carry_out(tree: Path, made: Integration, scripts: Mapping[str, str]) -> None:
    """Take out what goes, make the links, write `scripts` (path -> text, executable), and settle `conda-meta`.

    Files may be hard links into the package cache: they are replaced, never written into.
    """
    for _, paths in made.removed:
        for path in paths:
            _place(tree, path).unlink(missing_ok=True)  # two packages may own one of the host's commands
    for link in made.replaced:
        place = _place(tree, link.path)
        place.unlink()
        place.symlink_to(link.target)
    for path, text in scripts.items():
        _write(tree / path, text, 0o755)
    _forget_empty(tree, (path for _, paths in made.removed for path in paths))
    gone = {path for _, paths in made.removed for path in paths}
    _settle(tree, gone, {link.path for link in made.replaced} | set(scripts), set())


def add_files(tree: Path, files: Sequence[ReleaseFile]) -> None:
    """Write files of ours into a finished prefix; one that stands for a package's own takes its place."""
    taken = {file.path for file in files if os.path.lexists(tree / file.path)}
    for file in files:
        _write(tree / file.path, file.content, file.mode)
    if taken:
        _settle(tree, set(), taken, set())


def _write(place: Path, text: str, mode: int) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.write_text(text, encoding="utf-8")
    place.chmod(mode)


def drop_scripts(tree: Path, names: Iterable[str]) -> None:
    """Take commands out that wheels brought: `conda-meta` does not know these, their RECORD does."""
    paths = {f"bin/{name}" for name in names if (tree / "bin" / name).is_file()}
    for record in tree.glob("lib/python3.*/site-packages/*.dist-info/RECORD") if paths else ():
        site_packages = record.parent.parent.relative_to(tree)
        with record.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        kept = [row for row in rows if row and os.path.normpath(site_packages / row[0]) not in paths]
        if len(kept) < len(rows):
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(kept)
            _write(record, text.getvalue(), 0o644)
    for path in paths:
        (tree / path).unlink()


def settle_hook(tree: Path, fact: HookFact) -> None:
    """Keep `conda-meta` true after a hook; one that wrote there itself is refused."""
    meddled = [path for path in (*fact.added, *fact.changed, *fact.removed) if path.startswith("conda-meta/")]
    if meddled:
        raise BuildError(
            f"the hook {fact.name} changed {', '.join(meddled[:5])}, which is the build's own record of packages.",
            hint="A hook adds files that packages do not bring; it does not install, update or remove packages.",
        )
    _settle(tree, set(fact.removed), set(), set(fact.changed))


def missing_targets(made: Integration) -> tuple[HostLink, ...]:
    """Links whose target is not on this machine."""
    return tuple(link for link in made.replaced if not os.path.exists(link.target))  # noqa: PTH110 - may be anything


def check_targets(made: Integration, site: str, reporter: Reporter, *, required: bool) -> None:
    """Say which targets are not on this machine: a `BuildError` where the site requires them, else a warning."""
    missing = missing_targets(made)
    if not missing:
        return
    listed = "\n".join(f"  - {link.path} of {link.package} -> {link.target}" for link in missing[:20])
    more = f"\n  and {len(missing) - 20} more" if len(missing) > 20 else ""
    text = f"{len(missing)} file(s) of the host that this release links to are not on this machine:\n{listed}{more}"
    if required:
        raise BuildError(
            text,
            hint=f"Correct `replace` in config.yml or `host_software` of the site {site}, or build where they are.",
        )
    reporter.warn(text)


def _records(tree: Path) -> dict[Path, dict[str, Any]]:
    return {path: json.loads(path.read_text("utf-8")) for path in sorted((tree / "conda-meta").glob("*.json"))}


def _place(tree: Path, path: str) -> Path:
    """Where an owned path lies, which has to be inside the tree whatever links a package brought."""
    place = tree / path
    if not place.parent.resolve().is_relative_to(tree.resolve()) or place.parent.name == "..":
        raise IntegrityError(f"{path} of a package leads out of its prefix.")
    return place


def _forget_empty(tree: Path, paths: Iterable[str]) -> None:
    """Remove folders that what went has left empty."""
    for folder in sorted({parent for path in paths for parent in Path(path).parents}, key=lambda one: -len(one.parts)):
        if folder.parts and (tree / folder).is_dir() and not any((tree / folder).iterdir()):
            (tree / folder).rmdir()


def _settle(tree: Path, gone: set[str], linked: set[str], changed: set[str]) -> None:
    """Rewrite the records of the packages that own any of these paths."""
    touched = gone | linked | changed
    for record, data in _records(tree).items():
        own = set(data["files"])
        if not own & touched:
            continue
        data["files"] = [path for path in data["files"] if path not in gone]
        facts = data.get("paths_data") or {}
        paths = [fact for fact in facts.get("paths") or () if fact["_path"] not in gone]
        facts["paths"] = [_fact(tree, fact, linked, changed) for fact in paths]
        data["paths_data"] = facts
        if not set(data["files"]) - linked:
            data["channel"] = HOST_CHANNEL
        record.unlink()
        record.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _fact(tree: Path, fact: Mapping[str, Any], linked: set[str], changed: set[str]) -> dict[str, Any]:
    """One entry of a record's paths, as it is now."""
    path = str(fact["_path"])
    if path in linked:
        return {"_path": path, "path_type": "softlink"}
    place = tree / path
    if path not in changed:
        return dict(fact)
    if place.is_symlink():
        return {"_path": path, "path_type": "softlink"}
    data = place.read_bytes()
    kept = {key: value for key, value in fact.items() if key in ("_path", "file_mode")}
    return {
        **kept,
        "path_type": "hardlink",
        "sha256_in_prefix": hashlib.sha256(data).hexdigest(),
        "size_in_bytes": len(data),
    }


def package_names(made: Integration) -> Sequence[str]:
    """The packages that a plan touches."""
    return sorted({name for name, _ in made.removed} | {link.package for link in made.replaced})
