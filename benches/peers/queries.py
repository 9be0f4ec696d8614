"""What the benchmark asks, and which of the answers are alike.

Rheos runs the programs of examples/nexmark. The words of the peers are in duckdb_queries.py, flink_queries.py and batch.py
(Polars). A query's columns are the same everywhere, in the same order.
"""

ALL = tuple(f"q{n}" for n in (*range(6), *range(7, 13), *range(14, 24)))

# Rows that change: GROUP BY, joins, ranks without windows.
CHANGING = ("q3", "q4", "q9", "q15", "q16", "q17", "q18", "q19", "q20", "q23")
# What comes out depends on when the program runs: there is no right answer, and nothing to ask of an engine for batches.
BY_THE_CLOCK = ("q12",)

# What Polars is asked.
POLARS = ("q0", "q1", "q2", "q5", "q8", "q11", "q14", "q21", "q22")

# What DuckDB, the truth, calls the types of a query's columns; every other answer is cast to them before it is compared.
BID = ["BIGINT", "BIGINT", "BIGINT", "TIMESTAMP", "VARCHAR"]
WHOLE_BID = ["BIGINT", "BIGINT", "BIGINT", "VARCHAR", "VARCHAR", "TIMESTAMP", "VARCHAR"]
AUCTION = ["VARCHAR", "VARCHAR", "BIGINT", "BIGINT", "TIMESTAMP", "TIMESTAMP", "BIGINT", "BIGINT", "VARCHAR"]
TYPES = {
    "q0": BID,
    "q1": ["BIGINT", "BIGINT", "DECIMAL(23,3)", "TIMESTAMP", "VARCHAR"],
    "q2": ["BIGINT", "BIGINT"],
    "q3": ["VARCHAR", "VARCHAR", "VARCHAR", "BIGINT"],
    "q4": ["BIGINT", "DOUBLE"],
    "q5": ["BIGINT", "BIGINT"],
    "q7": BID,
    "q8": ["BIGINT", "VARCHAR", "TIMESTAMP"],
    "q9": ["BIGINT", *AUCTION, *BID],
    "q10": [*BID, "VARCHAR", "VARCHAR"],
    "q11": ["BIGINT", "BIGINT", "TIMESTAMP", "TIMESTAMP"],
    "q12": ["BIGINT", "BIGINT", "TIMESTAMP", "TIMESTAMP"],
    "q14": ["BIGINT", "BIGINT", "DECIMAL(23,3)", "VARCHAR", "TIMESTAMP", "VARCHAR", "BIGINT"],
    "q15": ["VARCHAR", *["BIGINT"] * 12],
    "q16": ["VARCHAR", "VARCHAR", "VARCHAR", *["BIGINT"] * 12],
    "q17": ["BIGINT", "VARCHAR", *["BIGINT"] * 6, "DOUBLE", "BIGINT"],
    "q18": WHOLE_BID,
    "q19": [*WHOLE_BID, "BIGINT"],
    "q20": [*WHOLE_BID, *AUCTION],
    "q21": ["BIGINT", "BIGINT", "BIGINT", "VARCHAR", "VARCHAR"],
    "q22": ["BIGINT", "BIGINT", "BIGINT", "VARCHAR", "VARCHAR", "VARCHAR", "VARCHAR"],
    "q23": ["BIGINT", "BIGINT", "VARCHAR", "VARCHAR", "VARCHAR", "BIGINT", *["VARCHAR"] * 6, *AUCTION],
}

# Flink's texts leave open which of equal bids counts (a word more, and it would lose a plan that it has for them): only these
# columns of its answers, from 0, are the same whichever it takes.
WITHOUT_TIES = {"q9": (0, 12, 13), "q18": (0, 1, 5), "q19": (0, 2, 7)}
