"""Wheels of a few files, made as the specification of the format says."""

import base64
import csv
import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    *,
    files: Mapping[str, str] | None = None,
    metadata: Sequence[str] = (),
    entry_points: str = "",
    tag: str = "py3-none-any",
    date: tuple[int, int, int, int, int, int] = (2024, 5, 6, 7, 8, 10),
) -> Path:
    """Write a wheel with `files` (path -> text; a package of its name by default) and return its path."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    members = dict(files or {f"{name.replace('-', '_')}/__init__.py": f"__version__ = '{version}'\n"})
    members[f"{info}/METADATA"] = "\n".join(
        ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *metadata, "", "Text.", ""]
    )
    pure = str(tag.endswith("none-any")).lower()
    members[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: {pure}\nTag: {tag}\n"
    if entry_points:
        members[f"{info}/entry_points.txt"] = entry_points
    rows = [(path, *_proof(text.encode())) for path, text in members.items()]
    record = io.StringIO()
    csv.writer(record, lineterminator="\n").writerows([*rows, (f"{info}/RECORD", "", "")])
    members[f"{info}/RECORD"] = record.getvalue()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in members.items():
            archive.writestr(zipfile.ZipInfo(member, date), text)
    return path


def _proof(data: bytes) -> tuple[str, str]:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"sha256={digest}", str(len(data))
