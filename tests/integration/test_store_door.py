"""No operation goes past the door, and everything is on the disk before it gets its name."""

import ast
from pathlib import Path

import pytest

from benchmarks.storekit import ASKED, FaultyDoor, build, make_store, ready, release, silent
from conda_concept import steps, store
from conda_concept.steps.publish import publish_release

#: Calls that change a file system, as functions of os and shutil, and as methods of Path.
CHANGES = {
    *("chmod", "chown", "fchmod", "fchown", "lchown", "link", "symlink", "mkdir", "makedirs", "mkfifo", "mknod"),
    *("remove", "removedirs", "rename", "renames", "replace", "rmdir", "setxattr", "removexattr", "truncate", "unlink"),
    *("utime", "write", "writev", "pwrite", "fsync", "fdatasync", "copy", "copy2", "copyfile", "copytree", "move"),
    *("rmtree", "write_text", "write_bytes", "touch", "symlink_to", "hardlink_to", "lchmod", "sendfile", "flock"),
}

#: A call of one of these names that is no such call: on the door itself, on text, on a frozen value, on a time.
HARMLESS = {"self.door", "door", "self.real", "self.lease", "lease"}


def _calls(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
            owner = ast.unparse(node.func.value)
            on_text = node.func.attr == "replace" and len(node.args) == 2 and owner != "os"
            if owner not in HARMLESS and not on_text:
                found.append(f"{path.name}:{node.lineno}: {owner}.{node.func.attr}")
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in {"open", "os.open"}
            and "O_RDONLY" not in ast.unparse(node)
        ):
            found.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
    return found


def test_only_the_door_changes_anything() -> None:
    package = Path(store.__file__).parent
    modules = [path for path in package.glob("*.py") if path.name != "door.py"]
    names = ("publish", "rollback", "prune", "doctor", "verify", "list_")
    modules += [Path(next(iter(steps.__path__))) / f"{name}.py" for name in names]
    assert len(modules) >= 15
    found = [call for path in modules for call in _calls(path)]
    # A lock is tried on an image to see whether somebody holds one; that changes no file.
    assert [call for call in found if not call.endswith("fcntl.flock")] == []


def test_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text("path.unlink()\nos.replace(a, b)\nopen('x', 'w')\n'a'.replace('b', 'c')\nself.door.unlink(p)\n")
    assert [call.split(": ")[0] for call in _calls(path)] == ["x.py:1", "x.py:2", "x.py:3"]


def _log(root: Path, command: str) -> list[tuple[str, str]]:
    made = make_store(root)
    wanted = release("23.04", 1)
    if command == "publish":
        ready(made, wanted)
    door = FaultyDoor()
    made = make_store(root, door=door)
    if command == "build":
        build(made, wanted)
    else:
        publish_release(made, wanted, "23.04", ASKED, silent())
    return door.log


@pytest.mark.parametrize("command", ["build", "publish"])
def test_content_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, command: str) -> None:
    """After a power cut a name must never lead to a file whose bytes were still in memory."""
    log = _log(tmp_path / "root", command)
    unsynced: set[str] = set()
    for name, path in log:
        if name == "write":
            unsynced.add(path)
        elif name == "sync":
            unsynced.discard(path)
        elif name in {"rename", "link"}:
            assert unsynced == set(), f"{name} to {path} while {unsynced} are not on the disk"
    assert sum(name == "sync" for name, _ in log) >= 3


def test_names_are_on_the_disk_before_others_lead_to_them(tmp_path: Path) -> None:
    log = _log(tmp_path / "root", "publish")
    waiting: set[str] = set()
    for name, path in log:
        if name == "sync_directory":
            waiting.discard(path)
        elif name == "rename" and ".lock" not in path:
            folder = str(Path(path).parent)
            assert waiting <= {folder}, f"{path} is renamed while {waiting} are not on the disk"
            waiting.add(folder)
    assert waiting == set()


def test_the_marker_goes_last(tmp_path: Path) -> None:
    log = _log(tmp_path / "root", "build")
    removed = max(index for index, (name, path) in enumerate(log) if name == "unlink" and path.endswith("/incomplete"))
    assert {name for name, _ in log[removed + 1 :]} == {"sync_directory"}
    record = next(index for index, (name, path) in enumerate(log) if name == "rename" and "release.json" in path)
    assert not [entry for entry in log[record:removed] if entry[0] in {"write", "create", "link", "symlink"}]
