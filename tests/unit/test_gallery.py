"""The gallery: every comment has its picture, and the picture is one of this very text."""

import hashlib
import re
from pathlib import Path

import pytest
from gallery import FROM_DEMO, FROM_REQUESTS, FROM_TESTS, GALLERY, bones, chosen, digest_in, with_digest

TEXTS = sorted(GALLERY.glob("*.md"))


def test_it_has_everything() -> None:
    names = {path.stem for path in TEXTS}
    own = {"quarter", "quarterly-refresh", "release-checklist", "release-notes", "unsolvable"}
    own |= {"request-convertdate", "request-psyplot"}
    assert names == {*FROM_DEMO, *FROM_TESTS, *FROM_REQUESTS, *own}
    assert {path.stem for path in GALLERY.glob("*.png")} == names


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_a_picture_shows_the_text_beside_it(path: Path) -> None:
    """Where this fails, the text was changed and its picture was not: run ci/gallery with --style."""
    assert digest_in(path.with_suffix(".png").read_bytes()) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_no_path_of_a_machine_that_made_it(path: Path) -> None:
    assert not re.search(r"/(tmp|root|home|work|var)/", path.read_text("utf-8"))


def test_a_picture_without_a_digest_has_none() -> None:
    assert digest_in(b"\x89PNG") == ""
    assert len(digest_in(with_digest(b"", "x"))) == 64


def test_what_differs_from_run_to_run_is_no_difference_and_words_are() -> None:
    text = "### ✅ The tests of tiny-26.11/810c3be6 pass: 86 tests\n| a | 1 |\nmodule use /tmp/x/modules\nsee [run](https://x/1)"
    same = "### ✅ The tests of demo-26.11/dbb900e3 pass: 1,319 tests\nmodule use /srv/y\nsee [run](https://x/2)"
    assert bones(text) == bones(same)
    assert bones("It was built") != bones("It is built")
    with pytest.raises(LookupError, match="shows b"):
        chosen(["a"], {"a": "a", "b": "b"})
