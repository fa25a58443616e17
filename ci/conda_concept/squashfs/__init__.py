"""Several squashfs images made into one without compressing anything again: their blocks as they are, new tables.

mksquashfs writes every block of data; what is written here is only what says where they are: inodes, directories,
fragments. The result is a function of the images and of where their files go, so the same images give the same bytes.
"""

from conda_concept.squashfs.format import Codec, File, Image, Link, Superblock, codec
from conda_concept.squashfs.joining import Joined, Part, join
from conda_concept.squashfs.reading import read

__all__ = ["Codec", "File", "Image", "Joined", "Link", "Part", "Superblock", "codec", "join", "read"]
