"""Layers that are kept between builds: the same bytes as if they were made anew, and nobody's hand in another's."""

import hashlib
import json
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conda_concept.layers import Layers, Squashed, Tree
from conda_concept.localchannel import PLACEHOLDER, File, PackageSpec, index, write_package
from conda_concept.localchannel.interpreter import write_interpreter
from tests.support.tiny import Tiny

ENVIRONMENT = "name: tiny\nchannels:\n  - conda-forge\ndependencies:\n  - python\n  - first\n  - second =={}\n"
#: Starts itself wherever `site` is, and has another package's file.
HOSTILE = {
    "site-packages/evil.pth": File(b"import evil_start\n"),
    "site-packages/evil_start.py": File(b"open('/out/evil', 'w')\nraise SystemExit('I ran')\n"),
    "site-packages/first.py": File(b"STOLEN = 1\n"),
}


def module(name: str, version: str, **files: str) -> PackageSpec:
    """A Python package of some files."""
    found = {f"site-packages/{path}": File(text.encode()) for path, text in files.items()}
    return PackageSpec(name, version, python=True, depends=["python"], files=found)


@pytest.fixture
def tiny(capsys: pytest.CaptureFixture[str]) -> Iterator[Tiny]:
    # A prefix in scripts' first lines: pytest's own folders are too long for that.
    with tempfile.TemporaryDirectory(prefix="cc-") as folder:
        yield filled(Tiny.make(Path(folder), capsys))


def filled(tiny: Tiny) -> Tiny:
    """The channel has this interpreter, `first`, and three releases of `second`, the last of them hostile."""
    write_interpreter(tiny.channel)
    placed = f"HOME = '{PLACEHOLDER}'\n"
    write_package(tiny.channel, module("first", "1.0", **{"first.py": "import os\n", "first_placed.py": placed}))
    for version in ("1.0", "2.0"):
        broken = {"second_template.py": "{{ no Python }}\n"} if version == "1.0" else {}
        text = f"VERSION = '{version}'\nKINDS = {{'a', 'bc', 'def'}}\n"
        write_package(tiny.channel, module("second", version, **{"second.py": text, **broken}))
    write_package(tiny.channel, PackageSpec("second", "3.0", python=True, depends=["python"], files=HOSTILE))
    index(tiny.channel)
    return tiny


def built(tiny: Tiny, version: str, more: str = "") -> tuple[str, str]:
    """The prefix of a candidate, and its image's digest."""
    config = 'version: "26.11"\nvirtual_packages: {__unix: "0", __linux: "4.18", __glibc: "2.36"}\n'
    tiny.write({"environment.yml": ENVIRONMENT.format(version), "config.yml": config + more})
    said = tiny.concept("lock", "tiny", "--quiet")
    assert said.code == 0, said.err
    said = tiny.concept("build", "tiny")
    assert said.code == 0, said.err
    prefix = said.out.strip().splitlines()[-1]
    return prefix, hashlib.sha256(Path(prefix, "image.sqsh").read_bytes()).hexdigest()


@pytest.fixture
def built_from(monkeypatch: pytest.MonkeyPatch) -> list[Tree]:
    """What every build made its image from."""
    said: list[Tree] = []
    real = Layers.squash

    def spied(self: Layers, tree: Tree) -> Squashed:
        said.append(tree)
        return real(self, tree)

    monkeypatch.setattr("conda_concept.assembly.Layers.squash", spied)
    return said


def kept(tiny: Tiny) -> dict[str, bytes]:
    """The layers that the cache has."""
    return {path.name: path.read_bytes() for path in tiny.root.glob("cache/layers/*/*")}


def test_kept_layers_change_no_byte(tiny: Tiny, built_from: list[Tree]) -> None:
    prefix, first = built(tiny, "1.0")
    shutil.rmtree(prefix)
    assert built(tiny, "1.0")[1] == first
    shutil.rmtree(prefix)
    layers = sorted(tiny.root.glob("cache/layers/*/*"))
    for number, path in enumerate(layers):
        path.write_bytes((path.read_bytes()[:-5000], b"", b"no image", path.read_bytes()[:96])[number % 4])
    assert built(tiny, "1.0")[1] == first
    cold, warm, damaged = built_from
    assert (len(cold.missing), len(cold.kept)) == (len(layers), 0) == (len(damaged.missing), len(damaged.kept))
    assert (len(warm.missing), len(warm.kept)) == (0, len(layers))
    assert cold.compiled.kept == damaged.compiled.kept == 0
    assert cold.compiled.made == damaged.compiled.made > 500  # the standard library
    assert warm.compiled.kept + warm.compiled.made == cold.compiled.made
    assert 1 <= warm.compiled.made < 10  # `first_placed` has the prefix in it
    assert cold.compiled.refused >= 1  # the template
    assert not list(tiny.root.glob("cache/layers/*/.*"))


def test_one_package_more_is_one_layer_more(tiny: Tiny, built_from: list[Tree]) -> None:
    built(tiny, "1.0")
    prefix, _ = built(tiny, "2.0")
    assert [whole.folder.name for whole in built_from[1].missing] == ["second-2.0-py_0"]
    assert listing(prefix)["lib/python3.11/site-packages/second.py"] == b"VERSION = '2.0'\nKINDS = {'a', 'bc', 'def'}\n"


def test_an_image_of_layers_has_what_one_of_the_whole_tree_would_have(tiny: Tiny, built_from: list[Tree]) -> None:
    prefix, _ = built(tiny, "1.0")
    found = listing(prefix)
    record = json.loads(Path(prefix, "release.json").read_text("utf-8"))
    assert record["image"]["files"] == len(found)
    assert record["image"]["content_size"] == sum(len(content) for content in found.values())
    assert built_from[0].compiled.made == sum(path.endswith(".pyc") for path in found)
    assert_as_recorded(found)


def assert_as_recorded(found: dict[str, bytes]) -> None:
    """Every file is what its package's record says."""
    for meta in (path for path in found if path.startswith("conda-meta/") and path.endswith(".json")):
        for fact in json.loads(found[meta])["paths_data"]["paths"]:
            digest = fact.get("sha256_in_prefix") or fact.get("sha256")
            if digest and fact["path_type"] != "softlink":
                assert hashlib.sha256(found[fact["_path"]]).hexdigest() == digest, fact


def test_no_package_has_a_hand_in_the_layer_of_another(tiny: Tiny, built_from: list[Tree]) -> None:
    prefix, _ = built(tiny, "3.0")
    assert_as_recorded(listing(prefix))
    with_evil = kept(tiny)
    _, after = built(tiny, "2.0")
    shutil.rmtree(tiny.root / "cache" / "layers")
    shutil.rmtree(tiny.root / "store")
    assert built(tiny, "2.0")[1] == after
    without = kept(tiny)
    both = with_evil.keys() & without.keys()
    assert both
    assert all(with_evil[name] == without[name] for name in both)
    evil, changed, _ = built_from
    # Both bring first.py; the one whose file is not in the tree as it brought it has no layer.
    assert "second-3.0-py_0" not in {whole.folder.name for whole in evil.missing}
    assert changed.compiled.kept > 500


def test_nothing_of_a_file_that_was_taken_out_is_in_the_image(tiny: Tiny, built_from: list[Tree]) -> None:
    # Random, so that no compressor changes it: found in the image if it is there at all.
    secret = random.Random(1).randbytes(200_000)  # noqa: S311 - no secret
    files = {"share/own/secret.bin": File(secret), "share/own/fine.txt": File(b"fine\n")}
    write_package(tiny.channel, PackageSpec("second", "4.0", files=files))
    index(tiny.channel)
    prefix, _ = built(tiny, "4.0")
    assert secret[:1000] in Path(prefix, "image.sqsh").read_bytes()
    prefix, _ = built(tiny, "4.0", "remove: {second: [share/own/secret.bin]}\n")
    assert secret[:1000] not in Path(prefix, "image.sqsh").read_bytes()
    assert listing(prefix)["share/own/fine.txt"] == b"fine\n"
    assert "second-4.0-0" not in {whole.folder.name for whole in (*built_from[1].missing, *built_from[1].kept)}


def test_a_file_that_was_changed_in_the_package_cache_gets_into_no_image(tiny: Tiny) -> None:
    built(tiny, "2.0")
    shutil.rmtree(tiny.root / "cache" / "layers")
    shutil.rmtree(tiny.root / "store")
    (changed,) = tiny.root.glob("cache/packages/second-2.0-*/site-packages/second.py")
    text = changed.read_bytes()
    changed.write_bytes(text[:-2] + b"X\n")
    said = tiny.concept("build", "tiny")
    assert said.code == 5, said.err
    assert f"{changed} has other bytes than its package's list says" in said.err


def listing(prefix: str) -> dict[str, bytes]:
    """All files of a release's image; a link has no content."""
    with tempfile.TemporaryDirectory(prefix="cc-") as folder:
        tree = Path(folder, "tree")
        argv = ["/usr/bin/unsquashfs", "-no-progress", "-quiet", "-d", str(tree), f"{prefix}/image.sqsh"]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        return {
            str(path.relative_to(tree)): b"" if path.is_symlink() else path.read_bytes()
            for path in tree.rglob("*")
            if path.is_symlink() or path.is_file()
        }
