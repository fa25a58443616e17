"""The modulefile under Environment Modules and Lmod, loaded by an ordinary user."""

from pathlib import Path

import pytest

from conda_concept.model import Release
from tests.support.release import DEMO, OLD_DEMO, OTHER, Store
from tests.support.user import OrdinaryUser

#: Prints all variables, one a line, but those that module systems keep about themselves.
SHOW = r"""show() { env -0 | sort -z | tr '\n\0' '\001\n' |
    grep -vE '^(_|OLDPWD|LOADEDMODULES|_LMFILES_|_?_?(ModuleTable|MODULES|LMOD).*|BASH_FUNC.*)='; }
"""


@pytest.fixture
def begin(modules: str) -> str:
    """A script that has the modules and `show`."""
    return SHOW + modules


def test_a_loaded_module_gives_commands_and_variables(begin: str, store: Store, ordinary_user: OrdinaryUser) -> None:
    script = begin + (
        "module load conda_concept/demo-23.04; command -v python3; hello;"
        'printf "%s\\n" "$CONDA_PREFIX" "$CONDA_DEFAULT_ENV" "$HELLO_DATA" "$HELLO_PATH" "$DEMO_HOME" "$DEMO_PATH"'
    )
    prefix = store.prefix(DEMO)
    assert ordinary_user.bash(script).stdout.splitlines() == [
        f"{prefix}/bin/python3",
        f"hello 2 {prefix}",
        str(prefix),
        "demo-23.04",
        f"{prefix}/share/hello data",
        f"{prefix}/share/hello",
        f"{prefix}/share/it's $HOME",
        f"{prefix}/demo",
    ]


@pytest.mark.parametrize(
    "steps",
    [
        "module load $p/demo-23.04; module unload $p/demo-23.04",
        "module load $p/demo-23.04; module unload $p",
        "module load $p/demo-23.04; module purge",
        "module load $p/demo-23.04; module switch $p/demo-23.04 $p/other-23.04; module unload $p/other-23.04",
        "module load $p/demo-23.04; module swap $p/demo-23.04 $p/demo-23.01; module purge",
        # Moving names do all of it, too.
        "module load $p/demo; module unload $p/demo",
        "module load $p/demo-unstable; module unload $p/demo-unstable",
        "module load $p/demo; module unload $p",
        "module load $p; module unload $p",
        "module load $p; module purge",
        "module load $p/demo; module load $p/demo; module unload $p/demo",
        "module load $p/demo; module switch $p/demo $p/demo-unstable; hello; module unload $p/demo-unstable",
        "module load $p/demo; module swap $p/demo-unstable; hello; module purge",
        "module load $p; module swap $p $p/other-23.04; module swap $p/demo-unstable; hello; module purge",
    ],
)
@pytest.mark.parametrize(
    "before", ["", "export HELLO_DATA=mine CONDA_PREFIX='/my own'  HELLO_PATH=/mine HELLO_GONE='a b';"]
)
def test_the_shell_is_as_it_was(begin: str, steps: str, before: str, store: Store, ordinary_user: OrdinaryUser) -> None:
    script = f'{begin} p=conda_concept; {before} first=$(show); {steps}; diff <(echo "$first") <(show)'
    # Whoever calls hello has switched to the newer release by then.
    assert ordinary_user.bash(script).stdout == (f"hello 2 {store.prefix()}\n" if "hello" in steps else "")


def test_what_was_set_to_nothing_is_unset_by_unloading(
    begin: str, module_init: Path, ordinary_user: OrdinaryUser
) -> None:
    """Neither module system tells an empty path variable from none, nor does Lmod with any variable. README says so."""
    script = begin + (
        "export DEMO_PATH= DEMO_HOME=; module load conda_concept/demo; module purge;"
        'echo "<${DEMO_PATH-unset}><${DEMO_HOME-unset}>"'
    )
    kept = "unset" if "lmod" in str(module_init) else ""
    assert ordinary_user.bash(script).stdout == f"<unset><{kept}>\n"


def test_every_name_loads_what_it_means(begin: str, store: Store, ordinary_user: OrdinaryUser) -> None:
    names = {"/demo": OLD_DEMO, "": OLD_DEMO, "/demo-unstable": DEMO, "/demo-23.01": OLD_DEMO}
    lines = [f"module load conda_concept{name}; echo $CONDA_PREFIX; module purge" for name in names]
    said = ordinary_user.bash(begin + "; ".join(lines)).stdout.splitlines()
    assert said == [str(store.prefix(release)) for release in names.values()]


def test_what_activation_takes_out_is_out_while_the_module_is_loaded(
    begin: str, store: Store, ordinary_user: OrdinaryUser
) -> None:
    assert store.facts[DEMO].activation.unset == ("HELLO_GONE", "HELLO_LATER")
    script = begin + (
        "export HELLO_GONE='a b'; module load conda_concept/demo-23.04; echo \"<${HELLO_GONE-unset}>\";"
        'module switch conda_concept/demo-23.01; echo "<${HELLO_GONE-unset}>"; module purge; echo "<$HELLO_GONE>"'
    )
    assert ordinary_user.bash(script).stdout == "<unset>\n<unset>\n<a b>\n"


def test_two_environments_are_never_mixed(
    begin: str, module_init: Path, store: Store, ordinary_user: OrdinaryUser
) -> None:
    """Environment Modules refuses the second; Lmod takes the first away, and says so: one version of a name at once."""
    script = begin + (
        "p=conda_concept; module load $p/demo-23.04; module load $p/other-23.04 2>&1 && echo loaded || echo refused;"
        'echo "CONDA_PREFIX $CONDA_PREFIX"; echo "$PATH" | tr : "\\n" | grep -c /releases/'
    )
    *said, outcome, prefix, count = ordinary_user.bash(script).stdout.splitlines()
    lmod = "lmod" in str(module_init)
    assert (outcome, prefix, count) == (
        "loaded" if lmod else "refused",
        f"CONDA_PREFIX {store.prefix(OTHER if lmod else DEMO)}",
        "1",
    )
    words = "conda_concept/demo-23.04 => conda_concept/other-23.04" if lmod else "conflict"
    assert words in "\n".join(said)


def test_lmod_refuses_where_the_site_has_switched_its_swaps_off(
    begin: str, store: Store, ordinary_user: OrdinaryUser
) -> None:
    script = begin + (
        "module load conda_concept/demo-23.04; module load conda_concept/other-23.04 2>/dev/null || echo refused;"
        "echo $CONDA_PREFIX"
    )
    said = ordinary_user.bash(script, env={"LMOD_DISABLE_SAME_NAME_AUTOSWAP": "yes"}).stdout
    assert said == f"refused\n{store.prefix()}\n"


def test_switching_changes_everything_that_the_module_sets(
    begin: str, store: Store, ordinary_user: OrdinaryUser
) -> None:
    script = begin + (
        "module load conda_concept/demo-23.04; module switch conda_concept/demo-23.01; hello; echo $CONDA_DEFAULT_ENV;"
        'echo "$HELLO_DATA"'
    )
    prefix = store.prefix(OLD_DEMO)
    said = ordinary_user.bash(script).stdout.splitlines()
    assert said == [f"hello 1 {prefix}", "demo-23.01", f"{prefix}/share/hello data"]


def test_a_module_says_what_it_is_and_whom_to_ask(begin: str, ordinary_user: OrdinaryUser) -> None:
    done = ordinary_user.bash(begin + "module whatis conda_concept/demo-23.04; module help conda_concept/demo-23.04")
    said = done.stdout + done.stderr
    for text in ("demo-23.04", "build aaaa1111", "A small one", "hello 2", "help@example.org", "conda-lock.yml"):
        assert text in said


def test_a_loaded_release_stays_when_the_alias_moves_on(begin: str, store: Store, ordinary_user: OrdinaryUser) -> None:
    # `demo` means the older release; the module has the release's own folder in PATH, so nothing that an alias does
    # can change what a loaded module means.
    script = begin + "module load conda_concept/demo-23.01; command -v hello"
    assert ordinary_user.bash(script).stdout == f"{store.command('hello', OLD_DEMO)}\n"


def test_an_old_release_warns_and_a_young_one_does_not(
    store: Store, module_init: Path, open_dir: Path, ordinary_user: OrdinaryUser
) -> None:
    from tests.support.release import modulefile_with_age

    folder = open_dir / "conda_concept"
    folder.mkdir()
    (folder / "old-1").write_text(modulefile_with_age(store.facts[DEMO], "2023-04-01", days=365), "utf-8")
    (folder / "young-1").write_text(modulefile_with_age(store.facts[DEMO], "2023-04-01", days=36500), "utf-8")
    script = f"source {module_init}; module use {open_dir}; module load conda_concept/$1"
    said = {name: ordinary_user.bash(script, f"{name}-1") for name in ("old", "young")}
    assert "demo-23.04 was built on 2023-04-01" in said["old"].stderr
    assert said["young"].stderr == ""


@pytest.mark.parametrize(
    "end",
    [
        "module unload $p/demo",
        "module unload $p",
        "module purge",
        "module switch $p/demo $p/other-23.04; module purge",
        "module swap $p/demo $p/demo; module purge",
    ],
)
@pytest.mark.parametrize("to", [DEMO, OTHER], ids=str)
def test_unloading_takes_away_what_was_loaded_though_the_name_has_moved_on(
    store: Store, module_init: Path, user_dir: Path, ordinary_user: OrdinaryUser, end: str, to: Release
) -> None:
    """A job that loaded a name, and unloads it after another release of that name was published.

    The other release sets other variables, so its modulefile cannot know what to take away.
    """
    folder = user_dir / "modules" / "conda_concept"
    script = SHOW + (
        f"p=conda_concept; mkdir -p {folder}; cd {folder}; ln -s {store.layout.modulefile(OLD_DEMO)} demo\n"
        f"ln -s {store.layout.modulefile(OTHER)} other-23.04; ln -s {store.layout.modulefile(to)} ../../next\n"
        f"source {module_init}; module use {user_dir}/modules; cd /; export HELLO_DATA=mine DEMO_HOME=mine\n"
        f'first=$(show); module load $p/demo; echo "$CONDA_PREFIX"; mv -T {user_dir}/next {folder}/demo; {end}\n'
        'diff <(echo "$first") <(show)'
    )
    assert ordinary_user.bash(script).stdout == f"{store.prefix(OLD_DEMO)}\n"


def test_unloading_needs_no_file_of_the_release(
    store: Store, module_init: Path, user_dir: Path, ordinary_user: OrdinaryUser
) -> None:
    """Inside, the image covers the release's folder; and a build of a label may be gone that was loaded from it."""
    text = store.layout.modulefile(DEMO).read_text("utf-8").replace(DEMO.build_id, "0dead0de")
    folder = user_dir / "modules" / "conda_concept"
    folder.mkdir(parents=True)
    folder.chmod(0o777)  # the job itself plays the publisher
    (folder / "demo-23.04").write_text(text, "utf-8")
    (user_dir / "next").symlink_to(store.layout.modulefile(DEMO))
    script = SHOW + (
        f"source {module_init}; module use {user_dir}/modules; first=$(show); module load conda_concept/demo-23.04\n"
        f"mv -T {user_dir}/next {folder}/demo-23.04; module purge\n"
        'diff <(echo "$first") <(show)'
    )
    assert ordinary_user.bash(script).stdout == ""
