"""Tcl quoting against the real interpreter."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from conda_concept.render.quote import tcl
from conda_concept.run import run

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00", max_codepoint=0xFFFF), max_size=30)
NASTY = ["", " ", "$env(HOME)", "[exec id]", "a;b", "{", "}", "{}", '"', "\\", "\\\n", "#", "a\nb", "x\\", "[", "]"]


@given(st.lists(TEXT, min_size=20, max_size=40))
@settings(max_examples=8, deadline=None)
def test_every_value_is_one_word_that_means_itself(values: list[str]) -> None:
    every = [*NASTY, *values]
    script = "\n".join(
        ["proc show {args} { puts [llength $args]:[binary encode hex [encoding convertto utf-8 [lindex $args 0]]] }"]
        + [f"show {tcl(value)}" for value in every]
    )
    # The script comes by a file: Tcl reads it in the locale's encoding, which is UTF-8 here.
    with TemporaryDirectory() as folder:
        path = Path(folder) / "script.tcl"
        path.write_bytes(script.encode())
        out = run(["tclsh", "-encoding", "utf-8", path]).stdout
    assert out.splitlines() == [f"1:{value.encode().hex()}" for value in every]
