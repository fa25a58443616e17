"""The workflow files: what a security engineer would look for, beside what zizmor and actionlint find."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from conda_concept.document import SourceText
from conda_concept.forms import read_form
from conda_concept.github.hub import CONTEXT
from conda_concept.quarter import FORM, ISSUES, KEEP, REFRESH

FOLDER = Path(__file__).resolve().parents[2] / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
CALLERS = sorted((FOLDER.parents[1] / "ci" / "another-repository").glob("*.yml"))
#: The one place that says which actions are used. To refresh: `git ls-remote https://github.com/OWNER/NAME TAG` gives
#: the commit of a tag; change it here and in every workflow (`grep -rl OLD .github | xargs sed -i s/OLD/NEW/`).
#: NOT LOOKED UP: the project is developed where GitHub cannot be reached. Each pair was found, the same, in many public
#: repositories that pin it; that is no proof, so ask GitHub once before use (ci/README.md has it as a step).
PINS = {
    "actions/checkout": ("8e8c483db84b4bee98b60c0593521ed34d9990e8", "v6.0.1"),
    "actions/upload-artifact": ("b7c566a772e6b6bfb58ed0dc250532a479d7789f", "v6.0.0"),
}
WRITING = {
    "quarterly.yml": {"quarter"},
    "report.yml": {"report", "settle"},
    "build.yml": {"admit", "report", "build", "settle"},
    "release.yml": {"release", "settle"},
    "package-request.yml": {"answer"},
}


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load(path.read_text("utf-8"), Loader=yaml.BaseLoader)  # noqa: S506 - no types: `on`
    return loaded


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def path(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


def test_all_of_them_are_there() -> None:
    names = {
        "pull-request.yml",
        "report.yml",
        "build.yml",
        "release.yml",
        "maintenance.yml",
        "ci.yml",
        "package-request.yml",
        "quarterly.yml",
    }
    assert names <= {path.name for path in FILES}


def test_actions_are_those_of_the_table(path: Path) -> None:
    for line in re.findall(r"(?m)^ +uses: (.*)", path.read_text("utf-8")):
        name, _, rest = line.partition("@")
        assert rest == "{} # {}".format(*PINS[name]), line


def test_nothing_is_permitted_but_by_a_job(path: Path) -> None:
    flow = load(path)
    assert flow["permissions"] == {}
    assert flow["cache-mode"] == "none"
    writing = {name for name, job in flow["jobs"].items() if "write" in (job.get("permissions") or {}).values()}
    assert writing == WRITING.get(path.name, set())


def test_a_job_is_one_line_and_its_values_come_through_the_environment(path: Path) -> None:
    for job in load(path)["jobs"].values():
        assert int(job["timeout-minutes"]) > 0
        runs = [step["run"] for step in job["steps"] if "run" in step]
        assert all("${{" not in run for run in runs)
        ours = [run for run in runs if "conda-concept" in run]
        assert len(ours) == (path.name != "ci.yml")
        assert set(runs) - set(ours) <= {
            "tool/ci/setup --python-only",
            "tool/ci/setup --program-only",  # where somebody waits for the first comment
            "ci/in-debian ci/test",
        }


def test_no_checkout_leaves_a_token_behind(path: Path) -> None:
    for job in load(path)["jobs"].values():
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] == "false"


def test_the_program_never_comes_from_a_pull_request(path: Path) -> None:
    """The checkout that is run is the main branch's; where a pull request is checked out, no token is near."""
    if path.name == "ci.yml":
        return
    for job in load(path)["jobs"].values():
        checkouts = [step["with"] for step in job["steps"] if step.get("uses", "").startswith("actions/checkout")]
        (tool,) = [one for one in checkouts if one["path"] == "tool"]
        assert tool["ref"] == "${{ inputs.ref || vars.CONDA_CONCEPT_REF || github.event.repository.default_branch }}"
        data = [one for one in checkouts if "sha" in one.get("ref", "")]
        assert not data or job["permissions"] == {"contents": "read"}
        assert not data or not any("GITHUB_TOKEN" in step.get("env", {}) for step in job["steps"])


def test_the_site_is_reached_only_behind_its_environment_and_in_a_queue(path: Path) -> None:
    for name, job in load(path)["jobs"].items():
        if "self-hosted" in job["runs-on"]:
            assert path.name in ("build.yml", "release.yml", "maintenance.yml")
            # The site's name is the runner's label, and the name of the environment that guards it.
            site = "${{ inputs.site || vars.CONDA_CONCEPT_SITE || 'gadi' }}"
            assert (job["runs-on"], job["environment"]) == (["self-hosted", site], site)
            assert job["concurrency"]["queue"] == "max"
            if path.name != "maintenance.yml":  # a clock's, or a maintainer's
                assert "needs" in job, f"{name} has no guard"
        else:
            assert job["runs-on"] == "ubuntu-24.04"
            assert "environment" not in job


def test_nothing_that_waits_is_dropped(path: Path) -> None:
    """A run that waits in a group is evicted by the next one, unless it is alone there, or the queue keeps all."""
    flow = load(path)
    alone = ("github.run_id", "github.event.workflow_run.id")
    for queue in [flow["concurrency"], *(job["concurrency"] for job in flow["jobs"].values() if "concurrency" in job)]:
        if "github.event.pull_request.number" in queue["group"]:
            assert queue["cancel-in-progress"] != "false"  # only the newest commit of a pull request counts
            assert path.name == "pull-request.yml" or "|| github.run_id" in queue["group"]
        else:
            assert queue["cancel-in-progress"] == "false"
            assert queue.get("queue") == "max" or any(word in queue["group"] for word in alone)


def test_a_rollback_waits_for_no_nights_work() -> None:
    jobs = load(FOLDER / "maintenance.yml")["jobs"]
    assert jobs["rollback"]["concurrency"]["group"] != jobs["maintain"]["concurrency"]["group"]


def test_a_build_and_a_release_have_a_last_word_whatever_became_of_the_runner() -> None:
    for file, job in (("build.yml", "build"), ("release.yml", "release")):
        last = load(FOLDER / file)["jobs"]["settle"]
        assert job in last["needs"]
        assert last["if"].startswith("always()")
        assert last["runs-on"] == "ubuntu-24.04"


def test_no_required_check_can_be_skipped_by_its_paths(path: Path) -> None:
    assert "paths" not in (load(path)["on"].get("pull_request") or {})
    assert "pull_request_target" not in load(path)["on"]


def test_answers_to_requests_wait_in_one_queue_and_what_may_run_a_package_may_write_nothing() -> None:
    jobs = load(FOLDER / "package-request.yml")["jobs"]
    assert jobs["answer"]["concurrency"] == {
        "group": "package-request-answers",
        "cancel-in-progress": "false",
        "queue": "max",
    }
    assert jobs["look"]["permissions"] == {"contents": "read"}
    assert not any("GITHUB_TOKEN" in step.get("env", {}) for step in jobs["look"]["steps"])


def test_everything_on_the_site_for_an_environment_waits_in_one_queue() -> None:
    jobs = (load(FOLDER / "build.yml")["jobs"]["build"], load(FOLDER / "release.yml")["jobs"]["release"])
    assert {job["concurrency"]["group"] for job in jobs} == {"site-${{ matrix.environment }}"}


def test_the_release_form_offers_the_environments_that_are_there() -> None:
    top = FOLDER.parents[1]
    form = read_form(SourceText("release.yml", (top / FORM).read_text("utf-8")))
    there = sorted(path.parent.name for path in (top / "environments").glob("*/environment.yml"))
    assert [one.id for one in form.fields] == ["environment", "version", "packages", "stable", "notes"]
    assert list(form.fields[0].options) == there
    assert list(form.fields[2].options) == [REFRESH, KEEP]
    assert form.labels == (ISSUES,)
    condition = load(FOLDER / "quarterly.yml")["jobs"]["quarter"]["if"]
    assert condition.count(f"contains(github.event.issue.labels.*.name, '{ISSUES}')") == 2


def test_a_quarter_hears_of_the_workflows_that_it_waits_for() -> None:
    quarterly = load(FOLDER / "quarterly.yml")
    names = quarterly["on"]["workflow_run"]["workflows"]
    assert names == [load(FOLDER / f"{name}.yml")["name"] for name in ("build", "report", "release")]
    # Any comment starts the first, whose jobs are then skipped: no machine is taken for that.
    assert "github.event.workflow_run.conclusion != 'skipped'" in quarterly["jobs"]["quarter"]["if"]


@pytest.mark.parametrize("caller", CALLERS, ids=lambda path: path.name)
def test_another_repository_has_the_same_events_and_gives_what_the_jobs_need(caller: Path) -> None:
    theirs, ours = load(caller), load(FOLDER / caller.name)
    assert theirs["name"] == ours["name"]  # the report follows a workflow by its name
    assert theirs["on"] == {event: what for event, what in ours["on"].items() if event != "workflow_call"}
    assert (theirs["permissions"], theirs["cache-mode"]) == ({}, "none")
    (job,) = theirs["jobs"].values()
    assert job["uses"] == f"OWNER/conda-concept/.github/workflows/{caller.name}@{job['with']['ref']}"
    inputs = ours["on"]["workflow_call"]["inputs"]
    assert set(job["with"]) == set(inputs)
    needed: dict[str, str] = {}
    for one in ours["jobs"].values():
        for scope, level in one["permissions"].items():
            needed[scope] = "write" if "write" in (level, needed.get(scope)) else "read"
    assert job["permissions"] == needed


@pytest.mark.parametrize("caller", CALLERS, ids=lambda path: path.name)
def test_a_caller_never_waits_in_a_group_of_the_file_that_it_calls(caller: Path) -> None:
    """GitHub sees that as a deadlock and cancels the run: both evaluate their groups in the caller's context."""
    ours = load(FOLDER / caller.name)
    groups = [one["concurrency"]["group"] for one in (ours, *ours["jobs"].values()) if "concurrency" in one]
    assert load(caller)["concurrency"]["group"] == f"call-{caller.stem}-${{{{ github.run_id }}}}"
    assert not any(group.startswith(("call-", "${{")) for group in groups)


def test_every_workflow_that_can_be_called_has_its_caller() -> None:
    called = {path.name for path in FILES if "workflow_call" in load(path)["on"]}
    assert called == {path.name for path in CALLERS}


def test_every_status_is_the_one_that_is_required() -> None:
    assert CONTEXT == "conda-concept"
    sources = (FOLDER.parents[1] / "ci" / "conda_concept").rglob("*.py")
    assert [path.name for path in sources if "create_status(" in path.read_text("utf-8")] == ["hub.py"]


@pytest.mark.parametrize(("file", "job"), [("build.yml", "build"), ("release.yml", "release")])
def test_whoever_waits_for_a_job_is_the_process_that_a_cancelled_run_signals(file: str, job: str) -> None:
    """GitHub's runner signals the step's shell alone, which hands nothing on; see its documentation on cancelling."""
    (line,) = [
        step["run"] for step in load(FOLDER / file)["jobs"][job]["steps"] if "conda-concept" in step.get("run", "")
    ]
    assert line.startswith("exec tool/.venv/bin/conda-concept ")
