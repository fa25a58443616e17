"""Environments of other tools, read: prefixes, explicit files, locks."""

import json
from dataclasses import replace

import pytest

from conda_concept.document import SourceText
from conda_concept.errors import InputError
from conda_concept.importing import (
    Imported,
    canonical,
    channels_of,
    complete,
    config_text,
    environment_text,
    from_conda_meta,
    from_explicit,
    from_lock,
    pip_requests_of,
    requests_of,
)
from conda_concept.spec import read_spec
from tests.support.locks import lock, package, pip_package

RECORD = {
    "name": "zarr",
    "version": "3.2.1",
    "build": "py_0",
    "build_number": 0,
    "url": "https://conda.anaconda.org/t/secret-token/conda-forge/noarch/zarr-3.2.1-py_0.conda",
    "md5": "a" * 32,
    "sha256": "b" * 64,
    "depends": ["python >=3.11", "numpy>=2"],
    "size": 12,
    "timestamp": 1764092331.208,
    "noarch": "python",
    "requested_spec": "zarr >=3.2",
}


def test_a_prefix_gives_records_and_what_was_asked_for() -> None:
    other = {**RECORD, "name": "numpy", "url": str(RECORD["url"]).replace("zarr", "numpy"), "requested_spec": "None"}
    found = from_conda_meta({"zarr.json": json.dumps(RECORD), "numpy.json": json.dumps(other)}, "linux-64")
    zarr = found.packages[1]
    assert zarr.url == "https://conda.anaconda.org/conda-forge/noarch/zarr-3.2.1-py_0.conda"
    assert zarr.depends == ("numpy >=2", "python >=3.11")
    assert zarr.timestamp == 1764092331208
    assert found.requests == ("zarr >=3.2",)
    assert requests_of(found) == ["zarr >=3.2"]


def test_every_bad_record_is_named() -> None:
    with pytest.raises(InputError) as caught:
        from_conda_meta({"a.json": "{", "b.json": "{}", "c.json": json.dumps(RECORD)}, "linux-64")
    assert len(caught.value.problems) == 2
    with pytest.raises(InputError, match="conda environment"):
        from_conda_meta({}, "linux-64")


def test_an_explicit_file() -> None:
    url = "https://conda.anaconda.org/conda-forge/linux-64/a-b-1.0-h1_0.conda"
    found = from_explicit(
        f"# platform: linux-64\n@EXPLICIT\n{url}#{'a' * 32}\n{url}#sha256:{'b' * 64}\n{url}\n", "linux-64"
    )
    assert [(p.name, p.version, p.build, p.md5, p.sha256) for p in found.packages] == [
        ("a-b", "1.0", "h1_0", "a" * 32, None),
        ("a-b", "1.0", "h1_0", None, "b" * 64),
        ("a-b", "1.0", "h1_0", None, None),
    ]


@pytest.mark.parametrize("line", ["numpy=2.0", "https://x.example/linux-64/a.conda", "ftp://x/linux-64/a-1-0.conda"])
def test_a_line_that_is_no_package_is_named(line: str) -> None:
    with pytest.raises(InputError, match="line 2"):
        from_explicit(f"@EXPLICIT\n{line}\n", "linux-64")
    with pytest.raises(InputError, match="no line"):
        from_explicit("numpy\n", "linux-64")


def test_what_nobody_needs_counts_as_asked_for() -> None:
    found = Imported(
        (package("top", "1", "low"), package("low", "2"), pip_package("tool", "1", "part"), pip_package("part"))
    )
    assert requests_of(found) == ["top ==1"]
    assert pip_requests_of(found) == ["tool==1"]


def test_the_new_files_are_a_valid_spec() -> None:
    packages = (package("top", "1", "low"), package("low", "2", channel="other"), package("more"))
    channels = channels_of(packages)
    assert channels == ("conda-forge", "other")
    texts = environment_text("copy", channels, ["top ==1"], ["tool==1"]), config_text("26.10", channels, "linux-64")
    made = read_spec("copy", SourceText("environment.yml", texts[0]), SourceText("config.yml", texts[1]))
    assert made.config.version == "26.10"
    assert [request.text for request in made.requests] == ["top ==1", "tool==1"]


def test_a_lock_gives_its_main_packages() -> None:
    found = from_lock(lock(package("a"), replace(package("b"), category="dev")), "linux-64")
    assert [item.name for item in found.packages] == ["a"]
    assert "dev" in found.notes[0]
    with pytest.raises(InputError, match="nothing for osx-64"):
        from_lock(lock(package("a")), "osx-64")


def test_missing_facts_come_from_the_channel_but_never_other_bytes() -> None:
    bare = replace(package("a"), sha256=None, size=None, depends=())
    known = package("a", "1.0", "python")
    assert complete(bare, known) == known
    other = replace(known, sha256="f" * 64)
    assert complete(known, other) == known
    assert complete(bare, None) == bare


def test_addresses_lose_credentials() -> None:
    assert (
        canonical("https://me:pw@host.example/t/tk-1/c/noarch/a-1-0.conda")
        == "https://host.example/c/noarch/a-1-0.conda"
    )
    assert canonical("file:///mnt/c/noarch/a-1-0.conda") == "file:///mnt/c/noarch/a-1-0.conda"
