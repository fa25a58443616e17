"""A conda channel in a folder, for people and tests that cannot reach one on the internet.

The folder is used as `file:///…/NAME`. Its packages are real: this interpreter, wheels, or a few files that a test
thought of. Usually: `write_package` for each, then `index` once.
"""

from conda_concept.localchannel.indexing import index
from conda_concept.localchannel.package import PLACEHOLDER, Entry, File, PackageSpec, Symlink, write_package

__all__ = ["PLACEHOLDER", "Entry", "File", "PackageSpec", "Symlink", "index", "write_package"]
