"""A sweep's folder: its paths, its Parquet tables, its checkpoints."""

from sweeper.store.folder import Folder, file_name
from sweeper.store.so_far import RowsSoFar, epochs_so_far, rows_so_far, trials_so_far
from sweeper.store.sweep_folder import Checkpoint, SweepFolder, find_sweeps, stored_precision
from sweeper.store.tables import Skipped, StoredTable

__all__ = [
    "Checkpoint",
    "Folder",
    "RowsSoFar",
    "Skipped",
    "StoredTable",
    "SweepFolder",
    "epochs_so_far",
    "file_name",
    "find_sweeps",
    "rows_so_far",
    "stored_precision",
    "trials_so_far",
]
