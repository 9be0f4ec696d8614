"""answers.py: reads {"types", "only", "truth", "got"} from stdin and prints how many rows one of the two answers has and the other has not.

Runs under a Python with DuckDB. Rows are compared as multisets, each column cast to the type that the truth has;
"only" the columns of these numbers, from 0, if it is given.
"""

import json
import sys

import duckdb


def compare(types, only, truth, got):
    con = duckdb.connect()
    for name, relation in (("truth", truth), ("got", got)):
        columns = [row[0] for row in con.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()]
        if len(columns) != len(types):
            return {"error": f"{len(columns)} columns instead of {len(types)}"}
        casts = ", ".join(f"CAST(c{i} AS {t}) AS c{i}" for i, t in enumerate(types) if only is None or i in only)
        names = ", ".join(f"c{i}" for i in range(len(types)))
        con.execute(f"CREATE TABLE {name} AS SELECT {casts} FROM {relation} AS r({names})")
    count = lambda text: con.execute(f"SELECT count(*) FROM ({text})").fetchone()[0]  # noqa: E731
    return {
        "rows": count("FROM truth"),
        "missing": count("FROM truth EXCEPT ALL FROM got"),
        "surplus": count("FROM got EXCEPT ALL FROM truth"),
    }


if __name__ == "__main__":
    print(json.dumps(compare(**json.load(sys.stdin))))
