//! Runs `rheos` in a folder of its own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A folder with files, in which the binary runs.
pub(crate) struct Sandbox {
    folder: TempDir,
}

/// What a process left.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// With these files.
    pub(crate) fn with(files: &[(&str, &[u8])]) -> Self {
        let sandbox = Self::new();
        for (name, content) in files {
            let path = sandbox.path(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        sandbox
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command in the folder, without the caller's configuration.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        command_in(self.folder.path(), args)
    }

    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        self.run_with_input(args, b"")
    }

    pub(crate) fn run_with_input(&self, args: &[&str], input: &[u8]) -> Outcome {
        finish(start(self.command(args)), input)
    }
}

/// `rheos` in any folder.
pub(crate) fn command_in(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rheos"));
    command.current_dir(folder).args(args);
    for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("RHEOS_")) {
        command.env_remove(name);
    }
    command.env("XDG_CONFIG_HOME", folder.join("no-config"));
    command
}

pub(crate) fn start(mut command: Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Gives a process its input and waits for its end.
pub(crate) fn finish(mut child: Child, input: &[u8]) -> Outcome {
    let mut stdin = child.stdin.take().unwrap();
    // A process that refuses its program does not read its input.
    let _ = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Outcome {
    /// Checks the exit code, and shows everything where it is another.
    #[track_caller]
    pub(crate) fn expect_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", cut(&self.stdout), cut(&self.stderr));
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// Checks that stderr says this.
    #[track_caller]
    pub(crate) fn expect_talk(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "'{text}' is not in stderr:\n{}", cut(&self.stderr));
        self
    }

    /// Checks stdout, byte by byte.
    #[track_caller]
    pub(crate) fn expect_data(&self, data: &str) -> &Self {
        assert_eq!(cut(&self.stdout), data, "stderr:\n{}", cut(&self.stderr));
        self
    }
}

fn cut(text: &str) -> &str {
    let end = text.char_indices().nth(4000).map_or(text.len(), |(i, _)| i);
    &text[..end]
}

/// Says past the capture of test output what was not tested.
pub(crate) fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}
