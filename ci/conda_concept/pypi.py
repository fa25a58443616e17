"""Whether an index of Python packages has a name, and since when: its simple API (PEP 503, 691 and 700), no more."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from conda_concept.errors import NetworkError

INDEX = "https://pypi.org/simple"
_JSON = "application/vnd.pypi.simple.v1+json"
#: The largest page of PyPI has some 20 MB.
_MAX = 50_000_000
_TIMEOUT = 30


@dataclass(frozen=True, slots=True)
class Indexed:
    """What an index says about a name: its newest version (no pre-release, if there is another), its last upload.

    `uploaded` is a day (ISO 8601), empty where the index does not say (PEP 700 came in 2022).
    """

    newest: str
    versions: int
    uploaded: str = ""
    size: int | None = None


def look_up(name: str, index: str = "") -> Indexed | None:
    """What the index has of a name that PEP 503 writes so; None where it has nothing. `NetworkError` without it."""
    text, kind = _page(f"{(index or INDEX).rstrip('/')}/{canonicalize_name(name)}/")
    if not text:
        return None
    entries = _from_json(text) if "json" in kind else [{"filename": one} for one in _from_html(text)]
    found: dict[Version, list[dict[str, Any]]] = {}
    for entry in entries:
        version = _version(str(entry.get("filename", "")))
        if version is not None and not entry.get("yanked"):
            found.setdefault(version, []).append(entry)
    if not found:
        return None
    newest = max([one for one in found if not one.is_prerelease] or list(found))
    days = [str(entry.get("upload-time") or "")[:10] for entries in found.values() for entry in entries]
    day = max((one for one in days if re.fullmatch(r"\d{4}-\d\d-\d\d", one)), default="")
    sizes = [entry["size"] for entry in found[newest] if isinstance(entry.get("size"), int)]
    return Indexed(str(newest), len(found), day, min(sizes) if sizes else None)


def _page(url: str) -> tuple[str, str]:
    """The page's text and kind; both empty where there is none."""
    import requests

    parts = urlsplit(url)
    if parts.scheme == "file":
        file = Path(unquote(parts.path)) / "index.html"
        return (file.read_text("utf-8", errors="replace"), "text/html") if file.is_file() else ("", "")
    try:
        accept = {"Accept": f"{_JSON}, text/html;q=0.1"}
        with requests.get(url, headers=accept, timeout=_TIMEOUT, stream=True) as answer:
            if answer.status_code in (404, 410):
                return "", ""
            answer.raise_for_status()
            data = b""
            for chunk in answer.iter_content(1 << 16):
                data += chunk
                if len(data) > _MAX:
                    raise NetworkError(f"{url} has more than {_MAX:,} bytes.")
            return data.decode("utf-8", errors="replace"), answer.headers.get("Content-Type", "")
    except requests.RequestException as error:
        raise NetworkError(f"the index of pip's packages could not be reached: {error}") from error


def _from_json(text: str) -> list[dict[str, Any]]:
    try:
        loaded = json.loads(text)
    except ValueError as error:
        raise NetworkError(f"the index of pip's packages answered with something else: {error}") from error
    files = loaded.get("files") if isinstance(loaded, dict) else None
    return [one for one in files if isinstance(one, dict)] if isinstance(files, list) else []


def _from_html(text: str) -> Iterable[str]:
    """The names of the files behind a page's links; those that are yanked are left out (PEP 592)."""
    for link in re.finditer(r"<a\s([^>]*)>", text, re.IGNORECASE):
        address = re.search(r"""href\s*=\s*["']([^"']+)""", link[1], re.IGNORECASE)
        if address and "data-yanked" not in link[1]:
            yield unquote(unescape(address[1]).partition("#")[0].rpartition("/")[2])


def _version(filename: str) -> Version | None:
    try:
        if filename.endswith(".whl"):
            return parse_wheel_filename(filename)[1]
        return parse_sdist_filename(filename)[1]
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return None
