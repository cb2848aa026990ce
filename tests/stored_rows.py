"""Rows in a sweep's folder, as its driver leaves them: in the log, and in the Parquet files that are made from it."""

from sweeper.store.row_log import header_line, row_line


def store_rows(folder, *, epochs=(), trials=(), parameter_types=None, in_parquet=1.0):
    """``in_parquet``: the share of the log's lines that the Parquet files hold; none are written for 0."""
    lines = [*(row_line("epoch", row) for row in epochs), *(row_line("trial", row) for row in trials)]
    if not folder.row_log.exists():
        lines.insert(0, header_line())
    written = folder.row_log.stat().st_size if folder.row_log.exists() else 0
    with folder.row_log.open("ab") as file:
        file.writelines(lines)
    if in_parquet:
        folder.write_tables(parameter_types or {}, written + sum(map(len, lines[: int(in_parquet * len(lines))])))
