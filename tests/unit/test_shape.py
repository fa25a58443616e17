"""The shape of the house: who may import whom, exit codes, and nothing that does side effects above the line."""

import ast
from pathlib import Path

from conda_concept import errors

PACKAGE = Path(errors.__file__).parent

#: Top to bottom: a module imports only from those above it. Packages stand for all their modules.
ORDER = (
    *(
        "errors",
        "settings",
        "model",
        "results",
        "document",
        "integration",
        "spec",
        "site",
        "machine",
        "batch",
        "siting",
        "checkup",
        "evidence",
        "lockfile",
        "lockcheck",
        "changes",
        "areas",
        "importing",
        "specedit",
        "solvertext",
        "explain",
        "squashfs",
        "matrix",
        "identity",
        "layout",
        "record",
        "conversation",
        "forms",
        "proposal",
        "requesting",
        "quarter",
    ),
    *("render", "changelog", "operations", "plan", "pruning", "retiring"),
    # Side effects only below this line.
    *(
        "progress",
        "run",
        "looking",
        "repository",
        "localchannel",
        "space",
        "download",
        "scratch",
        "store",
        "channels",
        "solver",
        "pipsolver",
        "pipworker",
        "pypi",
        "locking",
        "image",
        "runtime",
        "sandbox",
        "integrating",
        "hooks",
        "bytecode",
        "layers",
    ),
    *("testing", "assembly", "executor", "github", "steps", "commands", "cli"),
)
PURE = ORDER[: ORDER.index("progress")]
#: Modules of the standard library and of others that reach outside.
EDGES = {"subprocess", "socket", "requests", "shutil", "tempfile", "asyncio", "threading", "github"}


def module_name(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def sources() -> list[Path]:
    return [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if module_name(path) not in ("__init__", "__main__", "inside", "templates")
    ]


def test_every_module_has_its_place_and_imports_only_from_above() -> None:
    wrong = []
    for path in sources():
        own = module_name(path)
        assert own in ORDER, f"{own} has no place in ORDER: decide what it may import"
        for name in imports(path):
            parts = name.split(".")
            if parts[0] != "conda_concept" or len(parts) < 2 or parts[1] not in ORDER:
                continue
            if parts[1] != own and ORDER.index(parts[1]) > ORDER.index(own):
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}, which stands below it")
    assert not wrong, "\n".join(wrong)


def test_nothing_above_the_line_reaches_outside() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in sources()
        if module_name(path) in PURE
        for name in imports(path)
        if name.split(".")[0] in EDGES
    ]
    assert not wrong, "\n".join(wrong)


def test_only_one_module_starts_processes() -> None:
    wrong = [
        str(path.relative_to(PACKAGE))
        for path in sources()
        if module_name(path) != "run" and "subprocess" in {name.split(".")[0] for name in imports(path)}
    ]
    assert not wrong, f"only run.py may import subprocess, not {wrong}"


def all_errors(kind: type[errors.ConcError] = errors.ConcError) -> list[type[errors.ConcError]]:
    return [sub for direct in kind.__subclasses__() for sub in (direct, *all_errors(direct))]


def test_exit_codes_are_unique_and_in_the_table() -> None:
    own = [kind for kind in all_errors() if kind.__module__ == "conda_concept.errors"]
    codes = [kind.exit_code for kind in own]
    assert sorted(codes) == sorted(set(codes))
    assert {0, 1, 130, *codes} == set(errors.EXIT_CODES)


def test_every_error_elsewhere_reuses_a_code_of_the_table() -> None:
    assert {kind.exit_code for kind in all_errors()} <= set(errors.EXIT_CODES)
