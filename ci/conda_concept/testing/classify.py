"""What the facts of one test mean: facts from `inside.keeper` and events from `inside.child` become a `TestResult`.

Pure, so that every way for a test to end has a unit test of its own.
"""

import ast
import re
import signal
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from conda_concept.results import Outcome, TestResult

#: How toolkits say that there is no screen: Tk, Xlib, GTK, Qt, GLUT, pyglet, KeyError of os.environ.
_DISPLAY = re.compile(
    r"no display name and no \$DISPLAY|(cannot|could ?n[o']t|unable to|failed to)( \w+)? (open|connect to|access)"
    r"( the)?( X)? ?(display|screen|server)|qt\.qpa\.|KeyError: 'DISPLAY'|\$?DISPLAY (is )?not set|NoSuchDisplay",
    re.IGNORECASE,
)
_LIBRARY = re.compile(r"(\S+\.so[.\d]*): cannot open shared object file|undefined symbol|version `\S+' not found")
#: Events that are no failure where the import comes to its end all the same, and how its note begins.
_COPES = (("write", "tried to write {}"), ("way", "asked for a way out ({})"), ("terminal", "looked for a terminal"))
#: What a shell ends with when there is no such command; the loader too, and env(1).
_NO_SUCH_COMMAND = 127
#: How the loader says that a program cannot start.
_LOADER = re.compile(r"error while loading shared libraries: .*")
#: How bash and dash say that there is no such command; a name with a slash is a file, and not meant here.
_NO_COMMAND = re.compile(r"\S+: (?:line )?\d+: ([^\s/]+): (?:command )?not found")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about how one test ended, checked and typed; `events` are (kind, text) from the child.

    `unreached` is how often the kernel had no way for what left its processes, where that could be counted.
    """

    ended: str
    status: int | None
    events: tuple[tuple[str, str], ...]
    tail: str
    written: int
    seconds: float
    cpu: float
    memory: int
    left: tuple[str, ...]
    unreached: int

    @classmethod
    def read(cls, raw: Mapping[str, object]) -> "Facts":
        """From the probe's JSON; what is absent or of another type is taken as nothing."""
        status = raw.get("status")
        left = raw.get("left")
        return cls(
            ended=str(raw.get("ended") or ""),
            status=status if isinstance(status, int) else None,
            events=tuple(_events(str(raw.get("said") or ""))),
            tail=str(raw.get("tail") or ""),
            written=int(_number(raw.get("written"))),
            seconds=_number(raw.get("seconds")),
            cpu=_number(raw.get("cpu")),
            memory=int(_number(raw.get("memory"))),
            left=tuple(str(one) for one in left) if isinstance(left, list) else (),
            unreached=int(_number(raw.get("unreached"))),
        )

    def texts(self, kind: str) -> list[str]:
        """The texts of all events of a kind."""
        return [text for event, text in self.events if event == kind]


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _events(said: str) -> list[tuple[str, str]]:
    """The child's lines; a line that is not one (the test wrote to our descriptor) is passed over."""
    events = []
    for line in said.splitlines():
        kind, tab, text = line.partition("\t")
        if tab:
            try:
                events.append((kind, str(ast.literal_eval(text))))
            except (ValueError, SyntaxError):
                continue
    return events


def classify(test: TestResult, raw: Mapping[str, object], expected_file: str = "") -> TestResult:
    """The result of `test` (its outcome is replaced). `expected_file`: what the import must load, below the prefix."""
    facts = Facts.read(raw)
    outcome, message = _ended(facts) or _said(facts) or _finished(facts, expected_file)
    tried = [words.format(facts.texts(kind)[0]) for kind, words in _COPES if facts.texts(kind)]
    note = f"{' and '.join(tried)}, and copes without" if outcome == "passed" and tried else ""
    return replace(_measured(test, facts, outcome, message), note=note)


def _ended(facts: Facts) -> tuple[Outcome, str] | None:
    """Ends that somebody else decided: a limit, a signal, the death of the keeper."""
    prompt = [*facts.texts("prompt"), *facts.texts("terminal")]
    match facts.ended:
        case "timeout" if prompt:
            return "prompt", f"asked `{prompt[0].strip()}` and waited for an answer"
        case "timeout":
            return "hang", f"stopped after {facts.seconds:.0f} seconds"
        case "memory":
            return "memory", f"stopped at {facts.memory / 2**20:,.0f} MB of memory"
        case "output":
            return "output", f"stopped after {facts.written / 2**20:,.1f} MB of output"
        case "keeper":
            return "not run", f"the process that watched it died: {facts.tail or 'no answer'}"
        case "stuck":
            return "hang", "does not end even when it is killed (a file system that does not answer?)"
        case "abandoned":
            return "not run", "interrupted"
        case _:
            return None


def _said(facts: Facts) -> tuple[Outcome, str] | None:
    """What the test tried, as the audit hook saw it: this explains the failures that follow from it."""
    failed = facts.status != 0
    network = [*facts.texts("network"), *(facts.texts("way") if failed else ())]
    if network:
        return "network", f"tried the network: {network[0]}"
    if facts.unreached and not facts.texts("self"):
        return "network", f"tried the network {facts.unreached} time(s), in a library of its own or another process"
    prompt = [*facts.texts("prompt"), *(facts.texts("terminal") if failed else ())]
    if prompt:
        return "prompt", f"asked a question: {prompt[0].strip()}"
    if facts.texts("display") or (failed and _DISPLAY.search(facts.tail)):
        found = facts.texts("display") or [_line_with(_DISPLAY, facts.tail)]
        return "display", f"wants a screen: {found[0]}"
    refused = facts.texts("refused")
    if failed and refused:
        return "write", f"writes into the prefix: {refused[0]}"
    return None


def _finished(facts: Facts, expected_file: str) -> tuple[Outcome, str]:
    """Ends that the test chose."""
    done = bool(facts.texts("done"))
    raised = (facts.texts("raised") or [""])[0]
    if facts.status is not None and facts.status < 0:
        return "crash", f"{_signal_name(-facts.status)}{' at exit, after it had worked' if done else ''}"
    if facts.texts("nowhere"):
        return "nowhere", facts.texts("nowhere")[0]
    if raised:
        import_error = " ".join(facts.texts("import"))
        return ("library" if _LIBRARY.search(import_error) else "raises"), raised.splitlines()[-1]
    if facts.texts("exit"):
        return "exit", f"calls sys.exit({facts.texts('exit')[0]})"
    if not done or facts.status != 0:
        return "exit", f"ends the interpreter with status {facts.status}{' after it had worked' if done else ''}"
    if facts.left:
        return "processes", f"leaves {len(facts.left)} process(es): {facts.left[0]}"
    loaded = (facts.texts("file") or [expected_file])[0]
    if expected_file and not f"/{loaded}".endswith(f"/{expected_file}"):
        return "shadow", f"its name belongs to another module: {loaded or 'a namespace'} instead of {expected_file}"
    return "passed", ""


def command_result(
    test: TestResult, raw: Mapping[str, object], present: Collection[str] = (), *, ran_before: bool = False
) -> TestResult:
    """The result of a command or script: its exit status, within the same limits.

    `present` are the commands that the environment's packages own, `ran_before` says that the test passed in the
    published release: neither may be missing now.
    """
    facts = Facts.read(raw)
    outcome, message = _ended(facts) or _status(facts)
    if outcome == "fails" and not ran_before and (needed := _missing_command(facts)) and needed not in present:
        # What packages ask for beside themselves is not ours to install.
        outcome, message = "skipped", f"needs {needed}, not in the environment"
    return _measured(test, facts, outcome, message)


def _missing_command(facts: Facts) -> str:
    """The command that was not there, if that is how it ended: the shell's last words name it."""
    said = facts.tail.rstrip().rpartition("\n")[2]
    found = _NO_COMMAND.fullmatch(said) if facts.status == _NO_SUCH_COMMAND else None
    return found.group(1) if found else ""


def _measured(test: TestResult, facts: Facts, outcome: Outcome, message: str) -> TestResult:
    detail = "" if outcome == "passed" else _last_lines(facts.tail)
    measured = replace(test, seconds=facts.seconds, cpu=facts.cpu, memory=facts.memory)
    return replace(measured, outcome=outcome, message=message, detail=detail)


def _status(facts: Facts) -> tuple[Outcome, str]:
    if facts.status == 0:
        if facts.left:
            return "processes", f"leaves {len(facts.left)} process(es): {facts.left[0]}"
        return "passed", ""
    if facts.status is not None and facts.status < 0:
        return "crash", _signal_name(-facts.status)
    unloaded = _LOADER.search(facts.tail)
    if unloaded is not None:
        return "library", unloaded.group()
    if facts.status == _NO_SUCH_COMMAND:
        return "fails", "a command is not there (exit status 127)"
    return "fails", f"exit status {facts.status}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _line_with(pattern: re.Pattern[str], text: str) -> str:
    return next((line.strip() for line in text.splitlines() if pattern.search(line)), "")


def _last_lines(text: str, count: int = 25) -> str:
    """The end of the output: no empty lines, no control characters, nothing of the import system or of ourselves."""
    lines = [line.rstrip()[:300] for line in text.replace("\r", "\n").splitlines() if line.strip()]
    lines = [line for line in lines if not line.lstrip().startswith(('File "<frozen importlib', 'File "<string>"'))]
    return "".join(char for char in "\n".join(lines[-count:]) if char in "\n\t" or char.isprintable())
