"""The ordinary user that launchers, containers and modules are tried as; users of a supercomputer are not root."""

import os
import pwd
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conda_concept.executor.tool import tool

#: The account that ci/setup makes; the same name is in that file.
ACCOUNT = "concept-user"


@dataclass(frozen=True, slots=True)
class OrdinaryUser:
    """An account without any rights of its own; `become` is what root puts before a command to be that user."""

    name: str
    home: Path
    uid: int
    become: tuple[str, ...]

    @classmethod
    def find(cls) -> "OrdinaryUser":
        """The account of ci/setup if the tests run as root, whoever runs them otherwise.

        Raises `LookupError` with what to do if the account is not there.
        """
        if os.geteuid() != 0:
            entry = pwd.getpwuid(os.geteuid())
            return cls(entry.pw_name, Path(entry.pw_dir), entry.pw_uid, ())
        try:
            entry = pwd.getpwnam(ACCOUNT)
        except KeyError as error:
            raise LookupError(f"there is no account {ACCOUNT}; run ./ci/setup as root") from error
        become = ("setpriv", f"--reuid={ACCOUNT}", f"--regid={entry.pw_gid}", "--init-groups", "--")
        return cls(entry.pw_name, Path(entry.pw_dir), entry.pw_uid, become)

    def command(self, argv: Sequence[str | Path], env: Mapping[str, str] | None = None) -> list[str]:
        """The full argument list that runs `argv` as this user with a clean environment, `env` on top of it.

        For tests that need the process itself (terminals, signals); all others use `run`.
        """
        clean = {
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "LOGNAME": self.name,
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "SHELL": "/bin/bash",
            "USER": self.name,
        }
        assignments = [f"{name}={value}" for name, value in {**clean, **(env or {})}.items()]
        return [*self.become, "env", "-i", *assignments, *(str(word) for word in argv)]

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | str = "/",
        stdin: str = "",
        timeout: float = 120,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. With `check`, another status than 0 fails the test and shows what was said."""
        done = subprocess.run(
            self.command(argv, env), cwd=cwd, input=stdin, timeout=timeout, capture_output=True, text=True, check=False
        )
        if check and done.returncode != 0:
            said = f"{done.stdout}{done.stderr}".rstrip()
            raise AssertionError(
                f"as {self.name}: `{shlex.join(str(word) for word in argv)}` ended with {done.returncode}:\n{said}"
            )
        return done

    def bash(
        self, script: str, *arguments: str | Path, env: Mapping[str, str] | None = None, cwd: Path | str = "/"
    ) -> subprocess.CompletedProcess[str]:
        """Run a bash script (no start-up files; the first failing command ends it) with its arguments as $1, $2."""
        return self.run(["bash", "--noprofile", "--norc", "-e", "-c", script, "bash", *arguments], env=env, cwd=cwd)


def program(user: OrdinaryUser, folder: Path) -> tuple[list[str], dict[str, str]]:
    """`conda-concept` as the user can run it: its words, and the variables that it needs.

    The checkout's own `.venv` may stand on an interpreter in somebody's home; so a copy, and one that the user can run.
    """
    copy = tool(folder)
    folder.chmod(0o755)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for python in (copy.argv[0], f"/usr/bin/python{version}", "/usr/bin/python3"):
        said = user.run([python, "-c", "import sysconfig; print(sysconfig.get_python_version())"], check=False)
        if said.stdout.strip() == version:
            return [python, *copy.argv[1:]], {"PYTHONPATH": copy.python_path}
    raise LookupError(f"{user.name} can run no Python {version}; install Debian's python3")
