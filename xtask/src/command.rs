//! Running programs, with errors that say what ran and how it failed.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

/// How many of the last lines a failed program printed are shown.
const SHOWN_LINES: usize = 12;

/// A program to run.
pub(crate) struct Program {
    command: Command,
    input: Option<Vec<u8>>,
}

impl Program {
    /// A program by its name in `PATH` or by its file.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            command: Command::new(program),
            input: None,
        }
    }

    /// Adds one argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs in this directory.
    pub(crate) fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Gives the program this text on its standard input, which is empty otherwise.
    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Runs quietly; fails unless the program succeeds.
    pub(crate) fn run(self) -> Result<()> {
        self.output().map(drop)
    }

    /// Runs quietly and returns what the program printed on its standard output; fails unless it
    /// succeeds.
    pub(crate) fn output(self) -> Result<String> {
        let shown = self.to_string();
        let output = self.finish()?;
        if !output.status.success() {
            let printed = if output.stderr.is_empty() {
                &output.stdout
            } else {
                &output.stderr
            };
            bail!(
                "`{shown}` failed, {}:\n{}",
                output.status,
                tail(&String::from_utf8_lossy(printed))
            );
        }
        String::from_utf8(output.stdout)
            .with_context(|| format!("`{shown}` printed something that is not text"))
    }

    /// Runs quietly, whatever the end; fails only if the program cannot be started.
    pub(crate) fn finish(mut self) -> Result<Output> {
        let shown = self.to_string();
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        self.command.stdin(if self.input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        let mut child = self
            .command
            .spawn()
            .with_context(|| format!("start `{shown}`"))?;
        // A thread, because a program may print more than a pipe holds before it has read its
        // input.
        let writer = self
            .input
            .take()
            .zip(child.stdin.take())
            .map(|(input, mut stdin)| thread::spawn(move || stdin.write_all(&input)));
        let output = child
            .wait_with_output()
            .with_context(|| format!("wait for `{shown}`"))?;
        if let Some(writer) = writer {
            // A program that ends early closes the pipe; its exit status tells the reason.
            drop(writer.join());
        }
        Ok(output)
    }

    /// Runs with everything it prints in a log file; fails unless the program succeeds.
    pub(crate) fn run_logged(mut self, log: &Path) -> Result<()> {
        let shown = self.to_string();
        let file = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let errors = file
            .try_clone()
            .with_context(|| format!("open {} twice", log.display()))?;
        self.command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors);
        let status = self
            .command
            .status()
            .with_context(|| format!("start `{shown}`"))?;
        if !status.success() {
            bail!(
                "`{shown}` failed, {status}; the end of {}:\n{}",
                log.display(),
                tail_of_file(log)
            );
        }
        Ok(())
    }

    /// Runs in the terminal of the caller; fails unless the program succeeds.
    pub(crate) fn show(mut self) -> Result<()> {
        let shown = self.to_string();
        let status = self
            .command
            .status()
            .with_context(|| format!("start `{shown}`"))?;
        if !status.success() {
            bail!("`{shown}` failed, {status}");
        }
        Ok(())
    }

    /// The command itself, for what this type has no word for.
    pub(crate) fn into_command(self) -> Command {
        self.command
    }
}

impl std::fmt::Display for Program {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.command.get_program().display())?;
        for arg in self.command.get_args() {
            write!(formatter, " {}", arg.display())?;
        }
        Ok(())
    }
}

/// The end of a log file, for an error message; says so if the file cannot be read.
pub(crate) fn tail_of_file(log: &Path) -> String {
    match std::fs::read(log) {
        Ok(content) => tail(&String::from_utf8_lossy(&content)),
        Err(error) => format!("    (cannot read {}: {error})", log.display()),
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let from = lines.len().saturating_sub(SHOWN_LINES);
    lines[from..]
        .iter()
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_names_command_status_and_last_lines() {
        let error = Program::new("sh")
            .args(["-c", "echo lost >&2; exit 3"])
            .run()
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "`sh -c echo lost >&2; exit 3` failed, exit status: 3:\n    lost"
        );
    }

    #[test]
    fn missing_program_is_named() {
        let error = Program::new("/nonexistent/program")
            .arg("-x")
            .run()
            .unwrap_err()
            .to_string();
        assert_eq!(error, "start `/nonexistent/program -x`");
    }

    #[test]
    fn input_larger_than_a_pipe_comes_back() {
        let input = "x".repeat(1 << 20);
        assert_eq!(
            Program::new("cat").input(input.clone()).output().unwrap(),
            input
        );
    }

    #[test]
    fn tail_keeps_the_last_lines() {
        let text: String = (0..40).map(|line| format!("{line}\n\n")).collect();
        let shown = tail(&text);
        assert_eq!(shown.lines().count(), SHOWN_LINES);
        assert!(shown.ends_with("    39"), "{shown}");
    }
}
