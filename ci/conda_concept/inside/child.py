"""One test in one interpreter: import a name, or find what an entry point names, and say what happened.

Given to the release's interpreter with `-c`; the arguments are FD PREFIX NAME [ATTRIBUTE]. It imports nothing that
the interpreter has not loaded itself, so that the tested module meets a fresh interpreter. What happened goes to FD,
one line an event: KIND TAB TEXT, where TEXT is Python's `ascii`. Events come out of an audit hook (PEP 578):

- a write below PREFIX is refused as a read-only image refuses it, so that a plain folder gives the same answer;
- a connection or a name look-up that leaves this machine is refused as a node without network refuses it.
"""

import os
import sys

FD, PREFIX, NAME = int(sys.argv[1]), sys.argv[2], sys.argv[3]
ATTRIBUTE = sys.argv[4] if len(sys.argv) > 4 else ""

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = frozenset(
    ("os.mkdir", "os.remove", "os.rmdir", "os.rename", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.utime")
)
#: Of these it is the second path that is new; of a rename both change.
SECOND = frozenset(("os.link", "os.symlink"))
LOCAL_HOSTS = frozenset(("", "localhost", "localhost.localdomain", "ip6-localhost", "::1", "0.0.0.0", "::"))  # noqa: S104 - compared with, not bound
#: The numbers of Linux for EROFS, ENETUNREACH and EAI_AGAIN: importing errno and socket here would hide a missing one.
EROFS, ENETUNREACH, EAI_AGAIN = 30, 101, -3
AF_UNIX, AF_INET, AF_INET6, SOCK_DGRAM = 1, 2, 10, 2
said: "dict[str, int]" = {}


def tell(kind: str, text: str = "") -> None:
    """One event to the keeper; at most twenty of a kind."""
    said[kind] = said.get(kind, 0) + 1
    if said[kind] <= 20:
        os.write(FD, (kind + "\t" + ascii(str(text)[:2000]) + "\n").encode("ascii"))


def below_prefix(path: object) -> str:
    """The absolute path if it lies in the prefix, else nothing."""
    if isinstance(path, int) or path is None:
        return ""
    try:
        text = os.path.abspath(os.fsdecode(os.fspath(path)))  # type: ignore[call-overload]  # any path-like object
    except (TypeError, ValueError):
        return ""
    return text if text == PREFIX or text.startswith(PREFIX + "/") else ""


def refuse_write(path: object) -> None:
    """What a read-only image says to a write."""
    inside = below_prefix(path)
    if inside:
        tell("write", inside)
        raise OSError(EROFS, "Read-only file system (refused by the import test)", inside)


def is_local_host(host: object) -> bool:
    """Loopback, any address, or this machine's own name."""
    name = host_name(host)
    return name in LOCAL_HOSTS or name.startswith("127.") or name.split(".")[0] == os.uname().nodename.split(".")[0]


def host_name(host: object) -> str:
    """A host as text; nothing for none."""
    return host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")


def refuse_network(event: str, args: "tuple[object, ...]") -> None:
    """What a node without network says to a connection; X11's local sockets are a display."""
    family, address = int(getattr(args[0], "family", 0)), args[1]
    if family == AF_UNIX and "X11-unix" in str(address):
        tell("display", str(address))
    if family not in (AF_INET, AF_INET6) or not isinstance(address, tuple) or is_local_host(address[0]):
        return
    # Connecting a datagram socket sends nothing: it asks which way leads there, and often only for one's own address.
    asks = event == "socket.connect" and int(getattr(args[0], "type", 0)) & 0xF == SOCK_DGRAM
    tell("way" if asks else "network", event.split(".")[1] + " " + ":".join(str(part) for part in address[:2]))
    raise OSError(ENETUNREACH, "Network is unreachable (refused by the import test)")


def refuse_lookup(host: object) -> None:
    """What a node without name service says; numbers need none."""
    name = host_name(host)
    if is_local_host(host):
        if name not in LOCAL_HOSTS:
            tell("self", name)  # the C library may try which of this machine's addresses can be reached
        return
    if name.replace(".", "").isdigit() or ":" in name:
        return
    tell("network", "look up " + name)
    error = getattr(sys.modules.get("socket"), "gaierror", OSError)
    raise error(EAI_AGAIN, "Temporary failure in name resolution (refused by the import test)")


def watch(event: str, args: "tuple[object, ...]") -> None:
    """The audit hook: most events are none of our business and leave by the first line."""
    if event not in WATCHED:
        return
    if event == "open":
        path, _mode, flags = args
        if isinstance(flags, int) and flags & WRITING:
            refuse_write(path)
        if path == "/dev/tty":
            tell("terminal", "opens the terminal")
    elif event in CHANGES:
        if event not in SECOND:
            refuse_write(args[0])
        if event in SECOND or event == "os.rename":
            refuse_write(args[1])
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        refuse_lookup(args[0])
    elif event.startswith("socket."):
        refuse_network(event, args)
    elif event == "builtins.input":
        tell("prompt", str(args[0]))
    elif event == "webbrowser.open":
        tell("display", "opens a browser at " + str(args[0]))
        raise OSError("no browser in an import test")


WATCHED = CHANGES | {
    "open",
    "socket.connect",
    "socket.bind",
    "socket.sendto",
    "socket.sendmsg",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.gethostbyaddr",
    "builtins.input",
    "webbrowser.open",
}


def attempt() -> None:
    """Import NAME and follow ATTRIBUTE; whatever is raised goes to the caller."""
    if "." not in NAME:
        # The module object is no witness: some put another object in their place. The import system's answer is.
        spec = sys.modules["_frozen_importlib"]._find_spec(NAME, None)  # noqa: SLF001 - importlib.util must not be loaded yet
        tell("file", (spec.origin if spec is not None else None) or "")
    module = __import__(NAME)
    module = sys.modules.get(NAME, module)
    thing: object = module
    for part in filter(None, ATTRIBUTE.split(".")):
        if not hasattr(thing, part):
            tell("nowhere", f"{NAME} has no {ATTRIBUTE}")
            sys.exit(3)
        thing = getattr(thing, part)


def explain(error: BaseException) -> None:
    """An exception as an event, and its traceback on standard error without our own frames."""
    import traceback  # only now: the tested module must not find it loaded

    errno, filename = getattr(error, "errno", None), getattr(error, "filename", None)
    if (
        isinstance(error, ModuleNotFoundError)
        and ATTRIBUTE
        and error.name
        and (NAME + ".").startswith(error.name + ".")
    ):
        tell("nowhere", "there is no module " + error.name)
    if isinstance(error, OSError) and errno in (1, 13, EROFS) and below_prefix(filename):
        tell("refused", str(filename))
    if isinstance(error, ImportError):
        tell("import", str(error))
    tell("raised", "".join(traceback.format_exception_only(type(error), error)).strip())
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == "<string>":
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)


def main() -> None:
    """Run the one test; the exit status is the interpreter's own, so that a crash at exit is seen too."""
    sys.argv[:] = ["-c"]
    sys.addaudithook(watch)
    tell("start")
    try:
        attempt()
    except SystemExit as error:
        if "nowhere" not in said:
            tell("exit", repr(error.code))
        sys.exit(3)
    except BaseException as error:  # noqa: BLE001 - a tested module may raise anything
        explain(error)
        sys.exit(3)
    tell("done")


if __name__ == "__main__":
    main()
