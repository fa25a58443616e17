"""check: specs, configs and site files are valid, and every problem of all of them is said in one go."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from conda_concept.errors import ConcError, InputError
from conda_concept.repository import Repository


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found to be valid: environment names and site names."""

    environments: tuple[str, ...]
    sites: tuple[str, ...]


def check(repository: Repository, names: Sequence[str]) -> Checked:
    """Read all named environments; all environments and all sites (for machines that are not this one), if none is.

    Raises one `InputError` with the problems of all files.
    """
    environments = tuple(names) or repository.environments()
    sites = () if names else repository.sites()
    problems: list[str] = []
    for name in environments:
        problems += _problems(partial(_whole, repository, name))
    for name in sites:
        problems += _problems(partial(repository.site, name, None))
    if problems:
        raise InputError(f"{len(problems)} problem{'s' if len(problems) > 1 else ''} found:", problems=problems)
    return Checked(environments, sites)


def _whole(repository: Repository, name: str) -> object:
    """Everything about an environment that can be read without a solve."""
    spec = repository.spec(name)
    problems = [*_problems(partial(repository.overrides, spec)), *_problems(partial(repository.hooks, spec))]
    if problems:
        raise InputError(f"the scripts of {name} cannot be used:", problems=problems)
    return spec


def _problems(read: Callable[[], object]) -> list[str]:
    try:
        read()
    except InputError as error:
        return list(error.problems) or [error.message]
    except ConcError as error:
        return [error.message]
    return []
