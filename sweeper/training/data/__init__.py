"""Data sets as plain numpy, read from CIFAR-10's archive, Parquet files or image folders, or generated; and their validation split."""

from .dataset import Dataset
from .load import load_dataset
from .split import split

__all__ = ["Dataset", "load_dataset", "split"]
