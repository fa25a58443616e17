"""The modulefile under Environment Modules and Lmod, loaded by an ordinary user."""

from pathlib import Path

import pytest

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
        "module load conda_concept/demo-23.04; module unload conda_concept/demo-23.04",
        "module load conda_concept/demo-23.04; module unload conda_concept",
        "module load conda_concept/demo-23.04; module purge",
        "module load $a; module switch $a $b; module unload $b",
        "module load $a; module swap $a conda_concept/demo-23.01; module purge",
    ],
)
@pytest.mark.parametrize(
    "before", ["", "export HELLO_DATA=mine CONDA_PREFIX='/my own'  HELLO_PATH=/mine HELLO_GONE='a b';"]
)
def test_the_shell_is_as_it_was(begin: str, steps: str, before: str, ordinary_user: OrdinaryUser) -> None:
    names = "a=conda_concept/demo-23.04 b=conda_concept/other-23.04;"
    script = f'{begin} {names} {before} first=$(show); {steps}; second=$(show); diff <(echo "$first") <(echo "$second")'
    assert ordinary_user.bash(script).stdout == ""


def test_what_activation_takes_out_is_out_while_the_module_is_loaded(
    begin: str, store: Store, ordinary_user: OrdinaryUser
) -> None:
    assert store.facts[DEMO].activation.unset == ("HELLO_GONE", "HELLO_LATER")
    script = begin + (
        "export HELLO_GONE='a b'; module load conda_concept/demo-23.04; echo \"<${HELLO_GONE-unset}>\";"
        'module switch conda_concept/demo-23.01; echo "<${HELLO_GONE-unset}>"; module purge; echo "<$HELLO_GONE>"'
    )
    assert ordinary_user.bash(script).stdout == "<unset>\n<unset>\n<a b>\n"


def test_two_environments_are_never_mixed(begin: str, store: Store, ordinary_user: OrdinaryUser) -> None:
    # Environment Modules refuses the second; Lmod's rule of one version of a name takes the first away.
    script = begin + (
        "module load conda_concept/demo-23.04; module load conda_concept/other-23.04 2>&1 || :;"
        'echo "CONDA_PREFIX $CONDA_PREFIX"; echo "$PATH" | tr : "\\n" | grep -c /releases/'
    )
    *said, prefix, count = ordinary_user.bash(script).stdout.splitlines()
    assert count == "1"
    if any("conflict" in line for line in said):
        assert prefix == f"CONDA_PREFIX {store.prefix(DEMO)}"
    else:
        assert prefix == f"CONDA_PREFIX {store.prefix(OTHER)}"


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


@pytest.mark.parametrize("end", ["module unload conda_concept", "module purge"])
def test_unloading_takes_away_what_was_loaded_though_the_label_has_moved_on(
    store: Store, module_init: Path, user_dir: Path, ordinary_user: OrdinaryUser, end: str
) -> None:
    """A job that loaded a label, and unloads it after another build of that label was published."""
    text = store.layout.modulefile(DEMO).read_text("utf-8")
    files = {"demo-23.04": text, "next": text.replace(DEMO.build_id, "cafe0123")}
    folder = user_dir / "modules" / "conda_concept"
    folder.mkdir(parents=True)
    folder.chmod(0o777)  # the job itself plays the publisher
    for name, content in files.items():
        place = user_dir if name == "next" else folder
        (place / name).write_text(content, "utf-8")
    script = SHOW + (
        f"source {module_init}; module use {user_dir}/modules; first=$(show); module load conda_concept/demo-23.04\n"
        f'case ":$PATH:" in *:{store.prefix(DEMO)}/bin:*) ;; *) echo not loaded ;; esac\n'
        f"mv -T {user_dir}/next {folder}/demo-23.04; {end}\n"
        'diff <(echo "$first") <(show)'
    )
    assert ordinary_user.bash(script).stdout == ""
