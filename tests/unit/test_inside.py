"""What runs inside an image: Python 3.9 and its standard library; what it reads there, on hand-made prefixes."""

import ast
import hashlib
import importlib.util
import json
import os
import py_compile
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from conda_concept.inside import checks, elf, survey
from conda_concept.testing.probe import SOURCES

INSIDE = Path(survey.__file__).parent
SITE = survey.site_packages()


@pytest.mark.parametrize("path", sorted(INSIDE.glob("*.py")), ids=lambda path: path.name)
def test_it_is_python_3_9_and_needs_only_the_standard_library(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"), feature_version=(3, 9))
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert name.startswith("conda_concept.inside") or name.split(".")[0] in sys.stdlib_module_names
        assert not isinstance(node, ast.Match)


def test_sources_come_before_those_that_import_them() -> None:
    for number, name in enumerate(SOURCES):
        for node in ast.walk(ast.parse((INSIDE / f"{name}.py").read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "conda_concept.inside":
                assert {alias.name for alias in node.names} <= set(SOURCES[:number])
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("conda_concept.inside."):
                assert (node.module or "").rpartition(".")[2] in SOURCES[:number]


def owner(*files: str, **record: object) -> survey.Owner:
    return survey.Owner({"name": "thing", **record}, tuple(files))


def modules(*files: str) -> list[str]:
    return sorted(survey.modules_of(owner(*(f"{SITE}/{name}" for name in files)), "/nowhere"))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["numpy/__init__.py", "numpy/linalg/__init__.py", "numpy/_core.py"], ["numpy"]),
        (["six.py", "six-1.0.dist-info/METADATA", "__pycache__/six.cpython-311.pyc"], ["six"]),
        (["google/cloud/storage/__init__.py", "google/cloud/storage/x.py"], ["google.cloud.storage"]),
        (["xarray/__init__.py", "_private.py", "tests/__init__.py", "docs/conf.py"], ["xarray"]),
        (["_cffi_backend.cpython-311-x86_64-linux-gnu.so"], ["_cffi_backend"]),
        (["a.abi3.so", "b.so", "c.txt", "d-e.py", "share/data/x.py"], ["a", "b"]),
        (["zope/interface.py"], ["zope.interface"]),
        (["ext/__init__.abi3.so"], ["ext"]),
        (["thing.libs/libx.so.1", "thing/__init__.py"], ["thing"]),
    ],
)
def test_modules_are_what_a_package_owns(files: list[str], expected: list[str]) -> None:
    assert modules(*files) == expected


def test_listed_private_names_are_tested(tmp_path: Path) -> None:
    info = tmp_path / SITE / "x.dist-info"
    info.mkdir(parents=True)
    (info / "top_level.txt").write_text("_x\nx\n")
    files = [f"{SITE}/{name}" for name in ("_x.py", "x.py", "_y.py", "x.dist-info/top_level.txt")]
    assert sorted(survey.modules_of(owner(*files), str(tmp_path))) == ["_x", "x"]


def test_the_interpreters_own_extensions_are_modules_of_its_package() -> None:
    folder = f"{os.path.dirname(SITE)}/lib-dynload"  # noqa: PTH120 - a text, as in a record
    files = [
        f"{folder}/{name}.cpython-{sys.version_info[0]}{sys.version_info[1]}-x86_64-linux-gnu.so"
        for name in ("_ssl", "_testcapi")
    ]
    assert list(survey.modules_of(owner(*files), "/nowhere")) == ["_ssl"]


def test_distributions_with_requirements_and_commands(tmp_path: Path) -> None:
    info = tmp_path / SITE / "thing-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Name: Thing\nVersion: 2.0\nRequires-Dist: numpy>=2\nRequires-Dist: x\n\nName: text\n"
    )
    (info / "entry_points.txt").write_text("[console_scripts]\na = m:f [extra]\n# c = d\n[other]\nb = n:g\n")
    (dist,) = survey.dists_of(owner(f"{SITE}/thing-2.0.dist-info/METADATA"), str(tmp_path))
    assert dist == {"name": "Thing", "version": "2.0", "requires": ["numpy>=2", "x"], "commands": {"a": "m:f"}}


def test_what_pip_brought_is_in_its_own_list_which_may_quote(tmp_path: Path) -> None:
    (tmp_path / "conda-meta").mkdir()
    info = tmp_path / SITE / "thing-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "RECORD").write_text(
        '"thing/a, b.py",sha256=x,5\n"thing/""c"".py",,\n../../../bin/thing,sha256=y,3\n../../../../elsewhere,,\n'
    )
    (one,) = survey.owners(str(tmp_path))
    assert (one.name, one.record["version"]) == ("pip:thing", "2.0")
    assert one.files == (f"{SITE}/thing/a, b.py", f'{SITE}/thing/"c".py', "bin/thing")


def test_a_file_of_two_packages_clashes_unless_it_is_the_same() -> None:
    def having(name: str, sha256: str) -> survey.Owner:
        return survey.Owner(
            {"name": name}, ("a", "b"), ({"_path": "a", "sha256": "1"}, {"_path": "b", "sha256": sha256})
        )

    assert survey.clashes([having("x", "2"), having("y", "3")]) == {"b": ["x", "y"]}


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "conda-meta").mkdir()
    (tmp_path / "conda-meta" / "x.json").write_text('{"files": 5}')
    with pytest.raises(ValueError, match=r"conda-meta/x\.json is not a conda record"):
        survey.owners(str(tmp_path))


# --- checks: one package with one thing wrong at a time ------------------------------------------------------------


@pytest.fixture
def checker(tmp_path: Path) -> checks.Checker:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(os.path.realpath(sys.executable))
    return checks.Checker(str(tmp_path), foreign=("/staging/x",))


def installed(checker: checks.Checker, path: str, content: bytes = b"", **fact: object) -> survey.Owner:
    target = Path(checker.prefix, path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return survey.Owner({"name": "thing"}, (path,), ({"_path": path, **fact},))


def problems(checker: checks.Checker, one: survey.Owner) -> dict[str, list[str]]:
    return {str(found["check"]): list(found["problems"]) for found in checker.all_of(one)}  # type: ignore[call-overload]


def test_a_sound_file_has_no_problem(checker: checks.Checker) -> None:
    assert problems(checker, installed(checker, "share/x", b"abc", size_in_bytes=3)) == {"files": []}


def test_a_missing_file(checker: checks.Checker) -> None:
    one = installed(checker, "share/x")
    Path(checker.prefix, "share/x").unlink()
    assert problems(checker, one) == {"files": ["share/x: No such file or directory"]}


def test_a_short_file(checker: checks.Checker) -> None:
    assert problems(checker, installed(checker, "share/x", b"ab", size_in_bytes=3))["files"] == [
        "share/x: 2 bytes, its record says 3"
    ]


def test_a_file_with_other_content_of_the_same_size(checker: checks.Checker) -> None:
    good = {key: hashlib.sha256(b"abc").hexdigest() for key in ("sha256", "sha256_in_prefix")}
    assert problems(checker, installed(checker, "share/x", b"abc", **good))["files"] == []
    moved = installed(checker, "share/x", b"abc", prefix_placeholder="/old", **(good | {"sha256": "of the build"}))
    assert problems(checker, moved)["files"] == []
    for name, digest in good.items():
        one = installed(checker, "share/x", b"abd", size_in_bytes=3, **{name: digest})
        said = f"share/x: its content is not what the record says (sha256 {digest[:12]}…)"
        assert problems(checker, one)["files"] == [said]


def test_a_link_to_nowhere(checker: checks.Checker) -> None:
    one = installed(checker, "lib/x")
    Path(checker.prefix, "lib/x").unlink()
    Path(checker.prefix, "lib/x").symlink_to("y")
    assert problems(checker, one)["files"] == ["lib/x: a link to nowhere (y)"]


def test_a_prefix_that_was_not_replaced(checker: checks.Checker) -> None:
    one = installed(checker, "lib/x.pc", b"prefix=/old/placeholder", prefix_placeholder="/old/placeholder")
    assert "still holds the build's prefix" in problems(checker, one)["prefix"][0]


def test_the_staging_folder_left_in_a_file(checker: checks.Checker) -> None:
    one = installed(checker, "lib/x.pc", b"prefix=/staging/x/y", prefix_placeholder="/old")
    assert problems(checker, one)["prefix"] == ["lib/x.pc: holds /staging/x"]


def compiled(checker: checks.Checker, mode: py_compile.PycInvalidationMode) -> survey.Owner:
    one = installed(checker, f"{SITE}/x.py", b"a = 1\n")
    py_compile.compile(str(Path(checker.prefix, SITE, "x.py")), invalidation_mode=mode)
    return one


@pytest.mark.parametrize("mode", list(py_compile.PycInvalidationMode))
def test_good_bytecode(checker: checks.Checker, mode: py_compile.PycInvalidationMode) -> None:
    assert problems(checker, compiled(checker, mode))["bytecode"] == []


def test_bytecode_with_a_time_stamp_is_stale_in_an_image_without_times(checker: checks.Checker) -> None:
    one = compiled(checker, py_compile.PycInvalidationMode.TIMESTAMP)
    os.utime(Path(checker.prefix, SITE, "x.py"), (0, 0))
    assert "another time or size" in problems(checker, one)["bytecode"][0]


HASHED = [py_compile.PycInvalidationMode.CHECKED_HASH, py_compile.PycInvalidationMode.UNCHECKED_HASH]


@pytest.mark.parametrize("mode", HASHED)
def test_bytecode_whose_source_changed(checker: checks.Checker, mode: py_compile.PycInvalidationMode) -> None:
    one = compiled(checker, mode)
    Path(checker.prefix, SITE, "x.py").write_bytes(b"a = 2\n")
    assert "another hash" in problems(checker, one)["bytecode"][0]


def test_bytecode_of_another_interpreter(checker: checks.Checker) -> None:
    one = compiled(checker, py_compile.PycInvalidationMode.UNCHECKED_HASH)
    cache = Path(importlib.util.cache_from_source(str(Path(checker.prefix, SITE, "x.py"))))
    cache.write_bytes(b"\0\0\r\n" + cache.read_bytes()[4:])
    assert "another interpreter" in problems(checker, one)["bytecode"][0]


@pytest.mark.parametrize("length", [16, 20, -1])
def test_bytecode_that_was_cut(checker: checks.Checker, length: int) -> None:
    one = compiled(checker, py_compile.PycInvalidationMode.UNCHECKED_HASH)
    cache = Path(importlib.util.cache_from_source(str(Path(checker.prefix, SITE, "x.py"))))
    cache.write_bytes(cache.read_bytes()[:length])
    assert "cut or damaged" in problems(checker, one)["bytecode"][0]


def test_missing_bytecode(checker: checks.Checker) -> None:
    assert problems(checker, installed(checker, f"{SITE}/x.py", b"a = 1\n"))["bytecode"] == [
        f"no bytecode: 1 file, such as {SITE}/x.py"
    ]


def test_what_cannot_be_compiled_needs_no_bytecode(checker: checks.Checker) -> None:
    assert problems(checker, installed(checker, f"{SITE}/x.py", b"print 'two'\n"))["bytecode"] == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("#!/bin/sh", ""),
        ("#!/usr/bin/env sh", ""),
        ("#!/usr/bin/env -S python3 -s", ""),
        ("#!", "names no program"),
        ("#!/not/there -x", "/not/there, which is not there"),
        ("#!/usr/bin/env not-there", "`not-there`, which is nowhere"),
        ("#!/bin/sh " + "x" * 130, "has 140 bytes"),
    ],
)
def test_first_lines_of_scripts(checker: checks.Checker, line: str, words: str) -> None:
    one = installed(checker, "bin/x", line.encode() + b"\ntrue\n")
    Path(checker.prefix, "bin/x").chmod(0o755)
    found = problems(checker, one)["scripts"]
    assert (words in found[0]) if words else found == []


def test_a_script_that_cannot_be_executed(checker: checks.Checker) -> None:
    assert problems(checker, installed(checker, "bin/x", b"#!/bin/sh\n"))["scripts"] == ["bin/x: not executable"]


# --- ELF ---------------------------------------------------------------------------------------------------------


def elf_file(needed: list[str], *, rpath: str = "", runpath: str = "", machine: int = 62) -> bytes:
    """A 64-bit ELF file that is nothing but its dynamic section; see elf(5)."""
    strings, entries = b"\0", []
    for tag, text in [*((1, name) for name in needed), (15, rpath), (29, runpath)]:
        if text:
            entries.append((tag, len(strings)))
            strings += text.encode() + b"\0"
    start = 64 + 2 * 56
    size = 16 * (len(entries) + 2)
    dynamic = b"".join(struct.pack("<qQ", *entry) for entry in [*entries, (5, start + size), (0, 0)])
    total = start + size + len(strings)
    head = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    )
    load = struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, total, total, 4096)
    segment = struct.pack("<IIQQQQQQ", 2, 4, start, start, start, size, size, 8)
    return head + load + segment + dynamic + strings


def put(path: Path, *needed: str, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(elf_file(list(needed), **more))
    return path


@pytest.fixture
def finder(tmp_path: Path) -> elf.Finder:
    python = put(tmp_path / "bin" / "python3", rpath="$ORIGIN/../lib")
    return elf.Finder(str(python), system=[str(tmp_path / "host")])


def test_elf_fields(tmp_path: Path) -> None:
    found = elf.read_elf(str(put(tmp_path / "x.so", "liba.so.1", "libb.so", rpath="/a:/b", runpath="$ORIGIN")))
    assert found == elf.Elf((2, 62), ("liba.so.1", "libb.so"), ("/a", "/b"), ("$ORIGIN",))


def test_what_is_no_elf_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"#!/bin/sh\n")
    assert elf.read_elf(str(tmp_path / "x")) is None


def test_a_cut_elf_file_is_damaged_or_has_nothing(tmp_path: Path) -> None:
    whole = elf_file(["liba.so.1"], rpath="/x")
    for length in range(5, len(whole)):
        (tmp_path / "x").write_bytes(whole[:length])
        try:
            elf.read_elf(str(tmp_path / "x"))
        except ValueError as error:
            assert "damaged" in str(error)  # noqa: PT017 - either is right, anything else is not


def test_libraries_are_found_as_the_loader_does(tmp_path: Path, finder: elf.Finder) -> None:
    put(tmp_path / "lib" / "libfar.so", "libhost.so")
    put(tmp_path / "host" / "libhost.so")
    near = put(tmp_path / "m" / "near" / "libnear.so", "libfar.so")
    module = put(tmp_path / "m" / "x.so", "libnear.so", runpath="$ORIGIN/near")
    reached = finder.reach(str(module))
    far, host = str(tmp_path / "lib" / "libfar.so"), str(tmp_path / "host" / "libhost.so")
    assert reached.lost == []
    assert reached.files == [str(module), str(near), far, host]
    assert reached.found == [
        (str(module), "libnear.so", str(near)),
        (str(near), "libfar.so", far),
        (far, "libhost.so", host),
    ]


def test_missing_libraries_say_who_asks(tmp_path: Path, finder: elf.Finder) -> None:
    put(tmp_path / "lib" / "liba.so", "libgone.so.3")
    module = put(tmp_path / "x.so", "liba.so", "libaway.so")
    asking = str(tmp_path / "lib" / "liba.so")
    assert finder.reach(str(module)).lost == [(str(module), "libaway.so"), (asking, "libgone.so.3")]


def test_a_library_of_another_machine_is_none(tmp_path: Path, finder: elf.Finder) -> None:
    put(tmp_path / "lib" / "liba.so", machine=183)
    module = str(put(tmp_path / "x.so", "liba.so"))
    assert finder.reach(module).lost == [(module, "liba.so")]


def test_runpath_is_not_inherited(tmp_path: Path) -> None:
    python = put(tmp_path / "bin" / "python3", runpath="$ORIGIN/../lib")
    put(tmp_path / "lib" / "liba.so")
    module = str(put(tmp_path / "x.so", "liba.so"))
    assert elf.Finder(str(python), system=[]).reach(module).lost == [(module, "liba.so")]


@pytest.mark.parametrize(("where", "first"), [("rpath", "own"), ("runpath", "outer")])
def test_ld_library_path_comes_after_rpath_and_before_runpath(tmp_path: Path, where: str, first: str) -> None:
    python = put(tmp_path / "bin" / "python3")
    for folder in ("own", "outer"):
        put(tmp_path / folder / "liba.so")
    module = str(put(tmp_path / "x.so", "liba.so", **{where: "$ORIGIN/own"}))
    found = elf.Finder(str(python), system=[], folders=[str(tmp_path / "outer")]).reach(module).found
    assert found == [(module, "liba.so", str(tmp_path / first / "liba.so"))]


def test_libraries_of_the_host_need_permission(tmp_path: Path, finder: elf.Finder) -> None:
    put(tmp_path / "host" / "libmpi.so.40")
    put(tmp_path / "host" / "libc.so.6")
    put(tmp_path / "prefix" / "bin" / "python3")
    one = survey.Owner({"name": "thing"}, ("lib/x.so",))
    put(tmp_path / "prefix" / "lib" / "x.so", "libmpi.so.40", "libc.so.6")
    prefix, host = str(tmp_path / "prefix"), (str(tmp_path / "host"),)
    strict, *open_ = (
        checks.Checker(prefix),
        checks.Checker(prefix, (), host),
        checks.Checker(prefix, host_software=host),
    )
    for checker in (strict, *open_):
        checker.finder = finder
    assert problems(strict, one)["libraries"] == [
        f"lib/x.so: libmpi.so.40 comes from the host ({tmp_path}/host/libmpi.so.40)"
    ]
    assert [problems(checker, one)["libraries"] for checker in open_] == [[], []]


def test_what_a_package_brings_is_judged_for_what_it_asks_for_itself(tmp_path: Path, finder: elf.Finder) -> None:
    """A tool that asks for a library of its own package, which asks for one that only the host has."""
    put(tmp_path / "host" / "libforbidden.so")
    prefix = tmp_path / "prefix"
    put(prefix / "bin" / "python3")
    put(prefix / "bin" / "tool", "libinner.so.1", rpath="$ORIGIN/../lib")
    put(prefix / "lib" / "libinner.so.1", "libforbidden.so")
    checker = checks.Checker(str(prefix))
    checker.finder = finder
    one = survey.Owner({"name": "thing"}, ("bin/tool", "lib/libinner.so.1"))
    place = f"{tmp_path}/host/libforbidden.so"
    assert problems(checker, one)["libraries"] == [f"lib/libinner.so.1: libforbidden.so comes from the host ({place})"]


def test_libraries_that_ask_for_each_other_are_judged_too(tmp_path: Path, finder: elf.Finder) -> None:
    prefix = tmp_path / "prefix"
    put(prefix / "bin" / "python3")
    put(prefix / "lib" / "liba.so", "libb.so", rpath="$ORIGIN")
    put(prefix / "lib" / "libb.so", "liba.so", "libgone.so", rpath="$ORIGIN")
    checker = checks.Checker(str(prefix))
    checker.finder = finder
    one = survey.Owner({"name": "thing"}, ("lib/liba.so", "lib/libb.so"))
    assert problems(checker, one)["libraries"] == ["lib/liba.so: libgone.so is nowhere (for libb.so)"]


def test_mpi_users_get_the_mpi_that_ld_library_path_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's loader says so (here: a word for it); and the interpreter's RPATH must not lead elsewhere."""
    host, prefix = tmp_path / "apps" / "openmpi", tmp_path / "prefix"
    for name in ("libmpi.so.40", "libhwloc.so.15"):
        put(host / "lib" / name)
    put(prefix / "lib" / "libhwloc.so.15")
    put(prefix / "bin" / "python3", rpath="$ORIGIN/../lib")
    user = put(prefix / "lib" / "user.so", "libmpi.so.40", "libhwloc.so.15")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{host}/lib")
    monkeypatch.setattr(checks, "resolved", lambda _: {"libmpi.so.40": f"{host}/lib/libmpi.so.40"})
    one = survey.Owner({"name": "thing"}, (str(user.relative_to(prefix)),))

    def said() -> list[str]:
        return problems(checks.Checker(str(prefix), host_software=(str(host),)), one)["host-libraries"]

    assert said() == []
    put(prefix / "lib" / "libmpi.so.40")
    assert said() == [f"lib/user.so: libmpi.so.40 is {prefix}/lib/libmpi.so.40, not the host's {host}/lib/libmpi.so.40"]
    assert "host-libraries" not in problems(checks.Checker(str(prefix)), one)


def test_record_fields_for_the_host(tmp_path: Path) -> None:
    (tmp_path / "conda-meta").mkdir()
    record = {"name": "x", "version": "1", "build": "0", "depends": ["y"], "files": ["share/x"], "secret": 1}
    (tmp_path / "conda-meta" / "x-1-0.json").write_text(json.dumps(record))
    found: dict[str, Any] = survey.survey(str(tmp_path))
    (package,) = found["packages"]
    assert package["depends"] == ["y"]
    assert package["meta"] == "x-1-0.json"
    assert "secret" not in package
