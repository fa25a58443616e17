"""search: in which releases of the store a package is, at which version, by the locks that the releases keep."""

import difflib
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from conda_concept.errors import NotFoundError
from conda_concept.model import Release
from conda_concept.steps.packages import Named, listed
from conda_concept.store import Store


@dataclass(frozen=True, slots=True)
class Hit:
    """One package of one release; `names` are the aliases that mean the release, `state` as in `list`."""

    release: Release
    names: tuple[str, ...]
    package: Named


@dataclass(frozen=True, slots=True)
class Found:
    """The hits, newest version first, how many releases were looked at, and those that have no lock to look into.

    `former` is how many more there are that no alias points at, and were not looked at for that reason.
    """

    hits: tuple[Hit, ...]
    releases: int
    unread: tuple[str, ...] = ()
    former: int = 0

    @property
    def left_out(self) -> str:
        """A sentence about those; empty where there are none."""
        more = f"{self.former:,} more release{'s' if self.former != 1 else ''} that no alias points at"
        return f"{more} {'were' if self.former != 1 else 'was'} not looked at: `--all`." if self.former else ""


def search(store: Store, pattern: str, *, environment: str = "", former: bool = False) -> Found:
    """Every release that an alias points at (`former`: every complete one) with a package of this name or glob.

    Raises `NotFoundError` with the nearest names where none has it.
    """
    state = store.reader.state()
    wanted, hits, unread, known, looked, left = pattern.lower(), [], [], set(), 0, 0
    for standing in state.releases:
        release = standing.release
        names = state.names_of(release)
        if not standing.complete or environment not in ("", release.environment):
            continue
        if not names and not former:
            left += 1
            continue
        looked += 1
        try:
            packages = listed(store.layout.locked(release).read_text("utf-8"))
        except OSError as error:
            unread.append(f"{release}: {error.strerror}")
            continue
        known |= {one.name for one in packages}
        hits += [Hit(release, tuple(names), one) for one in packages if fnmatchcase(one.name.lower(), wanted)]
    found = Found((), looked, tuple(unread), left)
    if not hits:
        near = difflib.get_close_matches(wanted, sorted(known), n=5, cutoff=0.6)
        hint = f"The nearest names are {', '.join(near)}." if near else "`conda-concept request` asks for it."
        none = f"`{pattern}` is in none of {looked} release{'s' if looked != 1 else ''}."
        raise NotFoundError(f"{none} {found.left_out}".rstrip(), hint=hint)
    hits.sort(key=lambda hit: hit.package)
    hits.sort(key=lambda hit: ([int(part) for part in hit.release.version.split(".")], hit.names != ()), reverse=True)
    hits.sort(key=lambda hit: hit.release.environment)
    return replace(found, hits=tuple(hits))
