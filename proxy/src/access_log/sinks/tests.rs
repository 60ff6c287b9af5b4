use std::{
    fs,
    path::PathBuf,
    process,
    sync::{atomic::AtomicUsize, mpsc::Receiver},
    time::Instant,
};

use super::*;

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A directory of this test alone, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("fairlead-access-log-{}-{number}", process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left lies in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

const NEVER: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(10);

/// One stream alone.
fn started(stream: impl Write + Send + 'static) -> (AccessLog, Writer) {
    let (sinks, writer) = Sinks::start(NEVER).unwrap();
    (sinks.stream("/dev/stdout", stream), writer)
}

#[track_caller]
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        thread::yield_now();
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn filesystem(counts: &Counts, name: &str) -> u64 {
    let values = counts.filesystem();
    values.iter().find(|(known, _)| *known == name).unwrap().1
}

#[test]
fn all_lines_are_written_at_the_end() {
    let output = Shared::default();
    let (log, writer) = started(output.clone());
    let counts = writer.counts();
    for number in 0..1000 {
        log.write(format!("{number}\n"));
    }
    drop(log);
    writer.flush();
    let written = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
    let expected: String = (0..1000).map(|number| format!("{number}\n")).collect();
    assert_eq!(written, expected);
    assert_eq!((counts.written(), counts.dropped()), (1000, 0));
}

#[test]
fn a_stream_has_its_line_at_once() {
    let output = Shared::default();
    let (sinks, _writer) = Sinks::start(NEVER).unwrap();
    let log = sinks.stream("/dev/stdout", output.clone());
    log.write("line\n".to_owned());
    wait_until("the line is written", || {
        *output.0.lock().unwrap() == b"line\n"
    });
    assert_eq!(filesystem(&sinks.counts(), "flushed_by_timer"), 0);
}

/// Blocks in its first write until it is told to go on.
struct Stuck(Receiver<()>);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn lines_are_dropped_and_counted_when_nobody_reads() {
    let (go_on, stuck) = mpsc::channel();
    let (log, writer) = started(Stuck(stuck));
    let counts = writer.counts();
    let sent = 4 * QUEUE as u64;
    for _ in 0..sent {
        log.write("line\n".to_owned());
    }
    let dropped = counts.dropped();
    assert!(dropped >= sent - 2 * QUEUE as u64 - 1, "{dropped} dropped");
    drop((log, go_on));
    writer.flush();
    assert_eq!(counts.written() + counts.dropped(), sent);
}

#[test]
fn a_file_gets_its_lines_when_the_time_has_come() {
    let directory = Directory::new();
    let path = directory.file("log");
    let (sinks, _writer) = Sinks::start(SOON).unwrap();
    let log = sinks.open(&path).unwrap();
    log.write("one\n".to_owned());
    wait_until("the line is written", || read(&path) == "one\n");
    let counts = sinks.counts();
    wait_until("the flush is counted", || {
        filesystem(&counts, "flushed_by_timer") == 1
    });
    assert_eq!(filesystem(&counts, "write_buffered"), 1);
    assert_eq!(filesystem(&counts, "write_completed"), 1);
    assert_eq!(counts.write_total_buffered(), 0);
}

#[test]
fn a_file_gets_its_lines_when_many_have_gathered() {
    let directory = Directory::new();
    let path = directory.file("log");
    let (sinks, writer) = Sinks::start(NEVER).unwrap();
    let log = sinks.open(&path).unwrap();
    let counts = sinks.counts();
    let line = format!("{}\n", "x".repeat(1023));
    for _ in 0..63 {
        log.write(line.clone());
    }
    wait_until("all wait", || counts.write_total_buffered() == 63 * 1024);
    assert_eq!(read(&path), "");
    log.write(line);
    wait_until("all are written", || counts.written() == 64);
    assert_eq!(read(&path).len(), target::FULL);
    log.write("last\n".to_owned());
    drop((log, sinks));
    writer.flush();
    assert!(read(&path).ends_with("x\nlast\n"));
}

#[test]
fn lines_are_added_to_what_a_file_has() {
    let directory = Directory::new();
    let path = directory.file("log");
    fs::write(&path, "before\n").unwrap();
    let (sinks, writer) = Sinks::start(NEVER).unwrap();
    sinks.open(&path).unwrap().write("after\n".to_owned());
    drop(sinks);
    writer.flush();
    assert_eq!(read(&path), "before\nafter\n");
}

#[test]
fn a_path_that_is_named_twice_is_one_place() {
    let directory = Directory::new();
    let path = directory.file("log");
    let (sinks, writer) = Sinks::start(NEVER).unwrap();
    let logs = [sinks.open(&path).unwrap(), sinks.open(&path).unwrap()];
    assert!(Arc::ptr_eq(&logs[0].target, &logs[1].target));
    assert_eq!(logs[0].path(), path);
    logs[0].write("one\n".to_owned());
    logs[1].write("two\n".to_owned());
    drop((logs, sinks));
    writer.flush();
    assert_eq!(read(&path), "one\ntwo\n");
}

#[test]
fn lines_outlive_the_configuration_that_asked_for_them() {
    let directory = Directory::new();
    let path = directory.file("log");
    let (sinks, _writer) = Sinks::start(SOON).unwrap();
    sinks.open(&path).unwrap().write("one\n".to_owned());
    wait_until("the line is written", || read(&path) == "one\n");
    wait_until("the file is closed", || sinks.targets.live().is_empty());
}

#[test]
fn a_file_that_was_moved_away_is_opened_anew() {
    let directory = Directory::new();
    let (path, moved) = (directory.file("log"), directory.file("log.1"));
    let (sinks, writer) = Sinks::start(SOON).unwrap();
    let log = sinks.open(&path).unwrap();
    log.write("before\n".to_owned());
    wait_until("the line is written", || read(&path) == "before\n");
    fs::rename(&path, &moved).unwrap();
    log.write("still before\n".to_owned());
    wait_until("the line is written", || {
        read(&moved) == "before\nstill before\n"
    });
    sinks.reopen().ask();
    wait_until("there is a new file without a line", || {
        fs::exists(&path).unwrap()
    });
    log.write("after\n".to_owned());
    drop((log, sinks));
    writer.flush();
    assert_eq!(read(&moved), "before\nstill before\n");
    assert_eq!(read(&path), "after\n");
}

#[test]
fn the_old_file_goes_on_until_the_new_one_can_be_opened() {
    let directory = Directory::new();
    let (path, moved) = (directory.file("log"), directory.file("log.1"));
    let (sinks, _writer) = Sinks::start(SOON).unwrap();
    let log = sinks.open(&path).unwrap();
    let counts = sinks.counts();
    fs::rename(&path, &moved).unwrap();
    fs::create_dir(&path).unwrap();
    sinks.reopen().ask();
    wait_until("the failure is counted", || {
        filesystem(&counts, "reopen_failed") > 0
    });
    log.write("meanwhile\n".to_owned());
    wait_until("the line is written", || read(&moved) == "meanwhile\n");
    fs::remove_dir(&path).unwrap();
    wait_until("it is tried again", || fs::exists(&path).unwrap());
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let directory = Directory::new();
    let (sinks, _writer) = Sinks::start(NEVER).unwrap();
    for (path, kind) in [
        (directory.file("none/log"), io::ErrorKind::NotFound),
        (directory.file(""), io::ErrorKind::IsADirectory),
    ] {
        let error = sinks.open(&path).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the file '{path}' cannot be opened")
        );
        assert_eq!(error.source.kind(), kind);
    }
}

#[test]
fn lines_for_a_full_disk_are_counted_as_lost() {
    let (sinks, writer) = Sinks::start(NEVER).unwrap();
    let counts = sinks.counts();
    let log = sinks.open("/dev/full").unwrap();
    log.write("one\n".to_owned());
    log.write("two\n".to_owned());
    drop((log, sinks));
    writer.flush();
    assert_eq!((counts.written(), counts.dropped()), (0, 2));
    assert_eq!(filesystem(&counts, "write_failed"), 1);
    assert_eq!(filesystem(&counts, "write_completed"), 0);
    assert_eq!(counts.write_total_buffered(), 0);
}
