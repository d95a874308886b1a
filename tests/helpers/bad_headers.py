"""Submissions whose rows are right and whose header is not, as programs write them."""

import csv
import io

import pandas as pd


def bad_headers(submission: str) -> dict[str, bytes]:
    """The bytes of such files by name, made of a valid submission with pandas."""
    table = pd.read_csv(io.StringIO(submission), dtype=str, keep_default_na=False)
    indexed = pd.read_csv(io.StringIO(table.to_csv()), dtype=str, keep_default_na=False)

    def written(table: pd.DataFrame, **options: object) -> bytes:
        return table.to_csv(index=False, **options).encode()

    return {
        "pandas' index": table.to_csv().encode(),
        "Unnamed: 0": written(indexed),
        "one more column": written(table.assign(score="0.1")),
        "one more without a name": written(table.assign(**{"": ""})),
        "swapped columns": written(table[["landmarks", "id"]]),
        "a byte-order mark": b"\xef\xbb\xbf" + written(table),
        "other letters": written(table.rename(columns=str.upper)),
        "quoted names": written(table, quoting=csv.QUOTE_ALL),
        "spaces": written(table.rename(columns={"landmarks": " landmarks"})),
        "semicolons": written(table, sep=";"),
        "an empty line first": b"\n" + written(table),
        "no header": written(table, header=False),
    }
