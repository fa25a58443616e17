"""Conda packages made of what is installed beside the running tests: real ones, without a network."""

from importlib.metadata import distribution
from pathlib import Path, PurePosixPath

from conda_concept.localchannel import File, PackageSpec


def package_of(name: str) -> PackageSpec:
    """The pure Python distribution `name` as a noarch package without dependencies; its commands as entry points."""
    found = distribution(name)
    files: dict[str, File] = {}
    for path in found.files or ():
        pure = PurePosixPath(path)
        if ".." not in pure.parts and "__pycache__" not in pure.parts and not pure.name.endswith(".pyc"):
            files[f"site-packages/{pure}"] = File(Path(str(found.locate_file(path))).read_bytes())
    commands = [f"{one.name} = {one.value}" for one in found.entry_points if one.group == "console_scripts"]
    return PackageSpec(name, found.version, python=True, files=files, entry_points=commands)
