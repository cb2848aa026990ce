"""The reference of the Parquet tables, from the records."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.records import EPOCH_COLUMNS, PREDICTION_COLUMNS, SCHEMA_VERSION, TRIAL_COLUMNS, Column

from .markdown import code, table

INTRODUCTION = """\
# Parquet tables

A sweep's folder holds three tables, each a folder of Parquet files that pandas, DuckDB and Polars read as they stand:

```python
import pandas as pd

trials = pd.read_parquet("results/focal-20260101-120000/trials")
```

Every file carries the schema's version, {version}, in its metadata. `trials` and `epochs` are one file each, made
from the log of all rows, `tune/rows.jsonl`, about every 20 seconds and at the end; a file is replaced as a whole,
so that it can be read at any time. `sweeper.open(...).trials` and every command add the rows that were logged since:
the file's metadata say how much of the log it holds (`sweeper_log_bytes`).

A sweep with `training.keep: weights` also has a folder `weights` with a file for each confirm trial that is complete,
`weights/<trial>.safetensors`. It holds the network's tensors, buffers included, under the names of its `state_dict`; as
metadata `sweep`, `trial` and `model`; and as JSON in the metadata `arguments` (with which the model is built), `image_size`
(height and width), `classes`, and the `mean` and `std` by which channels of pixels from 0 to 1 are normalised.
`sweep export` writes Python that uses it.

Files of earlier versions lack the columns of metrics that came later. Readers find null there, and `sweep report` computes those
of the test split from `predictions`.

Accuracies are fractions, times are seconds, negative log-likelihoods are nats. Losses of different arms are on different scales.

This page is made from `sweeper/records.py` by `python docs/generate.py`.
"""
TABLES: Sequence[tuple[str, Sequence[Column], str]] = (
    (
        "trials",
        TRIAL_COLUMNS,
        (
            "One row per trial that has ended. One column `param_<name>` per parameter follows; null where the trial has none of it.\n\n"
            "Figures on the test split, `test_*` and `temperature`, are those of the network after its last epoch, null unless the trial "
            "is complete. They are there for reports: Optuna is told figures on the validation split alone, and nothing is chosen by the "
            "test split. Earlier versions read it in the confirm phase only; there they are null for the trials of a search."
        ),
    ),
    ("epochs", EPOCH_COLUMNS, "One row per trial and epoch."),
    (
        "predictions",
        PREDICTION_COLUMNS,
        "Confirm phase only: one row per image and seed. `logit_0`, `logit_1`, … follow (float16, one per class).",
    ),
)


def page() -> str:
    """The whole page."""
    pieces = [INTRODUCTION.format(version=SCHEMA_VERSION)]
    for name, columns, doc in TABLES:
        rows = [(code(column.name), code(column.type), column.unit, column.doc) for column in columns]
        pieces.append(f"## {name}\n\n{doc}\n\n{table(('column', 'type', 'unit', 'meaning'), rows)}")
    return "\n".join(pieces)
