//! What the kernel says about this process and its machine.
//!
//! Each figure is read from `/proc` when it is asked for, some 10 us; what is missing there is 0. Must not know: what the
//! figures are for. Source: proc(5).

use std::fs;
use std::sync::OnceLock;

/// Ticks a second in `/proc/*/stat`, which the kernel fixes for programs whatever its own rate is.
const TICKS_A_SECOND: f64 = 100.0;

/// Processor time, in seconds.
#[derive(Clone, Copy, Default, Debug)]
pub struct CpuTimes {
    /// Spent in the kernel.
    pub system_s: f64,
    /// Spent outside of it.
    pub user_s: f64,
    /// Spent in the kernel by children that have ended.
    pub children_system_s: f64,
    /// Spent outside of it by children that have ended.
    pub children_user_s: f64,
}

impl CpuTimes {
    /// Of the whole process.
    pub fn of_process() -> CpuTimes {
        CpuTimes::read("/proc/self/stat")
    }

    /// Of its first thread alone.
    pub fn of_main_thread() -> CpuTimes {
        CpuTimes::read(&format!("/proc/self/task/{}/stat", std::process::id()))
    }

    fn read(path: &str) -> CpuTimes {
        CpuTimes::parse(&fs::read_to_string(path).unwrap_or_default())
    }

    /// Fields 14 to 17, counted from 1; the second, a name in parentheses, may hold spaces.
    fn parse(line: &str) -> CpuTimes {
        let behind_name = line.rsplit_once(')').map_or("", |(_, fields)| fields);
        let mut fields = behind_name.split_ascii_whitespace().skip(11);
        let mut seconds = || fields.next().and_then(|field| field.parse().ok()).unwrap_or(0.0) / TICKS_A_SECOND;
        let (user_s, system_s) = (seconds(), seconds());
        CpuTimes { user_s, system_s, children_user_s: seconds(), children_system_s: seconds() }
    }
}

/// Memory of the machine, in bytes; read once.
pub fn machine_bytes() -> u64 {
    static TOTAL: OnceLock<u64> = OnceLock::new();
    *TOTAL.get_or_init(|| kilobytes(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemTotal:"))
}

/// Name and release of the operating system and the machine's architecture, as `uname -srm`; read once.
pub fn system() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let read = |name: &str| fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
        format!("{} {} {}", read("ostype").trim(), read("osrelease").trim(), std::env::consts::ARCH)
    })
}

/// The bytes of a line such as `MemTotal:     1234 kB`.
fn kilobytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_a_process_with_an_odd_name() {
        let times = CpuTimes::parse("1 (a) b) R 9 9 9 0 -1 4 1 0 0 0 250 125 300 50 20 0 1\n");
        assert_eq!((times.user_s, times.system_s), (2.5, 1.25));
        assert_eq!((times.children_user_s, times.children_system_s), (3.0, 0.5));
        assert_eq!(CpuTimes::parse("").user_s, 0.0);
    }

    #[test]
    fn this_machine() {
        assert!(machine_bytes() > 100_000);
        assert!(system().contains(std::env::consts::ARCH));
        assert_eq!(kilobytes("MemFree: 1 kB\nMemTotal:\t   12 kB\n", "MemTotal:"), 12 * 1024);
    }
}
