"""The runner's own door: what it lets in, whatever a workflow file says."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "ci" / "runner" / "admit.sh"
OURS = "climate/environments"
FLOWS = f"{OURS}/.github/workflows"
GOOD = {
    "CONDA_CONCEPT_REPOSITORY": OURS,
    "CONDA_CONCEPT_VERSIONS": "analysis3-23.07  demo-*",
    "GITHUB_REPOSITORY": OURS,
    "GITHUB_EVENT_NAME": "push",
    "GITHUB_WORKFLOW_REF": f"{FLOWS}/release.yml@refs/heads/main",
}


def admit(**changed: str) -> tuple[int, str]:
    environ = {"PATH": os.environ["PATH"], **GOOD, **changed}
    done = subprocess.run(["bash", str(SCRIPT)], env=environ, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("flow", "event"),
    [
        ("release.yml@refs/heads/main", "push"),
        ("release.yml@refs/heads/analysis3-23.07", "push"),
        ("release.yml@refs/heads/main", "schedule"),
        ("release.yml@refs/heads/demo-26.01", "push"),
        ("release.yml@refs/heads/main", "workflow_dispatch"),
        ("build.yml@refs/heads/main", "issue_comment"),
        ("build.yml@refs/heads/main", "workflow_dispatch"),
        ("maintenance.yml@refs/heads/main", "schedule"),
    ],
)
def test_our_own_are_let_in(flow: str, event: str) -> None:
    assert admit(GITHUB_WORKFLOW_REF=f"{FLOWS}/{flow}", GITHUB_EVENT_NAME=event) == (0, "")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"GITHUB_EVENT_NAME": "pull_request"}, "for the event 'pull_request'"),
        ({"GITHUB_WORKFLOW_REF": f"{FLOWS}/release.yml@refs/pull/7/merge"}, "no workflow of a branch"),
        ({"GITHUB_WORKFLOW_REF": f"{FLOWS}/release.yml@refs/heads/main@refs/heads/x"}, "the branch 'main@refs"),
        ({"GITHUB_WORKFLOW_REF": f"{FLOWS}/release.yml@refs/heads/$(id)-23.07"}, "comes from the branch"),
        ({"GITHUB_WORKFLOW_REF": f"{FLOWS}/release.yml@refs/heads/zz-99.99"}, "not one of CONDA_CONCEPT_VERSIONS"),
        ({"GITHUB_WORKFLOW_REF": f"{FLOWS}/release.yml@refs/heads/analysis3-23.10"}, "'analysis3-23.10' is not one of"),
        ({"GITHUB_WORKFLOW_REF": f"{FLOWS}/release.yml@refs/heads/demo-x"}, "comes from the branch"),
        (
            {"GITHUB_WORKFLOW_REF": f"{FLOWS}/release.yml@refs/heads/analysis3-23.07", "CONDA_CONCEPT_VERSIONS": ""},
            "not one of CONDA_CONCEPT_VERSIONS",
        ),
        ({"GITHUB_WORKFLOW_REF": f"{FLOWS}/evil.yml@refs/heads/main"}, "evil.yml does not run here"),
        ({"GITHUB_WORKFLOW_REF": f"{FLOWS}/../x/release.yml@refs/heads/main"}, "does not run here"),
        (
            {
                "GITHUB_WORKFLOW_REF": f"{FLOWS}/build.yml@refs/heads/analysis3-23.07",
                "GITHUB_EVENT_NAME": "issue_comment",
            },
            "comes from the branch",
        ),
        ({"GITHUB_WORKFLOW_REF": "mallory/fork/.github/workflows/release.yml@refs/heads/main"}, "no workflow of"),
        ({"GITHUB_REPOSITORY": "mallory/fork"}, "not of climate/environments"),
        ({"CONDA_CONCEPT_REPOSITORY": ""}, "not set"),
        ({"GITHUB_WORKFLOW_REF": "", "GITHUB_EVENT_NAME": ""}, "no workflow of a branch"),
    ],
)
def test_everything_else_is_refused_with_a_reason(changed: dict[str, str], why: str) -> None:
    status, said = admit(**changed)
    assert status == 1
    assert said.startswith("The runner refuses this job: ")
    assert why in said
