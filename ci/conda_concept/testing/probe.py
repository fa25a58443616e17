"""Starting the probe in an image and listening to it: `inside` goes in as text, answers come out as JSON lines."""

import json
import os
import pwd
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files

from conda_concept.errors import GateError, InputError, ToolError
from conda_concept.run import CLEAN_ENVIRONMENT, find_tool, talking

#: The modules of `inside` that the probe is made of, those that are imported first.
SOURCES = ("isolate", "keeper", "elf", "fitted", "survey", "checks", "probe")
#: The probe speaks every five seconds; a node under heavy load is late, not silent.
SILENCE = 120.0

#: What the interpreter gets with `-c`: the sources become modules, the last one's `main` answers the request.
_BOOT = """\
import json, sys, types
given = json.loads(sys.stdin.buffer.read())
for name in ("conda_concept", "conda_concept.inside"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = []
for name, source in given["sources"]:
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
module.main(given["request"])
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """How the release's interpreter is started: `argv` is the launcher, `user` (uid, gid) or None: as we are.

    `prefix` is the environment's path as seen inside.
    """

    argv: tuple[str, ...]
    prefix: str
    environment: Mapping[str, str] = field(default_factory=lambda: dict(CLEAN_ENVIRONMENT))
    user: tuple[int, int] | None = None

    def command(self) -> list[str]:
        """The words that start the probe: nothing of the user's, nothing of site-packages, no bytecode written."""
        words = [*self.argv, "-I", "-S", "-B", "-c", _BOOT]
        return words if self.user is None else [*drop_to(*self.user), *words]


def activated(prefix: str) -> tuple[str, ...]:
    """The words that start a release's interpreter as its users do: with the variables that its module sets."""
    return ("/bin/sh", "-c", '. "$0/bin/activate" && exec "$0/bin/python3" "$@"', prefix)


def ordinary_user(name: str | None) -> tuple[int, int] | None:
    """Whom to run package code as: nobody else if we are an ordinary user, else `name`'s ids, or those of nobody.

    Raises:
        InputError: if there is no user of that name, or it is root by another.
    """
    if os.geteuid() != 0:
        return None
    if name is None:
        return 65534, 65534  # nobody and nogroup, on every Linux
    try:
        entry = pwd.getpwnam(name)
    except KeyError as error:
        raise InputError(
            f"there is no user {name!r} to run the tests as.", hint="See `test_user` in the site file."
        ) from error
    if entry.pw_uid == 0:
        raise InputError(
            f"the tests never run as root, and {name!r} is root.", hint="See `test_user` in the site file."
        )
    return entry.pw_uid, entry.pw_gid


def drop_to(uid: int, gid: int) -> list[str]:
    """The words before a command that make it run as another user; see setpriv(1)."""
    return [str(find_tool("setpriv")), f"--reuid={uid}", f"--regid={gid}", "--init-groups", "--"]


@dataclass(slots=True)
class Answers:
    """What the probe has said so far. It is whole only after its last line; `trouble` says why it is not.

    `cpu` are seconds that the probe and all its descendants used.
    """

    start: dict[str, object] = field(default_factory=dict)
    survey: dict[str, object] | None = None
    facts: dict[str, dict[str, object]] = field(default_factory=dict)
    running: tuple[str, ...] = ()
    whole: bool = False
    trouble: str = ""
    cpu: float = 0.0


def child_words(executable: str, prefix: str, name: str, attribute: str = "") -> list[str]:
    """The words that test one import (or entry point) in an interpreter of its own; it says where it crashed.

    The probe puts the child's source for CHILD, its keeper a descriptor for FACTS.
    """
    words = [executable, "-I", "-B", "-X", "faulthandler", "-c", "CHILD", "FACTS", prefix, name]
    return [*words, attribute] if attribute else words


def ask(
    interpreter: Interpreter,
    request: Mapping[str, object],
    answers: Answers,
    heard: Callable[[], None] = lambda: None,
) -> None:
    """Run the probe with one request and fill `answers` as it speaks; `heard` is called at every line.

    An interrupt leaves in `answers` what had come by then. A probe that cannot be started, dies or falls silent is
    `trouble`, not an exception: what it did not answer has failed.
    """
    sources = [(f"conda_concept.inside.{name}", _source(name)) for name in SOURCES]
    payload = {"prefix": interpreter.prefix, "child": _source("child"), **request}
    feed = json.dumps({"sources": sources, "request": payload}).encode()
    try:
        with talking(interpreter.command(), env=interpreter.environment, feed=feed) as talk:
            for line in talk.lines(SILENCE):
                _take(line, answers)
                heard()
            status = talk.process.returncode
            if not answers.whole:
                ending = "fell silent" if status is None else f"ended with status {status}"
                answers.trouble = f"the probe {ending} before it was done.\n{talk.last_words()}".strip()
    except ToolError as error:
        answers.trouble = str(error)


def _take(line: bytes, answers: Answers) -> None:
    """One line of the probe; one that is not (the interpreter's own noise) is passed over."""
    try:
        message = json.loads(line)
    except ValueError:
        return
    if not isinstance(message, dict):
        return
    match message.get("kind"):
        case "start":
            answers.start = message
        case "survey":
            answers.survey = message.get("survey")
        case "answer":
            answers.facts[str(message.get("id"))] = message.get("facts") or {}
        case "beat":
            answers.running = tuple(message.get("running") or ())
        case "end":
            answers.whole = message.get("answered") == len(answers.facts)
            answers.cpu = float(message.get("cpu") or 0)
        case _:
            pass  # of a later version


def take_survey(
    interpreter: Interpreter, request: Mapping[str, object]
) -> tuple[dict[str, object], Mapping[str, object]]:
    """What is in the image, and how the probe runs there. Without that there is nothing to test: `GateError`."""
    answers = Answers()
    ask(interpreter, {**request, "survey": True}, answers)
    if answers.survey is None or not answers.whole:
        raise GateError(
            f"the release's interpreter does not answer ({' '.join(interpreter.argv)}): {answers.trouble}",
            hint="Run that command by hand. If it works there, is /tmp bound into the container?",
        )
    return answers.survey, answers.start


def _source(name: str) -> str:
    return (files("conda_concept") / "inside" / f"{name}.py").read_text(encoding="utf-8")
