"""Which environments a change touches: nothing is missed, nothing is built for no reason."""

from conda_concept.matrix import Touched, github_matrix, touched

ALL = ("analysis3", "analysis3_edge", "demo")


def test_a_change_in_one_environment_touches_it_alone_and_says_why() -> None:
    assert touched(["environments/demo/environment.yml", "environments/demo/config.yml"], ALL, "gadi") == (
        Touched("demo", ("config", "spec")),
    )


def test_names_that_begin_alike_are_kept_apart() -> None:
    paths = ["environments/analysis3/environment.yml", "environments/analysis3_edge/tests/test_a.py"]
    assert touched(paths, ALL, "gadi") == (Touched("analysis3", ("spec",)), Touched("analysis3_edge", ("tests",)))


def test_templates_and_this_site_touch_everything() -> None:
    found = touched(["ci/conda_concept/templates/launcher.sh", "ci/sites/gadi.yml"], ALL, "gadi")
    assert found == tuple(Touched(name, ("launcher and modulefile templates", "site file")) for name in ALL)


def test_templates_of_comments_end_up_in_no_release() -> None:
    assert touched(["ci/conda_concept/templates/comment-build.md", "ci/sites/gadi.yml.md"], ALL, "gadi") == ()


def test_other_sites_readmes_and_removed_environments_touch_nothing() -> None:
    assert touched(["ci/sites/local.yml", "README.md", "environments/gone/environment.yml"], ALL, "gadi") == ()


def test_the_matrix_has_the_reason_beside_each_job() -> None:
    assert github_matrix([Touched("demo", ("config", "spec"))]) == {
        "include": [{"environment": "demo", "reasons": "config, spec"}]
    }
