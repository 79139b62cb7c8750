"""Splits a list with DuckDB: one directory for each operator and for paper, and feedback.csv.

split_duckdb.py LIST ANSWERS.parquet WORDS.csv OUTPUT

A row is read and written as one column, of which the first twelve letters are the id: half the time of reading and
writing its cells.
"""

import sys

import duckdb

rows, answers, words, output = sys.argv[1:]
with open(rows, encoding="utf-8") as lines:
    header = lines.readline().rstrip("\n")
connection = duckdb.connect()
connection.execute(f"CREATE TEMP TABLE words AS FROM read_csv('{words}', header = true, all_varchar = true)")
connection.execute(f"""
    CREATE TEMP TABLE split AS
    SELECT row, line, coalesce(code, 0)::UTINYINT AS code
    FROM (
        SELECT row_number() OVER () AS row, line
        FROM read_csv('{rows}', delim = '\x01', header = false, skip = 1, quote = '', escape = '',
                      auto_detect = false, columns = {{'line': 'VARCHAR'}})
    ) AS list
    LEFT JOIN '{answers}' AS answers ON answers.id = left(list.line, 12)::BIGINT
""")
connection.execute(f"""
    COPY (SELECT line AS "{header}", file FROM split JOIN words ON words.code::UTINYINT = split.code)
    TO '{output}' (FORMAT csv, DELIMITER '\x01', HEADER true, QUOTE '', ESCAPE '', PARTITION_BY (file),
                   OVERWRITE_OR_IGNORE)
""")
connection.execute(f"""
    COPY (SELECT row, left(line, 12) AS recipient_id, outcome, reason, operator_id
          FROM split JOIN words ON words.code::UTINYINT = split.code)
    TO '{output}/feedback.csv' (FORMAT csv, HEADER true)
""")
