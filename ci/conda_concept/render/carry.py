"""Scripts of ours that stand for commands of a release: the host's own programs, and those that reach other nodes.

`carry` in a config names commands that start work elsewhere. Their script takes the environment along:

- a remote shell (`ssh HOST python3`, `pbs_tmrsh HOST …`, what `mpirun` starts its daemons with) runs the command there
  in a shell that has activated this very release, whatever the login files of that node do. What is to be run travels
  as base64, so that no shell on the way, and no missing one, changes it. `ssh` does so only for nodes of the job and
  of the site (`nodes`): to other hosts, where the release is not, it is the plain `ssh` that Git and others expect;
- a daemon (`orted`, `prted`) activates the release before it becomes the host's daemon, so that the ranks that it
  starts find the release's commands first;
- a starter (`mpirun`) does the same, and is the host's own.

The same script is in the image and in the release directory, so it is there inside and outside.
"""

from collections.abc import Mapping

from conda_concept.model import Integration
from conda_concept.render.quote import templates
from conda_concept.settings import Site

#: Remote shells, and those of their options that take a value of their own: ssh(1), rsh(1), pbs_tmrsh(1).
_SHELLS: Mapping[str, str] = {"ssh": "BbcDEeFIiJLlmoPpRSw", "rsh": "l", "pbs_tmrsh": "l"}
#: What starts ranks.
_STARTERS = ("mpirun", "mpiexec", "prterun", "prun")


def carried_scripts(made: Integration, prefix: str, site: Site) -> tuple[tuple[str, str], ...]:
    """Name and text of the script of every carried command."""
    real = host_programs(made)
    return tuple(
        (name, (_shell if name in _SHELLS else _program)(name, real.get(name, ""), prefix, site))
        for name in made.carried
    )


def host_scripts(made: Integration, prefix: str, site: Site) -> tuple[tuple[str, str], ...]:
    """Name and text of a script for every command that is the host's program: it is not to be run in a container."""
    programs = sorted(host_programs(made).items())
    return tuple(
        (name, _program(name, target, prefix, site, activate=False))
        for name, target in programs
        if name not in made.carried
    )


def host_programs(made: Integration) -> dict[str, str]:
    """The commands of `bin/` that are the host's, and where they are."""
    return {
        link.path.removeprefix("bin/"): link.target
        for link in made.replaced
        if link.path.startswith("bin/") and link.path.count("/") == 1
    }


def _shell(name: str, real: str, prefix: str, site: Site) -> str:
    return (
        templates()
        .get_template("carry-shell.sh")
        .render(
            name=name,
            real=real,
            prefix=prefix,
            host_bin=site.host_bin,
            product=site.product,
            nodes=site.nodes,
            every=name != "ssh",
            valued=_SHELLS[name],
        )
    )


def _program(name: str, real: str, prefix: str, site: Site, *, activate: bool = True) -> str:
    return (
        templates()
        .get_template("host-program.sh")
        .render(
            name=name,
            real=real,
            prefix=prefix,
            host_bin=site.host_bin,
            product=site.product,
            activate=activate,
            starter=name in _STARTERS,
        )
    )
