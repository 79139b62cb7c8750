"""Splits a list with Polars: one directory for each operator and for paper, and feedback.csv.

split_polars.py LIST ANSWERS.parquet WORDS.csv OUTPUT

All of it is one streaming query. A row is read and written as one column, of which the first twelve letters are the
id: half the time of reading and writing its cells.
"""

import sys

import polars as pl

rows, answers, words, output = sys.argv[1:]
with open(rows, encoding="utf-8") as lines:
    header = lines.readline().rstrip("\n")
words = pl.scan_csv(words, infer_schema=False).with_columns(pl.col("code").cast(pl.UInt8))
split = (
    pl.scan_csv(
        rows, separator="\x01", quote_char=None, infer_schema=False, row_index_name="row", row_index_offset=1
    )
    .with_columns(recipient_id=pl.col(header).str.head(12))
    .with_columns(id=pl.col("recipient_id").cast(pl.Int64))
    .join(pl.scan_parquet(answers), on="id", how="left")
    .with_columns(pl.col("code").fill_null(0))
    .join(words, on="code", how="left")
)
files = split.select(header, "file").sink_csv(
    pl.PartitionBy(output, key="file", include_key=False, approximate_bytes_per_file=None),
    separator="\x01",
    quote_style="never",
    lazy=True,
)
feedback = split.select("row", "recipient_id", "outcome", "reason", "operator_id").sink_csv(
    f"{output}/feedback.csv", quote_style="never", lazy=True
)
pl.collect_all([files, feedback])
