"""A sweep's folder: its paths, its Parquet tables, its checkpoints."""

from sweeper.store.folder import Folder, file_name
from sweeper.store.so_far import RowsSoFar, rows_so_far
from sweeper.store.sweep_folder import Checkpoint, SweepFolder, find_sweeps, stored_precision
from sweeper.store.tables import Skipped, StoredTable

__all__ = [
    "Checkpoint",
    "Folder",
    "RowsSoFar",
    "Skipped",
    "StoredTable",
    "SweepFolder",
    "file_name",
    "find_sweeps",
    "rows_so_far",
    "stored_precision",
]
