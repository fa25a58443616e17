"""What a help desk gets: ranges of bad blocks, nothing secret, and lines that nobody else's words can pass for."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conda_concept.evidence import ALLOWED, BLOCK, Evidence, ImageRead, Surroundings, allowed, job_of, ranges
from conda_concept.render.evidence import evidence_text
from conda_concept.steps.diagnose import launcher_facts, read_image

HERE = Surroundings(
    job="123.pbs",
    node="gadi-cpu-1",
    user="alice",
    groups=("hh5", "users"),
    time="2026-06-01T00:00:00Z",
    modules=("conda_concept/analysis3-26.06",),
    variables={"PATH": "/usr/bin"},
    mounts=("fuse.squashfuse_ll /tmp/conda_concept.7/abc",),
    space=(("/g/data", 5 * 10**12, None), ("/tmp", 0, 12)),
)
EVIDENCE = Evidence(
    release="analysis3-26.06/1a2b3c4d",
    product="conda_concept",
    prefix="/p",
    image="/p/image.sqsh",
    contact="help@example.org",
    runtime="singularity",
    version="singularity-ce version 4.1.3",
    built="2026-05-31, 1,015 packages",
    expected="ab12",
    expected_size=3 * BLOCK,
    read=ImageRead(3 * BLOCK, "ab12", seconds=2.0),
    here=HERE,
    history=("2026-06-01 publish",),
    explain="singularity exec …",
    start="works, in 0.11 s",
)


def test_a_block_for_a_ticket() -> None:
    assert evidence_text(EVIDENCE).splitlines() == [
        "conda_concept: analysis3-26.06/1a2b3c4d",
        "  job     123.pbs",
        "  node    gadi-cpu-1",
        "  user    alice",
        "  time    2026-06-01T00:00:00Z",
        "  image   /p/image.sqsh",
        "  runtime singularity",
        "  sha256  ab12, as it should be",
        "  groups  hh5, users",
        "  modules conda_concept/analysis3-26.06",
        "  version singularity-ce version 4.1.3",
        "  built   2026-05-31, 1,015 packages",
        "  size    3,145,728 bytes (3.1 MB)",
        "  read    all of it in 2.0 s, 2 MB/s",
        "  mount   fuse.squashfuse_ll /tmp/conda_concept.7/abc",
        "  space   /g/data: 5000 GB free",
        "  space   /tmp: 0 B and 12 inodes free",
        "  history 2026-06-01 publish",
        "  environ PATH=/usr/bin",
        "  explain singularity exec …",
        "  start   works, in 0.11 s",
        "  report  send these lines to help@example.org",
    ]


@given(st.text(), st.text())
def test_what_others_wrote_stays_on_its_line(start: str, value: str) -> None:
    odd = replace(EVIDENCE, start=start, here=replace(HERE, variables={"PYTHONPATH": value}))
    text = evidence_text(odd)
    assert len(text.splitlines()) == len(evidence_text(EVIDENCE).splitlines())
    assert "\x1b" not in text


def test_only_named_variables_and_no_passwords() -> None:
    environ = {
        "GITHUB_TOKEN": "ghp_secret",
        "SSH_AUTH_SOCK": "/tmp/agent",
        "PROMPT_COMMAND": "curl -u me:secret https://x",
        "PYTHONPATH": "/x:https://me:secret@example.org/y",
        "PBS_JOBID": "7.pbs",
        "PATH": "/bin",
        "LANG": "",
    }
    assert allowed(environ) == {"PATH": "/bin", "PYTHONPATH": "/x:https://example.org/y", "PBS_JOBID": "7.pbs"}
    assert not [name for name in ALLOWED if any(word in name for word in ("TOKEN", "KEY", "SECRET", "PASS", "AUTH"))]
    assert job_of(environ) == "7.pbs"
    assert job_of({"SLURM_JOB_ID": "9"}) == "9"
    assert job_of({}) == "none"


def test_ranges_of_blocks() -> None:
    assert ranges([]) == ()
    assert ranges([3]) == ((3, 3),)
    assert ranges([0, 1, 2, 7, 9, 10]) == ((0, 2), (7, 7), (9, 10))


def test_a_file_system_that_fails_here_and_there(tmp_path: Path) -> None:
    image = tmp_path / "image.sqsh"
    image.write_bytes(b"x" * (5 * BLOCK + 10))

    def pread(descriptor: int, count: int, offset: int) -> bytes:
        if offset // BLOCK in (1, 2, 5):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return os.pread(descriptor, count, offset)

    found = read_image(image, pread=pread)
    assert (found.bad, found.why, found.sha256) == (((1, 2), (5, 5)), "Input/output error", "")
    assert found.blocks == 6
    text = evidence_text(replace(EVIDENCE, read=found))
    assert "  sha256  cannot be read, in blocks of 1 MiB: 1-2, 5 of 6 (Input/output error)\n" in text
    assert "  read    not all of it in" in text


def test_an_image_that_ends_early_is_not_there_or_takes_too_long(tmp_path: Path) -> None:
    image = tmp_path / "image.sqsh"
    image.write_bytes(b"x" * (BLOCK + 5))
    cut = read_image(image, pread=lambda _fd, _count, offset: b"" if offset else b"y" * BLOCK)
    assert (cut.bad, cut.why) == (((1, 1),), "it ends early")
    gone = read_image(tmp_path / "nothing")
    assert (gone.size, gone.why, gone.sha256) == (0, "No such file or directory", "")
    slow = read_image(image, limit=-1)
    assert (slow.stopped, slow.sha256) == (0, "")
    assert "time was up at block 0 of 2" in evidence_text(replace(EVIDENCE, read=slow))


def test_a_launchers_own_facts(tmp_path: Path) -> None:
    launcher = tmp_path / "launcher"
    launcher.write_text(
        "#!/bin/sh\n_cc_label='x'\n_cc_runtime=namespace\n_cc_contact='it'\\''s us'\n_cc_node=/tmp\n_cc_enter='a\nb'\n"
    )
    assert launcher_facts(launcher) == {"runtime": "namespace", "contact": "it's us", "node": "/tmp"}
    assert launcher_facts(tmp_path / "nothing") == {}


@pytest.mark.parametrize("size", [None, 3 * BLOCK, 7])
def test_a_size_that_is_not_the_records_is_said(size: int | None) -> None:
    text = evidence_text(replace(EVIDENCE, expected_size=size))
    assert ("but it should be 7" in text) == (size == 7)
