//! The worker threads: each a runtime of its own, whose tasks share nothing with those of another.

use std::{
    io,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle},
    select,
    sync::{mpsc, watch},
    task::AbortHandle,
    time::sleep,
};

/// How often a thread looks at its timers in any case. A timer that is due before the next look makes
/// the runtime wake its own thread once more, and each connection has timers of seconds.
const LOOK: Duration = Duration::from_secs(4);

/// The running threads.
#[derive(Debug)]
pub struct Threads {
    threads: Vec<JoinHandle<()>>,
    runtimes: Vec<Handle>,
    stop: watch::Sender<bool>,
    alarm: mpsc::Sender<()>,
    alarmed: mpsc::Receiver<()>,
}

impl Threads {
    /// Starts so many threads.
    ///
    /// # Errors
    /// The kernel gives no thread or no descriptor; what was started ends again.
    pub fn start(count: usize) -> io::Result<Self> {
        let (stop, _) = watch::channel(false);
        let (alarm, alarmed) = mpsc::channel(1);
        let mut started = Self {
            threads: Vec::new(),
            runtimes: Vec::new(),
            stop,
            alarm,
            alarmed,
        };
        for number in 0..count {
            let (told, made) = std::sync::mpsc::sync_channel(1);
            let mut stopped = started.stop.subscribe();
            let thread = thread::Builder::new()
                .name(format!("worker_{number}"))
                .spawn(move || {
                    // Made and dropped here: a runtime cannot end within another one.
                    let runtime = match Builder::new_current_thread().enable_all().build() {
                        Ok(runtime) => runtime,
                        Err(error) => {
                            // Its starter waits for this.
                            let _ = told.send(Err(error));
                            return;
                        }
                    };
                    let _ = told.send(Ok(runtime.handle().clone()));
                    runtime.block_on(async {
                        select! {
                            // An error means that the owner is gone: stop too.
                            _ = stopped.wait_for(|stop| *stop) => {}
                            () = look() => {}
                        }
                    });
                    // All tasks end here.
                    drop(runtime);
                })?;
            started.threads.push(thread);
            let runtime = made.recv().map_err(io::Error::other)?;
            started.runtimes.push(runtime?);
        }
        Ok(started)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.runtimes.len()
    }

    /// The runtime of one of the threads, which there is.
    pub fn runtime(&self, worker: usize) -> &Handle {
        &self.runtimes[worker]
    }

    /// Runs a task without which the process cannot go on: if it panics, [`failed`](Self::failed)
    /// returns.
    pub fn spawn(
        &self,
        worker: usize,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> AbortHandle {
        let alarm = Alarm(self.alarm.clone());
        let task = self.runtime(worker).spawn(async move {
            let _alarm = alarm;
            task.await;
        });
        task.abort_handle()
    }

    /// Returns when a task of [`spawn`](Self::spawn) has panicked.
    pub async fn failed(&mut self) {
        self.alarmed.recv().await;
    }

    /// Ends all tasks, and with them what they hold.
    pub fn stop(self) {
        self.stop.send_replace(true);
        for thread in self.threads {
            // One that panicked has told so on standard error.
            let _ = thread.join();
        }
    }
}

/// Never returns.
async fn look() {
    loop {
        sleep(LOOK).await;
    }
}

/// Tells of a panic.
struct Alarm(mpsc::Sender<()>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if thread::panicking() {
            // One is enough, and when nobody listens the process is ending.
            let _ = self.0.try_send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{sync::oneshot, time::timeout};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn tasks_run_on_the_thread_they_are_given_to() {
        let threads = Threads::start(2).unwrap();
        for worker in 0..threads.count() {
            let (told, name) = oneshot::channel();
            threads.spawn(worker, async move {
                let name = thread::current().name().map(str::to_owned);
                told.send(name).unwrap();
            });
            let name = timeout(DEADLINE, name).await.unwrap().unwrap();
            assert_eq!(name, Some(format!("worker_{worker}")));
        }
        threads.stop();
    }

    #[tokio::test]
    async fn only_a_panic_is_a_failure() {
        let mut threads = Threads::start(1).unwrap();
        threads.spawn(0, async {});
        threads.spawn(0, std::future::pending()).abort();
        // Behind the two, and after their end.
        let (told, ended) = oneshot::channel();
        threads.spawn(0, async { told.send(()).unwrap() });
        timeout(DEADLINE, ended).await.unwrap().unwrap();
        assert!(threads.alarmed.try_recv().is_err());
        threads.spawn(0, async { panic!("as the test wants it") });
        timeout(DEADLINE, threads.failed()).await.unwrap();
        threads.stop();
    }
}
