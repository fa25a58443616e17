"""A connection to one repository: what the runner says about itself, retries that double nothing, errors for people."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conda_concept.errors import InputError, NetworkError, NotFoundError, RefusedError

if TYPE_CHECKING:
    from github.Repository import Repository

#: What may be sent again after a failure without an answer. Not POST: the server may have done it (PyGithub's own
#: list has it, and then one comment becomes two).
RETRIED = frozenset({"GET", "HEAD", "PUT", "PATCH", "DELETE"})
TIMEOUT = 30
_MAX_EVENT = 25_000_000  # GitHub's own limit of a payload


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a job knows about itself, read once from GitHub's documented variables. `token` is never shown."""

    repository: str
    api: str
    server: str
    token: str = field(repr=False)
    run: str
    event_name: str
    event_path: str
    #: The account that comments are written as; another one than GitHub's own where the token is another's.
    bot: str
    #: The token of an account that may move protected branches and make tags; empty: the job's own does.
    commit_token: str = field(default="", repr=False)
    #: Seconds between two writes, which GitHub asks for.
    pace: float = 1.0
    #: Seconds after which an answer is not waited for any longer.
    timeout: int = TIMEOUT

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Surroundings":
        """Those of this job; `InputError` where this is no job of GitHub's."""
        missing = [name for name in ("GITHUB_REPOSITORY", "GITHUB_TOKEN") if not environ.get(name)]
        if missing:
            raise InputError(
                f"{' and '.join(missing)} not set.", hint="This command is for a job of GitHub Actions; see the README."
            )
        return cls(
            repository=environ["GITHUB_REPOSITORY"],
            api=environ.get("GITHUB_API_URL", "https://api.github.com"),
            server=environ.get("GITHUB_SERVER_URL", "https://github.com"),
            token=environ["GITHUB_TOKEN"],
            run=environ.get("GITHUB_RUN_ID", ""),
            event_name=environ.get("GITHUB_EVENT_NAME", ""),
            event_path=environ.get("GITHUB_EVENT_PATH", ""),
            bot=environ.get("CONDA_CONCEPT_BOT") or "github-actions[bot]",
            commit_token=environ.get("CONDA_CONCEPT_COMMIT_TOKEN", ""),
            pace=float(environ.get("CONDA_CONCEPT_GITHUB_PACE", "1")),
        )

    @property
    def home(self) -> str:
        """The repository's page."""
        return f"{self.server}/{self.repository}"

    @property
    def run_url(self) -> str:
        """The page of this run, empty where there is none."""
        return f"{self.home}/actions/runs/{self.run}" if self.run else ""

    @property
    def default_branch(self) -> str:
        """The main branch's name, as the event says it; `main` where there is no event."""
        try:
            found = (self.event().get("repository") or {}).get("default_branch")
        except InputError:
            return "main"
        return str(found or "main")

    @property
    def awaited_run(self) -> int:
        """The run whose end started this job; 0 where something else did."""
        return int((self.event().get("workflow_run") or {}).get("id") or 0)

    def event(self) -> dict[str, Any]:
        """The payload that started this job; a mapping always."""
        path = Path(self.event_path)
        if not self.event_path or not path.is_file() or path.stat().st_size > _MAX_EVENT:
            raise InputError("GITHUB_EVENT_PATH does not name an event.", hint="This command is for a job of GitHub's.")
        event = json.loads(path.read_bytes())
        if not isinstance(event, dict):
            raise InputError(f"{path} does not hold an event.")
        return event


def connect(here: Surroundings, token: str) -> "Repository":
    """PyGithub's repository of this job, for this token; nothing is asked yet."""
    from github import Auth, Github, GithubRetry

    retry = GithubRetry(
        total=4, backoff_factor=here.pace, allowed_methods=RETRIED, secondary_rate_wait=60 * min(here.pace, 1)
    )
    client = Github(
        auth=Auth.Token(token),
        base_url=here.api,
        timeout=here.timeout,
        retry=retry,
        per_page=100,
        seconds_between_requests=None,
        seconds_between_writes=here.pace,
        lazy=True,
    )
    return client.get_repo(here.repository)


@contextmanager
def asking(what: str) -> Iterator[None]:
    """GitHub's refusals and failures as ours, with what was being done.

    Whatever GitHub does not give is a failure on our side of things, never of the person who opened a pull request.
    """
    from github import GithubException
    from requests import RequestException

    try:
        yield
    except GithubException as error:
        said = error.data.get("message", "") if isinstance(error.data, dict) else ""
        text = f"GitHub answered {error.status} when asked to {what}" + (f": {str(said)[:300]}" if said else ".")
        if error.status == 404:
            raise NotFoundError(text) from error
        if error.status in (409, 422):
            raise RefusedError(text) from error
        hint = "The workflow's `permissions:` may lack one." if error.status in (401, 403) else "Run the job again."
        raise NetworkError(text, hint=hint) from error
    except RequestException as error:
        raise NetworkError(f"GitHub could not be reached to {what}: {error}", hint="Run the job again.") from error
