-- The tables of the cases as DuckDB reads them, and the windows written out.

CREATE VIEW sensors AS SELECT * FROM read_csv('${DATA}/sensors.csv', header = true, allow_quoted_nulls = false,
    columns = {sensor: 'VARCHAR', ts: 'TIMESTAMP', temp: 'DOUBLE', humidity: 'INTEGER', ok: 'BOOLEAN', note: 'VARCHAR'});
CREATE VIEW trades AS SELECT * FROM read_json('${DATA}/trades.jsonl', format = 'newline_delimited',
    columns = {id: 'BIGINT', sym: 'VARCHAR', ts: 'TIMESTAMP', price: 'DECIMAL(12, 4)', qty: 'INTEGER', side: 'VARCHAR', account: 'VARCHAR'});
CREATE VIEW words AS SELECT * FROM read_csv('${DATA}/words.csv', header = true, allow_quoted_nulls = false,
    columns = {id: 'INTEGER', word: 'VARCHAR', tag: 'VARCHAR'});
CREATE VIEW gaps AS SELECT * FROM read_csv('${DATA}/gaps.csv', header = true, columns = {id: 'BIGINT', ts: 'TIMESTAMP', v: 'INTEGER'});
CREATE VIEW early AS SELECT * FROM read_csv('${DATA}/early.csv', header = true, columns = {id: 'BIGINT', ts: 'TIMESTAMP', v: 'INTEGER'});
CREATE VIEW vals AS SELECT * FROM '${DATA}/values.parquet';
CREATE VIEW ticks AS SELECT * FROM '${DATA}/ticks.parquet';
CREATE VIEW parts AS SELECT * FROM read_csv('${DATA}/parts/*.csv', header = true, columns = {ts: 'TIMESTAMP', color: 'VARCHAR', n: 'INTEGER'});
CREATE VIEW orders AS SELECT * FROM read_json('${DATA}/orders.jsonl', format = 'newline_delimited',
    columns = {id: 'BIGINT', customer: 'STRUCT(name VARCHAR, address STRUCT(city VARCHAR, zip BIGINT))', total: 'INTEGER'});

-- Floor division, also of negative numbers.
CREATE MACRO floor_div(a, b) AS (a - ((a % b) + b) % b) // b;

CREATE MACRO micros(seconds) AS CAST(CAST(seconds AS DOUBLE) * 1000000 AS BIGINT);

-- The starts of all windows [k * slide + offset, k * slide + offset + size) that hold ts; lengths in seconds.
CREATE MACRO hops(ts, slide_s, size_s, offset_s) AS list_transform(
    generate_series(
        floor_div(epoch_us(ts) - micros(offset_s + size_s), micros(slide_s)) + 1,
        floor_div(epoch_us(ts) - micros(offset_s), micros(slide_s))),
    lambda k: make_timestamp(k * micros(slide_s) + micros(offset_s)));

-- The start of the only window of so many seconds that holds ts.
CREATE MACRO tumble(ts, size_s, offset_s) AS hops(ts, size_s, size_s, offset_s)[1];

-- The sample of the flights example.
CREATE VIEW flights AS SELECT * FROM read_csv('${DATA}/../../../examples/flights/data/sample/flights_sorted.csv', header = true, nullstr = 'NA');
