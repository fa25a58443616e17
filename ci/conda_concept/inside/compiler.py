"""Compile sources to bytecode with the interpreter that runs this, several at a time.

Its argument is a file with a request (JSON): `root`, the folder that paths are below; `out`, the folder for results;
`workers`; `tasks`, each a name and paths. Each task becomes one file: a line of JSON (`tag`, the interpreter's;
`files`, each a path and the size of its bytecode, or -1 where the source is not Python for this version), then the
bytecode, one after the other. A file is there only when it is whole.
"""

from __future__ import annotations

import _imp
import importlib.util
import json
import marshal
import os
import sys

#: PEP 552: checked by hash if at all, and never at run time: an image is read-only, so nothing in it goes stale.
UNCHECKED_HASH = 0b01


def bytecode(source: bytes, name: str) -> bytes | None:
    """The content of a `.pyc`; None where the source cannot be compiled. `name` is what its code says it is from."""
    try:
        code = compile(source, name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None
    magic = importlib.util.MAGIC_NUMBER
    proof = _imp.source_hash(int.from_bytes(magic[:4], "little"), source)
    return magic + UNCHECKED_HASH.to_bytes(4, "little") + proof + marshal.dumps(code)


def run_task(root: str, out: str, name: str, paths: list[str]) -> None:
    """Compile the sources of one task and write its file.

    Code is named by its path below the root: the import system puts the real one there when it loads it (it does so
    for any bytecode that was moved), so the same package has the same bytecode wherever it is installed.
    """
    sizes, contents = [], []
    for path in paths:
        with open(os.path.join(root, path), "rb") as file:
            content = bytecode(file.read(), path)
        sizes.append([path, -1 if content is None else len(content)])
        contents.append(content or b"")
    part = os.path.join(out, "." + name)
    with open(part, "wb") as file:
        file.write(json.dumps({"tag": sys.implementation.cache_tag, "files": sizes}).encode() + b"\n")
        file.writelines(contents)
    os.rename(part, os.path.join(out, name))


def work(queue: int, request: dict[str, object]) -> None:
    """Take numbers of tasks from the queue until there are no more."""
    tasks: list[tuple[str, list[str]]] = request["tasks"]  # type: ignore[assignment]  # JSON
    while number := os.read(queue, 4):
        name, paths = tasks[int.from_bytes(number, "little")]
        run_task(str(request["root"]), str(request["out"]), name, paths)


def main() -> int:
    """Do what the request says; 1 if a worker did not come to its end (a source that crashes the compiler)."""
    with open(sys.argv[1], encoding="utf-8") as file:
        request = json.load(file)
    take, give = os.pipe()
    children = []
    for _ in range(max(1, min(request["workers"], len(request["tasks"])))):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.close(give)
                work(take, request)
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    os.close(take)
    try:
        for number in range(len(request["tasks"])):
            os.write(give, number.to_bytes(4, "little"))
    except BrokenPipeError:
        pass  # no worker is left; their statuses say so
    os.close(give)
    return int(any(os.waitpid(pid, 0)[1] for pid in children))


if __name__ == "__main__":
    sys.exit(main())
