"""From the words of Python packaging to those of conda: names, versions, requirements, licences.

Version specifiers are defined by PEP 440 (now in the packaging specifications), match specs by conda's own
documentation. Both order versions alike where this matters: `1.0.dev0 < 1.0a1 < 1.0rc1 < 1.0 < 1.0.post1`.
"""

from collections.abc import Iterable, Mapping

from packaging.requirements import Requirement
from packaging.specifiers import Specifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

#: Licence classifiers that name one licence, as SPDX identifiers. Others say too little (`BSD License`) or nothing.
_SPDX_OF_CLASSIFIER = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "Historical Permission Notice and Disclaimer (HPND)": "HPND",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}


def marker_environment(python: str) -> dict[str, str]:
    """What environment markers see on Linux x86-64 with CPython `python` (`3.11.7`), no extra asked for."""
    return {
        "implementation_name": "cpython",
        "implementation_version": python,
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": python,
        "python_version": ".".join(python.split(".")[:2]),
        "sys_platform": "linux",
        "extra": "",
    }


def match_specs(requirements: Iterable[str], python: str) -> tuple[str, ...]:
    """The match specs of a wheel's `Requires-Dist` lines, sorted; those whose marker is false are dropped.

    Conda has no extras: `dask[array]` becomes `dask`.
    """
    environment = marker_environment(python)
    found: dict[str, SpecifierSet] = {}
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            name = canonicalize_name(requirement.name)
            found[name] = found.get(name, SpecifierSet()) & requirement.specifier
    return tuple(f"{name} {version_spec(found[name])}".rstrip() for name in sorted(found))


def version_spec(specifiers: SpecifierSet) -> str:
    """The version part of a match spec that admits what `specifiers` admit; empty if that is everything."""
    ordered = sorted(specifiers, key=lambda one: (_ORDER.index(one.operator), one.version))
    return ",".join(dict.fromkeys(clause for one in ordered for clause in _clauses(one)))


#: Lower bounds first, as people write them.
_ORDER = ("===", "==", "~=", ">=", ">", "<=", "<", "!=")


def _clauses(one: Specifier) -> tuple[str, ...]:
    """One specifier as match spec clauses."""
    match one.operator, one.version:
        case ("==", version) if version.endswith(".*"):
            return (version,)
        case ("===", version):
            return (f"=={version}",)
        case ("~=", version):
            return (f">={version}", f"{_series(version)}.*")
        case ("<", version) if not Version(version).is_prerelease and not Version(version).is_postrelease:
            # `<2` excludes 2.0rc1 in Python packaging, but not in conda; conda-forge writes it like this.
            return (f"<{version if '.' in version else version + '.0'}a0",)
        case (operator, version):
            return (f"{operator}{version}",)


def _series(version: str) -> str:
    """What `~=` keeps fixed: the release number without its last part, `1.4` of `1.4.2`."""
    parsed = Version(version)
    epoch = f"{parsed.epoch}!" if parsed.epoch else ""
    return epoch + ".".join(str(part) for part in parsed.release[:-1])


def license_of(metadata: Mapping[str, object]) -> str:
    """The licence as the metadata says it: the SPDX expression, else classifiers, else a short `License` field."""
    expression = metadata.get("license_expression")
    if isinstance(expression, str):
        return expression
    classifiers = metadata.get("classifiers")
    known = [
        _SPDX_OF_CLASSIFIER[last]
        for line in (classifiers if isinstance(classifiers, list) else ())
        if line.startswith("License ::") and (last := line.rsplit(" :: ", 1)[-1]) in _SPDX_OF_CLASSIFIER
    ]
    field = metadata.get("license")
    # Many put the licence's whole text there.
    if isinstance(field, str) and len(field) <= 60 and "\n" not in field.strip():
        known = [field.strip()] if not known or known == ["BSD"] else known
    return " AND ".join(dict.fromkeys(known))
