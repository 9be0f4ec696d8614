//! Whether a process of this machine has ended: then nobody has to wait until its lease runs out.
//!
//! A process is told by the machine's start, its space of process numbers (containers have their own), its number and its
//! own start. Where a system does not tell all of this, or hides the processes of other users (`hidepid`), a process is never
//! known to have ended.

use std::fs;
use std::io;

/// This process.
pub(super) fn this() -> Option<String> {
    let pid = std::process::id();
    Some(format!("{} {pid} {}", machine()?, start(pid).ok()??))
}

/// Whether the process of this text ran on this machine and has ended.
pub(super) fn has_ended(process: &str) -> bool {
    let parts = || {
        let (rest, began) = process.rsplit_once(' ')?;
        let (place, pid) = rest.rsplit_once(' ')?;
        let pid: u32 = pid.parse().ok()?;
        (machine()? == place).then_some((pid, began))
    };
    parts().is_some_and(|(pid, began)| match start(pid) {
        Ok(Some(found)) => found != began,
        Ok(None) => !fs::read_to_string("/proc/self/mounts").is_ok_and(|mounts| hides_processes(&mounts)),
        Err(_) => false,
    })
}

/// Told by the kernel: an id of its start, and the space of process numbers.
fn machine() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let space = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), space.display()))
}

/// When a process began, in ticks since the machine did; `None` for one that is not to be seen. Errors: what cannot be read.
fn start(pid: u32) -> io::Result<Option<String>> {
    let text = match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    // Behind the name, which may hold anything but ends with the last bracket: the start is field 22, the name field 2.
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let found = fields.split_whitespace().nth(19).map(str::to_string);
    found.map(Some).ok_or_else(|| io::Error::other("no start"))
}

/// Whether some users do not see the processes of others, by the table of what is mounted.
fn hides_processes(mounts: &str) -> bool {
    let hides = |option: &str| option.strip_prefix("hidepid=").is_some_and(|how| !["0", "off"].contains(&how));
    mounts.lines().any(|line| match line.split(' ').collect::<Vec<_>>()[..] {
        [_, "/proc", "proc", options, ..] => options.split(',').any(hides),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_that_runs_has_not_ended_and_one_that_is_gone_has() {
        let this = this().unwrap();
        assert!(!has_ended(&this), "{this}");
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let other = format!("{} {} {}", machine().unwrap(), child.id(), start(child.id()).unwrap().unwrap());
        assert!(!has_ended(&other));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(has_ended(&other));
        // The number has been given to another process since.
        let (before, _) = this.rsplit_once(' ').unwrap();
        assert!(has_ended(&format!("{before} 1")));
    }

    #[test]
    fn a_process_that_is_hidden_may_run() {
        let mounts = |options: &str| format!("/dev/sda1 / ext4 rw 0 0\nproc /proc proc rw,nosuid{options} 0 0\n");
        for options in [",hidepid=2", ",hidepid=invisible,gid=5", ",hidepid=ptraceable"] {
            assert!(hides_processes(&mounts(options)), "{options}");
        }
        for options in ["", ",hidepid=0", ",hidepid=off,gid=5"] {
            assert!(!hides_processes(&mounts(options)), "{options}");
        }
    }

    #[test]
    fn of_other_machines_nothing_is_known() {
        for text in ["", "x", "other pid:[1] 1 1", "another-boot pid:[4026531836] 999999 1"] {
            assert!(!has_ended(text), "{text}");
        }
    }
}
