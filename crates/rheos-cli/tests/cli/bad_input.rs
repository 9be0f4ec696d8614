//! Input that nobody wants: each is a clear error or skipped and counted, and nothing panics.

use std::io::Write;

use crate::process::Sandbox;

fn table(path: &str, format: &str, more: &str) -> String {
    format!(
        "CREATE TABLE t (at TIMESTAMP, n BIGINT, WATERMARK FOR at AS at) WITH ('connector' = 'filesystem', \
         'path' = '{path}', 'format' = '{format}'{more}); SELECT count(*) AS n FROM t;"
    )
}

fn random_bytes(n: usize) -> Vec<u8> {
    // xorshift64: any fixed sequence will do.
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut bytes = Vec::with_capacity(n);
    while bytes.len() < n {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

/// What the input is, its bytes, its format, and the exit code and a part of stderr under `fail`; then the count of good
/// rows and of skipped ones under `skip`, where it can be skipped.
struct Bad {
    what: &'static str,
    bytes: &'static [u8],
    format: &'static str,
    talk: &'static str,
    kept: Option<(u64, u64)>,
}

const GOOD: &str = "2013-01-01 05:00:00,1\n";

const BAD: &[Bad] = &[
    Bad {
        what: "a ragged csv record",
        bytes: b"at,n\n2013-01-01 05:00:00,1\n2013-01-01 05:00:00\n2013-01-01 05:00:00,2,3\n",
        format: "csv",
        talk: "line 3",
        kept: Some((1, 2)),
    },
    Bad {
        what: "the year 292277026596",
        bytes: b"at,n\n292277026596-12-04 15:30:08,1\n2013-01-01 05:00:00,2\n",
        format: "csv",
        talk: "line 2",
        kept: Some((1, 1)),
    },
    Bad {
        what: "invalid UTF-8 in csv",
        bytes: b"at,n\n2013-01-01 05:00:00,\xff\xfe\n2013-01-01 05:00:00,2\n",
        format: "csv",
        talk: "line 2",
        kept: Some((1, 1)),
    },
    Bad {
        what: "a line that is no JSON",
        bytes: b"{\"at\":\"2013-01-01 05:00:00\",\"n\":1}\nnonsense\n",
        format: "json",
        talk: "line 2",
        kept: Some((1, 1)),
    },
    Bad {
        what: "a text where a number belongs",
        bytes: b"{\"at\":\"2013-01-01 05:00:00\",\"n\":\"many\"}\n",
        format: "json",
        talk: "line 1",
        kept: Some((0, 1)),
    },
];

#[test]
fn bad_records_fail_with_their_line_or_are_skipped_and_counted() {
    for bad in BAD {
        let file = format!("bad.{}", bad.format);
        let sandbox = Sandbox::with(&[(&file, bad.bytes)]);
        // count(*) alone would decode no column.
        let sql =
            |more: &str| table(&file, bad.format, more).replace("count(*) AS n", "count(*) AS n, min(at), sum(n)");
        let failed = sandbox.run(&["run", "-c", &sql("")]);
        assert_eq!(failed.code, 65, "{}: {failed:?}", bad.what);
        assert!(failed.stderr.contains(&file) && failed.stderr.contains(bad.talk), "{}: {failed:?}", bad.what);
        failed.expect_code(65).expect_talk("try: ");
        let Some((kept, skipped)) = bad.kept else { continue };
        let outcome = sandbox.run(&["run", "-c", &sql(", 'on-error' = 'skip'")]);
        assert_eq!(outcome.code, 0, "{}: {outcome:?}", bad.what);
        assert!(outcome.stdout.starts_with(&format!("{{\"n\":{kept},")), "{}: {outcome:?}", bad.what);
        let counted = format!("{skipped} bad record{} skipped", if skipped == 1 { "" } else { "s" });
        assert!(outcome.stderr.contains(&counted), "{}: {outcome:?}", bad.what);
        let first = format!("such as '{file}', {}", bad.talk);
        assert!(outcome.stderr.contains(&first), "{}: {outcome:?}", bad.what);
    }
}

#[test]
fn random_bytes_are_refused_in_every_format() {
    let bytes = random_bytes(100_000);
    for format in ["csv", "json", "parquet"] {
        let file = format!("random.{format}");
        let sandbox = Sandbox::with(&[(&file, &bytes)]);
        for more in ["", ", 'on-error' = 'skip'"] {
            let outcome = sandbox.run(&["run", "-c", &table(&file, format, more)]);
            assert!([0, 65].contains(&outcome.code), "{format}: {outcome:?}");
            assert!(outcome.code == 0 || outcome.stderr.contains("error[R"), "{format}: {outcome:?}");
            assert!(!outcome.stderr.contains("panicked"), "{format}: {outcome:?}");
            if more.is_empty() {
                assert_eq!(outcome.code, 65, "{format}: {outcome:?}");
            }
        }
    }
}

#[test]
fn an_empty_file_has_no_rows() {
    for format in ["csv", "json"] {
        let sandbox = Sandbox::with(&[("empty", b"")]);
        let outcome = sandbox.run(&["run", "-c", &table("empty", format, "")]);
        outcome.expect_code(0).expect_data("{\"n\":0}\n");
    }
    let sandbox = Sandbox::with(&[("empty", b"")]);
    sandbox.run(&["run", "-c", &table("empty", "parquet", "")]).expect_code(65).expect_talk("empty");
}

#[test]
fn a_missing_file_or_folder_is_named() {
    for path in ["absent.csv", "absent/", "absent/*.csv"] {
        let outcome = Sandbox::new().run(&["run", "-c", &table(path, "csv", "")]);
        outcome.expect_code(66).expect_talk("absent");
    }
}

#[cfg(unix)]
#[test]
fn a_folder_without_permission_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::with(&[("locked/a.csv", b"at,n\n")]);
    let locked = sandbox.path("locked");
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o000)).unwrap();
    // Root may read everything, so there is nothing to refuse.
    let readable = std::fs::read_dir(&locked).is_ok();
    let outcome = sandbox.run(&["run", "-c", &table("locked", "csv", "")]);
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o700)).unwrap();
    if readable {
        outcome.expect_code(0);
    } else {
        outcome.expect_code(66).expect_talk("locked");
    }
}

#[test]
fn a_line_of_100_mb_is_refused_or_skipped_without_being_kept() {
    let sandbox = Sandbox::new();
    let mut file = std::io::BufWriter::new(std::fs::File::create(sandbox.path("long.csv")).unwrap());
    write!(file, "at,n\n{GOOD}").unwrap();
    let chunk = [b'x'; 1 << 20];
    for _ in 0..100 {
        file.write_all(&chunk).unwrap();
    }
    write!(file, "\n{GOOD}").unwrap();
    file.into_inner().unwrap();
    let failed = sandbox.run(&["run", "-c", &table("long.csv", "csv", "").replace("count(*) AS n", "sum(n) AS n")]);
    failed.expect_code(65).expect_talk("long.csv");
    assert!(failed.stderr.len() < 2000, "an error message of {} bytes", failed.stderr.len());
    let sql = table("long.csv", "csv", ", 'on-error' = 'skip'").replace("count(*) AS n", "sum(n) AS n");
    let skipped = sandbox.run(&["run", "-c", &sql]);
    skipped.expect_code(0).expect_data("{\"n\":2}\n").expect_talk("1 bad record skipped");
}
