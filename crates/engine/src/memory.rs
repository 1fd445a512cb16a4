//! What memory this process has and may still take.

use outframe_engine::Memory;

/// Resident and free memory now; the peak where the platform tells it. Zero where the platform tells nothing.
pub(crate) fn now() -> Memory {
    let Ok(mut system) = sysinfo::System::new() else { return Memory::default() };
    system.refresh_memory();
    let resident = sysinfo::get_current_pid().ok().and_then(|pid| {
        system.refresh_processes(sysinfo::ProcessesToUpdate::Some(&[pid]), false);
        system.process(pid).map(sysinfo::Process::memory)
    });
    let resident = resident.unwrap_or_default();
    Memory { resident, peak: peak_resident().unwrap_or(resident).max(resident), available: system.available_memory() }
}

/// `VmHWM` of this process, on Linux.
fn peak_resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Bytes that this process may still take before the system begins to swap or to end processes; none where the platform
/// does not tell.
pub(crate) fn free() -> Option<u64> {
    let mut system = sysinfo::System::new().ok()?;
    system.refresh_memory();
    // Zero is what sysinfo says where it does not know.
    let machine = Some(system.available_memory()).filter(|&bytes| bytes > 0);
    match (machine, group_free("/sys/fs/cgroup")) {
        (Some(machine), Some(group)) => Some(machine.min(group)),
        (machine, group) => machine.or(group),
    }
}

/// What a limit on this process's control group (a container, a systemd unit) leaves, on Linux; none without a limit. What
/// files take in memory does not count, because the system drops it when memory is needed.
fn group_free(root: &str) -> Option<u64> {
    let read = |name: &str| std::fs::read_to_string(format!("{root}/{name}")).ok();
    let number = |text: String| text.trim().parse::<u64>().ok();
    let limit = number(read("memory.max")?)?;
    let used = number(read("memory.current")?)?;
    let files = read("memory.stat").map_or(0, |text| {
        let named = |line: &&str| line.starts_with("inactive_file ") || line.starts_with("active_file ");
        text.lines().filter(named).filter_map(|line| line.split(' ').nth(1)?.parse::<u64>().ok()).sum()
    });
    Some(limit.saturating_sub(used.saturating_sub(files)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_on_the_group_counts_without_the_files() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        assert_eq!(group_free(root), None);
        write("memory.max", "max\n");
        write("memory.current", "700\n");
        assert_eq!(group_free(root), None);
        write("memory.max", "1000\n");
        assert_eq!(group_free(root), Some(300));
        write("memory.stat", "anon 1\ninactive_file 150\nactive_file 50\nactive_anon 9\n");
        assert_eq!(group_free(root), Some(500));
        write("memory.current", "5000\n");
        assert_eq!(group_free(root), Some(0));
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(free().is_none_or(|bytes| bytes > 1 << 20));
    }
}
