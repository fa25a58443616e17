"""Specs, configs and sites: what is accepted means what it says; what is not is refused in one go, with its line."""

import pytest

from conda_concept.document import SourceText
from conda_concept.errors import InputError
from conda_concept.site import read_site
from conda_concept.spec import read_spec

CONFIG = 'version: "26.06"\nallowed_channels: [conda-forge, accessnri]\n'
GOOD = "name: demo\nchannels: [conda-forge]\ndependencies:\n- numpy >=2\n"


def problems(environment: str = GOOD, config: str = CONFIG, name: str = "demo") -> list[str]:
    with pytest.raises(InputError) as caught:
        read_spec(name, SourceText("environment.yml", environment), SourceText("config.yml", config))
    assert caught.value.exit_code == 2
    return list(caught.value.problems)


def with_dependencies(*lines: str) -> str:
    return "name: demo\nchannels: [conda-forge]\ndependencies:\n" + "".join(f"- {line}\n" for line in lines)


def test_a_real_spec_keeps_words_names_channels_and_lines() -> None:
    text = (
        "name: demo\n"
        "channels:\n- conda-forge\n- nodefaults\n"
        "dependencies:\n"
        "- libnetcdf * mpi_openmpi*\n"
        "- accessnri::yamanifest >=0.3.12\n"
        "- uncertainties >=3.2.3,!=3.2.4\n"
        "- pip:\n"
        "  - pycnv>=0.5.0, <1\n"
        "  - Thing[extra] @ https://example.org/thing-1-py3-none-any.whl\n"
        "variables:\n  ANSWER: 42\n"
    )
    spec = read_spec("demo", SourceText("e.yml", text), SourceText("c.yml", CONFIG))
    assert [(r.name, r.manager, r.channel, str(r.place)) for r in spec.requests] == [
        ("libnetcdf", "conda", None, "e.yml:6"),
        ("yamanifest", "conda", "accessnri", "e.yml:7"),
        ("uncertainties", "conda", None, "e.yml:8"),
        ("pycnv", "pip", None, "e.yml:10"),
        ("thing", "pip", None, "e.yml:11"),
    ]
    assert spec.requests[0].text == "libnetcdf * mpi_openmpi*"
    assert spec.channels == ("conda-forge",)
    assert spec.variables == (("ANSWER", "42"),)
    assert spec.label == "demo-26.06"


def test_every_mistake_of_both_files_comes_in_one_message_in_the_order_of_the_files() -> None:
    environment = (
        "name: ../x\nchannels: [evil]\ndependencies:\n- numpy >2\n- numpy <2\n- ../../etc/passwd\n"
        "- https://evil.example/x-1-0.conda\n- evil::foo\n- pip:\n  - -e .\n  - foo @ git+https://x.example/y@main\n"
        "extra: 1\nprefix: /x\n"
    )
    found = problems(environment, "verison: x\nversion: 26.10\nplatforms: linux-64\n")
    assert [problem.split(": ", 1)[0] for problem in found] == [
        "config.yml:1",
        "config.yml:2",
        "config.yml:3",
        *(f"environment.yml:{line}" for line in (1, 2, 5, 6, 7, 8, 10, 11, 12, 13)),
    ]
    text = "\n".join(found)
    assert "did you mean `version`?" in text
    assert "YAML reads 26.10 as 26.1" in text
    assert "channel `evil` is not allowed here (allowed: conda-forge)" in text
    assert "`numpy >2` in line 4 and `numpy <2` here" in text
    assert "a branch or tag can move" in text


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ("a: &a [1]\nb: *a\n", "anchors and aliases"),
        ("x: !!python/object/apply:os.system [id]\n", "a YAML tag (tag:yaml.org,2002:python/object/apply:os.system)"),
        ("[" * 5000, "nested more than 12 levels deep"),
        ("x: " + "a" * 10_000_000, "the file has 10,000,003 bytes; 1,000,000 is the limit"),
        ("a: b: c\n", "this is not valid YAML"),
        ("x: \x00\n", "this is not valid YAML"),
        ("name: demo\nname: demo\n", "`name` is given twice (first in line 1)"),
        ("[1, 2]\n", "expected `name:`, `channels:` and `dependencies:`"),
        ("", "expected `name:`, `channels:` and `dependencies:`"),
        ("name: demo\nchannels: [conda-forge]\ndependencies: []\n", "`dependencies` has to be a list with at least"),
        ("? [a]\n: b\n", "a key has to be a plain word"),
        (GOOD + "variables: {'A B': x}\n", "`A B` cannot be the name of an environment variable"),
        (GOOD + "variables: {A: [x]}\n", "`A` has to be text"),
        (with_dependencies("numpy >=1.2<"), "is not a package request"),
        (with_dependencies("num*"), "is not a package request"),
        (with_dependencies("'*'"), "is not a package request"),
        (with_dependencies("conda-forge/linux-64::numpy"), "write only `channel::name version build`"),
        (with_dependencies("numpy[channel=evil]"), "channel `evil` is not allowed"),
        (with_dependencies("numpy[url=https://evil.example/x.conda]"), "is a path or an address"),
        (with_dependencies("3"), "`3` is neither a package"),
        (with_dependencies("pip: [-r other.txt]"), "options of pip are not taken"),
        (with_dependencies("pip: ['a @ https://me:secret@x.example/a.whl']"), "must not hold a user name"),
        (with_dependencies("pip: ['a @ http://x.example/a.whl']"), "has to start with https://"),
        (with_dependencies("pip: [3]"), "`3` is not a requirement"),
    ],
)
def test_bad_environment_files_say_what_is_wrong(environment: str, expected: str) -> None:
    assert expected in "\n".join(problems(environment))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("", "`version` is missing"),
        ("version: '26.13'\n", "does not have the form"),
        ("version: '26.06'\nchannel_priority: flexible\n", "allowed: 'strict' or 'disabled'"),
        ("version: '26.06'\nvirtual_packages: {cuda: '12'}\n", "`__cuda`"),
        ("version: '26.06'\nvirtual_packages: {__cuda: 12.9}\n", "is the bare number 12.9"),
        ("version: '26.06'\nexclude_newer: {day: 3}\n", "did you mean `days`?"),
        ("- 1\n", "expected `key: value` lines"),
        ("\tversion: 1\n", "this is not valid YAML"),
    ],
)
def test_bad_config_files_say_what_is_wrong(config: str, expected: str) -> None:
    assert expected in "\n".join(problems(config=config))


def test_a_name_with_a_path_in_it_is_refused() -> None:
    assert "cannot be an environment's name" in problems(name="../demo")[0]


def test_text_from_strangers_does_not_reach_the_terminal_raw() -> None:
    found = problems(with_dependencies('"\\e[2Jboom boom boom boom"'))
    assert "\x1b" not in found[0]


def test_the_same_request_twice_is_no_contradiction() -> None:
    spec = read_spec("demo", SourceText("e", with_dependencies("numpy", "numpy")), SourceText("c", CONFIG))
    assert [request.name for request in spec.requests] == ["numpy", "numpy"]


SITE = "name: here\nroot: ${ROOT:-/srv/store}/\nscratch: ${SCRATCH}\ncache: /var/cache/x\n"


def test_a_site_takes_variables_and_defaults() -> None:
    site = read_site(SourceText("s.yml", SITE), {"SCRATCH": "/jobfs"})
    assert (site.root, site.scratch, site.cache) == ("/srv/store", "/jobfs", "/var/cache/x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SITE, "s.yml:3: the environment variable SCRATCH is not set"),
        ("name: x\nroot: here\nscratch: /a\ncache: /b\n", "`root` has to be an absolute path, not 'here'"),
        ("name: x\nroot: /a\nscratch: /a\ncache: /b\nrunime: y\n", "did you mean `runtime`?"),
        ("name: x\nroot: /a\nscratch: /a\ncache: /b\nsquash: {level: 99}\n", "less than or equal to 22"),
        ("", "expected `key: value` lines"),
    ],
)
def test_bad_site_files_say_what_is_wrong(text: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        read_site(SourceText("s.yml", text), {})
    assert expected in str(caught.value)
