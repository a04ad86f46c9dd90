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
