"""The demo's pull request by the real workflow files, for `ci/gallery`: ROOT CHANNELS COMMENTS."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TOP))  # for tests.support

from conda_concept.localchannel import DEMO_EARLIER, DEMO_REQUIREMENTS, earlier_channel, make_channel  # noqa: E402 - after the path is right
from conda_concept.progress import Reporter  # noqa: E402 - the same
from conda_concept.run import leave  # noqa: E402 - the same
from tests.support.fakegithub import FakeGitHub, State  # noqa: E402 - the same
from tests.support.forge import Forge, Ran  # noqa: E402 - the same

SPEC = "environments/demo/environment.yml"


def fine(ran: Ran) -> None:
    """Stop where a job did not end well."""
    if ran.status or set(ran.jobs.values()) != {"success"}:
        raise SystemExit(f"{ran.log}\n{ran.jobs}")


def channels(folder: Path) -> Path:
    """The demo's channel as it was `then` and is `now`; what `current` links to is what the workflows see."""
    now, then = (folder / when / "conda-forge" for when in ("now", "then"))
    make_channel(now, DEMO_REQUIREMENTS, Reporter(sys.stderr, quiet=True), environ=os.environ, earlier=DEMO_EARLIER)
    earlier_channel(now, then, DEMO_EARLIER)
    (folder / "current").symlink_to("then")
    return folder / "current"


def play(forge: Forge, current: Path) -> None:
    """A first release, and a pull request with one line more, up to its release."""
    state = forge.state
    files: dict[str, str | None] = {
        f"environments/demo/{path.name}": path.read_text("utf-8")
        for path in (TOP / "environments" / "demo").glob("*.yml")
    }
    forge.prepare(current)
    state.commit("main", files, "Ask for an environment")
    fine(forge.push())
    current.unlink()
    current.symlink_to("now")
    text = state.text(SPEC).replace("  - dask\n", "  - dask\n  - dask-jobqueue\n") + "\n"
    pull = state.open_pull("a-researcher", {SPEC: text})
    forge.report(forge.pull_request(pull))
    (ran,) = forge.dispatched()
    fine(ran)
    state.merge(pull.number)
    fine(forge.push())


def main(argv: Sequence[str]) -> None:
    """Play it and keep every comment."""
    root, folder, comments = (Path(word).resolve() for word in argv)
    act = shutil.which("act")
    if act is None:
        raise SystemExit("act is not installed; run ./ci/setup")
    root.mkdir(mode=0o755)
    state = State.make(root)
    state.people = {"a-researcher": "write"}
    with FakeGitHub.serve(state) as fake:
        forge = Forge(root, fake, act)
        play(forge, channels(folder))
        forge.show(comments)


if __name__ == "__main__":
    main(sys.argv[1:])
    leave(0)
