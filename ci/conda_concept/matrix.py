"""Which environments a change touches, and why: changed paths in, job matrix out."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

#: What a path below `environments/NAME/` means.
_IN_ENVIRONMENT = {
    "environment.yml": "spec",
    "config.yml": "config",
    "conda-lock.yml": "lock",
    "tests": "tests",
    "hooks": "hooks",
}
_TEMPLATES, _SITE = "launcher and modulefile templates", "site file"


@dataclass(frozen=True, slots=True)
class Touched:
    """An environment that a change touches; `reasons` in words, sorted."""

    environment: str
    reasons: tuple[str, ...]


def everywhere(site: str) -> dict[str, str]:
    """Patterns of the paths outside of `environments/` that end up in every release of a site, and what each is."""
    templates = "ci/conda_concept/templates/*"
    return {f"{templates}.sh": _TEMPLATES, f"{templates}.tcl": _TEMPLATES, f"ci/sites/{site}.yml": _SITE}


def touched(paths: Iterable[str], environments: Iterable[str], site: str) -> tuple[Touched, ...]:
    """The environments, of those that exist, that a change of `paths` (relative to the repository) makes build again.

    Of `ci/sites/` the given site's file counts, of the templates those that end up in a release; an environment whose
    folder is gone is not built.
    """
    known = sorted(environments)
    reasons: dict[str, set[str]] = {name: set() for name in known}
    for path in paths:
        parts = path.split("/")
        if parts[0] == "environments" and len(parts) > 2 and parts[1] in reasons:
            reasons[parts[1]].add(_IN_ENVIRONMENT.get(parts[2], f"file {parts[2]}"))
            continue
        for pattern, reason in everywhere(site).items():
            if fnmatchcase(path, pattern):
                for name in known:
                    reasons[name].add(reason)
    return tuple(Touched(name, tuple(sorted(reasons[name]))) for name in known if reasons[name])


def github_matrix(found: Iterable[Touched]) -> dict[str, list[dict[str, str]]]:
    """The matrix of a workflow: one entry an environment, with the reason beside it."""
    return {"include": [{"environment": item.environment, "reasons": ", ".join(item.reasons)} for item in found]}
