"""The launcher's text and the files of a release directory, from values alone."""

import json
import re
import shlex
from dataclasses import replace
from typing import Any

import pytest

from conda_concept.errors import InputError
from conda_concept.model import Activation, Release, ReleaseFile
from conda_concept.render.launcher import (
    LauncherFacts,
    check_paths,
    choose_probe,
    image_files,
    launcher_files,
    render_launcher,
)
from conda_concept.render.modulefile import ModuleFacts, key_versions, render_modulefile
from conda_concept.runtime import activation_between, base_image, base_name, inside_argv, parse_activation
from conda_concept.settings import Config, Site

PREFIX = "/apps/conda_concept/releases/demo-23.04/1a2b3c4d"


def make_site(**settings: Any) -> Site:
    values = {
        "name": "t",
        "root": "/apps",
        "scratch": "/scratch",
        "cache": "/cache",
        "binds": ("/etc", "/usr", "/g/data"),
    }
    return Site.model_validate(values | settings)


def make_facts(**changes: Any) -> LauncherFacts:
    config = {"version": "23.04", "contact": "it's <help>", "setenv": {"A": "{prefix}/a b"}, "host_commands": ["ssh"]}
    facts = LauncherFacts(
        release=Release("demo", "23.04", "1a2b3c4d"),
        prefix=PREFIX,
        image_sha256="ab" * 32,
        probe="conda-meta/a-1-0.json",
        commands=("python3", "pip", "ssh", "activate", "["),
        base="/apps/conda_concept/runtime/base-0",
        site=make_site(),
        config=Config.model_validate(config),
        activation=Activation(set=(("B", "2"),), prepend=(("P", f"{PREFIX}/p"),)),
        overrides=(("mpirun", "#!/bin/sh\n"),),
        kernel=True,
    )
    return replace(facts, **changes)


def paths(files: tuple[ReleaseFile, ...]) -> dict[str, ReleaseFile]:
    return {file.path: file for file in files}


def test_every_command_is_a_link_of_one_file() -> None:
    files = paths(launcher_files(make_facts()))
    links = {path for path, file in files.items() if file.kind == "hardlink"}
    assert links == {"bin/python3", "bin/pip", "bin/["}
    assert {files[path].content for path in links} == {"launcher"}
    others = [file for file in files.values() if file.kind != "hardlink"]
    assert len(others) < 30  # the whole release may have 40 inodes beside its commands
    assert files["bin/mpirun"].content == "#!/bin/sh\n"


def test_a_name_that_shells_source_is_never_a_launcher() -> None:
    activate = paths(launcher_files(make_facts()))["bin/activate"]
    assert (activate.kind, activate.mode) == ("file", 0o644)
    assert "exec" not in activate.content


def test_settings_are_quoted_and_leave_no_name_of_the_users_alone() -> None:
    text = render_launcher(make_facts())
    settings = dict(line.split("=", 1) for line in text.splitlines() if re.match("_cc_[a-z]+=", line))
    assert shlex.split(settings["_cc_contact"]) == ["it's <help>"]
    assert shlex.split(settings["_cc_prefix"]) == [PREFIX]
    for line in text.splitlines():
        word = line.strip().split("=", 1)[0]
        if "=" in line and word.isidentifier() and "   " not in line.strip():  # not a line of the help text
            assert word.startswith("_cc_") or word == "PATH", line


def test_nothing_is_started_on_the_way_to_exec() -> None:
    # Command substitutions and pipes are in functions: the report, the tries, the first mount, --explain. What is
    # started in truth is watched in tests/e2e/test_mounts.py.
    text = render_launcher(make_facts())
    body = text.partition("# --- what is to be run")[2]
    assert body
    assert "$(" not in body
    assert "`" not in body
    assert " | " not in re.sub(r"^[\w:-]+( \| [\w:-]+)*\)", "", body, flags=re.MULTILINE)


def test_conda_reads_the_variables_and_jupyter_its_kernel() -> None:
    files = paths(launcher_files(make_facts()))
    assert json.loads(files["conda-meta/state"].content)["env_vars"] == {"A": f"{PREFIX}/a b", "B": "2"}
    kernel = json.loads(files["share/jupyter/kernels/demo-23.04/kernel.json"].content)
    assert kernel["display_name"] == "demo-23.04"
    assert kernel["argv"][3:6] == [PREFIX, "-m", "ipykernel_launcher"]
    # jupyter_client would expand dollar signs in variables, and fill in what is in braces in words.
    assert "env" not in kernel
    assert [word for word in kernel["argv"] if "{" in word] == ["{connection_file}"]
    assert f"export P={PREFIX}/p" in files["etc/conda/activate.d/conda_concept.sh"].content


def test_the_image_has_what_its_programs_look_for() -> None:
    facts = make_facts()
    inside, outside = paths(image_files(facts)), paths(launcher_files(facts))
    assert {path: outside[path] for path in inside} == inside
    assert {"bin/mpirun", "bin/activate", "share/jupyter/kernels/demo-23.04/kernel.json"} < inside.keys()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"prefix": "/a:b"}, "prefix: `/a:b`"),
        ({"prefix": "/a b"}, "prefix: `/a b`"),
        ({"prefix": "relative"}, "not an absolute path"),
        ({"prefix": "/" + "x" * 200}, "too long for the first line"),
        ({"site": make_site(binds=("/a,b", "/c:d"))}, "bind /c:d"),
    ],
)
def test_paths_that_cannot_be_carried_are_refused(change: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        check_paths(make_facts(**change))


def test_the_probe_is_a_packages_own_entry() -> None:
    assert choose_probe(["bin/a", "conda-meta/history", "conda-meta/z-1-0.json", "conda-meta/b-1-0.json"]) == (
        "conda-meta/b-1-0.json"
    )
    with pytest.raises(InputError, match="no package"):
        choose_probe(["conda-meta/history"])


# --- base image, activation ---------------------------------------------------------------------------------------


def test_the_base_has_a_place_for_every_bind_and_the_same_name_for_the_same_site() -> None:
    files = base_image(make_site())
    by_path = paths(files)
    assert {"etc", "usr", "g/data", "apps", "tmp", "proc", "var/lib/apptainer/mnt/session"} <= by_path.keys()
    assert by_path["bin"].content == "usr/bin"
    assert by_path[".conda_concept"].kind == "file"
    assert files.index(by_path["g"]) < files.index(by_path["g/data"])
    assert base_name(files) == base_name(base_image(make_site(name="another", scratch="/other")))
    assert base_name(files) != base_name(base_image(make_site(binds=("/etc",))))


def test_a_site_that_binds_bin_has_no_link_there() -> None:
    assert paths(base_image(make_site(binds=("/bin", "/usr"))))["bin"].kind == "directory"


def test_activation_is_the_difference_of_two_environments() -> None:
    before = {"PATH": "/bin", "KEPT": "1", "GONE": "1", "_": "a", "OLD": "x"}
    after = {"PATH": "/p/bin:/bin", "KEPT": "1", "NEW": "a:b", "_": "b", "OLD": "y", "SHLVL": "2"}
    assert activation_between(before, after) == Activation(
        set=(("NEW", "a:b"), ("OLD", "y")), prepend=(("PATH", "/p/bin"),), unset=("GONE",)
    )


def test_what_scripts_put_in_front_is_found_with_a_mark() -> None:
    environments = ("A=1\0P=x\0", "A=1\0P=/new:x\0Q=/q\0R=r\0", "A=1\0P=/new:x\0Q=/q:/conda-concept-mark\0R=r\0", "")
    assert parse_activation("\0".join(environments)) == Activation(
        set=(("R", "r"),), prepend=(("P", "/new"), ("Q", "/q")), unset=()
    )


def test_what_scripts_unset_is_found_unless_it_is_there_in_the_end() -> None:
    environments = ("A=1\0", "A=1\0R=r\0", "A=1\0R=r\0", "GONE\0R\0")
    assert parse_activation("\0".join(environments)) == Activation(set=(("R", "r"),), prepend=(), unset=("GONE",))


def test_what_activation_unsets_is_unset_by_whatever_activates_and_not_by_the_launcher() -> None:
    facts = make_facts(activation=Activation(set=(("B", "2"),), unset=("A", "B", "GONE")))
    files = paths(launcher_files(facts))
    assert "unset GONE\n" in files["bin/activate"].content
    assert "unset GONE\n" in files["etc/conda/activate.d/conda_concept.sh"].content
    assert "conda_concept_unset GONE\n" in render_modulefile(ModuleFacts(facts, (), "2023-04-01"))
    assert "GONE" not in files["launcher"].content
    # What is set as well stays set.
    assert "unset A" not in files["bin/activate"].content


def test_running_inside_needs_no_launcher_file() -> None:
    facts = make_facts()
    argv = inside_argv(facts, ["/bin/ls", "-l"])
    assert argv == ("/bin/sh", "-c", render_launcher(facts), f"{PREFIX}/launcher", "--run", "/bin/ls", "-l")


# --- modulefile ---------------------------------------------------------------------------------------------------


def module_facts(**site: Any) -> ModuleFacts:
    return ModuleFacts(make_facts(site=make_site(**site)), (), "2023-04-01T10:00:00+00:00")


def test_the_modulefile_sets_what_activation_and_config_say() -> None:
    text = render_modulefile(module_facts())
    assert f"set own {PREFIX}\n" in text
    assert "prepend-path PATH $prefix/bin\n" in text
    assert "conda_concept_set B 2\n" in text
    assert f"conda_concept_set A {PREFIX}/a\\ b\n" in text
    assert f"prepend-path P [string map [list $own $prefix] {PREFIX}/p]\n" in text
    assert "conflict conda_concept\n" in text
    assert "clock seconds" not in text


def test_the_age_limit_is_seconds_after_the_build() -> None:
    # 2023-04-01T10:00:00Z is 1680343200.
    assert f"> {1680343200 + 10 * 86400}}}" in render_modulefile(module_facts(old_after_days=10))


def test_key_versions_begin_with_python() -> None:
    assert key_versions(module_facts()) == ""
