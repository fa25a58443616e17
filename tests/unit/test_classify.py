"""Every way for a test to end, from the facts alone."""

from typing import Any

import pytest

from conda_concept.results import TestResult
from conda_concept.testing.classify import classify, command_result

IMPORT = TestResult("import", "thing", "not run", package="thing")
FINE = "start\t''\nfile\t'/p/lib/thing.py'\ndone\t''\n"


def facts(**changes: object) -> dict[str, Any]:
    said = {"ended": "", "status": 0, "said": FINE, "tail": "", "written": 0, "seconds": 1.0, "cpu": 0.5, "memory": 9}
    return {**said, "left": [], **changes}


def raised(text: str, *more: str, status: int = 3) -> dict[str, Any]:
    said = "".join(f"{line}\n" for line in more) + f"raised\t{text!a}\n"
    return facts(status=status, said=said, tail=f"Traceback …\n{text}\n")


@pytest.mark.parametrize(
    ("raw", "outcome", "words"),
    [
        (facts(), "passed", ""),
        (raised("ValueError: no"), "raises", "ValueError: no"),
        (facts(status=-11, said="start\t''\n"), "crash", "SIGSEGV"),
        (facts(status=-6, said=FINE), "crash", "SIGABRT at exit"),
        (facts(status=-50, said=""), "crash", "signal 50"),
        (facts(status=0, said="start\t''\n"), "exit", "status 0"),
        (facts(status=7, said=FINE), "exit", "status 7 after it had worked"),
        (facts(status=3, said="exit\t'1'\n"), "exit", "sys.exit(1)"),
        (facts(status=-6, ended="timeout", seconds=60.2), "hang", "60 seconds"),
        (facts(status=-9, ended="timeout", said="prompt\t'Name? '\n"), "prompt", "`Name?`"),
        (facts(status=-9, ended="memory", memory=2**30), "memory", "1,024 MB"),
        (facts(status=-9, ended="output", written=2**21), "output", "2.0 MB"),
        (facts(ended="keeper", status=None, tail=""), "not run", "no answer"),
        (facts(ended="stuck", status=None), "hang", "killed"),
        (facts(ended="abandoned", status=None), "not run", "interrupted"),
        (facts(said=FINE + "network\t'connect 192.0.2.1:80'\n"), "network", "connect 192.0.2.1:80"),
        (facts(unreached=3), "network", "3 time(s)"),
        (facts(unreached=3, said=FINE + "self\t'node1'\n"), "passed", ""),
        (raised("OSError", "way\t'connect 8.8.8.8:53'"), "network", "connect 8.8.8.8:53"),
        (raised("OSError", "terminal\t'opens the terminal'"), "prompt", "opens the terminal"),
        (facts(status=-9, ended="timeout", said="terminal\t'opens the terminal'\n"), "prompt", "opens the terminal"),
        (raised("EOFError", "prompt\t'Name? '"), "prompt", "Name?"),
        (raised("_tkinter.TclError: no display name and no $DISPLAY environment variable"), "display", "$DISPLAY"),
        (raised("KeyError: 'DISPLAY'"), "display", "DISPLAY"),
        (facts(status=-6, said="", tail="qt.qpa.xcb: could not connect to display"), "display", "qt.qpa"),
        (raised("OSError: [Errno 30]", "write\t'/p/x'", "refused\t'/p/x'"), "write", "/p/x"),
        (raised("ImportError: x", "import\t'libx.so.1: cannot open shared object file: No such'"), "library", "x"),
        (raised("ImportError: x", "import\t'/p/y.so: undefined symbol: z'"), "library", "x"),
        (raised("ImportError: x", "import\t'no module named x'"), "raises", "x"),
        (facts(status=3, said="nowhere\t'thing has no main'\n"), "nowhere", "thing has no main"),
        (facts(left=["sleep 100"]), "processes", "sleep 100"),
        (facts(said="file\t'/p/other/thing.py'\ndone\t''\n"), "shadow", "/p/other/thing.py"),
    ],
)
def test_each_end_has_its_name(raw: dict[str, Any], outcome: str, words: str) -> None:
    result = classify(IMPORT, raw, "lib/thing.py")
    assert result.outcome == outcome
    assert words in result.message
    assert result.title == "import thing"


def test_a_display_that_is_only_mentioned_is_no_failure() -> None:
    assert classify(IMPORT, facts(tail="warning: cannot open display, going on without")).outcome == "passed"


def test_a_write_that_the_package_copes_with_is_a_note() -> None:
    result = classify(IMPORT, facts(said=FINE + "write\t'/p/cache'\n"))
    assert (result.outcome, result.note) == ("passed", "tried to write /p/cache, and copes without")


def test_looking_for_a_way_out_or_a_terminal_and_coping_are_notes() -> None:
    result = classify(IMPORT, facts(said=FINE + "way\t'connect 8.8.8.8:53'\nterminal\t'opens the terminal'\n"))
    assert result.outcome == "passed"
    assert result.note == "asked for a way out (connect 8.8.8.8:53) and looked for a terminal, and copes without"


@pytest.mark.parametrize("raw", [{}, {"status": "0"}, {"said": 5, "left": 3, "seconds": "x"}, {"said": "done\tboom("}])
def test_an_answer_that_is_no_answer_is_never_a_pass(raw: dict[str, Any]) -> None:
    assert classify(IMPORT, raw).failed
    assert command_result(IMPORT, raw).failed


@pytest.mark.parametrize(
    ("raw", "outcome"),
    [
        (facts(said=""), "passed"),
        (facts(said="", status=1), "fails"),
        (facts(said="", status=127), "fails"),
        (facts(said="", status=-11), "crash"),
        (facts(said="", status=-6, ended="timeout"), "hang"),
        (facts(said="", left=["x"]), "processes"),
    ],
)
def test_commands_are_judged_by_their_status(raw: dict[str, Any], outcome: str) -> None:
    assert command_result(IMPORT, raw).outcome == outcome


@pytest.mark.parametrize(
    ("tail", "outcome"),
    [
        ("sh: 1: octave: not found\n", "skipped"),
        ("fine so far\nbash: line 2: octave: command not found\n", "skipped"),
        ("bash: line 2: thing: command not found\n", "fails"),  # its own
        ("bash: line 1: octave: command not found\nbash: line 2: thing: command not found\n", "fails"),
        ("bash: line 1: octave: command not found\nand then something else\n", "fails"),
        ("bash: line 1: /p/bin/octave: No such file or directory\n", "fails"),
        ("sh: 1: /p/bin/octave: not found\n", "fails"),
        ("/usr/bin/env: 'octave': No such file or directory\n", "fails"),
        ("thing: error while loading shared libraries: libz.so.9: cannot open shared object file\n", "library"),
        ("nothing to say about it\n", "fails"),
    ],
)
def test_a_script_is_skipped_only_for_a_command_that_the_environment_never_had(tail: str, outcome: str) -> None:
    raw = facts(said="", status=127, tail=tail)
    assert command_result(IMPORT, raw, {"thing"}).outcome == outcome
    assert command_result(IMPORT, raw, {"thing"}, ran_before=True).failed, "it was there in the published release"
    assert command_result(IMPORT, facts(said="", status=1, tail=tail)).outcome != "skipped"


def test_detail_is_the_tests_own_last_lines() -> None:
    tail = (
        'first\n\n  File "<frozen importlib._bootstrap>", line 1\n  File "<string>", line 9 in main\n\x1b[31mlast\x00\n'
    )
    result = classify(IMPORT, facts(status=-11, tail=tail))
    assert result.detail == "first\n[31mlast"
