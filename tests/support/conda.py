"""conda's own command line, of the copy that conda-lock carries: a program, called as `python conda.py env list`.

conda's modules import each other as `conda`, and the copy has another name; and two libraries that conda asks for at
its start are not there. Neither has a part in what is tested: `tqdm` draws a bar, `archspec` names the processor.
"""

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

CARRIED = "conda_lock._vendor."


class Renamed(MetaPathFinder, Loader):
    """Finds `conda.…` where conda-lock has it; each module stays one module, by both names."""

    spec: ModuleSpec | None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A module of conda's, or not ours to find."""
        del path, target
        return ModuleSpec(fullname, self) if fullname.partition(".")[0] == "conda" else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module by its other name, which remembers where it is from."""
        module = importlib.import_module(CARRIED + spec.name)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """It has been run by its other name already."""
        module.__spec__ = self.spec


def stand_in(name: str, **contents: object) -> None:
    """A module that is not there."""
    module = ModuleType(name)
    vars(module).update(contents)
    sys.modules[name] = module


def main(words: list[str]) -> int:
    """One command of conda's; `shell.posix activate NAME` is what `conda activate NAME` evaluates."""
    warnings.simplefilter("ignore")
    sys.meta_path.insert(0, Renamed())
    stand_in("tqdm", tqdm=iter)
    cpu = SimpleNamespace(host=lambda: SimpleNamespace(name="x86_64"))
    stand_in("archspec", cpu=cpu)
    stand_in("archspec.cpu", host=cpu.host)
    commands = importlib.import_module("conda.cli.main")
    run = commands.main_sourced if words[0].startswith("shell.") else commands.main_subshell
    return int(run(*words) or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
