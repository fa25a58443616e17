"""The `pip:` section: solved by conda-lock (which carries poetry's solver), on top of the conda packages.

It runs in a process of its own: it knows no time limit, loads slowly, and may ask source packages for their metadata.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from conda_concept.changes import twice
from conda_concept.errors import InputError, NetworkError, SolveTimeoutError, ToolError, UnsolvableError
from conda_concept.model import Package, Request
from conda_concept.run import CLEAN_ENVIRONMENT, CommandError, run
from conda_concept.solver import Session

#: What the child needs of our environment to reach the network as we do; secrets among them would be the user's own.
PASSED_ON = ("HOME", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

#: Python packages that conda calls otherwise and that are often met. conda-lock's own table is on the network, and
#: one more thing that can be down; what is not here is taken to have one name.
PYPI_NAMES: Mapping[str, str] = {
    "dask-core": "dask",
    "matplotlib-base": "matplotlib",
    "python-graphviz": "graphviz",
    "pytorch": "torch",
    "ruamel.yaml": "ruamel-yaml",
    "pytables": "tables",
    "opencv": "opencv-python",
    "arm_pyart": "arm-pyart",
    "iris": "scitools-iris",
    "python-eccodes": "eccodes",
    "seawater": "seawater",
}


def solve_pip(session: Session, conda: Sequence[Package], before: Sequence[Package]) -> tuple[list[Package], list[str]]:
    """The pip packages of the session's spec on top of the `conda` packages, and sentences for people.

    What conda provides is not taken from pip again. Packages of `before` are kept where they fit. A direct address is
    locked with the sha256 of its file, a Git address by its commit.
    """
    asked = [request for request in session.spec.requests if request.manager == "pip"]
    if not asked:
        return [], []
    python = next((package.version for package in conda if package.name == "python"), None)
    if python is None:
        raise InputError(
            "`pip:` asks for packages, but the environment has no python.", hint="Ask for `python` in `dependencies:`."
        )
    left, notes = _not_in_conda(asked, conda)
    if not left:
        return [], notes
    question = {
        "requirements": [request.text for request in left],
        "python": python,
        "platform": session.platform,
        "index": session.settings.pip_index,
        "glibc": session.virtual.get("__glibc", "2.17"),
        "names": PYPI_NAMES,
        "conda": [_facts(package) for package in conda],
        # What was asked for by its address is what that address says, now as before.
        "before": [_facts(package) for package in before if package.source is None],
    }
    packages = [_package(entry, session.platform) for entry in _ask(session, question)]
    return packages, notes + twice([*conda, *packages])


def _not_in_conda(asked: Sequence[Request], conda: Sequence[Package]) -> tuple[list[Request], list[str]]:
    """Requests that conda's packages do not meet yet, and a sentence for each one that they do."""
    there = {pypi_name(package.name): package for package in conda}
    left, notes = [], []
    for request in asked:
        known, requirement = there.get(request.name), Requirement(request.text)
        if known is None:
            left.append(request)
        elif requirement.url is None and requirement.specifier.contains(known.version, prereleases=True):
            notes.append(
                f"`{request.text}` ({request.place}) is not taken from pip: conda's {known.name} {known.version} is it."
            )
        else:
            raise InputError(
                f"{request.place}: `{request.text}` from pip would replace conda's {known.name} {known.version}.",
                hint="Ask conda for the version that you need; two installers must not write the same files.",
            )
    return left, notes


def pypi_name(name: str) -> str:
    """What pip calls a conda package."""
    return canonicalize_name(PYPI_NAMES.get(name, name))


def _facts(package: Package) -> dict[str, Any]:
    return {
        "name": package.name,
        "version": package.version,
        "depends": list(package.depends),
        "url": package.url,
        "md5": package.md5,
        "sha256": package.sha256,
        "source": package.source,
    }


def _ask(session: Session, question: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The child's answer to a question, or its failure as what it is."""
    known = session.settings.environ
    passed = {name: known[name] for name in (*PASSED_ON, *CERTIFICATES) if name in known}
    package_root = str(Path(__file__).resolve().parent.parent)
    with tempfile.TemporaryDirectory(prefix="conda-concept-pip-") as scratch:
        paths = [Path(scratch) / name for name in ("question.json", "answer.json")]
        paths[0].write_text(json.dumps(question), encoding="utf-8")
        environment = {**CLEAN_ENVIRONMENT, **passed, "PYTHONPATH": package_root}
        limit = session.settings.time_limit
        try:
            run([sys.executable, "-m", "conda_concept.pipworker", *paths], env=environment, timeout=limit)
        except CommandError as error:
            raise ToolError(f"pip's packages could not be solved: {error.message}") from error
        except ToolError as error:
            raise SolveTimeoutError(
                f"pip's packages had no solution within {limit:g} seconds (the time limit).",
                hint="Pin the requirements below `pip:`, or give it more with `--time-limit SECONDS`.",
            ) from error
        answer: dict[str, Any] = json.loads(paths[1].read_text(encoding="utf-8"))
    if "packages" in answer:
        found: list[dict[str, Any]] = answer["packages"]
        return found
    reason = str(answer["reason"])
    if answer["kind"] == "network":
        raise NetworkError(f"the index of pip's packages could not be reached: {reason}")
    raise UnsolvableError(f"the requirements below `pip:` have no solution: {reason}", solver_text=reason)


def _package(entry: Mapping[str, Any], platform: str) -> Package:
    package = Package(
        name=entry["name"],
        version=entry["version"],
        manager="pip",
        platform=platform,
        url=entry["url"],
        md5=None,
        sha256=entry["sha256"],
        depends=tuple(sorted(entry["depends"])),
        source=entry["source"],
    )
    if package.sha256 is None:
        data = _fetch(package.url)
        package = replace(package, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    return package


def _fetch(url: str) -> bytes:
    """The bytes of a wheel or source archive that was asked for by its address, so that its hash can be locked."""
    import requests

    parts = urlsplit(url)
    try:
        if parts.scheme == "file":
            return Path(unquote(parts.path)).read_bytes()
        answer = requests.get(url.partition("#")[0], timeout=(10, 60))
        answer.raise_for_status()
    except (OSError, requests.RequestException) as error:
        raise NetworkError(f"{url} could not be fetched: {error}") from error
    return answer.content
