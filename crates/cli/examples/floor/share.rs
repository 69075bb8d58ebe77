//! A share of a processor, as Lambda gives it by a function's memory: the kernel's own quota, where one may set it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Lambda gives one processor at this memory ("Configure Lambda function memory").
pub(crate) const MIB_OF_A_PROCESSOR: f64 = 1769.0;

/// The period in which the quota is given out, in microseconds.
const PERIOD: u64 = 20_000;

/// The group of one process, which has ended before this value is dropped: the group goes with it.
pub(crate) struct Share {
    group: PathBuf,
}

impl Share {
    /// Gives a process this share of one processor.
    pub(crate) fn of(process: u32, share: f64) -> Result<Self> {
        let group = Self::make(&format!("rivulet-floor-{process}"), share)?;
        std::fs::write(group.group.join("cgroup.procs"), process.to_string())?;
        Ok(group)
    }

    /// Whether this machine lets us.
    pub(crate) fn possible() -> bool {
        Self::make(&format!("rivulet-floor-{}-none", std::process::id()), 0.5).is_ok()
    }

    /// A group without a process: of the first version of control groups where those are, else of the second.
    fn make(name: &str, share: f64) -> Result<Self> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let quota = (PERIOD as f64 * share) as u64;
        let first = Path::new("/sys/fs/cgroup/cpu");
        let (parent, settings) = if first.is_dir() {
            let period = ("cpu.cfs_period_us", PERIOD.to_string());
            (first, vec![period, ("cpu.cfs_quota_us", quota.to_string())])
        } else {
            (Path::new("/sys/fs/cgroup"), vec![("cpu.max", format!("{quota} {PERIOD}"))])
        };
        let group = parent.join(name);
        std::fs::create_dir(&group).context("no control group can be made")?;
        let share = Self { group };
        for (setting, value) in settings {
            let file = share.group.join(setting);
            std::fs::write(&file, value).with_context(|| file.display().to_string())?;
        }
        Ok(share)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // Its process has gone, but the kernel may still be busy with it.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.group).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}
