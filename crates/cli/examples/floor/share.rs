//! A share of a processor, as Lambda gives it by a function's memory: the kernel's own quota, where one may set it.

use std::path::PathBuf;

use anyhow::{Context, Result};

/// Lambda gives one processor at this memory ("Configure Lambda function memory").
pub(crate) const MIB_OF_A_PROCESSOR: f64 = 1769.0;

/// The period in which the quota is given out, in microseconds.
const PERIOD: u64 = 20_000;

/// The group of one process. It goes with this value.
pub(crate) struct Share {
    group: PathBuf,
}

impl Share {
    /// Gives a process this share of one processor.
    pub(crate) fn of(process: u32, share: f64) -> Result<Self> {
        let name = format!("rivulet-floor-{process}");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let quota = (PERIOD as f64 * share) as u64;
        let one = PathBuf::from("/sys/fs/cgroup/cpu");
        let group = if one.is_dir() {
            let group = one.join(name);
            std::fs::create_dir(&group).context("no control group can be made")?;
            std::fs::write(group.join("cpu.cfs_period_us"), PERIOD.to_string())?;
            std::fs::write(group.join("cpu.cfs_quota_us"), quota.to_string())?;
            group
        } else {
            let group = PathBuf::from("/sys/fs/cgroup").join(name);
            std::fs::create_dir(&group).context("no control group can be made")?;
            std::fs::write(group.join("cpu.max"), format!("{quota} {PERIOD}"))?;
            group
        };
        let share = Self { group };
        std::fs::write(share.group.join("cgroup.procs"), process.to_string())?;
        Ok(share)
    }

    /// Whether this machine lets us.
    pub(crate) fn possible() -> bool {
        Self::of(std::process::id(), 0.9).is_ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // A group that has a process stays; its process goes first.
        let _ = std::fs::write("/sys/fs/cgroup/cpu/cgroup.procs", std::process::id().to_string());
        for _ in 0..100 {
            if std::fs::remove_dir(&self.group).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}
