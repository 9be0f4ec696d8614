"""flink_driver.py DIR EVENTS: Flink in one JVM that stays, so that its code is compiled when it counts.

A local cluster of two slots: object reuse, no checkpoints. Reads lines of JSON from stdin, {"query", "source": "json" or
"generator", perhaps with ", mini-batch" behind it, "limit_s", "answer": folder or null}, runs each and answers with a line on
stdout. Without "answer" rows go to the connector blackhole; with it, changes are written as Debezium's JSON. The processor time is the JVM's, from the statement to the end of the job.
"""

import json
import os
import sys
import time

from pyflink.common import Configuration
from pyflink.java_gateway import get_gateway
from pyflink.table import EnvironmentSettings, TableEnvironment
from pyflink.table.types import _to_java_data_type
from pyflink.version import __version__ as version

import flink_queries

SETTINGS = {
    "parallelism.default": "2",
    "taskmanager.numberOfTaskSlots": "2",
    "pipeline.object-reuse": "true",
    "taskmanager.memory.managed.size": "1g",
    "taskmanager.memory.network.min": "128m",
    "taskmanager.memory.network.max": "128m",
    "table.local-time-zone": "UTC",
    # Where a query is run in mini-batches: as in the configuration of nexmark/nexmark.
    "table.exec.mini-batch.allow-latency": "2s",
    "table.exec.mini-batch.size": "50000",
}
class Flink:
    def __init__(self, folder, events):
        configuration = Configuration()
        for name, value in SETTINGS.items():
            configuration.set_string(name, value)
        settings = EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(configuration).build()
        self.tables = TableEnvironment.create(settings)
        for statement in (flink_queries.JSON % f"{folder}/json-split", *flink_queries.JSON_VIEWS):
            self.tables.execute_sql(statement)
        for statement in flink_queries.GENERATOR:
            self.tables.execute_sql(statement.replace("%d", str(events - 1)))
        self.java = get_gateway().jvm.java
        self.pid = self.java.lang.ProcessHandle.current().pid()

    def cpu_s(self):
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_bytes(self):
        with open(f"/proc/{self.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

    def sink(self, text, answer):
        """A table for the columns of a query."""
        schema = self.tables.sql_query(text).get_schema()
        plain = lambda t: _to_java_data_type(t).getLogicalType().asSummaryString()  # noqa: E731
        types = (plain(t).replace(" NOT NULL", "").replace(" *ROWTIME*", "") for t in schema.get_field_data_types())
        # Columns are compared by position; names of their own keep them apart.
        columns = ", ".join(f"c{i} {t}" for i, t in enumerate(types))
        options = f"'connector' = 'filesystem', 'path' = '{answer}', 'format' = 'debezium-json'" if answer else "'connector' = 'blackhole'"
        self.tables.execute_sql("DROP TEMPORARY TABLE IF EXISTS taken")
        self.tables.execute_sql(f"CREATE TEMPORARY TABLE taken ({columns}) WITH ({options})")

    def run(self, query, source, limit_s, answer):
        source, _, mini_batch = source.partition(", ")
        text = flink_queries.QUERIES[query].format(source=source, **{kind: f"{kind}_{source}" for kind in ("bid", "auction", "person")})
        self.tables.get_config().set("table.exec.mini-batch.enabled", "true" if mini_batch else "false")
        self.sink(text, answer)
        with open(f"/proc/{self.pid}/clear_refs", "w") as refs:
            refs.write("5")  # The peak begins anew.
        before, started = self.cpu_s(), time.monotonic()
        client = self.tables.execute_sql(f"INSERT INTO taken {text}").get_job_client()
        future = client._j_job_client.getJobExecutionResult()
        try:
            wall_s = future.get(int(limit_s), self.java.util.concurrent.TimeUnit.SECONDS).getNetRuntime() / 1e3
        except Exception as error:  # Java's, by way of a bridge: there is no narrower type.
            client._j_job_client.cancel().get()
            why = f"stopped after {limit_s} s" if "TimeoutException" in str(error) else str(error)[:500]
            return {"error": why}
        took = {"version": version, "wall_s": wall_s, "cpu_s": self.cpu_s() - before}
        return took | {"job_s": time.monotonic() - started, "peak_memory_bytes": self.peak_bytes()}


def main():
    # PyFlink talks on stdout now and then; answers have a descriptor of their own.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    flink = Flink(sys.argv[1], int(sys.argv[2]))
    answers.write(json.dumps({"ready": version}) + "\n")
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = flink.run(request["query"], request["source"], request["limit_s"], request["answer"])
        except Exception as error:
            answer = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:500]}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
