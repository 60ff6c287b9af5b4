//! One place that lines go to, with the lines that wait for it.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tracing::warn;

use super::counts::Counts;
use crate::pace::Pace;

/// So many bytes are written at once to a file.
pub(super) const FULL: usize = 64 * 1024;

/// A place. Workers hold it, and only the writing thread looks inside.
#[derive(Debug)]
pub(super) struct Target {
    path: Box<str>,
    is_file: bool,
    state: Mutex<State>,
    write_failed: Pace,
    reopen_failed: Pace,
}

#[derive(Debug)]
struct State {
    output: Output,
    generation: u64,
    waiting: Vec<u8>,
    lines: u64,
}

/// What is written to.
pub(super) enum Output {
    File(File),
    Stream(Box<dyn Write + Send>),
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => file.fmt(f),
            Self::Stream(_) => f.write_str("a stream"),
        }
    }
}

impl Output {
    pub(super) fn file(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self::File(file))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.write_all(bytes),
            Self::Stream(stream) => {
                stream.write_all(bytes)?;
                stream.flush()
            }
        }
    }
}

impl Target {
    pub(super) fn new(path: &str, output: Output, generation: u64) -> Self {
        Self {
            path: path.into(),
            is_file: matches!(output, Output::File(_)),
            state: Mutex::new(State {
                output,
                generation,
                waiting: Vec::new(),
                lines: 0,
            }),
            write_failed: Pace::default(),
            reopen_failed: Pace::default(),
        }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Whether lines may wait a while.
    pub(super) fn is_file(&self) -> bool {
        self.is_file
    }

    /// Adds a line to those that wait.
    pub(super) fn append(&self, line: &str, generation: u64, counts: &Counts) {
        let mut state = self.state();
        self.reopen(&mut state, generation, counts);
        counts.buffered(line.len());
        state.waiting.extend_from_slice(line.as_bytes());
        state.lines += 1;
        if state.waiting.len() >= FULL {
            self.flush_state(&mut state, counts);
        }
    }

    /// Writes the lines that wait; says whether there were any.
    pub(super) fn flush(&self, counts: &Counts) -> bool {
        self.flush_state(&mut self.state(), counts)
    }

    /// Opens the file anew if that was asked for since it was last opened.
    pub(super) fn follow(&self, generation: u64, counts: &Counts) {
        self.reopen(&mut self.state(), generation, counts);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush_state(&self, state: &mut State, counts: &Counts) -> bool {
        if state.lines == 0 {
            return false;
        }
        let written = state.output.write(&state.waiting);
        counts.flushed(state.lines, state.waiting.len(), written.is_ok());
        if let Err(error) = written
            && self.write_failed.is_due()
        {
            let (path, lines) = (&self.path, state.lines);
            warn!(%path, lines, %error, "lines of an access log are lost");
        }
        state.waiting.clear();
        state.lines = 0;
        true
    }

    fn reopen(&self, state: &mut State, generation: u64, counts: &Counts) {
        if !self.is_file || state.generation == generation {
            return;
        }
        // What was said before the file was moved away belongs to it.
        self.flush_state(state, counts);
        match Output::file(Path::new(&*self.path)) {
            Ok(output) => {
                state.output = output;
                state.generation = generation;
            }
            // The old one goes on until the new one can be opened.
            Err(error) => {
                counts.reopen_failed();
                if self.reopen_failed.is_due() {
                    warn!(path = %self.path, %error, "open the file of an access log anew");
                }
            }
        }
    }
}
