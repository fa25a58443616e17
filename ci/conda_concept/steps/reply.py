"""reply: the last word in the answer to a command, by whoever has done what it asked for."""

from collections.abc import Sequence

from conda_concept.conversation import marker, ours
from conda_concept.github import Hub
from conda_concept.render import answers


def finish(hub: Hub, pull: int, comment: int, words: str) -> None:
    """Change the answer to `comment` (0: nobody asked); where somebody took it away, it stays away."""
    if not comment:
        return
    mark = answers.mark(comment)
    before = ours(hub.comments(pull), mark, hub.here.bot)
    if before is not None:
        hub.say(pull, mark, answers.with_result(before.body, words), only_update=True)


def point(hub: Hub, pull: int, comment: int, key: str, names: Sequence[str]) -> None:
    """Finish an answer with what our comments with this key say about these environments."""
    if not comment:
        return
    said = hub.comments(pull)
    found = [ours(said, marker(key, name), hub.here.bot) for name in names]
    rows = [(one.body, f"{hub.here.home}/pull/{pull}#issuecomment-{one.number}") for one in found if one is not None]
    finish(hub, pull, comment, answers.pointed(rows))
