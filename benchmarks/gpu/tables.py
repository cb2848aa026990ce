"""From recorded figures to lines and Markdown tables. Ratios are taken here, so that a table uses whatever was measured in its run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
Records = Sequence[Mapping[str, Any]]
"""``step``, ``table`` and ``row``, as in ``measurements.jsonl``."""
NONE = "–"


@dataclass(frozen=True, slots=True)
class Table:
    """A heading, and cells by column: text made of a row and of all records."""

    title: str
    columns: Mapping[str, Callable[[Row, Records], str]]


def rows_of(records: Records, table: str, **wanted: Any) -> list[Row]:
    """Rows of a table in which these figures have these values."""
    return [each["row"] for each in records if each["table"] == table and wanted.items() <= each["row"].items()]


def figure(name: str, unit: str = "{}", scale: float = 1.0) -> Callable[[Row, Records], str]:
    """A cell with a figure of the row."""
    return lambda row, _: unit.format(row[name] / scale if scale != 1.0 else row[name]) if row.get(name) is not None else NONE


def median_and_range(row: Row, _: Records = ()) -> str:
    """``0.50 (0.49 – 0.53)``, or why there is no figure."""
    if "median" not in row:
        return str(row.get("problem", NONE))
    median, low, high = (digits(row[name] / row.get("scale", 1.0)) for name in ("median", "low", "high"))
    return f"{median} ({low} – {high})"


def digits(value: float) -> str:
    """A number with three significant digits, thousands in full."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def per_member(row: Row, _: Records = ()) -> str:
    """Milliseconds of a trial-epoch."""
    return digits(1e3 * row["median"] / row["k"]) if "median" in row else NONE


def of_ceiling(row: Row, records: Records) -> str:
    """Share of the float32 matrix product that this run measured."""
    ceiling = rows_of(records, "ceilings", name="fp32")
    if "median" not in row or not ceiling:
        return NONE
    return f"{row['operations'] * row['k'] / row['median'] / ceiling[-1]['median']:.1%}"


def peer_seconds(records: Records, **which: Any) -> float | None:
    """Seconds of a trial-epoch of a peer, the fastest of those that were measured."""
    found = [row["median"] for row in rows_of(records, "peers", **which) if "median" in row]
    return min(found, default=None)


def times_faster(seconds_of: Callable[[Row], float | None], **peer: Any) -> Callable[[Row, Records], str]:
    """A cell with a peer's seconds of a trial-epoch, divided by ours; ``shared=True``: of the most side by side."""
    shared = peer.pop("shared", False)

    def cell(row: Row, records: Records) -> str:
        widths = {each["side_by_side"] for each in rows_of(records, "peers", **peer)}
        width = {"side_by_side": max(widths) if shared else min(widths)} if widths else {}
        theirs, ours = peer_seconds(records, **peer, **width), seconds_of(row)
        return f"{theirs / ours:,.1f}" if theirs and ours else NONE

    return cell


def epoch_seconds(row: Row) -> float | None:
    """Seconds of a trial-epoch in a pack."""
    return row["median"] / row["k"] if "median" in row else None


def sweep_seconds(row: Row) -> float | None:
    """Seconds of a trial-epoch of a sweep from end to end."""
    return row["seconds"] / row["trial_epochs"] if row.get("trial_epochs") else None


def rate(count: str, seconds: str, per: float) -> Callable[[Row, Records], str]:
    """A cell with a count in a time."""
    return lambda row, _: f"{per * row[count] / row[seconds]:,.0f}" if row.get(seconds) else NONE


def largest(*names: str) -> Callable[[Row, Records], str]:
    """A cell with the largest of some differences."""
    return lambda row, _: f"{max(row['differences'][name] for name in names):.1e}" if "differences" in row else NONE


def versus(how: str) -> Mapping[str, Callable[[Row, Records], str]]:
    """Columns that compare with the peers of the same run."""
    seconds = {"epochs": epoch_seconds, "sweeps": sweep_seconds}[how]
    return {
        "notebook's ÷ it": times_faster(seconds, name="notebook"),
        "stock_tune's ÷ it, one trial": times_faster(seconds, name="stock_tune"),
        "stock_tune's ÷ it, side by side": times_faster(seconds, name="stock_tune", shared=True),
    }


TABLES: Mapping[str, Table] = {
    "machine": Table("Machine", {"": figure("what"), "what": figure("value")}),
    "ceilings": Table(
        "Ceilings",
        {"": figure("what"), "median (range)": median_and_range, "unit": figure("unit"), "n": figure("n")},
    ),
    "epochs": Table(
        "Epochs: `epochs`",
        {
            "backend": figure("backend"),
            "K": figure("k", "{:,}"),
            "streams": lambda row, _: NONE if "own_streams" not in row else "own" if row["own_streams"] else "one",
            "s an epoch (range)": median_and_range,
            "n": figure("n"),
            "ms a trial-epoch": per_member,
            "of the fp32 ceiling": of_ceiling,
            "peak MiB": figure("peak_bytes", "{:,.0f}", 2**20),
            **versus("epochs"),
        },
    ),
    "agreement": Table(
        "Agreement with the CPU: `agreement` (largest differences; losses, NLL and Brier score relative, accuracy and ECE absolute)",
        {
            "loss": figure("loss"),
            "backend": lambda row, _: row["backend"] + (f": {row['problem']}" if "problem" in row else ""),
            "train_loss": largest("train_loss"),
            "val_loss": largest("val_loss"),
            "NLL, Brier": largest("val_nll", "val_brier"),
            "accuracy": largest("train_accuracy", "val_accuracy"),
            "ECE": largest("val_ece"),
            "packed = alone to the bit": figure("packed_is_alone"),
            "repeats to the bit": figure("repeats"),
            "images": figure("images", "{:,}"),
            "epochs": figure("epochs"),
        },
    ),
    "worker": Table(
        "Beside training: `checkpoints` (seconds of a worker's step without the engine's)",
        {
            "K": figure("k", "{:,}"),
            "s beside training (range)": median_and_range,
            "n": figure("n"),
            "ms a member": per_member,
            "of all steps' time": figure("share", "{:.1%}"),
            "images trained": figure("images", "{:,}"),
        },
    ),
    "peers": Table(
        "Peers: `notebook`, `stock_tune`",
        {
            "loop": figure("name"),
            "side by side": figure("side_by_side"),
            "DataLoader workers": figure("workers"),
            "s a trial-epoch (range)": median_and_range,
            "n": figure("n"),
            "s end to end": figure("end_to_end", "{:.1f}"),
        },
    ),
    "sweeps": Table(
        "Sweeps: `sweep`, `large_sweep`",
        {
            "sweep": lambda row, _: (
                row["name"]
                + (" (interrupted: no time was left)" if row.get("cut") else "")
                + (f": {row['problem']}" if "problem" in row else "")
            ),
            "trials": figure("trials", "{:,}"),
            "trial-epochs": figure("trial_epochs", "{:,}"),
            "s end to end": figure("seconds", "{:.1f}"),
            "first epoch after s": figure("first_epoch", "{:.1f}"),
            "trials an hour": rate("trials", "seconds", 3600),
            "trial-epochs a second, warm": rate("warm_trial_epochs", "warm_seconds", 1),
            "in epochs": lambda row, _: f"{row['in_epochs'] / row['seconds']:.0%}" if "in_epochs" in row else NONE,
            **versus("sweeps"),
            "trials by end": lambda row, _: ", ".join(f"{n} {name}" for name, n in row.get("states", {}).items()) or NONE,
        },
    ),
    "accuracy": Table(
        "Accuracy: `accuracy`",
        {
            "side": figure("side"),
            "seed": figure("seed"),
            "epochs": lambda row, _: str(len(row["accuracies"])),
            "accuracy": lambda row, _: f"{row['accuracies'][-1]:.4f}",
        },
    ),
    "steps": Table("Steps", {"step": figure("name"), "outcome": figure("outcome"), "s": figure("seconds", "{:.0f}")}),
}


def line(table: str, row: Row) -> str:
    """A row as one line for a person."""
    cells = {name: cell(row, ()) for name, cell in TABLES[table].columns.items()}
    return f"{table}: " + ", ".join(f"{name} {cell}".strip() for name, cell in cells.items() if cell != NONE)


def markdown(records: Records, heading: str, prefix: str = "") -> str:
    """All tables that have rows; ``prefix`` begins the title of each."""
    text = [heading]
    for name, table in TABLES.items():
        if rows := rows_of(records, name):
            text += ["", f"## {prefix}{table.title}", "", accuracies(rows) if name == "accuracy" else grid(table, rows, records)]
    return "\n".join(text) + "\n"


def grid(table: Table, rows: Sequence[Row], records: Records) -> str:
    """The Markdown table of these rows, without the columns that are empty in all."""
    cells = {name: [cell(row, records).replace("|", "\\|") for row in rows] for name, cell in table.columns.items()}
    cells = {name: column for name, column in cells.items() if set(column) != {NONE}}
    lines = ["| " + " | ".join(cells) + " |", "|---" + "|---:" * (len(cells) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(each) + " |" for each in zip(*cells.values(), strict=True)])


def accuracies(rows: Sequence[Row]) -> str:
    """Each side against the CPU, after the last epoch that all seeds of both reached."""
    from benchmarks.accuracy import table  # scipy, which no other table needs

    texts = []
    for side in dict.fromkeys(row["side"] for row in rows if row["side"] != "CPU"):
        both = [row for row in rows if row["side"] in {side, "CPU"}]
        n_epochs = min(len(row["accuracies"]) for row in both)
        runs = [{"side": row["side"], "seed": row["seed"], "accuracy": row["accuracies"][n_epochs - 1]} for row in both]
        texts.append(
            f"{side}: after {n_epochs} of the notebook's 30 epochs of {both[0]['images']:,} images, the most that all seeds of both sides "
            "reached in the time.\n\n" + table(runs, (side, "CPU"))
        )
    return "\n\n".join(texts)
