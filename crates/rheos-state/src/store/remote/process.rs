//! Whether a process of this machine has ended: then nobody has to wait until its lease runs out.
//!
//! A process is told by the machine's start, its space of process numbers (containers have their own), its number and its
//! own start. Where a system does not tell all of this, a process is never known to have ended.

use std::fs;

/// This process.
pub(super) fn this() -> Option<String> {
    let pid = std::process::id();
    Some(format!("{} {pid} {}", machine()?, start(pid)?))
}

/// Whether the process of this text ran on this machine and has ended.
pub(super) fn has_ended(process: &str) -> bool {
    let parts = || {
        let (rest, began) = process.rsplit_once(' ')?;
        let (place, pid) = rest.rsplit_once(' ')?;
        let pid: u32 = pid.parse().ok()?;
        (machine()? == place).then_some((pid, began))
    };
    parts().is_some_and(|(pid, began)| start(pid).is_none_or(|found| found != began))
}

/// Told by the kernel: an id of its start, and the space of process numbers.
fn machine() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let space = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), space.display()))
}

/// When a process began, in ticks since the machine did; `None` for one that is not there.
fn start(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may hold anything but ends with the last bracket: the start is field 22, the name field 2.
    let fields = text.rsplit_once(')')?.1;
    fields.split_whitespace().nth(19).map(str::to_string)
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
        let other = format!("{} {} {}", machine().unwrap(), child.id(), start(child.id()).unwrap());
        assert!(!has_ended(&other));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(has_ended(&other));
        // The number has been given to another process since.
        let (before, _) = this.rsplit_once(' ').unwrap();
        assert!(has_ended(&format!("{before} 1")));
    }

    #[test]
    fn of_other_machines_nothing_is_known() {
        for text in ["", "x", "other pid:[1] 1 1", "another-boot pid:[4026531836] 999999 1"] {
            assert!(!has_ended(text), "{text}");
        }
    }
}
