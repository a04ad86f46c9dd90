//! The machine that a run was made on, as far as it tells.

use std::{fs, thread};

use serde::{Deserialize, Serialize};

/// What figures depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// How many threads can run at once.
    pub cores: usize,
    /// The kernel's release.
    pub kernel: String,
    /// The operating system's name.
    pub os: String,
    /// The processor's architecture.
    pub arch: String,
    /// Main memory in MiB; 0 where it is not known.
    pub memory_mib: u64,
}

impl Machine {
    /// Looks around; whatever cannot be found out is `unknown`.
    pub fn look() -> Self {
        let unknown = || "unknown".to_owned();
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let after_colon = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = after_colon(&read("/proc/meminfo"), "MemTotal");
        let kib: Option<u64> = memory.and_then(|m| m.split_whitespace().next()?.parse().ok());
        let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
        let os = read("/etc/os-release");
        let os = os.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        Self {
            cpu: after_colon(&read("/proc/cpuinfo"), "model name").unwrap_or_else(unknown),
            cores: thread::available_parallelism().map_or(1, usize::from),
            kernel: if kernel.is_empty() { unknown() } else { kernel },
            os: os.map_or_else(|| std::env::consts::OS.into(), |os| os.trim_matches('"').into()),
            arch: std::env::consts::ARCH.to_owned(),
            memory_mib: kib.unwrap_or(0) / 1024,
        }
    }
}

/// How much the processors of the machine have worked since it was started, all programs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessorTime {
    busy: u64,
    all: u64,
}

impl ProcessorTime {
    /// Looks; `None` where the system does not tell.
    pub fn look() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// The first line is the sum over all processors: user, nice, system, idle, iowait, irq, softirq, steal.
    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
        let all: u64 = ticks.iter().take(8).sum();
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        (ticks.len() >= 8).then_some(Self { busy: all - idle, all })
    }

    /// The part of it that these processes, all their threads together, have used: what others do on the machine
    /// does not count. `None` where the system does not tell of one of them.
    pub fn look_at(processes: &[u32]) -> Option<Self> {
        let used = |pid: &u32| used_by(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?);
        let busy = processes.iter().map(used).sum::<Option<u64>>()?;
        Some(Self { busy, all: Self::look()?.all })
    }

    /// The share of the time since `earlier` in which the processors worked, from 0 to 1; `None` where no time
    /// has passed that the system counts.
    pub fn busy_since(self, earlier: Self) -> Option<f64> {
        let all = self.all.checked_sub(earlier.all).filter(|all| *all > 0)?;
        Some(self.busy.saturating_sub(earlier.busy) as f64 / all as f64)
    }
}

/// User and system time of a process: the 14th and 15th word, counted behind the name in parentheses, which may hold
/// anything.
fn used_by(stat: &str) -> Option<u64> {
    let mut words = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || words.next()?.parse::<u64>().ok();
    Some(ticks()? + ticks()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_is_not_busy() {
        let earlier = ProcessorTime::parse("cpu  10 0 10 60 20 0 0 0 0 0\ncpu0 1 2 3\n");
        let later = ProcessorTime::parse("cpu  30 0 20 70 40 0 0 0 0 0\n");
        let (earlier, later) = (earlier.expect("a line"), later.expect("a line"));
        assert_eq!(later.busy_since(earlier), Some(0.5));
        assert_eq!(later.busy_since(later), None);
        assert_eq!(ProcessorTime::parse("intr 1"), None);
    }

    #[test]
    fn the_time_of_a_process_is_found_behind_any_name() {
        let stat = "77 (a) b (c) S 1 77 77 0 -1 4194560 9 0 0 0 250 31 0 0 20 0 3 0 1";
        assert_eq!(used_by(stat), Some(281));
        assert_eq!(used_by("77 (cut) S 1 2"), None);
    }
}
