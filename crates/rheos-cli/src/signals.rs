//! Ctrl-C and SIGTERM: the first stops the job in order, the second ends the process.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use rheos::{JobControl, StopMode};

use crate::report::code;

static SEEN: AtomicUsize = AtomicUsize::new(0);

/// Whether a signal has asked the job to stop.
pub(crate) fn stopped() -> bool {
    SEEN.load(Ordering::SeqCst) > 0
}

/// Stops `control` when the process is asked to end.
///
/// Errors: where the handler cannot be set; the job then ends at once, as any process does.
pub(crate) fn stop_on_signal(control: JobControl, mode: StopMode, quiet: bool) -> anyhow::Result<()> {
    ctrlc::set_handler(move || match SEEN.fetch_add(1, Ordering::SeqCst) {
        0 => {
            if !quiet && std::io::stderr().is_terminal() {
                let _ = writeln!(std::io::stderr(), "\nstopping; press Ctrl-C again to end at once");
            }
            control.stop(mode);
        }
        _ => std::process::exit(i32::from(code::INTERRUPTED)),
    })?;
    Ok(())
}
