"""Following a file that another node writes, into this process's own output."""

from dataclasses import dataclass, field
from pathlib import Path

from conda_concept.progress import Reporter

#: At most so much of a job's log is shown at a time; the file has all of it.
PIECE = 1 << 20


@dataclass(slots=True)
class Follower:
    """One file, from its beginning, line by line; it may come late, and a file server may show it in pieces."""

    path: Path
    reporter: Reporter
    _done: int = 0
    _rest: bytes = field(default=b"")

    def pump(self) -> int:
        """Show what is new; how many bytes that was."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._done)
                new = file.read(PIECE)
        except OSError:  # not there yet, or the file server is busy: there is a next time
            return 0
        self._done += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            self._say(line)
        return len(new)

    def finish(self) -> None:
        """Show all that there is, the line without an end too."""
        while self.pump():
            pass
        if self._rest:
            self._say(self._rest)
            self._rest = b""

    def _say(self, line: bytes) -> None:
        self.reporter.say(quoted(line.decode("utf-8", errors="replace")))


def quoted(line: str) -> str:
    """A line of a job as one of ours: marked, harmless to a terminal, and no command to GitHub's runner.

    The runner takes `::name::` at the beginning of a line and `##[name]` anywhere in it for a command.
    """
    shown = "".join(letter if letter.isprintable() or letter == "\t" else "�" for letter in line.rstrip("\r"))
    return f"│ {shown.replace('##[', '## [')}"
