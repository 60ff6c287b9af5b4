//! Processors, and what runs on one of them alone.

use std::thread;

use anyhow::Context;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// One processor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Cpu(usize);

impl Cpu {
    /// Two that this process may use; the same twice where it has one alone.
    pub(crate) fn pair() -> anyhow::Result<[Self; 2]> {
        let allowed = sched_getaffinity(None).context("ask which processors may be used")?;
        let mut each = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
        let first = each.next().context("no processor may be used")?;
        Ok([Self(first), Self(each.next().unwrap_or(first))])
    }

    /// Does the work on a thread that stays on the processor. What the work starts stays there, too:
    /// threads and processes begin with the processors of the thread that starts them.
    pub(crate) fn run<T: Send>(self, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        let inside = || {
            let mut alone = CpuSet::new();
            alone.set(self.0);
            sched_setaffinity(None, &alone)
                .with_context(|| format!("stay on processor {}", self.0))?;
            Ok(work())
        };
        match thread::scope(|scope| scope.spawn(inside).join()) {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_the_work_stay_on_its_processor() {
        let [cpu, _] = Cpu::pair().unwrap();
        let allowed = cpu
            .run(|| thread::scope(|scope| scope.spawn(|| sched_getaffinity(None)).join()))
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(allowed.count(), 1);
        assert!(allowed.is_set(cpu.0));
    }
}
