"""Fitting to a host as a plan: by package and owned path, with every problem said at once."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from conda_concept.document import SourceText
from conda_concept.errors import InputError
from conda_concept.integration import Owned, pattern, plan
from conda_concept.model import HostLink, Integration, Spec
from conda_concept.render.carry import carried_scripts, host_scripts
from conda_concept.settings import Config, Site
from conda_concept.site import read_site
from conda_concept.spec import read_spec

SITE = Site(
    name="here",
    root="/r",
    scratch="/s",
    cache="/c",
    binds=("/apps", "/opt"),
    host_libraries=("/apps",),
    host_software={"openmpi": "/apps/openmpi/4.1.4"},
)
OWNED = (
    Owned("openmpi", "lib/libmpi.so", link="libmpi.so.40.30.6"),
    Owned("openmpi", "lib/libmpi.so.40", link="libmpi.so.40.30.6"),
    Owned("openmpi", "lib/libmpi.so.40.30.6"),
    Owned("openmpi", "lib/libmpi_mpifh.so.40"),
    Owned("openmpi", "bin/mpirun"),
    Owned("openssh", "bin/ssh"),
    Owned("openssh", "share/man/man1/ssh.1"),
    Owned("hydro", "lib/libhydro.so", needed=("libmpi_mpifh.so.40", "libgfortran.so.5")),
    Owned("hydro", "bin/ssh-hydro", link="ssh"),
    Owned("other", "lib/deep/libmpi.so.40"),
)
FORTRAN = {"by_needed": {"GNU": ["libgfortran.so.*"], "Intel": ["libifport.so.*"]}}


def config(**values: Any) -> Config:
    return Config.model_validate({"version": "26.11", **values})


def replace(*files: tuple[str, str], root: str = "{openmpi}", **variants: Any) -> dict[str, Any]:
    return {"openmpi": {"root": root, "files": [{"path": a, "to": b} for a, b in files], "variants": variants}}


def planned(*, site: Site = SITE, owned: tuple[Owned, ...] = OWNED, **values: Any) -> Integration:
    return plan("demo", config(**values), site, owned)


def problems(**values: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        planned(**values)
    return [one.removeprefix("environments/demo/config.yml: ") for one in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "matches", "others"),
    [
        ("lib/*.so.40", ["lib/a.so.40"], ["lib/deep/a.so.40", "lib/a.so.401"]),
        ("**", ["a", "a/b/c"], []),
        ("lib/**/x", ["lib/x", "lib/a/b/x"], ["lib/ax", "x"]),
        ("a?[1]+", ["ab[1]+"], ["a/[1]+", "ab1"]),
    ],
)
def test_patterns_are_of_paths(text: str, matches: list[str], others: list[str]) -> None:
    assert [path for path in matches + others if pattern(text).match(path)] == matches


def test_removing_is_by_package_and_owned_path() -> None:
    made = planned(remove={"openssh": ["share/**"], "other": ["**"]})
    assert made == Integration(removed=(("openssh", ("share/man/man1/ssh.1",)), ("other", ("lib/deep/libmpi.so.40",))))


def test_replacing_takes_the_first_line_that_matches_and_never_anothers_file_of_that_name() -> None:
    made = planned(
        remove={"openmpi": ["lib/libmpi.so.40.*"]},
        replace=replace(
            ("lib/libmpi.so", "lib/libmpi.so.40"),
            ("lib/libmpi_mpifh.so.40", "lib/{fortran}/{name}"),
            ("lib/lib*.so.40", "lib/{name}"),
            ("bin/*", "{path}"),
            fortran=FORTRAN,
        ),
    )
    home = "/apps/openmpi/4.1.4"
    assert made.replaced == (
        HostLink("openmpi", "bin/mpirun", f"{home}/bin/mpirun"),
        HostLink("openmpi", "lib/libmpi.so", f"{home}/lib/libmpi.so.40"),
        HostLink("openmpi", "lib/libmpi.so.40", f"{home}/lib/libmpi.so.40"),
        HostLink("openmpi", "lib/libmpi_mpifh.so.40", f"{home}/lib/GNU/libmpi_mpifh.so.40"),
    )


def test_a_variant_follows_the_users_and_says_so_where_they_disagree() -> None:
    lines = replace(("lib/libmpi_mpifh.so.40", "{fortran}/{name}"), fortran=FORTRAN)
    intel = Owned("ocean", "lib/libocean.so", needed=("libmpi_mpifh.so.40", "libifport.so.5"))
    assert problems(replace=lines, owned=(*OWNED, intel)) == [
        (
            "replace: openmpi: lib/libmpi_mpifh.so.40: `fortran` cannot be chosen, because GNU (lib/libhydro.so) and "
            "Intel (lib/libocean.so) is asked for by it and its users"
        )
    ]
    nobody = tuple(one for one in OWNED if one.package != "hydro")
    assert "because nothing is asked for" in problems(replace=lines, owned=nobody)[0]
    lines["openmpi"]["variants"]["fortran"] = {**FORTRAN, "otherwise": "Intel"}
    assert planned(replace=lines, owned=nobody).replaced[0].target.endswith("/Intel/libmpi_mpifh.so.40")


def test_every_problem_is_said_at_once() -> None:
    twice = Owned("clash", "bin/mpirun")
    found = problems(
        owned=(*OWNED, twice),
        remove={"openssl": ["**"], "openssh": ["lib/*", "bin/ssh"], "openmpi": ["lib/libmpi.so.40.*"]},
        replace={
            **replace(("bin/mpirun", "{path}"), ("lib/libmpi.so.4?", "{name}")),
            "other": {"root": "/home/x", "files": [{"path": "**", "to": "{name}"}]},
        },
        carry=["ssh", "mpirun"],
    )
    assert found == [
        "remove: openssl: no package of this name brings files to this environment; did you mean `openssh`?",
        "remove: openssh: `lib/*` matches none of its 2 paths",
        (
            "replace: other: lib/deep/libmpi.so.40: /home/x/libmpi.so.40 is not visible inside; "
            "no bind of site or config has it"
        ),
        "replace: bin/mpirun belongs to clash and openmpi, so it stays",
        "remove: lib/libmpi.so of openmpi is a link to lib/libmpi.so.40.30.6, which would be gone",
        "remove: bin/ssh-hydro of hydro is a link to bin/ssh, which would be gone",
    ]


def test_a_target_has_to_be_visible_and_a_library_allowed() -> None:
    lib = ("lib/libmpi.so.40", "lib/{name}")
    assert "does not say where `openmpi` is" in problems(replace=replace(lib), site=_without_software())[0]
    assert "not below the site's `host_libraries`" in problems(replace=replace(lib, root="/opt/mpi"))[0]
    program = replace(("bin/mpirun", "{path}"), root="/opt/mpi")
    assert planned(replace=program).replaced[0].target == "/opt/mpi/bin/mpirun"
    assert planned(replace=replace(lib, root="/sw"), binds=["/sw"], site=_with("/sw")).replaced
    with_both = problems(remove={"openmpi": ["**"]}, replace=replace(lib))
    assert "replace: lib/libmpi.so.40 is also in `remove`; it can only be one of them" in with_both


def _without_software() -> Site:
    return SITE.model_copy(update={"host_software": {}})


def _with(folder: str) -> Site:
    return SITE.model_copy(update={"host_libraries": (folder,)})


def test_a_carried_command_must_not_hide_a_packages_own() -> None:
    assert problems(carry=["ssh"]) == ["carry: bin/ssh belongs to openssh; add it to `remove` or `replace`"]
    made = planned(carry=["ssh", "prted"], remove={"openssh": ["bin/ssh"], "hydro": ["bin/ssh-hydro"]})
    assert made.carried == ("prted", "ssh")
    assert made.scripts == {"bin/ssh", "bin/prted"}


def test_the_hosts_commands_go_whoever_brings_them() -> None:
    """They were left alone before: a link to one would lead nowhere, and one that is the host's already stays."""
    twice = Owned("clash", "bin/mpirun")
    made = planned(host_commands=["mpirun", "qsub"], owned=(*OWNED, twice))
    assert made.removed == (("clash", ("bin/mpirun",)), ("openmpi", ("bin/mpirun",)))
    assert planned(host_commands=["mpirun"], replace=replace(("bin/*", "{path}"))).removed == ()
    assert planned(host_commands=["ssh", "ssh-hydro"]).removed == (
        ("hydro", ("bin/ssh-hydro",)),
        ("openssh", ("bin/ssh",)),
    )
    assert problems(host_commands=["ssh"]) == [
        "host_commands: bin/ssh-hydro of hydro is a link to bin/ssh, which would be gone"
    ]


CONFIG = """\
version: "26.11"
remove:
  openssh: []
  qt: [/lib/x, conda-meta/qt.json]
replace:
  openmpi:
    root: apps/openmpi
    files:
      - {path: ../x, to: /y}
      - {path: lib/*, to: "lib/{compilr}/{name}"}
    variants:
      compiler: {by_needed: {GNU: [a]}}
      name: {by_needed: {GNU: [a]}}
carry: [ssh]
host_commands: [ssh, qsub]
overrides: {qsub: mine.sh}
hooks: [a.sh, a.sh]
"""


def test_what_is_wrong_in_a_config_is_said_with_its_line() -> None:
    environment = SourceText("environment.yml", "name: demo\nchannels: [conda-forge]\ndependencies: [x]\n")
    with pytest.raises(InputError) as caught:
        read_spec("demo", environment, SourceText("config.yml", CONFIG))
    assert list(caught.value.problems) == [
        'config.yml:3: `openssh` has no patterns; all its files are `["**"]`',
        "config.yml:4: `/lib/x` has to be a pattern of paths relative to the prefix (`lib/libmpi.so*`)",
        "config.yml:4: `conda-meta/qt.json`: what conda-meta says is ours to keep true",
        "config.yml:7: `apps/openmpi` is neither an absolute path nor `{NAME}/…`",
        "config.yml:9: `../x` has to be a pattern of paths relative to the prefix (`lib/libmpi.so*`)",
        "config.yml:9: `/y` has to be a path below `root`",
        "config.yml:10: `{compilr}` means nothing here; did you mean `compiler`?",
        "config.yml:12: the variant `compiler` is not used in any `to`",
        "config.yml:13: the variant `name` is a word of ours",
        "config.yml:14: `ssh` is in `host_commands` as well; only one of them can stand for it",
        "config.yml:15: `qsub` is in `overrides` as well; only one of them can stand for it",
        "config.yml:17: the hook `a.sh` is listed twice",
    ]


def test_a_sites_software_is_below_absolute_folders() -> None:
    text = "name: x\nroot: /r\nscratch: /s\ncache: /c\nhost_software: {a: apps/a, b: /apps/b}\nnodes: [gadi-*, 'x y']\n"
    with pytest.raises(InputError) as caught:
        read_site(SourceText("x.yml", text), {})
    assert [one.split(",")[0] for one in caught.value.problems] == [
        "x.yml:5: `host_software.a` is 'apps/a'",
        "x.yml:6: `nodes.1` is 'x y'",
    ]


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("openmpi=4.1.6=external_*", "openmpi ==4.1.6 external_*"),
        ("mpich=*=external_*", "mpich * external_*"),
        ("conda-forge::mpich=4.*=*_external", "conda-forge::mpich 4.* *_external"),
        ("numpy=1.26", "numpy=1.26"),
    ],
)
def test_condas_own_way_to_ask_for_an_external_build(text: str, canonical: str) -> None:
    environment = SourceText("e", f"name: demo\nchannels: [conda-forge]\ndependencies: ['{text}']\n")
    (request,) = read_spec("demo", environment, SourceText("c", 'version: "26.11"\n')).requests
    assert request.text == canonical


def test_a_spec_with_all_of_it_can_be_handed_to_a_job() -> None:
    lines = replace(("lib/**", "{fortran}/{name}"), fortran=FORTRAN)
    wanted = config(remove={"a": ["**"]}, replace=lines, carry=["ssh"], hooks=["a.sh"])
    spec = Spec("demo", ("conda-forge",), (), (), wanted)
    adapter = TypeAdapter(Spec)
    assert adapter.validate_json(adapter.dump_json(spec)) == spec


def test_scripts_name_the_hosts_program_and_quote_it() -> None:
    made = Integration(
        replaced=(
            HostLink("openmpi", "bin/mpirun", "/apps/it's/mpirun"),
            HostLink("openmpi", "bin/orted", "/apps/orted"),
            HostLink("openmpi", "lib/libmpi.so.40", "/apps/libmpi.so.40"),
            HostLink("openmpi", "bin/deep/x", "/apps/x"),
        ),
        carried=("orted", "ssh"),
    )
    ((name, text),) = host_scripts(made, "/prefix", SITE)
    assert name == "mpirun"
    assert """_cc_real='/apps/it'"'"'s/mpirun'""" in text
    assert "activate" not in text
    carried = dict(carried_scripts(made, "/prefix", SITE.model_copy(update={"nodes": ("gadi-*",)})))
    assert list(carried) == ["orted", "ssh"]
    assert "_cc_real=/apps/orted" in carried["orted"]
    assert "    gadi-*) return 0 ;;" in carried["ssh"]
    assert 'exec "$_cc_real" "$@"' in carried["orted"]
