#!/usr/bin/env bash
# What the site's runner lets in: named by ACTIONS_RUNNER_HOOK_JOB_STARTED, it runs before every job, and a job whose
# hook fails does not begin. Workflow files cannot undo it, because it lies on the runner's own disk.
#
#   CONDA_CONCEPT_REPOSITORY   owner/name that this runner works for; the operator sets it in the runner's .env
#   CONDA_CONCEPT_BRANCH       its main branch (default: main)
#   CONDA_CONCEPT_VERSIONS     branches of older versions that are released too, with blanks between them, as names or
#                              patterns: `analysis3-26.07 demo-*` (default: none)
#
# A workflow file is what its branch says, and whoever may write can make a branch: so one that the operator did not
# name does not get in, whatever it is called. Only these workflows, of the main branch (releases: also of those
# versions' branches), for these events:
#   build.yml        issue_comment, workflow_dispatch
#   release.yml      push, schedule, workflow_dispatch
#   maintenance.yml  schedule, workflow_dispatch
set -euo pipefail
export LC_ALL=C

refuse() {
    printf 'The runner refuses this job: %s\n' "$1" >&2
    exit 1
}

repository=${CONDA_CONCEPT_REPOSITORY:-}
branch=${CONDA_CONCEPT_BRANCH:-main}
event=${GITHUB_EVENT_NAME:-}
workflow=${GITHUB_WORKFLOW_REF:-}
[[ $repository == */* ]] || refuse 'CONDA_CONCEPT_REPOSITORY is not set in the environment of the runner.'
[[ ${GITHUB_REPOSITORY:-} == "$repository" ]] || refuse "it is one of ${GITHUB_REPOSITORY:-nowhere}, not of $repository."
[[ $workflow == "$repository/.github/workflows/"*.yml@refs/heads/* ]] || refuse "$workflow is no workflow of a branch."

file=${workflow#"$repository/.github/workflows/"}
ref=${file#*@refs/heads/}
file=${file%%@*}
case $file:$event in
    build.yml:issue_comment | build.yml:workflow_dispatch) ;;
    release.yml:push | release.yml:schedule | release.yml:workflow_dispatch) ;;
    maintenance.yml:schedule | maintenance.yml:workflow_dispatch) ;;
    *) refuse "$file does not run here for the event '$event'." ;;
esac
[[ $ref != "$branch" ]] || exit 0
if [[ $file == release.yml && $ref =~ ^[a-z][a-z0-9_]{0,31}-[0-9]{2}\.[0-9]{2}$ ]]; then
    read -ra versions <<<"${CONDA_CONCEPT_VERSIONS:-}"
    for version in "${versions[@]}"; do
        # shellcheck disable=SC2053 # a pattern is welcome
        [[ $ref != $version ]] || exit 0
    done
    refuse "the branch '$ref' is not one of CONDA_CONCEPT_VERSIONS in the environment of the runner."
fi
refuse "$file comes from the branch '$ref'."
