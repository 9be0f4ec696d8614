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
CREATE VIEW visits AS SELECT * FROM read_csv('${DATA}/visits.csv', header = true,
    columns = {id: 'BIGINT', who: 'VARCHAR', ts: 'TIMESTAMP', page: 'VARCHAR', n: 'INTEGER'});
CREATE VIEW baskets AS SELECT * FROM read_json('${DATA}/baskets.jsonl', format = 'newline_delimited',
    columns = {id: 'BIGINT', ts: 'TIMESTAMP', items: 'STRUCT(sku VARCHAR, qty INTEGER, price DOUBLE)[]', tags: 'VARCHAR[]',
               notes: 'MAP(VARCHAR, VARCHAR)', counts: 'INTEGER[]'});
CREATE VIEW clicks AS SELECT * FROM read_csv('${DATA}/clicks.csv', header = true, allow_quoted_nulls = false,
    columns = {id: 'BIGINT', ms: 'BIGINT', first_name: 'VARCHAR', last_name: 'VARCHAR', url: 'VARCHAR', n: 'INTEGER'});
CREATE VIEW events AS SELECT *, CASE event_type WHEN 0 THEN person.dateTime WHEN 1 THEN auction.dateTime ELSE bid.dateTime END AS ts
FROM read_json('${DATA}/events.jsonl', format = 'newline_delimited',
    columns = {event_type: 'INTEGER', person: 'STRUCT(id BIGINT, name VARCHAR, dateTime TIMESTAMP)',
               auction: 'STRUCT(id BIGINT, seller BIGINT, dateTime TIMESTAMP, reserve INTEGER)',
               bid: 'STRUCT(auction BIGINT, bidder BIGINT, price BIGINT, dateTime TIMESTAMP)'});

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

-- The ends of the cumulating windows that hold ts: each step within a window of `size`; lengths in seconds.
CREATE MACRO cumulates(ts, step_s, size_s, offset_s) AS list_transform(
    generate_series(
        (epoch_us(ts) - epoch_us(tumble(ts, size_s, offset_s))) // micros(step_s) + 1,
        micros(size_s) // micros(step_s)),
    lambda k: tumble(ts, size_s, offset_s) + to_microseconds(k * micros(step_s)));

-- 1 if a row of this key begins a session: none is at most the gap (in seconds) before it. Summed up it numbers sessions.
CREATE MACRO opens_session(ts, key, gap_s) AS
    CAST(coalesce(epoch_us(ts) - epoch_us(lag(ts) OVER (PARTITION BY key ORDER BY ts)) > micros(gap_s), true) AS INTEGER);

-- The sample of the flights example.
CREATE VIEW flights AS SELECT * FROM read_csv('${DATA}/../../../examples/flights/data/sample/flights_sorted.csv', header = true, nullstr = 'NA');
