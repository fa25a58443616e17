"""The child process that asks conda-lock for pip's packages: a question in one JSON file, the answer into another."""

import json
import sys
from pathlib import Path
from typing import Any

import conda_lock.pypi_solver as pypi_solver  # noqa: PLR0402 - the package's own name hides it from type checkers
from conda_lock._vendor.poetry.core.packages.package import Package as PoetryPackage
from conda_lock._vendor.poetry.repositories.repository import Repository
from conda_lock._vendor.poetry.repositories.repository_pool import Priority, RepositoryPool
from conda_lock.lockfile.v2prelim.models import HashModel, LockedDependency
from conda_lock.lookup import conda_name_to_pypi_name
from conda_lock.models.pip_repository import PipRepository
from conda_lock.src_parser.pyproject_toml import parse_python_requirement
from packaging.version import InvalidVersion, Version

from conda_concept.lockfile import split_spec


def answer(question: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """The locked packages, or why there are none."""
    names = scratch / "names.json"
    names.write_text(
        json.dumps({pypi: {"conda_name": conda, "pypi_name": pypi} for conda, pypi in question["names"].items()}),
        encoding="utf-8",
    )
    parsed = [
        parse_python_requirement(text, manager="pip", mapping_url=str(names)) for text in question["requirements"]
    ]
    index = question["index"]
    conda = {entry["name"]: _locked(entry, "conda", question["platform"]) for entry in question["conda"]}
    _put_conda_first(conda, str(names))
    try:
        found = pypi_solver.solve_pypi(
            pip_specs={dependency.name: dependency for dependency in parsed},
            use_latest=[],
            pip_locked={entry["name"]: _locked(entry, "pip", question["platform"]) for entry in question["before"]},
            conda_locked=conda,
            python_version=question["python"],
            platform=question["platform"],
            pip_repositories=[PipRepository(url=index)] if index else [],
            allow_pypi_requests=not index,
            mapping_url=str(names),
        )
    except Exception as error:  # noqa: BLE001 - poetry's errors have no common base; all are an answer, not a defect
        return {"kind": _kind(error), "reason": " ".join(str(error).split()) or type(error).__name__}
    return {"packages": [_entry(package) for package in found.values()]}


def _put_conda_first(conda: dict[str, LockedDependency], names: str) -> None:
    """Let the solver find what conda provides without asking an index for it.

    conda-lock tells it only that these are installed; it then looks each of them up in the index all the same, and
    fails where a package or a version is in a conda channel only, or where there is no index at all.
    """
    provided = [
        PoetryPackage(name=conda_name_to_pypi_name(name, mapping_url=names), version=package.version)
        for name, package in conda.items()
        if "python" in package.dependencies
    ]
    original = pypi_solver._prepare_repositories_pool  # noqa: SLF001 - there is no public way in

    def pool(*args: Any, **kwargs: Any) -> RepositoryPool:
        result = RepositoryPool(repositories=[Repository("conda", provided)])
        for repository in original(*args, **kwargs).repositories:
            result.add_repository(repository, priority=Priority.SUPPLEMENTAL)
        return result

    pypi_solver._prepare_repositories_pool = pool  # noqa: SLF001


def _is_python_version(text: str) -> bool:
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def _locked(entry: dict[str, Any], manager: str, platform: str) -> LockedDependency:
    source = {"type": "url", "url": entry["source"]} if entry["source"] else None
    needs = dict(split_spec(text) for text in entry["depends"])
    if not _is_python_version(entry["version"]):
        needs.pop("python", None)  # a version that pip has no word for; conda-lock then leaves the package alone
    return LockedDependency.model_validate(
        {
            "name": entry["name"],
            "version": entry["version"],
            "manager": manager,
            "platform": platform,
            "dependencies": needs,
            "url": entry["url"],
            "hash": HashModel(md5=entry["md5"] or "0" * 32, sha256=entry["sha256"]),
            "source": source,
            "categories": {"main"},
        }
    )


def _entry(package: LockedDependency) -> dict[str, Any]:
    # An address without a host (`git+file:///…`) comes back with a host called None.
    url, source = (
        text.replace("://None/", ":///", 1) if text else None
        for text in (package.url, package.source.url if package.source else None)
    )
    return {
        "name": package.name,
        "version": package.version,
        "url": url,
        "sha256": package.hash.sha256,
        "depends": [f"{name} {spec}".strip() for name, spec in package.dependencies.items()],
        "source": source,
    }


def _kind(error: BaseException) -> str:
    """Whether the network failed, judged by the names of the errors behind an error."""
    seen: BaseException | None = error
    while seen is not None:
        if any(word in type(seen).__name__ for word in ("Connection", "Timeout", "HTTPError", "SSLError")):
            return "network"
        seen = seen.__cause__ or seen.__context__
    return "unsolvable"


def main() -> None:
    """Read the question, write the answer."""
    asked, answered = (Path(word) for word in sys.argv[1:3])
    result = answer(json.loads(asked.read_text(encoding="utf-8")), answered.parent)
    answered.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
