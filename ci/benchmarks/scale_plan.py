"""What is in the synthetic channel, decided before a byte is written: packages, their files and sizes.

Names, versions, builds, archive sizes and dependencies are those of analysis3 as it really was (tests/data). How many
files a package has, and how large they are, is in no channel's index: that is drawn from long-tailed distributions
with the shape of real packages, then scaled so that the finished prefix adds up to 289,524 files and 10 GB, bytecode
and conda's own records included. The same size gives the same plan on every machine; no time, no place, no order of a
set comes into it.
"""

import math
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from realdata import RealData
from scale_content import SEED

#: The environment that started this project: packages, files and bytes of its prefix.
PACKAGES, FILES, BYTES = 1015, 289_524, 10_000_000_000

#: Of the files that are not the interpreter's, how many are Python sources (each has its bytecode beside it). Of 120
#: real wheels 44 % are; conda's own libraries have none.
_SOURCES = 0.29
#: Median and sigma of the lognormal distribution of a source's size: mean 13 kB, 90 % below 30 kB (measured: 12 to 17).
_SOURCE_MEDIAN, _SOURCE_SIGMA = 5000, 1.4
#: Bytes of bytecode for a byte of source, as the generated sources come out; and of conda's record for a file.
BYTECODE, RECORD = 1.19, 340
#: Mean sizes of the other kinds, which share what bytes there are in this proportion, a file each; measured there.
_MEANS = {"library": 1_100_000, "data": 24_000, "header": 10_000, "script": 700}
#: Out of a hundred files that are not sources, by what the package is.
_MIX: Mapping[str, Mapping[str, int]] = {
    "pure": {"data": 100},
    "extension": {"library": 9, "data": 85, "header": 6},
    "native": {"library": 7, "data": 58, "header": 35},
    "generic": {"data": 100},
}

#: A Python distribution's own: METADATA, top_level.txt, entry_points.txt.
METADATA_FILES = 3
#: What else is in a prefix: the records of the interpreter and of its ABI, conda's history, and two scripts of the
#: image, to enter and to leave the environment.
_FURTHER = 5

Kind = Literal["pure", "extension", "native", "generic"]
FileKind = Literal["source", "library", "data", "header", "script"]


@dataclass(frozen=True, slots=True)
class Planned:
    """One package: who it is, what it needs, how many sources and other files it has, and the bytes of the others."""

    name: str
    version: str
    build: str
    build_number: int
    kind: Kind
    depends: tuple[str, ...]
    needs: tuple[str, ...]
    sources: int
    others: int
    bulk: int
    commands: int
    timestamp: int

    @property
    def module(self) -> str:
        """The module that users would import; a prefix keeps it apart from the standard library's."""
        return "scale_" + re.sub(r"\W", "_", self.name.replace("_", "_u_").replace(".", "_d_"))

    @property
    def rng(self) -> random.Random:
        """The package's own dice."""
        return random.Random(f"{SEED} {self.name}")

    @property
    def is_python(self) -> bool:
        """Whether it has modules."""
        return self.kind in ("pure", "extension")


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The real package that everything stands on: its files, how many are sources, and their bytes."""

    version: str
    files: int
    sources: int
    size: int
    source_size: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A channel: the synthetic packages (the interpreter is made of the running one), and what the prefix will hold."""

    packages: tuple[Planned, ...]
    files: int
    size: int

    @property
    def by_name(self) -> dict[str, Planned]:
        """Packages by name."""
        return {package.name: package for package in self.packages}

    @property
    def requests(self) -> tuple[str, ...]:
        """What an `environment.yml` has to ask for: what no other brings, and one of each ring."""
        packages = self.by_name
        brought = {name for package in self.packages for name in package.needs}
        asked: list[str] = []
        reached: set[str] = set()
        for name in sorted(packages, key=lambda one: (one in brought, -len(packages[one].needs), one)):
            if name not in reached:
                asked.append(name)
                todo = [name]
                while todo:
                    one = todo.pop()
                    if one not in reached:
                        reached.add(one)
                        todo += [need for need in packages[one].needs if need in packages]
        return tuple(sorted(asked))


def make_plan(data: RealData, fraction: float, interpreter: Interpreter) -> Plan:
    """The plan of a channel of so much of the full size (1.0: 1,015 packages, 289,524 files, 10 GB)."""
    records = _chosen(data, fraction)
    further = _FURTHER + sum(record["name"] == "ipykernel" for record in records)  # with it, the image is a kernel
    files = round(FILES * fraction) - interpreter.files - interpreter.sources - len(records) - further
    fixed = interpreter.size + int(interpreter.source_size * BYTECODE) + RECORD * round(FILES * fraction)
    size = round(BYTES * fraction) - fixed
    # Below a hundredth the interpreter is more than all that there should be; every package has something still.
    files, size = max(files, 40 * len(records)), max(size, 400_000 * len(records))
    sources = int(files * _SOURCES)
    mean = _SOURCE_MEDIAN * math.exp(_SOURCE_SIGMA**2 / 2)
    bulk = max(size - int(sources * mean * (1 + BYTECODE)), size // 3)
    packages = _dealt([_bare(record) for record in records], sources, files - 2 * sources, bulk)
    total = interpreter.files + interpreter.sources + sum(2 * one.sources + one.others for one in packages)
    return Plan(tuple(packages), total + len(packages) + further, size + fixed)


def _chosen(data: RealData, fraction: float) -> list[dict[str, Any]]:
    """Records of analysis3's last state, Python aside.

    Beyond the 1,015 of the original the ones that nothing needs go first, so that what stays is whole. Less than the
    full size is a sample whose dependencies on others fall away; more is the whole again, under other names.
    """
    records = [data.records[path] for path in data.steps[-1].packages]
    kept = {record["name"]: record for record in records if record["name"] not in ("python", "python_abi")}
    order = sorted(kept, key=lambda name: random.Random(f"{SEED} {name}").random())
    while len(kept) > PACKAGES - 2:
        needed = {name for record in kept.values() for name in _needs(record)}
        for name in [name for name in order if name in kept and name not in needed][: len(kept) - PACKAGES + 2]:
            del kept[name]
    names = [name for name in order if name in kept]
    sample = names[: max(6, round(PACKAGES * fraction) - 2)]
    found = [kept[name] for name in sorted(sample)]
    for number in range(1, math.ceil(fraction)):
        found += [
            _copy(record, number + 1, set(sample)) for record in found[: round(len(sample) * (fraction - number))]
        ]
    present = {record["name"] for record in found}
    return [{**record, "depends": [text for text in record["depends"] if _stays(text, present)]} for record in found]


def _needs(record: Mapping[str, Any]) -> set[str]:
    return {str(text).split()[0] for text in record["depends"]}


def _stays(text: str, present: set[str]) -> bool:
    return text.split(maxsplit=1)[0] in present or text.split(maxsplit=1)[0] in ("python", "python_abi")


def _copy(record: dict[str, Any], number: int, names: set[str]) -> dict[str, Any]:
    """The same package under another name, needing the copies of what the original needs."""

    def renamed(text: str) -> str:
        name, _, rest = text.partition(" ")
        return f"{name}.{number} {rest}".strip() if name in names else text

    return {**record, "name": f"{record['name']}.{number}", "depends": [renamed(text) for text in record["depends"]]}


def _bare(record: Mapping[str, Any]) -> tuple[Planned, int]:
    """A package without its files yet, and the size of its real archive."""
    python = bool(_needs(record) & {"python", "python_abi"})
    kind: Kind = "pure" if record.get("noarch") == "python" else "generic" if record.get("noarch") else "native"
    if kind == "native" and python:
        kind = "extension"
    # The running interpreter is another one than the real environment's: what is said about Python's version goes.
    depends = [text for text in record["depends"] if _stays(text, _needs(record) - {"python", "python_abi"})]
    depends = [text for text in depends if text.split()[0] not in ("python", "python_abi")]
    planned = Planned(
        name=record["name"],
        version=record["version"],
        build=record["build"],
        build_number=record["build_number"],
        kind=kind,
        depends=tuple(sorted({*depends, "python"} if kind in ("pure", "extension") else depends)),
        needs=tuple(sorted({text.split()[0] for text in depends})),
        sources=0,
        others=0,
        bulk=0,
        commands=0,
        timestamp=record.get("timestamp") or 0,
    )
    return planned, max(int(record.get("size") or 0), 4000)


def _dealt(bare: Sequence[tuple[Planned, int]], sources: int, others: int, bulk: int) -> list[Planned]:
    """Files and bytes dealt out: counts by long-tailed dice and the archive's size, bytes by the archive's size."""
    dice = [random.Random(f"{SEED} files {planned.name}") for planned, _ in bare]
    weights = [die.lognormvariate(0, 1.3) * size**0.45 for die, (_, size) in zip(dice, bare, strict=True)]
    python = [weight if planned.is_python else 0.0 for weight, (planned, _) in zip(weights, bare, strict=True)]
    rest = [
        weight * (0.5 if planned.kind == "pure" else 1.0) for weight, (planned, _) in zip(weights, bare, strict=True)
    ]
    # A native package's bytes are nearly all its libraries'; of a pure one most are its sources, dealt elsewhere.
    heavy = [size * (0.25 if planned.kind == "pure" else 1.0) for planned, size in bare]
    dealt = zip(
        (planned for planned, _ in bare),
        shares(python, sources, least=1),
        shares(rest, others, least=5),
        shares(heavy, bulk, least=3000),
        dice,
        strict=True,
    )
    return [
        replace(planned, sources=own, others=other, bulk=size, commands=_commands(planned, die, other))
        for planned, own, other, size, die in dealt
    ]


def _commands(planned: Planned, die: random.Random, others: int) -> int:
    """About two thousand commands at full size, most packages with none."""
    wanted = 0 if planned.kind == "generic" or die.random() < 0.6 else 1 + int(die.expovariate(1 / 4))
    return min(wanted, others - 4)


def shares(weights: Sequence[float], total: int, *, least: int) -> list[int]:
    """Whole numbers in proportion to `weights` that add up to `total`; at least `least` where a weight is not 0."""
    some = sum(1 for weight in weights if weight)
    spare = max(0, total - least * some)
    whole = sum(weights) or 1.0
    found = [least + int(spare * weight / whole) if weight else 0 for weight in weights]
    left = total - sum(found)
    for index in sorted(range(len(found)), key=lambda one: -weights[one])[: max(0, left)]:
        found[index] += 1
    return found


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One file: path as in the archive, kind, size."""

    path: str
    kind: FileKind
    size: int


def files_of(package: Planned, suffix: str) -> list[PlannedFile]:
    """Every file of a package but its metadata; `suffix` is what extension modules end with."""
    rng = package.rng
    found = [PlannedFile(path, "source", max(0, size)) for path, size in _sources(package, rng)]
    kinds = _kinds(package, rng)
    weights = [_MEANS[kind] * rng.lognormvariate(0, 1.8) for kind in kinds]
    sizes = shares(weights, package.bulk, least=40)
    found += [
        PlannedFile(_path(package, kind, number, suffix), kind, size)
        for number, (kind, size) in enumerate(zip(kinds, sizes, strict=True))
    ]
    return found


def _sources(package: Planned, rng: random.Random) -> Iterable[tuple[str, int]]:
    """Modules in folders of a dozen or so, each with its `__init__`."""
    if not package.sources:
        return
    top = f"{'' if package.kind == 'pure' else 'lib/python@/'}site-packages/{package.module}"
    sizes = [int(rng.lognormvariate(math.log(_SOURCE_MEDIAN), _SOURCE_SIGMA)) for _ in range(package.sources)]
    yield f"{top}/__init__.py", min(max(sizes[0], 600), 20_000)
    for number, size in enumerate(sizes[1:]):
        folder, at = divmod(number, 14)
        place = top if folder == 0 else f"{top}/part{folder}"
        # A tenth of real packages' `__init__` files are empty.
        name = "__init__.py" if folder and at == 0 else f"module{number}.py"
        yield f"{place}/{name}", (0 if name == "__init__.py" and rng.random() < 0.5 else size)


def _kinds(package: Planned, rng: random.Random) -> list[FileKind]:
    mix = _MIX[package.kind]
    # A pure package's commands are entry points: their scripts are made when it is installed, and count all the same.
    commands = 0 if package.kind == "pure" else package.commands
    left = package.others - package.commands - (METADATA_FILES if package.is_python else 0)
    # Machine code comes in few, large files: never more of them than their bytes are worth.
    kinds: list[FileKind] = rng.choices(list(mix), list(mix.values()), k=left)  # type: ignore[arg-type]  # the keys are such
    libraries = max(1, package.bulk // 250_000) if "library" in mix else 0
    for index, kind in enumerate(kinds):
        if kind == "library":
            libraries -= 1
            if libraries < 0:
                kinds[index] = "data"
    return [*kinds, *(["script"] * commands)]  # type: ignore[list-item]  # the same


def _path(package: Planned, kind: FileKind, number: int, suffix: str) -> str:
    name = package.name
    match kind:
        case "library" if package.kind == "extension":
            return f"lib/python@/site-packages/{package.module}/_native{number}{suffix}"
        case "library":
            return f"lib/lib{name}-{number}.so.{package.version.split('.')[0] or 0}"
        case "header":
            return f"include/{name}/part{number // 40}/{package.module}_{number}.h"
        case "script":
            return f"bin/{name}-{number}"
        case _ if package.is_python:
            top = f"{'' if package.kind == 'pure' else 'lib/python@/'}site-packages/{package.module}"
            return f"{top}/data/part{number // 60}/table{number}.dat"
        case _:
            return f"share/{name}/part{number // 60}/table{number}.dat"
