//! Where state lies: by settings, with a copy, encrypted. Object stores are tried by `tests/s3`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::process::Sandbox;

const KEY: &str = "2026-11:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
const OTHER: &str = "2026-12:Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=\n";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with(&[
        ("in.csv", b"id,word\n1,albatross\n2,buzzard\n3,albatross\n"),
        ("keys", KEY.as_bytes()),
        ("other", OTHER.as_bytes()),
    ]);
    for name in ["keys", "other"] {
        fs::set_permissions(sandbox.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    sandbox
}

/// Three rows, with settings before.
fn program(settings: &str) -> String {
    format!(
        "{settings} CREATE TABLE t (id BIGINT, word STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
         CREATE TABLE o (word STRING, n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');
         INSERT INTO o SELECT word, count(*) FROM t GROUP BY word"
    )
}

/// The files below a folder of a state directory, by name.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut found: Vec<_> =
        entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect();
    found.sort();
    found
}

#[test]
fn settings_say_where_state_lies() {
    let sandbox = sandbox();
    let sql = program("SET 'checkpoint.dir' = 'state'; SET 'checkpoint.copy-dir' = 'copy';");
    sandbox.run(&["run", "-c", &sql]).expect_code(0).expect_talk("state in").expect_talk("o is written exactly-once");
    assert!(sandbox.path("state/journal").is_dir());
    assert_eq!(files(&sandbox.path("state/journal")), files(&sandbox.path("copy/journal")));
    // A flag is stronger, and so is --set; Flink's name does, too.
    let flag = ["run", "-c", &sql, "--state-dir", "by-flag", "--set", "checkpoint.copies=1", "--from", "none"];
    sandbox.run(&flag).expect_code(0).expect_talk("state in by-flag");
    assert!(sandbox.path("by-flag/journal").is_dir());
    let flinks = program("SET 'execution.checkpointing.dir' = 'flinks';");
    sandbox.run(&["run", "-c", &flinks]).expect_code(0);
    assert!(sandbox.path("flinks/journal").is_dir());
    for (settings, code) in [
        ("SET 'checkpoint.dir' = 'x'; SET 'checkpoint.copies' = '2';", "R0644"),
        ("SET 'checkpoint.dir' = 'x'; SET 'checkpoint.copy-dir' = 'x';", "R0644"),
        (
            "SET 'checkpoint.dir' = 'x'; SET 'checkpoint.copy-dir' = 'copy'; SET 'checkpoint.encryption-key-file' = 'no';",
            "R0650",
        ),
        ("SET 'checkpoint.dir' = 'ftp://host/x';", "R0641"),
        ("SET 'checkpoint.dir' = 's3:/bucket/x';", "R0641"),
        ("SET 'checkpoint.dir' = '~/x';", "R0641"),
        ("SET 'checkpoint.dir' = 'x'; SET 'checkpoint.copy-dir' = 's3:/bucket/x';", "R0641"),
    ] {
        sandbox.run(&["run", "-c", &program(settings)]).expect_talk(&format!("error[{code}]"));
        for folder in ["x", "s3:", "~"] {
            assert!(!sandbox.path(folder).exists(), "{settings}");
        }
    }
}

#[test]
fn output_and_state_have_folders_of_their_own() {
    for (state, copy) in [("state", "out"), ("state", "out/copy"), ("out", "copy"), (".", "../copy")] {
        let sandbox = sandbox();
        ["empty", "copy"].iter().for_each(|folder| fs::create_dir_all(sandbox.path(folder)).unwrap());
        let sql = program("").replace("'in.csv'", "'../in.csv'");
        let mut command = sandbox.command(&["run", "-c", &sql, "--state-dir", state, "--copy-dir", copy]);
        command.current_dir(sandbox.path("empty"));
        let refused = crate::process::finish(crate::process::start(command), b"");
        refused.expect_code(65).expect_talk("error[R0644]: the output of 'sink:o' in '");
        assert!(!sandbox.path("empty/out/.commits").exists(), "{state}, {copy}");
    }
}

#[test]
fn where_to_go_on_needs_state_and_names_what_there_is() {
    let sandbox = sandbox();
    let sql = program("SET 'checkpoint.dir' = 'state';");
    sandbox.run(&["run", "-c", &sql]).expect_code(0);
    for (from, what) in [("9999", "checkpoint 9999"), ("nosuch", "savepoint 'nosuch'")] {
        let refused = sandbox.run(&["run", "-c", &sql, "--from", from]);
        refused.expect_code(4).expect_talk(&format!("error[R0608]: there is no {what}"));
    }
    let refused = sandbox.run(&["run", "-c", &program(""), "--from", "2"]);
    refused.expect_code(2).expect_talk("error[R0521]").expect_talk("give --state-dir DIR");
}

#[test]
fn what_is_damaged_is_taken_from_the_copy() {
    let sandbox = sandbox();
    let sql = program("");
    let args = ["run", "-c", &sql, "--state-dir", "state", "--copy-dir", "copy"];
    sandbox.run(&args).expect_code(0);
    let whole = files(&sandbox.path("copy/journal"));
    for (name, contents) in &whole {
        fs::write(sandbox.path("state/journal").join(name), &contents[..contents.len() / 2]).unwrap();
    }
    let again = sandbox.run(&args);
    again.expect_code(0).expect_talk("taken from the copy").expect_talk("had come to its end before");
    assert_eq!(files(&sandbox.path("state/journal")), whole);
    assert_eq!(files(&sandbox.path("state/damaged/journal")).len(), whole.len(), "what was damaged is kept");
    // All of it is lost.
    fs::remove_dir_all(sandbox.path("state")).unwrap();
    sandbox.run(&args).expect_code(0).expect_talk("had come to its end before");
    assert_eq!(files(&sandbox.path("state/journal")), whole);
}

#[test]
fn encrypted_state_is_for_who_has_the_key() {
    let sandbox = sandbox();
    let sql = program("");
    let args = ["run", "-c", &sql, "--state-dir", "state", "--encryption-key-file"];
    let with = |file: &str| sandbox.run(&[&args[..], &[file]].concat());
    with("keys").expect_code(0);
    for (name, contents) in files(&sandbox.path("state/journal")) {
        let line = br#"{"rheos":"encrypted","version":1,"key":"2026-11","#;
        assert!(contents.starts_with(line), "{name}");
        assert!(!contents.windows(6).any(|w| w == b"in.csv"), "{name}");
    }
    with("other").expect_code(65).expect_talk("error[R0651]").expect_talk("'2026-11'").expect_talk("2026-12");
    sandbox.run(&args[..5]).expect_code(65).expect_talk("error[R0651]").expect_talk("--encryption-key-file");
    fs::write(sandbox.path("other"), OTHER.replace("2026-12", "2026-11")).unwrap();
    with("other").expect_code(65).expect_talk("error[R0652]").expect_talk("another");
    fs::write(sandbox.path("other"), format!("{OTHER}{KEY}")).unwrap();
    with("other").expect_code(0).expect_talk("had come to its end before");
    fs::set_permissions(sandbox.path("keys"), fs::Permissions::from_mode(0o644)).unwrap();
    with("keys").expect_code(0).expect_talk("others than its owner may read the key file");
    // All with the new key: the old one can go.
    sandbox.run(&["checkpoint", "encrypt", "state"]).expect_code(65).expect_talk("error[R0650]");
    fs::create_dir_all(sandbox.path("state/damaged/objects")).unwrap();
    fs::write(sandbox.path("state/damaged/objects/g1-w0-e1"), "of which nobody knows what it is").unwrap();
    let encrypt = sandbox.run(&["checkpoint", "encrypt", "state", "--encryption-key-file", "other"]);
    encrypt.expect_code(0).expect_talk("files are encrypted with the first key").expect_talk("--copy-dir");
    encrypt.expect_talk("warning: 1 damaged files under 'damaged/'");
    fs::write(sandbox.path("new"), OTHER).unwrap();
    with("new").expect_code(0).expect_talk("had come to its end before");
    with("keys").expect_code(65).expect_talk("error[R0651]").expect_talk("'2026-12'");
    for verb in ["list", "inspect", "verify"] {
        sandbox.run(&["checkpoint", verb, "state"]).expect_code(65).expect_talk("error[R0651]");
        sandbox.run(&["checkpoint", verb, "state", "--encryption-key-file", "other"]).expect_code(0);
    }
}
