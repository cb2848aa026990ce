"""Data sets as plain numpy arrays, read from archives, Parquet files or folders, or generated; the validation split.

In: readers and checks of images and labels. Out of here: tensors, devices, how a batch is cut.
"""

from sweeper.data.dataset import Dataset
from sweeper.data.load import load_dataset
from sweeper.data.split import split

__all__ = ["Dataset", "load_dataset", "split"]
