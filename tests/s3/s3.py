#!/usr/bin/env python3
"""Kills jobs that keep their state in an object store, and checks that their output is as if nothing had happened.

    pip install 'moto[s3]>=5.2.5' flask flask-cors
    npm install azurite          # for the part `azure`, which is skipped without
    tests/s3/s3.py --binary target/release/rheos [--kills 6] [--rows 100000] [--seed N] [--azurite node_modules/.bin/azurite-blob]

Starts moto's server, which speaks the S3 protocol, on a free loopback port, and proves first that it refuses a second
`If-None-Match: *` with 412 (else there is nothing to test, and the last line says `skipped`). Then, each with an answer that is
computed from the input alone:

  kills       a job is killed and started again, with another number of workers, on s3:// through a proxy that loses answers
  outage      the store is away for a while: checkpoints fail, the job goes on and heals
  copies      the state is copied to a second prefix; objects and journal entries of the first are damaged and removed
  keys        the state is encrypted; nothing in the bucket shows the rows; another key and no key are refused, a new one is taken
  lease       a second run is refused; the first makes a savepoint when asked; a dead run's lease runs out
  zombie      a run that is paused is replaced; when it wakes up it ends, and has done no harm
  condition   a server that ignores conditions is refused
  azure       as `kills`, on az://, against Azurite

The jobs follow a folder, and a part goes on to put files into it until it has done to the job what it wants to do: none ends
before that, however fast the machine is. Then comes the last file, and when all windows are visible the job is told to end (`--drain`).
"""

import argparse
import base64
import collections
import csv
import datetime
import email.utils
import fcntl
import hashlib
import hmac
import http.client
import http.server
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

BUCKET = "rheos"
START_MS = 1_704_067_200_000
WINDOW_MS = 10_000
# Of a file that is added while a part waits, and the least time between two of them.
GROWTH_ROWS = 1000
GROWTH_S = 0.05
LIMIT_S = 180

PROGRAM = """CREATE TABLE t (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '{input}', 'format' = 'csv', 'csv.multiline' = 'false',
      'source.monitor-interval' = '20 ms', 'file-order' = 'name');
CREATE TABLE o (s TIMESTAMP(3), k STRING, n BIGINT, total BIGINT)
WITH ('connector' = 'filesystem', 'path' = '{output}', 'format' = 'csv', 'sink.commit-interval' = '150 ms');
INSERT INTO o SELECT window_start, k, count(*), sum(v)
FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, k;
"""
# Never ends: what it writes does not matter.
ENDLESS = """CREATE TABLE t (id BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen', 'rows-per-second' = '1000/s');
CREATE TABLE o (s TIMESTAMP(3), n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO o SELECT window_start, count(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY window_start, window_end;
"""


class Failure(Exception):
    pass


class Server:
    """moto in a process of its own, whose only way out is its end by number."""

    CODE = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""

    def __init__(self, log):
        command = [sys.executable, "-c", self.CODE]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        self.port = int(self.process.stdout.readline() or 0)

    def request(self, method, path, body=b"", headers=None):
        """Status and body. The server does not look at the signature, but wants one."""
        credential = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body=body, headers={"Authorization": credential, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def names(self, prefix):
        _, body = self.request("GET", f"/{BUCKET}?list-type=2&max-keys=10000&prefix={urllib.parse.quote(prefix)}")
        return re.findall(r"<Key>([^<]*)</Key>", body.decode())

    def get(self, name):
        return self.request("GET", f"/{BUCKET}/{name}")[1]

    def put(self, name, body):
        return self.request("PUT", f"/{BUCKET}/{name}", body)[0]

    def delete(self, name):
        return self.request("DELETE", f"/{BUCKET}/{name}")[0]

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Azurite:
    """Azure's protocol, from a server in memory; None if there is none."""

    ACCOUNT = "devstoreaccount1"
    # Of every Azurite, as its documentation tells.
    KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

    def __init__(self, command, log):
        options = ["--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck"]
        self.process = subprocess.Popen([command, *options, "--disableTelemetry"], stdout=subprocess.PIPE, stderr=log, text=True)
        said = iter(self.process.stdout.readline, "")
        ports = (re.search(r"successfully listens on http://127.0.0.1:(\d+)", line) for line in said)
        self.port = next((int(port[1]) for port in ports if port), 0)
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def put(self, path, query="", body=b"", headers=None):
        """The status of a request that is signed as Azure's `SharedKey` wants it."""
        date = email.utils.formatdate(usegmt=True)
        headers = {"x-ms-date": date, "x-ms-version": "2021-12-02", **(headers or {})}
        own = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers) if name.startswith("x-ms-"))
        resource = f"/{self.ACCOUNT}/{self.ACCOUNT}{path}" + (f"\n{query.replace('=', ':')}" if query else "")
        length, condition = str(len(body)) if body else "", headers.get("If-None-Match", "")
        text = "\n".join(["PUT", "", "", length, "", "", "", "", "", condition, "", "", own + resource])
        signature = hmac.new(base64.b64decode(self.KEY), text.encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {self.ACCOUNT}:{base64.b64encode(signature).decode()}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("PUT", f"/{self.ACCOUNT}{path}" + (f"?{query}" if query else ""), body=body, headers=headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def end(self):
        self.process.terminate()
        self.process.wait()


class Proxy:
    """Between a job and the server. `fault(method, path, headers)` gives None, "lost" (done, and no answer comes), "refused"
    (503, and nothing is done) or "unconditional" (the condition is taken out). The job sees the server's clock go `slow_days`
    behind its own."""

    def __init__(self, server, fault=lambda *_: None, slow_days=0):
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                fault = proxy.fault(self.command, self.path, self.headers)
                if fault:
                    proxy.faults[fault] += 1
                if fault == "refused":
                    self.answer(503, {}, b"")
                    return
                headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
                if fault == "unconditional":
                    headers = {k: v for k, v in headers.items() if k.lower() != "if-none-match"}
                connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
                try:
                    connection.request(self.command, self.path, body=body, headers=headers)
                    answer = connection.getresponse()
                    content = answer.read()
                finally:
                    connection.close()
                if fault == "lost":
                    self.close_connection = True
                    return
                headers = dict(answer.getheaders())
                if slow_days:
                    headers = {name: slow(value) if name.lower() == "last-modified" else value for name, value in headers.items()}
                    content = re.sub(rb"(?<=<LastModified>)[^<]+", lambda found: slow(found[0].decode()).encode(), content)
                self.answer(answer.status, headers, content)

            def answer(self, status, headers, content):
                self.send_response_only(status)
                for name, value in headers.items():
                    if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                        self.send_header(name, value)
                told = {name.lower(): value for name, value in headers.items()}.get("content-length", "0")
                length = told if self.command == "HEAD" else str(len(content))
                self.send_header("Content-Length", length)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = forward

            def log_message(self, *_):
                pass

        def slow(time_text):
            # In lists, and in headers.
            for form in ("%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%dT%H:%M:%SZ", "%a, %d %b %Y %H:%M:%S GMT"):
                try:
                    moment = datetime.datetime.strptime(time_text, form)
                except ValueError:
                    continue
                return (moment - datetime.timedelta(days=slow_days)).strftime(form)
            raise Failure(f"the server tells a time as '{time_text}'")

        self.fault, self.faults = fault, collections.Counter()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def end(self):
        self.server.shutdown()
        self.server.server_close()


class Job:
    """A program over an input that grows, with the answer."""

    def __init__(self, args, work, rng):
        self.args, self.work, self.rng = args, work, rng
        self.rows = self.files = 0
        self.sums = collections.defaultdict(lambda: [0, 0])
        self.grown = time.monotonic()
        (work / "in").mkdir(parents=True)
        for _ in range(3):
            self.grow(args.rows // 3)
        (work / "job.sql").write_text(PROGRAM.format(input=work / "in", output=work / "out"))
        self.log = work / "log"

    def grow(self, rows):
        """Another file, of rows that are up to 2 s out of order."""
        rng = self.rng
        times = (START_MS + i * 2 + rng.randint(-2000, 2000) for i in range(self.rows, self.rows + rows))
        self.add((f"key-{rng.randint(0, 60)}", rng.randint(0, 999), ms) for ms in times)

    def add(self, rows):
        # Whole, or not there: hidden names are not read.
        hidden, name = (self.work / "in" / f"{dot}part-{self.files:06}.csv" for dot in (".", ""))
        with open(hidden, "w", newline="") as file:
            file.write("id,k,v,ts\n")
            for k, v, ms in rows:
                file.write(f"{self.rows},{k},{v},{stamp(ms)}\n")
                entry = self.sums[ms - ms % WINDOW_MS, k]
                entry[0] += 1
                entry[1] += v
                self.rows += 1
        hidden.rename(name)
        self.files += 1

    def start(self, *options, port, program="job.sql", log="log"):
        drain = ["--drain"] if program == "job.sql" else []
        command = [self.args.binary, "run", self.work / program, *drain, "--set", "checkpoint.interval=60 ms", *options]
        self.log = self.work / log
        with open(self.log, "w") as out:
            return subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment(port))

    def run(self, *options, port):
        """To an end that it comes to by itself. Gives the exit code and what was said."""
        process = self.start(*options, port=port)
        return self.ended(process), self.said()

    def ended(self, process):
        """The exit code, when it has one."""
        try:
            return process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Failure(f"it has not ended after {LIMIT_S} s: {self.said()}") from None

    def wait_for(self, is_so, process, grows=True):
        """Until something is so. The job is given more to do as long as it is not."""
        deadline = time.monotonic() + LIMIT_S
        while not is_so():
            if process.poll() is not None:
                raise Failure(f"it ended with {process.returncode} too early: {self.said()}")
            if time.monotonic() > deadline:
                process.kill()
                process.wait()
                raise Failure(f"it took too long: {self.said()}")
            if grows and time.monotonic() > self.grown + GROWTH_S:
                self.grow(GROWTH_ROWS)
                self.grown = time.monotonic()
            time.sleep(0.02)

    def finish(self, process):
        """Gives the rest of the input, lets the job read it and end, and checks what it has written."""
        # A row far behind all others closes their windows. Its own is written by the end of the job.
        before = self.expected()
        self.add([("last", 1, START_MS + self.rows * 2 + 100 * WINDOW_MS)])
        self.wait_for(lambda: not before - self.found(), process, grows=False)
        process.send_signal(signal.SIGINT)
        code = self.ended(process)
        expect(f"it ended with {code}", code == 0, self.said())
        self.check()

    def kill_after(self, process, seconds):
        """Whatever it does then. It never ends by itself."""
        end = time.monotonic() + seconds
        self.wait_for(lambda: time.monotonic() >= end, process)
        process.send_signal(signal.SIGKILL)
        expect("the kill hits it", process.wait() == -signal.SIGKILL, self.said())

    def said(self):
        return self.log.read_text()[-10_000:]

    def expected(self):
        return collections.Counter((stamp(s)[:19], k, str(n), str(total)) for (s, k), (n, total) in self.sums.items())

    def found(self):
        """What is visible now."""
        rows = []
        for file in sorted(f for f in (self.work / "out").glob("*.csv") if not f.name.startswith(".")):
            with open(file, newline="") as source:
                rows += list(csv.reader(source))[1:]
        return collections.Counter(tuple(row) for row in rows)

    def check(self):
        found, expected = self.found(), self.expected()
        if found != expected:
            lost, more = expected - found, found - expected
            raise Failure(f"{sum(lost.values())} lost, {sum(more.values())} twice or wrong; {list(lost)[:3]}, {list(more)[:3]}")


def stamp(ms):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03d}"


def environment(port):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AZUR", "RHEOS_"))}
    return kept | {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AZURE_STORAGE_USE_EMULATOR": "true",
        "AZURITE_BLOB_STORAGE_URL": f"http://127.0.0.1:{port}",
        "AZURE_ALLOW_HTTP": "true",
    }


def expect(what, is_so, said):
    if not is_so:
        raise Failure(f"{what}: {said}")


def run_with_kills(job, server, rng, kills, *options):
    """Kills and starts again, and then lets it come to its end."""
    for kill in range(kills + 1):
        workers = ["--parallelism", str(rng.choice((1, 2, 3)))]
        process = job.start(*options, *workers, port=server.port)
        if kill < kills:
            job.kill_after(process, 0.1 + rng.random() * 0.8)
        else:
            job.finish(process)


def azure(args, server, work, rng):
    command = args.azurite or shutil.which("azurite-blob")
    if not command:
        return "SKIPPED: Azurite is not there: npm install azurite, and name it by --azurite"
    with open(work.with_suffix(".log"), "w") as log:
        azurite = Azurite(command, log)
    try:
        if not azurite.port:
            return "SKIPPED: Azurite does not start"
        made = azurite.put(f"/{BUCKET}", "restype=container")
        blob = {"x-ms-blob-type": "BlockBlob", "If-None-Match": "*"}
        taken = [azurite.put(f"/{BUCKET}/taken", body=b"x", headers=blob) for _ in range(2)]
        if [made, *taken] != [201, 201, 409]:
            return f"SKIPPED: Azurite answers a second 'If-None-Match: *' with {taken[1]}, not 409"
        return kills(args, azurite, work, rng, "az")
    finally:
        azurite.end()


def kills(args, server, work, rng, scheme="s3"):
    job = Job(args, work, rng)
    place = f"{scheme}://{BUCKET}/kills"
    lose = random.Random(args.seed)

    def fault(method, path, _):
        chance = lose.random()
        if method in ("PUT", "DELETE", "POST") and "/lease" not in path:
            return "lost" if chance < 0.1 else "refused" if chance < 0.2 else None
        return "refused" if chance < 0.05 else None

    proxy = Proxy(server, fault)
    try:
        run_with_kills(job, proxy, rng, args.kills, "--state-dir", place)
    finally:
        proxy.end()
    code, said = job.run("--state-dir", place, port=server.port)
    expect("a job that has ended says so", code == 0 and "come to its end before" in said, said)
    command = [args.binary, "checkpoint", "verify", place]
    verified = subprocess.run(command, env=environment(server.port), capture_output=True, text=True, timeout=LIMIT_S)
    expect("all checkpoints are whole", verified.returncode == 0 and "whole" in verified.stdout, verified)
    return f"{args.kills} kills, {dict(proxy.faults)}"


def outage(args, server, work, rng):
    job = Job(args, work, rng)
    down = threading.Event()
    proxy = Proxy(server, lambda *_: "refused" if down.is_set() else None)
    place = f"s3://{BUCKET}/outage"
    try:
        process = job.start("--state-dir", place, port=proxy.port)
        job.wait_for(lambda: len(entries(server, "outage")) > 2, process)
        down.set()
        # It goes on without the store, and says so.
        job.wait_for(lambda: "is tried again" in job.said(), process)
        down.clear()
        # It heals: what it has read since becomes visible.
        job.finish(process)
    finally:
        proxy.end()
    return f"{proxy.faults['refused']} requests refused"


def copies(args, server, work, rng):
    job = Job(args, work, rng)
    place, copy = f"s3://{BUCKET}/first", f"s3://{BUCKET}/second"
    options = ["--state-dir", place, "--copy-dir", copy]
    process = job.start(*options, port=server.port)
    job.wait_for(lambda: len(objects(server, "first")) > 0 and len(entries(server, "first")) > 3, process)
    job.kill_after(process, 0)
    # Flip a bit in all objects, take the newest entry away, cut the one before.
    damaged = objects(server, "first")
    for name in damaged:
        flip(server, name)
    newest = entries(server, "first")[-2:]
    server.put(newest[0], server.get(newest[0])[:-9])
    server.delete(newest[1])
    process = job.start(*options, port=server.port)
    job.finish(process)
    expect("it tells what it took from the copy", "taken from the copy" in job.said(), job.said())
    kept = server.names("first/damaged/")
    expect("damaged files are kept", any("/journal/" in name for name in kept), kept)
    same = {n.partition("/")[2] for n in objects(server, "first")} == {n.partition("/")[2] for n in objects(server, "second")}
    expect("both hold the same objects", same, "")
    # The first is lost as a whole.
    for name in server.names("first/"):
        server.delete(name)
    code, said = job.run(*options, port=server.port)
    expect("the copy alone is enough", code == 0 and "come to its end before" in said, said)
    return f"{len(damaged)} objects and 2 entries damaged, {len(kept)} kept"


def keys(args, server, work, rng):
    job = Job(args, work, rng)
    key = lambda name: f"{name}:{base64.b64encode(rng.randbytes(32)).decode()}\n"
    first, second = key("first"), key("second")

    def ring(name, text):
        path = work / name
        path.write_text(text)
        path.chmod(0o600)
        return ["--encryption-key-file", path]

    place = ["--state-dir", f"s3://{BUCKET}/keys"]
    old = ring("old", first)
    process = job.start(*place, *old, port=server.port)
    job.wait_for(lambda: len(objects(server, "keys")) > 0 and len(entries(server, "keys")) > 3, process)
    job.kill_after(process, 0)
    for name in objects(server, "keys") + entries(server, "keys"):
        text = server.get(name)
        is_hidden = text.startswith(b'{"rheos":"encrypted"') and b"key-" not in text[256:] and b"window" not in text[256:]
        expect("nothing shows", is_hidden, name)
    for options, code, told in [
        ([], "R0651", "'first'"),
        (ring("other", second), "R0651", "'first'"),
        (ring("wrong", "first:" + second.partition(":")[2]), "R0652", "'first'"),
    ]:
        exit_code, said = job.run(*place, *options, port=server.port)
        expect(f"refused with {code}", exit_code == 65 and code in said and told in said, said)
    new = ring("new", second + first)
    run_with_kills(job, server, rng, 2, *place, *new)
    used = {json.loads(server.get(name)[:256])["key"] for name in entries(server, "keys")}
    expect("the new key encrypts, the old one still decrypts", used == {"first", "second"}, used)
    listed = [args.binary, "checkpoint", "list", f"s3://{BUCKET}/keys"]
    env = environment(server.port)
    shown = subprocess.run([*listed, *new], env=env, capture_output=True, text=True, timeout=LIMIT_S)
    expect("listed with the keys", shown.returncode == 0 and "newest" in shown.stdout, shown)
    by_variable = env | {"RHEOS_ENCRYPTION_KEY_FILE": str(new[1])}
    shown = subprocess.run(listed, env=by_variable, capture_output=True, text=True, timeout=LIMIT_S)
    expect("listed with the keys of the environment", shown.returncode == 0 and "newest" in shown.stdout, shown)
    shown = subprocess.run(listed, env=env, capture_output=True, text=True, timeout=LIMIT_S)
    expect("not listed without", shown.returncode == 65 and "R0651" in shown.stderr, shown)
    return "3 kills, and other keys refused"


def lease(args, server, work, rng):
    job = Job(args, work, rng)
    (work / "endless.sql").write_text(ENDLESS)
    place = ["--state-dir", f"s3://{BUCKET}/lease"]
    # What is asked of it is new, whatever the machine's clock says.
    proxy = Proxy(server, slow_days=2)
    first = job.start(*place, port=proxy.port, program="endless.sql")
    job.wait_for(lambda: len(entries(server, "lease")) > 1, first, grows=False)
    try:
        code = job.ended(job.start(*place, port=server.port, program="endless.sql", log="second"))
        expect(f"refused with 75, not {code}", code == 75 and "R0623" in job.said(), job.said())
        for verb, told in [(["create", place[1], "before"], ""), (["list", place[1]], "before")]:
            command = [args.binary, "savepoint", *verb]
            done = subprocess.run(command, env=environment(server.port), capture_output=True, text=True, timeout=LIMIT_S)
            expect(f"savepoint {verb[0]}", done.returncode == 0 and told in done.stdout, done)
        expect("what was asked is gone", server.names("lease/requests/") + server.names("lease/answers/") == [], "")
        first.send_signal(signal.SIGINT)
        expect("a stopped run ends well", job.ended(first) == 0, "")
        expect("and takes its lease along", server.names("lease/lease") == [], "")
    finally:
        proxy.end()
        if first.poll() is None:
            first.kill()
            first.wait()
    # A run on another machine that died: nobody renews.
    server.put("lease/lease", b'{"holder":"process 1 on host \'gone\'","nonce":"%032x","beat":3,"process":null}' % 11)
    newest = entries(server, "lease")[-1]
    third = job.start(*place, port=server.port, program="endless.sql")
    job.wait_for(lambda: entries(server, "lease")[-1] > newest, third, grows=False)
    expect("who waits is told", "host 'gone'" in job.said(), job.said())
    third.send_signal(signal.SIGTERM)
    expect("it ends well", job.ended(third) == 0, job.said())
    return "refused, asked for a savepoint, and run out"


def zombie(args, server, work, rng):
    job = Job(args, work, rng)
    place = ["--state-dir", f"s3://{BUCKET}/zombie"]
    first = job.start(*place, port=server.port, log="first")
    try:
        job.wait_for(lambda: len(objects(server, "zombie")) > 0 and len(entries(server, "zombie")) > 2, first)
        # Not while it moves output, for which it holds a lock on the folder: the second would be refused.
        pause(first)
        while holds_lock(work / "out"):
            first.send_signal(signal.SIGCONT)
            time.sleep(0.03)
            pause(first)
        job.finish(job.start(*place, port=server.port))
        expect("the second waits", "has left its lease" in job.said(), job.said())
        first.send_signal(signal.SIGCONT)
        code, said = job.ended(first), (work / "first").read_text()
        expect(f"the first notices, and ends with 5, not {code}", code == 5 and "R0605" in said, said)
    finally:
        if first.poll() is None:
            first.kill()
            first.wait()
    job.check()
    return "replaced, without harm"


def condition(args, server, work, rng):
    job = Job(args, work, rng)
    proxy = Proxy(server, lambda method, *_: "unconditional" if method == "PUT" else None)
    try:
        code, said = job.run("--state-dir", f"s3://{BUCKET}/condition", port=proxy.port)
    finally:
        proxy.end()
    expect("refused", code == 65 and "R0640" in said, said)
    expect("nothing is left there", server.names("condition/") == [], "")
    for place, what, exit_code in [
        ("s3://no-such-bucket/p", "R0624", 66),
        ("http://x/y", "R0641", 65),
        (f"s3://{BUCKET}/a b", "R0641", 65),
    ]:
        code, said = job.run("--state-dir", place, port=server.port)
        expect(f"{place} is refused with {what}", what in said and code == exit_code, (code, said))
    # A folder, and a server that does not answer.
    code, said = job.run("--state-dir", f"s3://{BUCKET}/p", port=1)
    expect("a server that is not there", code == 1 and "R0622" in said and "refused" in said, (code, said))
    return "refused"


def objects(server, prefix):
    return server.names(f"{prefix}/objects/")


def entries(server, prefix):
    return [name for name in server.names(f"{prefix}/journal/") if name.endswith(".json")]


def pause(process):
    """Returns when all its threads stand still."""
    process.send_signal(signal.SIGSTOP)
    threads = pathlib.Path(f"/proc/{process.pid}/task")

    def stands(thread):
        try:
            return (thread / "stat").read_text().rpartition(")")[2].split()[0] == "T"
        except OSError:
            # It has ended.
            return True

    while not all(stands(thread) for thread in threads.iterdir()):
        time.sleep(0.001)


def holds_lock(folder):
    """Whether somebody has a lock on a folder."""
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(held)
    return False


def flip(server, name):
    body = bytearray(server.get(name))
    body[len(body) // 3] ^= 4
    server.put(name, bytes(body))


PARTS = {
    "condition": condition,
    "lease": lease,
    "zombie": zombie,
    "kills": kills,
    "azure": azure,
    "outage": outage,
    "copies": copies,
    "keys": keys,
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, required=True, help="that of Rheos")
    parser.add_argument("--kills", type=int, default=6, metavar="N", help="of the part `kills`; 6 unless given")
    parser.add_argument("--rows", type=int, default=100_000, metavar="N", help="of each input; 100,000 unless given")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--azurite", type=pathlib.Path, metavar="PATH", help="Azurite's azurite-blob; what is on the PATH unless given")
    parser.add_argument("--parts", default=",".join(PARTS), metavar="NAMES", help="such as kills,keys; all unless given")
    args = parser.parse_args()
    args.binary = args.binary.absolute()
    args.parts = args.parts.split(",")
    return args


def main():
    args = arguments()
    with tempfile.TemporaryDirectory(prefix="rheos-s3-") as made, open(pathlib.Path(made) / "server.log", "w") as log:
        server = Server(log)
        try:
            if not server.port:
                print("skipped: moto's server does not start; pip install 'moto[s3]>=5.2.5' flask flask-cors")
                return 0
            server.request("PUT", f"/{BUCKET}")
            taken = [server.request("PUT", f"/{BUCKET}/taken", b"x", {"If-None-Match": "*"})[0] for _ in range(2)]
            server.delete("taken")
            if taken != [200, 412]:
                print(f"skipped: the server answers a second 'If-None-Match: *' with {taken[1]}, not 412")
                return 0
            for name in args.parts:
                work, began = pathlib.Path(made) / name, time.monotonic()
                try:
                    result = PARTS[name](args, server, work, random.Random(f"{name}-{args.seed}"))
                except Failure as failure:
                    print(f"FAILED: {name}, seed {args.seed}: {failure}", file=sys.stderr)
                    return 1
                right = "" if result.startswith("SKIPPED") else ": right"
                print(f"{name}: {result}{right} ({time.monotonic() - began:.1f} s)", flush=True)
        finally:
            server.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
