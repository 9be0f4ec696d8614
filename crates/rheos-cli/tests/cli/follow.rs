//! Input that grows, over restarts that name it in another way.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output};

use crate::process::{Sandbox, start};

/// Prints what a table gives whose source has an id of its own.
fn program(path: &str, more: &str) -> String {
    format!(
        "CREATE TABLE t (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'csv'{more}); \
         CREATE TABLE o (n BIGINT) WITH ('connector' = 'print'); INSERT INTO o SELECT /*+ id('q') */ n FROM t /*+ id('src') */;"
    )
}

/// Runs the program until it has printed `last`, and stops it; gives what it printed, or how it ended before.
fn rows(sandbox: &Sandbox, sql: &str, last: i64) -> Result<Vec<i64>, Output> {
    let args = ["run", "-c", sql, "--state-dir", "state", "-p", "2", "--set", "checkpoint.interval=20 ms"];
    let mut child = start(sandbox.command(&args));
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = vec![];
    while let Some(line) = lines.next() {
        seen.push(line.unwrap().trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap());
        if seen.last() == Some(&last) {
            let done = Command::new("kill").args(["-INT".to_string(), child.id().to_string()]).status().unwrap();
            assert!(done.success());
            for line in lines {
                seen.push(line.unwrap().trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap());
            }
            let mut talk = String::new();
            child.stderr.take().unwrap().read_to_string(&mut talk).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(0), "{talk}");
            return Ok(seen);
        }
    }
    assert_eq!(seen, [0; 0], "it has to end before");
    Err(child.wait_with_output().unwrap())
}

#[test]
fn a_followed_folder_may_be_named_in_another_way() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("in")).unwrap();
    let absolute = sandbox.path("in").to_str().unwrap().to_string();
    let paths = ["in", absolute.as_str(), "./in", "in/../in/*.csv"];
    for (n, path) in paths.into_iter().enumerate() {
        fs::write(sandbox.path("new"), format!("n\n{n}\n")).unwrap();
        fs::rename(sandbox.path("new"), sandbox.path("in").join(format!("{n}.csv"))).unwrap();
        let got = rows(&sandbox, &program(path, ", 'source.monitor-interval' = '10 ms'"), n as i64);
        assert_eq!(got.unwrap(), [n as i64], "{path}");
    }
    // Not followed any more: it reads what is new, and ends.
    fs::write(sandbox.path("in/9.csv"), "n\n9\n").unwrap();
    let args = ["run", "-c", &program("in", ""), "--state-dir", "state"];
    let ended = start(sandbox.command(&args)).wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stdout), (Some(0), b"{\"n\":9}\n".to_vec()));
}

#[test]
fn a_followed_file_may_be_named_in_another_way_and_another_one_is_refused() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("a.csv"), "n\n1\n").unwrap();
    fs::write(sandbox.path("b.csv"), "n\n11\n").unwrap();
    let follow = ", 'source.follow' = 'true', 'source.monitor-interval' = '10 ms'";
    assert_eq!(rows(&sandbox, &program("a.csv", follow), 1).unwrap(), [1]);
    let refused = rows(&sandbox, &program("b.csv", follow), 11).unwrap_err();
    let talk = String::from_utf8_lossy(&refused.stderr);
    assert!(talk.contains("error[R0241]: the job follows '"), "{talk}");
    fs::write(sandbox.path("a.csv"), "n\n1\n2\n").unwrap();
    let absolute = sandbox.path("a.csv").to_str().unwrap().to_string();
    assert_eq!(rows(&sandbox, &program(&absolute, follow), 2).unwrap(), [2]);
}
