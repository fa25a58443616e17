"""What packages say about their own tests: `test` of conda-build's recipes, `tests.yaml` of rattler-build's.

That is in a package's `info/`, which is not part of an installed environment: the build saves it from the package
cache while it has it.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from conda_concept.errors import InputError

#: PyYAML's own parser takes ten times as long as libyaml's, which its wheels bring: seconds for a thousand recipes.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_IMPORT_LINE = re.compile(r"^import ([A-Za-z_][\w.]*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Declared:
    """One package's own tests: modules to import, commands to run, and what those need beside the package."""

    imports: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.imports or self.commands)


def read_info(info: Path) -> Declared:
    """What an unpacked package's `info/` folder says; nothing where it says nothing. What cannot be read is nothing."""
    recipe = _load(info / "recipe" / "meta.yaml")
    listed = [_load(info / "tests" / "tests.yaml"), _load(info / "test" / "tests.yaml")]
    found = [_conda_build(recipe.get("test") if isinstance(recipe, dict) else None), *map(_rattler_build, listed)]
    script = info / "test" / "run_test.py"
    if not any(found) and script.is_file():
        found.append(Declared(imports=tuple(_IMPORT_LINE.findall(script.read_text("utf-8", errors="replace")))))
    return Declared(
        imports=_once(name for one in found for name in one.imports),
        commands=_once(line for one in found for line in one.commands),
        needs=_once(name for one in found for name in one.needs),
    )


def _load(path: Path) -> Any:
    try:
        return yaml.load(path.read_text("utf-8", errors="replace"), Loader=_LOADER)  # noqa: S506 - safe, both of them
    except (OSError, yaml.YAMLError):
        return None


def _conda_build(test: object) -> Declared:
    if not isinstance(test, dict):
        return Declared()
    # Commands that need files of the recipe cannot run here.
    files = test.get("files") or test.get("source_files")
    return Declared(
        _words(test.get("imports")), () if files else _words(test.get("commands")), _words(test.get("requires"))
    )


def _rattler_build(tests: object) -> Declared:
    found = [_one_rattler_test(test) for test in tests if isinstance(test, dict)] if isinstance(tests, list) else []
    return Declared(
        imports=tuple(name for one in found for name in one.imports),
        commands=tuple(line for one in found for line in one.commands),
        needs=tuple(name for one in found for name in one.needs),
    )


def _one_rattler_test(test: dict[str, Any]) -> Declared:
    python, script, wants, files = (test.get(name) for name in ("python", "script", "requirements", "files"))
    imports = _words(python.get("imports")) if isinstance(python, dict) else ()
    if isinstance(script, dict):
        script = script.get("content") if script.get("interpreter", "bash") == "bash" else None
    lines = () if files else _words([script] if isinstance(script, str) else script)
    needs = _words([*(wants.get("run") or ()), *(wants.get("build") or ())]) if isinstance(wants, dict) else ()
    return Declared(imports, lines, needs)


def _words(value: object) -> tuple[str, ...]:
    return tuple(str(word) for word in value if isinstance(word, str)) if isinstance(value, list) else ()


def _once(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def collect(unpacked: Mapping[str, Path]) -> dict[str, Declared]:
    """The tests of every package, from its name and the folder it was unpacked to."""
    found = {name: read_info(folder / "info") for name, folder in sorted(unpacked.items())}
    return {name: declared for name, declared in found.items() if declared}


def to_json(declared: Mapping[str, Declared]) -> str:
    """For the build to keep beside the image."""
    table = {
        name: {"imports": one.imports, "commands": one.commands, "needs": one.needs} for name, one in declared.items()
    }
    return json.dumps(table, indent=1, sort_keys=True) + "\n"


def from_json(text: str) -> dict[str, Declared]:
    """Read `to_json`'s text; `InputError` if it is something else."""
    try:
        return {
            str(name): Declared(_words(one["imports"]), _words(one["commands"]), _words(one["needs"]))
            for name, one in json.loads(text).items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"the packages' own tests cannot be read: {error!r}.", hint="Build the release again."
        ) from error
