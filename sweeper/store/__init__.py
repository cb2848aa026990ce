"""A sweep's folder: its paths, its Parquet tables, its checkpoints."""

from sweeper.store.folder import Folder, file_name
from sweeper.store.sweep_folder import Checkpoint, SweepFolder, find_sweeps, stored_precision
from sweeper.store.tables import Skipped, StoredTable

__all__ = ["Checkpoint", "Folder", "Skipped", "StoredTable", "SweepFolder", "file_name", "find_sweeps", "stored_precision"]
