"""A sweep's folder on a disk or object storage: its paths, logs, Parquet tables, checkpoints and provenance.

In: whatever knows a file's name or format. Out of here: what the figures mean, and how trials are trained.
"""

from sweeper.store.checkpoints import Checkpoint, PackCheckpoint
from sweeper.store.folder import Folder, file_name
from sweeper.store.sweep_folder import KeptWeights, SweepFolder, find_sweeps, stored_precision
from sweeper.store.tables import Skipped, StoredTable

__all__ = [
    "Checkpoint",
    "Folder",
    "KeptWeights",
    "PackCheckpoint",
    "Skipped",
    "StoredTable",
    "SweepFolder",
    "file_name",
    "find_sweeps",
    "stored_precision",
]
