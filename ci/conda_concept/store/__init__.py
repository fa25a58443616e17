"""The store: reads the live state of a site and changes it, so that no reader ever sees a half.

`Store` is what the rest of the project uses. The modules beside it hold one thing each: the door to the disk, leases,
permissions, staging, replacing, reading, checking, applying, use, and the doctor's findings.
"""

from conda_concept.store.core import AlreadyThere, Store
from conda_concept.store.door import Door, RealDoor
from conda_concept.store.lease import Identity
from conda_concept.store.staging import Copied, Staged

__all__ = ["AlreadyThere", "Copied", "Door", "Identity", "RealDoor", "Staged", "Store"]
