"""A sweep's folder on a disk or object storage: its paths, logs, Parquet tables, checkpoints and provenance.

In: whatever knows a file's name or format. Out of here: what the figures mean, and how trials are trained.
"""

from sweeper.store.current_rows import CurrentRows, current_epochs, current_rows, current_trials
from sweeper.store.folder import Folder, file_name
from sweeper.store.sweep_folder import Checkpoint, SweepFolder, find_sweeps, stored_precision
from sweeper.store.tables import Skipped, StoredTable

__all__ = [
    "Checkpoint",
    "CurrentRows",
    "Folder",
    "Skipped",
    "StoredTable",
    "SweepFolder",
    "current_epochs",
    "current_rows",
    "current_trials",
    "file_name",
    "find_sweeps",
    "stored_precision",
]
