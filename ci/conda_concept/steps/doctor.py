"""Doctor: find what does not fit together in a store, say what it means, and mend what is safe to mend."""

from collections.abc import Sequence
from dataclasses import dataclass

from conda_concept.model import Event, Finding
from conda_concept.operations import (
    Operation,
    RemoveBase,
    RemoveRelease,
    RemoveTemporary,
    SetMode,
    SplitHistory,
    Switch,
)
from conda_concept.steps.publish import Asked
from conda_concept.store import Store
from conda_concept.store.applying import Applier
from conda_concept.store.examining import Examiner
from conda_concept.store.examining_release import Diagnosis

_ORDER = {"broken": 0, "risk": 1, "untidy": 2}


@dataclass(frozen=True, slots=True)
class Examined:
    """What the doctor found, the worst first; after a repair, what is left, and what was done."""

    findings: tuple[Finding, ...]
    mended: tuple[Operation, ...] = ()


def doctor(store: Store, asked: Asked, *, repair: bool = False) -> Examined:
    """Look at everything but the images' bytes (`verify` reads those); with `repair` mend what is safe.

    Raises:
        BusyError: To mend, the store's lock is needed, and somebody else holds it.
    """
    if not repair or asked.dry_run:
        return Examined(_findings(_examine(store, asked)))
    with store.locked("repair", wait=asked.wait) as applier:
        operations = _operations(_examine(store, asked))
        mended = tuple(operation for operation in operations if _mend(store, applier, operation))
    return Examined(_findings(_examine(store, asked)), mended)


def _examine(store: Store, asked: Asked) -> tuple[Diagnosis, ...]:
    event = Event(when=store.now().isoformat(timespec="seconds"), who=asked.who, action="repair", release=None)
    return Examiner(store, store.reader.state(), event).diagnoses()


def _findings(diagnoses: Sequence[Diagnosis]) -> tuple[Finding, ...]:
    return tuple(sorted((one.finding for one in diagnoses), key=lambda found: (_ORDER[found.severity], found.where)))


def _operations(diagnoses: Sequence[Diagnosis]) -> tuple[Operation, ...]:
    """What to do, each once; a whole history first, since others write into it."""
    found = dict.fromkeys(operation for diagnosis in diagnoses for operation in diagnosis.operations)
    return tuple(sorted(found, key=lambda operation: not isinstance(operation, SplitHistory)))


def _mend(store: Store, applier: Applier, operation: Operation) -> bool:
    """Do it; whether it was done: a release that somebody has begun to build meanwhile is left alone."""
    match operation:
        case SplitHistory():
            applier.split_history(operation)
        case SetMode():
            applier.set_mode(operation)
        case RemoveTemporary():
            applier.remove_temporary(operation)
        case RemoveBase():
            applier.remove_base(operation)
        case RemoveRelease(release):
            return not applier.remove_release(
                operation, store.taker, lambda _: "it is complete" if store.reader.complete(release) else ""
            )
        case _:
            switch: Switch = operation
            applier.switch([switch])
    return True
