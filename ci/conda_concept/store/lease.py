"""Holding a name in the file system for one process: the store's lock, and the marker of a release being built.

A lease is a file that appears under its name complete, by link(2), which is atomic on local disks, NFS and Lustre
alike; flock(2) is not relied on, since it does not reach across nodes everywhere. The file says who holds it: machine,
boot, process and the process's start time. So a lease that a dead process left is recognised on its own machine for
certain, and elsewhere by its age, measured against the file server's clock alone.
"""

import dataclasses
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from conda_concept.errors import BusyError
from conda_concept.store.door import Door, write_new
from conda_concept.store.permissions import Permissions

PULSE_SECONDS = 60.0
"""How often who holds a lease for long gives a sign of life."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, wherever it runs: host, machine and boot, process namespace, pid and start (ticks since boot)."""

    host: str
    machine: str
    boot: str
    namespace: str
    pid: int
    started: int

    @classmethod
    def of_this_process(cls) -> "Identity":
        """This process."""
        return cls(
            host=os.uname().nodename,
            machine=_text(Path("/etc/machine-id")),
            boot=_text(Path("/proc/sys/kernel/random/boot_id")),
            namespace=_namespace(),
            pid=os.getpid(),
            started=_start_of(os.getpid()),
        )

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease: `since` is ISO 8601 UTC, `purpose` what for, `token` tells this holding from any other."""

    identity: Identity
    since: str
    purpose: str
    token: str

    def __str__(self) -> str:
        return f"{self.identity} ({self.purpose}, since {self.since})"

    def alive(self, observer: Identity) -> bool | None:
        """Whether the holder still runs, as far as `observer`'s machine can tell; None: it cannot."""
        mine = self.identity
        if mine.host != observer.host or mine.machine != observer.machine or not mine.boot:
            return None
        if mine.boot != observer.boot:
            return False
        if mine.namespace != observer.namespace:
            return None
        return _start_of(mine.pid) == mine.started


@dataclass(frozen=True, slots=True)
class Lease:
    """A name that this process holds."""

    door: Door
    path: Path
    holder: Holder

    def check(self) -> None:
        """`BusyError` if somebody has taken the lease over: nothing may be changed any more."""
        present = read_holder(self.path)
        if present is None or present.token != self.holder.token:
            raise BusyError(
                f"{self.path} was taken over by {present or 'somebody'} while this process held it.",
                hint="Nothing more was changed. Run the same command again.",
            )

    def refresh(self) -> None:
        """A sign of life, for those who cannot see this process."""
        self.check()
        self.door.touch(self.path)

    @contextmanager
    def kept_fresh(self) -> Iterator[None]:
        """A sign of life every minute for the length of a block, whatever takes long in it.

        A thread gives it: what takes longest (a download, squashing) is a call that does not come back for a while.
        """
        over = threading.Event()

        def beat() -> None:
            while not over.wait(PULSE_SECONDS):
                try:
                    self.refresh()
                except BusyError:
                    return  # taken over: whoever works in the block finds out by `check`
                except OSError:
                    continue  # a file server that does not answer now may answer in a minute

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def release(self) -> None:
        """Give the name back, if it is still this process's."""
        present = read_holder(self.path)
        if present is not None and present.token == self.holder.token:
            self.door.unlink(self.path)


@dataclass(frozen=True, slots=True)
class Taker:
    """How leases are taken here: through which door, as whom, when others count as gone, who is told.

    `stale_hours` applies to holders whose machine cannot be asked. `permissions` let other owners read who holds one.
    """

    door: Door
    identity: Identity
    stale_hours: float
    notice: Callable[[str], None]
    now: Callable[[], str]
    permissions: Permissions = field(default_factory=Permissions)

    def take(self, path: Path, purpose: str, *, wait: float = 0.0) -> Lease:
        """The lease of `path`, or `BusyError` when it is still held after `wait` seconds."""
        holder = Holder(self.identity, self.now(), purpose, secrets.token_hex(8))
        mine = path.with_name(f".{path.name.removeprefix('.')}.{holder.token}")
        deadline = time.monotonic() + wait
        try:
            write_new(self.door, mine, (json.dumps(dataclasses.asdict(holder)) + "\n").encode())
            self.permissions.apply(self.door, mine, "file")  # before it has its name, so that nobody meets it closed
            while not self._try(path, mine, holder):
                if time.monotonic() >= deadline:
                    raise self._busy(path)
                time.sleep(0.05)
        finally:
            with suppress(OSError):  # renamed into place by a take-over, or for prune to find
                self.door.unlink(mine)
        return Lease(self.door, path, holder)

    @contextmanager
    def held(self, path: Path, purpose: str, *, wait: float = 0.0) -> Iterator[Lease]:
        """`take` for the length of a block."""
        lease = self.take(path, purpose, wait=wait)
        try:
            yield lease
        finally:
            try:
                lease.release()
            except OSError as error:  # what was done under the lease is done; nobody has to wait for us after our end
                self.notice(f"{path} could not be given back ({error.strerror}); it falls free when this process ends.")

    def _busy(self, path: Path) -> BusyError:
        holder = read_holder(path)
        hint = "Wait for it to end, or give --wait SECONDS."
        if holder is None or holder.alive(self.identity) is None:
            hint += f" Its machine cannot be asked from here: after {self.stale_hours:g} hours without a sign of life"
            hint += f" it is taken over. If you know that it has ended, remove {path} and run the command again."
        return BusyError(f"{path} is held by {holder or 'another process'}.", hint=hint)

    def is_stale(self, path: Path, holder: Holder, reference: Path) -> bool:
        """Whether a holder is gone: its process for certain, or its sign of life older than `stale_hours`.

        The age is the difference of two times that the file server gave: of the lease, and of `reference`, a file
        that was made just now. Clocks of nodes do not come into it.
        """
        alive = holder.alive(self.identity)
        if alive is not None:
            return not alive
        return reference.stat().st_mtime - path.stat().st_mtime > self.stale_hours * 3600

    def _try(self, path: Path, mine: Path, holder: Holder) -> bool:
        try:
            self.door.link(mine, path)
        except FileExistsError:
            # NFS may carry a link out, lose the answer, try again and find it done: then the token is ours.
            present = read_holder(path)
            if present is None:
                return False
            return present.token == holder.token or self._take_over(path, mine, present)
        return True

    def _take_over(self, path: Path, mine: Path, present: Holder) -> bool:
        """Replace a lease whose holder is gone. Only who holds the name beside it may, so two never both do."""
        try:
            if not self.is_stale(path, present, mine):
                return False
            with self.held(path.with_name(f"{path.name}.takeover"), "taking over"):
                again = read_holder(path)
                if again is None or again.token != present.token:
                    return False
                self.door.rename(mine, path)
        except (FileNotFoundError, BusyError):
            return False
        self.notice(f"{path.name}: took over from {present}, which ended without giving it back.")
        return True


def read_holder(path: Path) -> Holder | None:
    """Who holds a lease; None if nobody.

    A file that no lease wrote, or that this account may not read, is held by an unknown process since its time.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except PermissionError:
        text = ""
    try:
        raw = json.loads(text)
        return Holder(Identity(**raw["identity"]), str(raw["since"]), str(raw["purpose"]), str(raw["token"]))
    except (ValueError, KeyError, TypeError):
        unknown = Identity("an unknown machine", "", "", "", 0, 0)
        return Holder(unknown, "an unknown time", "unreadable", "unreadable")


def _start_of(pid: int) -> int:
    """A process's start in clock ticks since boot, -1 if there is no such process (proc(5), field 22 of stat)."""
    text = _text(Path(f"/proc/{pid}/stat"))
    fields = text.rpartition(")")[2].split()
    # A zombie has ended; it only waits for its parent.
    return int(fields[19]) if len(fields) > 19 and fields[0] not in {"Z", "X"} else -1


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
