//! Jobs that are started again inside of one run: a folder that is followed goes away, and comes back or not.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Read};
use std::process::{Child, ChildStderr, ChildStdout, Command};

use crate::process::{Outcome, Sandbox, start};

/// A job that sums what comes into the folder `in`, by keys of 0 to 6, into `out`, and prints the ids that it has read.
struct Run {
    child: Child,
    rows: Lines<BufReader<ChildStdout>>,
    talk: Lines<BufReader<ChildStderr>>,
    heard: String,
}

impl Run {
    fn start(sandbox: &Sandbox, options: &str, args: &[&str]) -> Self {
        let sql = format!(
            "CREATE TABLE t (id BIGINT, at TIMESTAMP(3), WATERMARK FOR at AS at) WITH ('connector' = 'filesystem', \
             'path' = 'in', 'format' = 'csv', 'source.monitor-interval' = '10 ms', 'file-order' = 'name'{options});
             CREATE TABLE o (k BIGINT, n BIGINT, s BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', \
             'format' = 'csv', 'sink.commit-interval' = '0 s');
             CREATE TABLE seen (id BIGINT) WITH ('connector' = 'print');
             INSERT INTO seen SELECT id FROM t;
             INSERT INTO o SELECT id % 7, count(*), sum(id) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(at), \
             INTERVAL '1' DAY)) GROUP BY id % 7, window_start, window_end"
        );
        let set = ["run", "-c", &sql, "-p", "2", "--set", "checkpoint.interval=20 ms"];
        let mut child = start(sandbox.command(&[&set[..], args].concat()));
        let rows = BufReader::new(child.stdout.take().unwrap()).lines();
        let talk = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, rows, talk, heard: String::new() }
    }

    /// Waits until this id has been printed.
    fn wait_for_id(&mut self, id: u64) {
        let row = format!("{{\"id\":{id}}}");
        assert!(self.rows.by_ref().any(|line| line.unwrap() == row), "{id} is not printed");
    }

    /// Waits until the job says this.
    fn wait_for_talk(&mut self, text: &str) {
        for line in self.talk.by_ref() {
            let line = line.unwrap();
            self.heard.push_str(&line);
            self.heard.push('\n');
            if line.contains(text) {
                return;
            }
        }
        panic!("'{text}' is not said:\n{}", self.heard);
    }

    fn signal(&self, signal: &str) {
        let done = Command::new("kill").args([format!("-{signal}"), self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    fn end(mut self) -> Outcome {
        let stdout = self.rows.map(|line| line.unwrap() + "\n").collect();
        let mut stderr = self.heard;
        self.talk.for_each(|line| stderr = format!("{stderr}{}\n", line.unwrap()));
        Outcome { code: self.child.wait().unwrap().code().unwrap_or(-1), stdout, stderr }
    }
}

/// A file of the ids from `first` to before `end`, of the first day; renamed into the folder whole.
fn put(sandbox: &Sandbox, name: &str, first: u64, end: u64, day: u32) {
    let rows: String = (first..end).map(|id| format!("{id},2024-01-{day:02} 00:00:00\n")).collect();
    fs::create_dir_all(sandbox.path("in")).unwrap();
    fs::write(sandbox.path("new"), format!("id,at\n{rows}")).unwrap();
    fs::rename(sandbox.path("new"), sandbox.path("in").join(name)).unwrap();
}

fn written(sandbox: &Sandbox) -> Vec<Vec<u64>> {
    let mut rows = vec![];
    for file in fs::read_dir(sandbox.path("out")).unwrap() {
        let file = file.unwrap();
        if !file.file_name().to_string_lossy().starts_with('.') {
            let mut text = String::new();
            fs::File::open(file.path()).unwrap().read_to_string(&mut text).unwrap();
            rows.extend(text.lines().skip(1).map(|line| line.split(',').map(|v| v.parse().unwrap()).collect()));
        }
    }
    rows.sort_unstable();
    rows
}

#[test]
fn a_job_goes_on_where_it_was_when_what_it_reads_comes_back() {
    let sandbox = Sandbox::new();
    put(&sandbox, "a.csv", 0, 20_000, 1);
    let mut run = Run::start(&sandbox, "", &["--state-dir", "state", "--set", "restart.backoff=5 ms"]);
    run.wait_for_id(19_999);
    for (name, first) in [("b.csv", 20_000), ("c.csv", 30_000)] {
        fs::rename(sandbox.path("in"), sandbox.path("away")).unwrap();
        run.wait_for_talk("(restart 2 of 10): R0201: cannot read 'in");
        fs::rename(sandbox.path("away"), sandbox.path("in")).unwrap();
        put(&sandbox, name, first, first + 10_000, 1);
        run.wait_for_id(first + 9_999);
        // The failures before are forgotten with the next run only: their numbers go on.
        if name == "b.csv" {
            run.signal("INT");
            run.end().expect_code(0).expect_talk("started again ");
            run = Run::start(&sandbox, "", &["--state-dir", "state", "--set", "restart.backoff=5 ms"]);
            run.wait_for_talk("state in state");
        }
    }
    // The next day closes the window of the first.
    put(&sandbox, "d.csv", 40_000, 40_001, 2);
    run.wait_for_id(40_000);
    while written(&sandbox).len() < 7 {
        std::thread::yield_now();
    }
    run.signal("INT");
    run.end().expect_code(0);
    let of_key = |k: u64| (0..40_000).filter(move |id| id % 7 == k);
    let expected: Vec<Vec<u64>> = (0..7).map(|k| vec![k, of_key(k).count() as u64, of_key(k).sum()]).collect();
    assert_eq!(written(&sandbox), expected, "each record once, in one window");
}

#[test]
fn a_job_that_fails_again_and_again_ends_with_the_first_cause() {
    let sandbox = Sandbox::new();
    put(&sandbox, "a.csv", 0, 10, 1);
    let limits = ["--set", "restart.backoff=1 ms", "--set", "restart.attempts-max=2"];
    let mut run = Run::start(&sandbox, "", &[&["--state-dir", "state"], &limits[..]].concat());
    run.wait_for_id(9);
    fs::rename(sandbox.path("in"), sandbox.path("away")).unwrap();
    let ended = run.end();
    ended.expect_code(66).expect_talk("in 1 ms (restart 1 of 2)").expect_talk("in 2 ms (restart 2 of 2)");
    ended.expect_talk("error[R0201]: the job was started again 2 times and failed each time; first: cannot read 'in'");
    // The folder's lock is free, and nothing is lost.
    fs::rename(sandbox.path("away"), sandbox.path("in")).unwrap();
    put(&sandbox, "b.csv", 10, 11, 1);
    let mut run = Run::start(&sandbox, "", &["--state-dir", "state"]);
    run.wait_for_id(10);
    run.signal("INT");
    run.end().expect_code(0);
}

#[test]
fn a_job_that_waits_to_be_started_again_can_be_stopped() {
    let sandbox = Sandbox::new();
    put(&sandbox, "a.csv", 0, 10, 1);
    let wait = ["--set", "restart.backoff=1 h", "--set", "restart.backoff-max=1 h"];
    let mut run = Run::start(&sandbox, "", &[&["--state-dir", "state"], &wait[..]].concat());
    run.wait_for_id(9);
    fs::rename(sandbox.path("in"), sandbox.path("away")).unwrap();
    run.wait_for_talk("in 3600 s (restart 1 of 10)");
    run.signal("INT");
    run.end().expect_code(66).expect_talk("the job was stopped while it waited to be started again: cannot read 'in'");
}

#[test]
fn what_a_restart_cannot_mend_ends_a_job_at_once() {
    let sandbox = Sandbox::new();
    put(&sandbox, "a.csv", 0, 10, 1);
    let mut run = Run::start(&sandbox, ", 'on-error' = 'fail'", &["--state-dir", "state"]);
    run.wait_for_id(9);
    fs::write(sandbox.path("new"), "id,at\nx,2024-01-01 00:00:00\n").unwrap();
    fs::rename(sandbox.path("new"), sandbox.path("in/b.csv")).unwrap();
    let ended = run.end();
    ended.expect_code(65).expect_talk("b.csv");
    assert!(!ended.stderr.contains("restart"), "{}", ended.stderr);
    // Nor is a job that cannot begin.
    let no_folder = Sandbox::new();
    let ended = Run::start(&no_folder, "", &["--state-dir", "state"]).end();
    ended.expect_code(66);
    assert!(!ended.stderr.contains("restart"), "{}", ended.stderr);
}

#[test]
fn a_job_without_state_is_not_started_again_and_says_that_it_keeps_none() {
    let sandbox = Sandbox::new();
    put(&sandbox, "a.csv", 0, 10, 1);
    let mut run = Run::start(&sandbox, "", &[]);
    run.wait_for_id(9);
    fs::rename(sandbox.path("in"), sandbox.path("away")).unwrap();
    let ended = run.end();
    ended.expect_code(66).expect_talk("error[R0201]: cannot read 'in'");
    assert_eq!(ended.stderr.matches("no state is kept").count(), 1, "{}", ended.stderr);
    // Nobody has anything to lose of a query that ends.
    let query = sandbox.run(&["run", "-c", "SELECT 1"]);
    assert!(!query.expect_code(0).stderr.contains("no state"), "{}", query.stderr);
    let quiet = "CREATE TABLE gone (a INT) WITH ('connector' = 'blackhole'); INSERT INTO gone SELECT 1";
    sandbox.run(&["run", "-c", quiet]).expect_code(0).expect_talk("no state is kept");
    assert_eq!(sandbox.run(&["run", "-q", "-c", quiet]).expect_code(0).stderr, "");
}
