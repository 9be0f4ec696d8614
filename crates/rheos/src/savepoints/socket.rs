//! The socket in a job's folder, and who asks by it.
//!
//! It is made under another name and renamed, so that it is never there with more rights than its owner's, and takes the place of
//! one that a killed run has left: the folder's lock is held. Each connection brings one line and gets one.

use std::fs::{self, Permissions};
use std::io::{ErrorKind as Io, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rheos_checkpoint::journal::EntryNumber;
use rheos_core::units::shown;
use rheos_core::{Error, ErrorKind, Result};
use rheos_runtime::{AfterSavepoint, JobControl};
use rheos_state::store::LocalStore;
use tempfile::TempDir;

use super::message::{Answer, LINE_BYTES_MAX, Request};
use super::nobody;

/// The socket's name in the folder.
const SOCKET: &str = "control.sock";

/// Longest path that sockets can have on all systems, in bytes.
const PATH_BYTES_MAX: usize = 100;

/// Connections at a time.
const CONNECTIONS_MAX: usize = 8;

/// How long a line may take that is being written.
const LINE_TIMEOUT: Duration = Duration::from_secs(5);

/// How much later than asked for the job may tell that it was not in time.
const GRACE: Duration = Duration::from_secs(2);

/// How often threads look whether the job is over.
const LOOK: Duration = Duration::from_millis(50);

/// Answers as long as it lives.
pub(super) struct ControlSocket {
    path: PathBuf,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ControlSocket {
    /// Errors: `External` or `NotAllowed` (R0674) where it cannot be made.
    pub(super) fn start(folder: &Path, control: JobControl) -> Result<Self> {
        let path = folder.join(SOCKET);
        let failed = |e: std::io::Error| cannot("make", &path, &e);
        let temporary = format!(".tmp-control-{}", std::process::id());
        let short = Short::of(folder, &temporary)?;
        // Of a process that had the same number.
        let _ = fs::remove_file(folder.join(&temporary));
        let listener = UnixListener::bind(&short.path).map_err(failed)?;
        let made = fs::set_permissions(&short.path, Permissions::from_mode(0o600))
            .and_then(|()| fs::rename(folder.join(&temporary), &path))
            .and_then(|()| listener.set_nonblocking(true));
        made.map_err(|e| {
            let _ = fs::remove_file(folder.join(&temporary));
            failed(e)
        })?;
        let over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&over);
        let thread = std::thread::Builder::new()
            .name("rheos-control".into())
            .spawn(move || listen(&listener, &control, &flag))
            .map_err(failed)?;
        Ok(Self { path, over, thread: Some(thread) })
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // First: who comes now is told that no job is running.
        let _ = fs::remove_file(&self.path);
        self.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// Returns when the job is over and all that was asked is answered.
fn listen(listener: &UnixListener, control: &JobControl, over: &Arc<AtomicBool>) {
    let mut connections: Vec<JoinHandle<()>> = Vec::new();
    while !over.load(Ordering::SeqCst) {
        let Ok((stream, _)) = listener.accept() else {
            std::thread::park_timeout(LOOK);
            continue;
        };
        connections.retain(|connection| !connection.is_finished());
        // Who finds too many before him reads the end of the stream.
        if connections.len() < CONNECTIONS_MAX {
            let (control, over) = (control.clone(), Arc::clone(over));
            let serve = move || {
                // A client that has gone needs no answer.
                let _ = serve(stream, &control, &over);
            };
            connections.extend(std::thread::Builder::new().name("rheos-control".into()).spawn(serve).ok());
        }
    }
    connections.into_iter().for_each(|connection| _ = connection.join());
}

fn serve(mut stream: UnixStream, control: &JobControl, over: &AtomicBool) -> Result<(), std::io::Error> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(LINE_TIMEOUT))?;
    let Some(line) = read_line(&mut stream, over)? else { return Ok(()) };
    let answer = Request::parse(&line).and_then(|request| request.ask(control).wait(request.timeout()));
    match Answer::of(answer).line() {
        Ok(line) => stream.write_all(&line),
        Err(_) => Ok(()),
    }
}

/// A line; `None` if none comes in time or it is too long.
fn read_line(stream: &mut UnixStream, over: &AtomicBool) -> Result<Option<Vec<u8>>, std::io::Error> {
    let until = Instant::now() + LINE_TIMEOUT;
    stream.set_read_timeout(Some(LOOK))?;
    let (mut line, mut chunk) = (Vec::new(), [0; 1024]);
    while !over.load(Ordering::SeqCst) && Instant::now() < until && line.len() as u64 <= LINE_BYTES_MAX {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(None),
            Ok(n) => line.extend_from_slice(&chunk[..n]),
            Err(e) if matches!(e.kind(), Io::WouldBlock | Io::TimedOut | Io::Interrupted) => {}
            Err(e) => return Err(e),
        }
        if let Some(end) = line.iter().position(|b| *b == b'\n') {
            line.truncate(end);
            return Ok(Some(line));
        }
    }
    Ok(None)
}

/// Asks the job that runs on a folder for a savepoint, and waits until it is complete; its number in the journal.
///
/// Errors: `InputMissing` (R0624) for what is no state directory, `External` (R0671) if no job runs on it, `Conflict` (R0612) for a
/// name that exists, `Invalid` (R0672) for what is no name, `External` (R0614) if the job ended before, (R0673) if it takes longer
/// than `timeout`, (R0674) if the job cannot be asked.
pub fn create_savepoint(folder: &Path, name: &str, then: AfterSavepoint, timeout: Duration) -> Result<EntryNumber> {
    let request = Request::try_new(name, then, timeout)?;
    LocalStore::view(folder)?;
    let path = folder.join(SOCKET);
    let failed = |e: std::io::Error| match e.kind() {
        Io::NotFound | Io::ConnectionRefused => nobody(&format!("'{}'", folder.display())),
        // It was closed before the request was taken up.
        Io::ConnectionReset | Io::BrokenPipe => ended(name),
        _ => cannot("ask by", &path, &e),
    };
    let short = Short::of(folder, SOCKET)?;
    let mut stream = UnixStream::connect(&short.path).map_err(failed)?;
    // The job keeps the time; a job that hangs does not.
    let patience = timeout.saturating_add(GRACE);
    stream.set_read_timeout(Some(patience)).map_err(failed)?;
    stream.set_write_timeout(Some(LINE_TIMEOUT)).map_err(failed)?;
    stream.write_all(&request.line()?).map_err(failed)?;
    let mut answer = Vec::new();
    let read = stream.take(LINE_BYTES_MAX).read_to_end(&mut answer);
    match read {
        Ok(0) => Err(ended(name)),
        Ok(_) => Answer::parse(&answer),
        Err(e) if matches!(e.kind(), Io::WouldBlock | Io::TimedOut) => {
            let message = format!("the job has not answered for {}", shown(patience));
            Err(Error::new(ErrorKind::External, 673, message)
                .with_hint("the savepoint may yet come to be: look at 'rheos savepoint list'"))
        }
        Err(e) => Err(failed(e)),
    }
}

fn ended(name: &str) -> Error {
    Error::new(ErrorKind::External, 614, format!("the job ended before it made the savepoint '{name}'"))
        .with_hint("'rheos savepoint list' shows whether it came to be; start the job and ask again")
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Error {
    let kind = match error.kind() {
        Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::NotAllowed,
        _ => ErrorKind::External,
    };
    Error::new(kind, 674, format!("cannot {what} the socket '{}': {error}", path.display()))
        .with_hint("keep the state directory on a disk of this machine, and ask as the user that runs the job")
}

/// A path to a file in a folder that sockets can have.
struct Short {
    path: PathBuf,
    /// Of a folder whose path is too long: where a link to it stands.
    _link: Option<TempDir>,
}

impl Short {
    fn of(folder: &Path, name: &str) -> Result<Self> {
        let direct = folder.join(name);
        if direct.as_os_str().len() <= PATH_BYTES_MAX {
            return Ok(Self { path: direct, _link: None });
        }
        let failed = |e: std::io::Error| cannot("reach", &direct, &e);
        let folder = fs::canonicalize(folder).map_err(failed)?;
        let link = tempfile::tempdir().map_err(failed)?;
        let path = link.path().join("s");
        symlink(folder, &path).map_err(failed)?;
        Ok(Self { path: path.join(name), _link: Some(link) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(folder: &Path) -> Result<EntryNumber> {
        create_savepoint(folder, "s", AfterSavepoint::GoOn, Duration::from_millis(1))
    }

    /// A job that has not taken up the request when its asker's patience ends: the socket itself works.
    #[test]
    fn a_folder_with_a_long_path_and_a_stale_socket_is_reached_by_its_owner_only() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("x".repeat(120));
        fs::create_dir_all(folder.join("journal")).unwrap();
        fs::write(folder.join(SOCKET), "left by another").unwrap();
        let socket = ControlSocket::start(&folder, JobControl::new()).unwrap();
        assert_eq!(fs::metadata(folder.join(SOCKET)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(ask(&folder).unwrap_err().code(), "R0673");
        drop(socket);
        assert_eq!(ask(&folder).unwrap_err().code(), "R0671");
        let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|f| f.unwrap().file_name()).collect();
        assert_eq!(left, ["journal"]);
    }

    #[test]
    fn a_job_that_ends_while_it_is_asked_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("journal")).unwrap();
        let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        // The rest of the request is left unread: the asker's connection is reset.
        let closes = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0]).unwrap();
        });
        assert_eq!(ask(folder.path()).unwrap_err().code(), "R0614");
        closes.join().unwrap();
    }

    #[test]
    fn lines_without_end_and_of_other_protocols_do_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("journal")).unwrap();
        let socket = ControlSocket::start(folder.path(), JobControl::new()).unwrap();
        let answer = |text: &[u8]| {
            let mut stream = UnixStream::connect(folder.path().join(SOCKET)).unwrap();
            // The other end may be closed before all is written.
            let _ = stream.write_all(text);
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer
        };
        assert!(answer(b"GET / HTTP/1.1\r\n").contains("\"code\":674"));
        assert_eq!(answer(&vec![b'x'; 2 * LINE_BYTES_MAX as usize]), "");
        // Somebody who says nothing does not keep the job from ending.
        let silent = UnixStream::connect(folder.path().join(SOCKET)).unwrap();
        drop(socket);
        drop(silent);
    }
}
