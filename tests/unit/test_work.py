"""Orders for jobs: what goes into a file comes out of it, whatever a spec has in it."""

from pathlib import Path

import pytest

from conda_concept.document import SourceText
from conda_concept.errors import InputError
from conda_concept.model import Release, Source, Spec
from conda_concept.spec import read_spec
from conda_concept.steps import work
from conda_concept.steps.work import BuildOrder, TestOrder, read_build, read_order, read_test

TOP = Path(__file__).resolve().parents[2]
RELEASE = Release("demo", "26.11", "0123abcd")
CONFIG = """\
version: "26.11"
stable: "26.10"
platforms: [linux-64]
virtual_packages: {__glibc: "2.28", __cuda: "12.9"}
channel_priority: disabled
allowed_channels: [conda-forge, pytorch]
pip_hosts: [files.example.org]
exclude_newer: {days: 7, except_channels: [own], except_packages: [numpy]}
allow_broken: [thing]
key_packages: [numpy]
description: it's "quoted" é
setenv: {HOME_OF: "{prefix}/share"}
prepend_path: {PYTHONPATH: "{prefix}/lib"}
unset: [PYTHONHOME]
host_commands: [qsub, "["]
overrides: {ssh: ssh.sh}
binds: [/apps]
tests:
  skip: [{test: import x, reason: never}]
  expect_fail: [{test: import y, reason: known, issue: "https://example.org/1"}]
  timeout: 60
  timeouts: {import z: 600}
"""
ENVIRONMENT = """\
name: demo
channels: [conda-forge, pytorch]
dependencies:
  - numpy >=2
  - pytorch::pytorch
  - pip
  - pip:
      - thing==1
variables: {A: "b c"}
"""


def specs() -> list[Spec]:
    own = read_spec("demo", SourceText("e.yml", ENVIRONMENT), SourceText("c.yml", CONFIG))
    folder = TOP / "environments" / "analysis3"
    texts = [SourceText(name, (folder / name).read_text("utf-8")) for name in ("environment.yml", "config.yml")]
    return [own, read_spec("analysis3", *texts)]


@pytest.mark.parametrize("spec", specs(), ids=lambda spec: spec.name)
def test_an_order_comes_back_as_it_was(spec: Spec) -> None:
    source = Source(commit="c" * 40, pull_request="12", author="it's me")
    scripts = (("ssh", "#!/bin/sh\nexit 0\n"),), (("fonts.sh", "#!/bin/sh\nfc-cache\n"),)
    built = BuildOrder(RELEASE, spec, "the lock's text: é\n", source, *scripts)
    assert read_build(work._BUILD.dump_json(built).decode()) == built
    tested = TestOrder(RELEASE, spec, {"test_x.py": "def test_x():\n    pass\n"}, again=True)
    assert read_test(work._TEST.dump_json(tested).decode()) == tested


def test_an_order_that_others_could_have_written_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "order.json"
    path.write_text("{}")
    path.chmod(0o660)
    with pytest.raises(InputError, match="can be written by others"):
        read_order(path)
