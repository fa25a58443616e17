"""What the fake answers about releases and their assets, as GitHub's immutable releases behave, and about statuses."""

import hashlib
from typing import Any

from tests.support.fakegithub.answers import Answer, Ask, Refusal, Route, _find, _user
from tests.support.fakegithub.state import BOT, Asset, Published

#: What GitHub leaves of an upload that broke off: "starter" in its guide, which its description does not have.
STARTER = "open"


def _asset(ask: Ask, one: Asset) -> dict[str, Any]:
    url = f"{ask.base}/releases/assets/{one.number}"
    return {
        "id": one.number,
        "name": one.name,
        "label": None,
        "state": one.state,
        "size": len(one.data),
        "digest": f"sha256:{hashlib.sha256(one.data).hexdigest()}" if one.state == "uploaded" else None,
        "content_type": one.kind,
        "url": url,
        "browser_download_url": f"{ask.url}/{ask.state.name}/releases/download/x/{one.name}",
        "uploader": _user(BOT),
    }


def _release(ask: Ask, one: Published) -> dict[str, Any]:
    url = f"{ask.base}/releases/{one.number}"
    page = f"{ask.url}/{ask.state.name}/releases/tag/{'untagged' if one.draft else one.tag}"
    return {
        "id": one.number,
        "tag_name": one.tag,
        "name": one.name,
        "body": one.body,
        "draft": one.draft,
        "prerelease": False,
        "immutable": not one.draft,
        "target_commitish": "main",
        "url": url,
        "html_url": page,
        "assets_url": f"{url}/assets",
        "upload_url": f"{url}/assets{{?name,label}}",
        "published_at": None if one.draft else "2026-11-22T00:00:00Z",
        "created_at": "2026-11-22T00:00:00Z",
        "author": _user(BOT),
        "assets": [_asset(ask, asset) for asset in one.assets],
    }


def _get(ask: Ask, number: str) -> Published:
    found = next((one for one in ask.state.releases if one.number == int(number)), None)
    if found is None:
        raise Refusal(404, "Not Found")
    return found


def releases(ask: Ask) -> Answer:
    """Drafts are seen by those who may write only."""
    writes = ask.state.tokens[ask.token].get("contents") == "write"
    return 200, [_release(ask, one) for one in reversed(ask.state.releases) if writes or not one.draft]


def by_tag(ask: Ask, tag: str) -> Answer:
    found = next((one for one in ask.state.releases if one.tag == tag and not one.draft), None)
    if found is None:
        raise Refusal(404, "Not Found")
    return 200, _release(ask, found)


def release(ask: Ask, number: str) -> Answer:
    return 200, _release(ask, _get(ask, number))


def new_release(ask: Ask) -> Answer:
    body = ask.body
    if not body.get("draft") and any(one.tag == body["tag_name"] and not one.draft for one in ask.state.releases):
        raise Refusal(422, "Validation Failed: tag_name already_exists")
    draft = bool(body.get("draft"))
    made = Published(300 + len(ask.state.releases), body["tag_name"], body.get("name", ""), body.get("body", ""), draft)
    ask.state.releases.append(made)
    return 201, _release(ask, made)


def edit_release(ask: Ask, number: str) -> Answer:
    found, body = _get(ask, number), ask.body
    if not found.draft and body.get("tag_name", found.tag) != found.tag:
        raise Refusal(422, "Validation Failed: the tag of an immutable release cannot be changed")
    if found.draft and not body.get("draft", True):
        try:
            ask.state.git("rev-parse", "--verify", "--quiet", f"refs/tags/{found.tag}")
        except LookupError:
            raise Refusal(422, "Validation Failed: the fake makes no tags by itself") from None
    found.name, found.body = body.get("name", found.name), body.get("body", found.body)
    found.draft, found.latest = body.get("draft", found.draft), body.get("make_latest", found.latest)
    return 200, _release(ask, found)


def assets(ask: Ask, number: str) -> Answer:
    return 200, [_asset(ask, one) for one in _get(ask, number).assets]


def upload(ask: Ask, number: str) -> Answer:
    found, name = _get(ask, number), ask.one("name")
    if not found.draft:
        raise Refusal(422, "Cannot upload assets to an immutable release.")
    if any(one.name == name for one in found.assets):
        raise Refusal(422, "Validation Failed: name already_exists")
    number_ = 800 + sum(len(one.assets) for one in ask.state.releases) + ask.state.lost_assets
    broken, ask.state.broken_uploads = ask.state.broken_uploads > 0, max(0, ask.state.broken_uploads - 1)
    made = Asset(number_, name, b"" if broken else ask.raw, ask.kind, STARTER if broken else "uploaded")
    found.assets.append(made)
    if broken:
        raise Refusal(502, "Bad gateway")
    return 201, _asset(ask, made)


def drop_asset(ask: Ask, number: str) -> Answer:
    for one in ask.state.releases:
        for asset in one.assets:
            if asset.number == int(number):
                if not one.draft:
                    raise Refusal(422, "Cannot delete assets of an immutable release.")
                one.assets.remove(asset)
                ask.state.lost_assets += 1
                return 204, {}
    raise Refusal(404, "Not Found")


def status(ask: Ask, sha: str) -> Answer:
    last = {one["context"]: one for one in ask.state.statuses if one["sha"] == sha}
    shown = [{"id": 1, "url": f"{ask.base}/statuses/{sha}", **one} for one in last.values()]
    return 200, {"sha": sha, "state": "pending", "statuses": shown, "total_count": len(shown)}


def reactions(ask: Ask, number: str) -> Answer:
    found = _find(ask, number).reactions
    return 200, [{"id": place, "content": what, "user": _user(who)} for place, (who, what) in enumerate(found)]


ROUTES = (
    Route("GET", r"/releases", "contents", "read", releases),
    Route("POST", r"/releases", "contents", "write", new_release),
    Route("GET", r"/releases/tags/(.+)", "contents", "read", by_tag),
    Route("GET", r"/releases/(\d+)", "contents", "read", release),
    Route("PATCH", r"/releases/(\d+)", "contents", "write", edit_release),
    Route("GET", r"/releases/(\d+)/assets", "contents", "read", assets),
    Route("POST", r"/releases/(\d+)/assets", "contents", "write", upload),
    Route("DELETE", r"/releases/assets/(\d+)", "contents", "write", drop_asset),
    Route("GET", r"/commits/([0-9a-f]{40})/status", "statuses", "read", status),
    Route("GET", r"/issues/comments/(\d+)/reactions", "talk", "read", reactions),
)
