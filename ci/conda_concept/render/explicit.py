"""conda's own explicit list: every package by its address and hash, for `conda create --file`."""

from conda_concept.model import Lock


def explicit(lock: Lock, platform: str, label: str) -> str:
    """The list for one platform, packages in the lock's order, which is one that they can be installed in.

    conda takes `#sha256:…` behind an address, and nothing from pip: those packages stand below as comments, in the
    form that `pip install -r` takes.
    """
    packages = lock.on(platform)
    lines = [f"# {label}, {platform}: conda create --name NAME --file FILE", f"# platform: {platform}", "@EXPLICIT"]
    lines += [_line(one.url, one.sha256, one.md5) for one in packages if one.manager == "conda"]
    pip = [one for one in packages if one.manager == "pip"]
    if pip:
        lines.append("# With pip, after these:")
    for one in pip:
        proof = f" --hash=sha256:{one.sha256}" if one.sha256 else ""
        lines.append(f"# {one.name} @ {one.source or one.url.partition('#')[0]}{proof}")
    return "\n".join(lines) + "\n"


def _line(url: str, sha256: str | None, md5: str | None) -> str:
    bare = url.partition("#")[0]
    return f"{bare}#sha256:{sha256}" if sha256 else f"{bare}#{md5}" if md5 else bare
