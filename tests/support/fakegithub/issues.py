"""What the fake answers about issues and their labels; a pull request is one too, as on GitHub."""

from typing import Any

from tests.support.fakegithub.answers import Answer, Ask, Refusal, Route, _checked, _user
from tests.support.fakegithub.state import BOT, Issue


def _label(ask: Ask, name: str) -> dict[str, Any]:
    return {"id": sum(name.encode()), "name": name, "color": "ededed", "url": f"{ask.base}/labels/{name}"}


def _issue(ask: Ask, one: Issue) -> dict[str, Any]:
    return {
        "id": 70_000 + one.number,
        "number": one.number,
        "url": f"{ask.base}/issues/{one.number}",
        "html_url": f"{ask.url}/{ask.state.name}/issues/{one.number}",
        "title": one.title,
        "body": one.body or None,
        "state": one.state,
        "state_reason": one.reason,
        "user": _user(one.author),
        "labels": [_label(ask, name) for name in one.labels],
    }


def _pull_as_issue(ask: Ask, number: int) -> dict[str, Any]:
    pull = ask.state.pulls[number]
    as_issue = _issue(ask, Issue(number, pull.author, pull.title, pull.body, state=pull.state))
    page = f"{ask.url}/{ask.state.name}/pull/{number}"
    links = {"url": f"{ask.base}/pulls/{number}", "html_url": page, "diff_url": page, "patch_url": page}
    return as_issue | {"html_url": page, "pull_request": links}


def _find(ask: Ask, number: str) -> Issue:
    found = ask.state.issues.get(int(number))
    if found is None:
        raise Refusal(404, "Not Found")
    return found


def issue(ask: Ask, number: str) -> Answer:
    if int(number) in ask.state.pulls:
        return 200, _pull_as_issue(ask, int(number))
    return 200, _issue(ask, _find(ask, number))


def issues(ask: Ask) -> Answer:
    """Newest first, as GitHub does without `sort`; pull requests among them."""
    state, creator = ask.one("state") or "open", ask.one("creator")
    labels = {name for name in ask.one("labels").split(",") if name}
    found = [_issue(ask, one) for one in ask.state.issues.values()]
    found += [_pull_as_issue(ask, number) for number in ask.state.pulls]
    kept = [
        one
        for one in found
        if state in (one["state"], "all")
        and creator in ("", one["user"]["login"])
        and labels <= {label["name"] for label in one["labels"]}
    ]
    if ask.state.unlisted and ask.state.issues:
        ask.state.unlisted -= 1
        kept = [one for one in kept if one["number"] != max(ask.state.issues)]
    return 200, sorted(kept, key=lambda one: one["number"], reverse=ask.one("direction") != "asc")


def new_issue(ask: Ask) -> Answer:
    made = ask.state.open_issue(BOT, str(ask.body["title"]), _checked(ask.body), ask.body.get("labels", ()))
    ask.state.unlisted = ask.state.late_lists
    return 201, _issue(ask, made)


def edit_issue(ask: Ask, number: str) -> Answer:
    found = _find(ask, number)
    found.title, found.body = ask.body.get("title", found.title), _checked({"body": found.body} | ask.body)
    found.labels = list(ask.body.get("labels", found.labels))
    if "state" in ask.body:
        found.state = ask.body["state"]
        found.reason = ask.body.get("state_reason", "completed") if found.state == "closed" else "reopened"
    return 200, _issue(ask, found)


def labels(ask: Ask, number: str) -> Answer:
    return 200, [_label(ask, name) for name in _find(ask, number).labels]


def add_labels(ask: Ask, number: str) -> Answer:
    found = _find(ask, number)
    asked = ask.body if isinstance(ask.body, list) else ask.body["labels"]
    found.labels += [name for name in asked if name not in found.labels]
    return 200, [_label(ask, name) for name in found.labels]


def drop_label(ask: Ask, number: str, name: str) -> Answer:
    found = _find(ask, number)
    if name not in found.labels:
        raise Refusal(404, "Label does not exist")
    found.labels.remove(name)
    return 200, [_label(ask, one) for one in found.labels]


ROUTES = (
    Route("GET", r"/issues", "issues", "read", issues),
    Route("POST", r"/issues", "issues", "write", new_issue),
    Route("GET", r"/issues/(\d+)", "talk", "read", issue),
    Route("PATCH", r"/issues/(\d+)", "talk", "write", edit_issue),
    Route("GET", r"/issues/(\d+)/labels", "talk", "read", labels),
    Route("POST", r"/issues/(\d+)/labels", "talk", "write", add_labels),
    Route("DELETE", r"/issues/(\d+)/labels/(.+)", "talk", "write", drop_label),
)
