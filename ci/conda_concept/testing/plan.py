"""From what is in an image to what is tested: a pure function of the survey, the declared tests and the config."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from conda_concept.results import TestResult, matching, skipped, time_limit
from conda_concept.settings import TestsConfig
from conda_concept.testing.declared import Declared
from conda_concept.testing.probe import child_words

#: Reading every file of a large environment once, from a slow disk.
STATIC_SECONDS = 3600.0
#: Output of a test of the environment itself, in bytes: pytest may be wordy.
OWN_OUTPUT = 20 * 2**20


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one test may use: bytes of resident memory, bytes of output."""

    memory: int = 4 * 2**30
    output: int = 2**20


@dataclass(frozen=True, slots=True)
class Planned:
    """One task for the probe. `judge` says how its facts are read; `expected_file` is what an import must load.

    `present` are the commands that the environment has, `ran_before` says that the test passed in the published
    release: what a script must not lack.
    """

    test: TestResult
    task: Mapping[str, object]
    judge: Literal["import", "command", "static", "own"]
    expected_file: str = ""
    present: frozenset[str] = frozenset()
    ran_before: bool = False


@dataclass(frozen=True, slots=True)
class Survey:
    """The probe's survey, typed as far as the host looks into it."""

    raw: Mapping[str, Any]

    @property
    def packages(self) -> list[dict[str, Any]]:
        """One mapping a package: its conda record, `meta`, `modules`, `dists`."""
        return list(self.raw["packages"])

    @property
    def executable(self) -> str:
        """The interpreter's own path, inside."""
        return str(self.raw["python"]["executable"])

    @property
    def shell(self) -> str:
        """What runs the commands of packages' tests, inside: bash where there is one, as conda's own tools do."""
        return str(self.raw["python"].get("shell") or "/bin/sh")

    @property
    def commands(self) -> frozenset[str]:
        """The names of all commands that packages own."""
        return frozenset(str(name) for package in self.packages for name in package.get("commands") or ())

    @property
    def names(self) -> set[str]:
        """The names of all packages."""
        return {str(package["name"]) for package in self.packages}


@dataclass(frozen=True, slots=True)
class Planner:
    """Makes the tasks for one image; `passed` are the titles of what passed in the published release."""

    survey: Survey
    prefix: str
    config: TestsConfig
    bounds: Bounds = Bounds()
    passed: frozenset[str] = frozenset()

    def imports(self, declared: Mapping[str, Declared]) -> list[Planned]:
        """Every top-level module that a package owns, and what packages themselves want imported."""
        planned: dict[str, Planned] = {}
        for package in self.survey.packages:
            for module, path in package["modules"].items():
                self._add(planned, "import", module, package["name"], expected=path)
        for name, own in declared.items():
            for module in own.imports if name in self.survey.names else ():
                self._add(planned, "import", module, name)
        return list(planned.values())

    def commands(self) -> list[Planned]:
        """The target of every console entry point can be imported; of one name, each package's own target."""
        planned: dict[str, Planned] = {}
        targets: dict[str, str] = {}
        for package in self.survey.packages:
            for dist in package["dists"]:
                for command, target in dist["commands"].items():
                    name = command if targets.setdefault(command, target) == target else f"{command} ({dist['name']})"
                    self._add(planned, "command", name, package["name"], target=target)
        return list(planned.values())

    def _add(
        self, planned: dict[str, Planned], kind: str, name: str, package: str, *, expected: str = "", target: str = ""
    ) -> None:
        test = TestResult(kind, name, "not run", package=package)
        if test.title in planned:
            return
        module, _, attribute = (target or name).partition(":")
        words = child_words(self.survey.executable, self.prefix, module.strip(), attribute.strip())
        planned[test.title] = Planned(test, self._task(test, {"argv": words}), "import", expected)

    def scripts(self, declared: Mapping[str, Declared]) -> tuple[list[Planned], list[TestResult]]:
        """The commands that packages list as their tests, one script a package; and those that cannot run here."""
        planned, absentees, present = [], [], self.survey.commands
        for name, own in sorted(declared.items()):
            if not own.commands or name not in self.survey.names:
                continue
            test = TestResult("script", name, "not run", package=name)
            absent = sorted({need.split()[0] for need in own.needs} - self.survey.names)
            if absent:
                reason = f"needs {', '.join(absent)}, not in the environment"
                absentees.append(TestResult("script", name, "skipped", package=name, message=reason))
                continue
            words = [self.survey.shell, "-e", "-c", "\n".join(own.commands)]
            task, ran_before = self._task(test, {"argv": words}), test.title in self.passed
            planned.append(Planned(test, task, "command", present=present, ran_before=ran_before))
        return planned, absentees

    def static(self, groups: int) -> list[Planned]:
        """The checks that only read, the packages dealt out evenly by their number of files."""
        sizes = sorted(((int(one["files"]), str(one["meta"])) for one in self.survey.packages), reverse=True)
        dealt: list[tuple[int, list[str]]] = [(0, []) for _ in range(min(groups, len(sizes)))]
        for size, meta in sizes:
            lightest = min(range(len(dealt)), key=lambda number: dealt[number][0])
            dealt[lightest] = (dealt[lightest][0] + size, [*dealt[lightest][1], meta])
        planned = []
        for number, (_, metas) in enumerate(dealt):
            test = TestResult("checks", str(number), "not run")
            task = {**self._task(test, {"static": metas}), "seconds": STATIC_SECONDS}
            planned.append(Planned(test, task, "static"))
        return planned

    def own(self, files: Mapping[str, str]) -> list[Planned]:
        """The environment's own tests, as one run of its pytest."""
        test = TestResult("own", "tests", "not run")
        words = [
            self.survey.executable,
            "-I",
            "-B",
            "-X",
            "faulthandler",
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
        ]
        words += ["--rootdir=@HOME@", "--junitxml=@HOME@/pytest.xml", "@HOME@/tests"]
        task = self._task(test, {"argv": words, "files": {f"tests/{name}": text for name, text in files.items()}})
        seconds = max(600.0, time_limit(self.config, test.title))
        return [Planned(test, {**task, "seconds": seconds, "output": OWN_OUTPUT}, "own")] if files else []

    def _task(self, test: TestResult, what: Mapping[str, object]) -> dict[str, object]:
        seconds = time_limit(self.config, test.title)
        return {
            "id": test.title,
            "seconds": seconds,
            "memory": self.bounds.memory,
            "output": self.bounds.output,
            **what,
        }


def without_skipped(planned: Sequence[Planned], config: TestsConfig) -> tuple[list[Planned], list[TestResult]]:
    """What is left to run, and a result for each test that config skips."""
    kept, unwanted = [], []
    for one in planned:
        expectation = matching(config.skip, one.test.title)
        if expectation is None:
            kept.append(one)
        else:
            unwanted.append(skipped(one.test, expectation))
    return kept, unwanted
