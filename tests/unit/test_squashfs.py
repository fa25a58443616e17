"""Tables of images: what is joined is read back as it was, wherever its contents went."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conda_concept.errors import IntegrityError
from conda_concept.squashfs import File, Image, Link, Part, Superblock, codec, join, read

BLOCK = 131072
NONE = 0xFFFFFFFF
NAMES = st.binary(min_size=1, max_size=40).filter(lambda name: not set(name) & {0, 47} and name not in (b".", b".."))


def head(compressor: int = 6, fragments: int = 0) -> Superblock:
    numbers = dict.fromkeys(("inodes", "root", "size", "owner_table", "inode_table", "folder_table"), 0)
    tables = {"fragment_table": 0, "export_table": 0}
    return Superblock(
        block=BLOCK, fragments=fragments, compressor=compressor, log=17, flags=0x200, owners=1, **numbers, **tables
    )


def image(
    files: Mapping[bytes, File | Link],
    length: int = 0,
    fragments: Sequence[tuple[int, int]] = (),
    compressor: int = 6,
    folders: Sequence[bytes] = (),
) -> Image:
    """An image of some length of contents, which begin at 100."""
    return Image(head(compressor, len(fragments)), b"", files, folders, range(100, 100 + length), fragments)


def file(start: int = 100, blocks: int = 1, size: int | None = None, sparse: int = 0) -> File:
    length = blocks * BLOCK if size is None else size
    return File(0o644, length, start, b"\1\0\0\1" * blocks, NONE, 0, sparse)


def written(tmp_path: Path, *parts: Part) -> Image:
    """The joined image, read again; contents are a hole."""
    joined = join(parts, 3)
    path = tmp_path / "image"
    with path.open("wb") as out:
        out.write(joined.front)
        out.seek(sum(len(part.image.contents) for part in parts), 1)
        out.write(joined.tables)
    assert (
        path.stat().st_size % 4096
        == (len(joined.front) + sum(len(part.image.contents) for part in parts) + len(joined.tables)) % 4096
    )
    return read(path)


def everywhere(one: Image, below: bytes = b"") -> Part:
    return Part(one, {path: below + path for path in one.files})


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.lists(NAMES, min_size=1, max_size=4).map(tuple), st.integers(0, 2**33), max_size=40))
def test_any_tree_is_read_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[tuple[bytes, ...], int]
) -> None:
    files: dict[bytes, File | Link] = {}
    for path, start in tree.items():
        if not any(path[: len(other)] == other or other[: len(path)] == path for other in tree if other != path):
            entry = Link(b"to " + path[-1]) if start % 3 == 0 else file(100 + start, start % 4)
            files[b"/".join(path)] = entry
    before = image(files, 2**33 + 2**20)
    after = written(tmp_path_factory.mktemp("joined"), everywhere(before))
    shift = after.contents.start - 100

    def moved(entry: File | Link) -> File | Link:
        if isinstance(entry, Link):
            return entry
        start = entry.start + shift if entry.blocks else 0
        return File(entry.mode, entry.size, start, entry.blocks, entry.fragment, entry.offset, entry.sparse)

    assert after.files == {path: moved(entry) for path, entry in files.items()}


@pytest.mark.parametrize("compressor", [1, 4, 5, 6])
def test_many_names_in_every_compressor(tmp_path: Path, compressor: int) -> None:
    # More than one block of names, of inodes and of fragments, and a list longer than 64 KiB.
    names = {b"%05d-with-a-name-that-is-not-short" % number: file(100 + number) for number in range(5000)}
    small = {b"s%d" % n: File(0o755, 10, 0, b"", n, 0, 0) for n in range(1200)}
    first = image({b"bin/" + name: entry for name, entry in names.items()}, 5000 + BLOCK, compressor=compressor)
    second = image(small, 5000, [(100 + n, 10) for n in range(1200)], compressor)
    found = written(tmp_path, everywhere(first), everywhere(second, b"small/"))
    assert len(found.files) == 6200
    assert found.fragments[1199] == (first.contents.stop - 100 + found.contents.start + 1199, 10)
    entry = found.files[b"small/s1199"]
    assert isinstance(entry, File)
    assert (entry.fragment, entry.mode, entry.size) == (1199, 0o755, 10)


def test_folders_with_nothing_in_them_stay(tmp_path: Path) -> None:
    last = image({}, folders=[b"empty", b"empty/inner"])
    found = written(tmp_path, everywhere(image({b"empty/file": file()}, BLOCK)), everywhere(last))
    assert (list(found.files), sorted(found.folders)) == ([b"empty/file"], [b"empty", b"empty/inner"])


def test_two_parts_with_one_path_are_refused() -> None:
    one = image({b"file": file()}, BLOCK)
    with pytest.raises(IntegrityError, match="two parts of an image have there/file"):
        join([everywhere(one, b"there/"), everywhere(one, b"there/")], 3)
    with pytest.raises(IntegrityError, match="below something that is no folder"):
        join([everywhere(one), Part(one, {b"file": b"file/below"})], 3)


def test_a_part_without_what_it_should_have_is_refused() -> None:
    with pytest.raises(IntegrityError, match=r"1 file\(s\) are not in the part"):
        join([Part(image({}), {b"gone": b"gone"})], 3)


def test_parts_of_different_kinds_are_refused() -> None:
    with pytest.raises(IntegrityError, match="different ways"):
        join([everywhere(image({})), everywhere(image({}, compressor=1))], 3)
    with pytest.raises(IntegrityError, match="number 3"):
        codec(3, 1)


@pytest.mark.parametrize("length", [0, 50, 96, 200])
def test_an_image_that_is_not_all_there_is_refused(tmp_path: Path, length: int) -> None:
    joined = join([everywhere(image({b"file": file()}, BLOCK))], 3)
    path = tmp_path / "image"
    path.write_bytes((joined.front + bytes(BLOCK) + joined.tables)[:length])
    with pytest.raises(IntegrityError):
        read(path)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_damaged_tables_are_refused_or_read(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    names = {b"lib/file%d" % number: file(100 + number) for number in range(20)}
    joined = join([everywhere(image(names, BLOCK))], 3)
    whole = bytearray(joined.front + bytes(BLOCK) + joined.tables)
    places = [*range(96), *range(len(whole) - len(joined.tables), len(whole))]
    for _ in range(3):
        whole[data.draw(st.sampled_from(places))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "image"
    path.write_bytes(whole)
    try:
        found = read(path)
    except IntegrityError:
        return
    assert len(found.folders) <= found.head.inodes
