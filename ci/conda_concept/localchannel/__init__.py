"""A conda channel in a folder, for people and tests that cannot reach one on the internet.

The folder is used as `file:///…/NAME`. Its packages are real: this interpreter, wheels, or a few files that a test
thought of. Usually: `make_channel`; or `write_package` for each package, then `index` once.
"""

from conda_concept.localchannel.channel import (
    DEMO_EARLIER,
    DEMO_REQUIREMENTS,
    ChannelFacts,
    earlier_channel,
    make_channel,
)
from conda_concept.localchannel.indexing import index
from conda_concept.localchannel.interpreter import write_interpreter
from conda_concept.localchannel.package import PLACEHOLDER, Entry, File, PackageSpec, Symlink, write_package
from conda_concept.localchannel.wheel import wheel_package

__all__ = [
    "DEMO_EARLIER",
    "DEMO_REQUIREMENTS",
    "PLACEHOLDER",
    "ChannelFacts",
    "Entry",
    "File",
    "PackageSpec",
    "Symlink",
    "earlier_channel",
    "index",
    "make_channel",
    "wheel_package",
    "write_interpreter",
    "write_package",
]
