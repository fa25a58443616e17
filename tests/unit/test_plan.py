"""Publish and rollback as values: what is decided, in which order, from which history."""

import pytest

from conda_concept.errors import NotFoundError
from conda_concept.model import Alias, Event, Move, Release
from conda_concept.operations import AppendEvent, Operation, SetAlias, SetModule, Standing, StoreState, WriteModulerc
from conda_concept.plan import previous, publish, rollback, set_modules, wanted_modulerc

OLD, NEW, NEXT = (Release("a", "23.01", "0" * 8), Release("a", "23.04", "1" * 8), Release("a", "23.04", "2" * 8))
TWO = {"a": "a-23.01", "a-23.01": "0" * 8, "b": "b-23.01", "b-23.01": "0" * 8}
STATE = StoreState(releases=tuple(Standing(one, complete=True) for one in (OLD, NEW, NEXT)))


def event(action: str, *moves: tuple[str, str, str], release: Release | None = None) -> Event:
    return Event("2026-01-01T00:00:00+00:00", "me", action, release, tuple(Move(*move) for move in moves))  # type: ignore[arg-type]  # a word of a test


def after(state: StoreState, operations: tuple[Operation, ...]) -> StoreState:
    """The state that the operations make: the smallest model of what applying does."""
    aliases = {alias.name: alias.target for alias in state.aliases}
    modules, modulerc, history = dict(state.modules), state.modulerc, state.history
    for operation in operations:
        match operation:
            case SetAlias(move):
                assert aliases.get(move.alias, "") == move.before
                aliases[move.alias] = move.after
            case SetModule(name):
                assert name in aliases
                modules[name] = f"../../apps/p/envs/{name}/modulefile"
            case WriteModulerc(text):
                modulerc = text
            case AppendEvent(one):
                history = (*history, one)
            case _:
                raise AssertionError(operation)
    pairs = tuple(Alias(name, target) for name, target in aliases.items())
    return StoreState(state.releases, pairs, modules, modulerc, history)


def published(state: StoreState, release: Release, stable: str) -> StoreState:
    operations = publish(state, event("publish", release=release), product="p", stable=stable, default=None)
    return after(state, operations)


def returned(state: StoreState, name: str) -> StoreState:
    target = previous(state, name)
    return after(state, rollback(state, event("rollback"), name, target, product="p", default=None))


def test_the_first_publish_makes_everything_in_order() -> None:
    operations = publish(STATE, event("publish", release=NEW), product="p", stable="a-23.04", default=None)
    assert [str(operation) for operation in operations] == [
        "alias a-23.04 -> 11111111 (new)",
        "alias a-unstable -> a-23.04 (new)",
        "alias a -> a-23.04 (new)",
        "module a becomes loadable",
        "module a-23.04 becomes loadable",
        "module a-unstable becomes loadable",
        ".modulerc: p/a = default",
        "history: publish by me",
    ]


def test_a_new_build_of_a_label_is_one_rename() -> None:
    state = published(STATE, NEW, "a-23.04")
    operations = publish(state, event("publish", release=NEXT), product="p", stable="a-23.04", default=None)
    assert [type(operation) for operation in operations] == [SetAlias, AppendEvent]


def test_publishing_again_does_nothing() -> None:
    state = published(STATE, NEW, "a-23.04")
    assert publish(state, event("publish", release=NEW), product="p", stable="a-23.04", default=None) == ()


def test_a_stable_version_that_is_not_there_leaves_the_name_alone() -> None:
    state = published(STATE, NEW, "a-23.01")
    assert state.target("a") == ""
    assert published(published(STATE, OLD, "a-23.01"), NEW, "a-23.01").target("a") == "a-23.01"


def test_rollbacks_go_down_and_a_publish_forgets_what_was_left() -> None:
    third = Release("a", "23.04", "3" * 8)
    state = StoreState(releases=tuple(Standing(one, complete=True) for one in (NEW, NEXT, third)))
    for one in (NEW, NEXT):
        state = published(state, one, "a-23.04")
    state = returned(state, "a-23.04")
    assert state.target("a-23.04") == NEW.build_id
    with pytest.raises(NotFoundError, match="no earlier release"):
        previous(state, "a-23.04")
    state = published(state, third, "a-23.04")
    # NEXT was rolled back from: it is not what the next rollback returns to.
    assert previous(state, "a-23.04") == NEW.build_id


def test_two_rollbacks_go_two_releases_back() -> None:
    builds = [Release("a", "23.04", f"{number:08x}") for number in range(4)]
    state = StoreState(releases=tuple(Standing(one, complete=True) for one in builds))
    for one in builds:
        state = published(state, one, "a-23.04")
    assert returned(returned(state, "a-23.04"), "a-23.04").target("a-23.04") == builds[1].build_id


def test_a_rollback_passes_over_what_is_gone() -> None:
    builds = [Release("a", "23.04", f"{number:08x}") for number in range(3)]
    state = StoreState(releases=tuple(Standing(one, complete=True) for one in builds))
    for one in builds:
        state = published(state, one, "a-23.04")
    pruned = StoreState((state.releases[0], state.releases[2]), state.aliases, state.modules, None, state.history)
    assert previous(pruned, "a-23.04") == builds[0].build_id


def test_a_publish_that_nobody_wrote_down_can_be_rolled_back_from() -> None:
    state = published(STATE, NEW, "a-23.04")
    moved = after(state, (SetAlias(Move("a-23.04", NEW.build_id, NEXT.build_id)),))
    assert previous(moved, "a-23.04") == NEW.build_id
    finished = publish(moved, event("publish", release=NEXT), product="p", stable="a-23.04", default=None)
    assert finished == (AppendEvent(event("publish", ("a-23.04", NEW.build_id, NEXT.build_id), release=NEXT)),)


def test_a_rollback_that_nobody_wrote_down_is_finished_and_not_repeated() -> None:
    state = published(published(STATE, NEW, "a-23.04"), NEXT, "a-23.04")
    moved = after(state, (SetAlias(Move("a-23.04", NEXT.build_id, NEW.build_id)),))
    assert previous(moved, "a-23.04") == NEW.build_id
    assert returned(moved, "a-23.04").history[-1].moves == (Move("a-23.04", NEXT.build_id, NEW.build_id),)


def test_an_alias_that_nobody_published() -> None:
    with pytest.raises(NotFoundError, match="points at nothing"):
        previous(STATE, "a")


@pytest.mark.parametrize(
    ("aliases", "default", "loads"),
    [
        ({"a": "a-23.01", "a-23.01": "0" * 8}, None, ["p/a"]),
        (TWO, None, []),
        (TWO, "b", ["p/b"]),
        (TWO, "c", []),
        ({"a": "a-23.01", "a-unstable": "a-23.04", "a-23.01": "0" * 8}, None, ["p/a"]),
        ({"a": "a-23.01", "b": "b-23.01", "b-23.01": "0" * 8}, "a", []),
    ],
)
def test_what_a_bare_product_loads(aliases: dict[str, str], default: str | None, loads: list[str]) -> None:
    text = wanted_modulerc(aliases, product="p", default=default)
    assert text.startswith("#%Module1.0\n")
    assert [line.split()[1:] for line in text.splitlines()[2:]] == [[name, "default"] for name in loads]


def test_a_name_that_means_nothing_is_no_module() -> None:
    made = set_modules({"a": "a-23.01", "a-unstable": "a-23.04", "a-23.04": "0" * 8}, {}, "p")
    assert [one.name for one in made] == ["a-23.04", "a-unstable"]
