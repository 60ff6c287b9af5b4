//! The application that the demo and the cluster tests put behind sidecars.

mod fetch;
mod health;
mod pattern;
mod serve;

use std::{process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

/// A small server and its client, for trying a mesh.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves `/` (who answers), `/bytes/N` (N bytes of a fixed pattern), `/metrics` and a server-first
    /// echo.
    Serve(serve::Addresses),
    /// Sends GET requests and prints the bodies.
    Get {
        /// For example `http://server:8080/`.
        url: hyper::Uri,
        /// How many requests, one after another, each on a connection of its own.
        #[arg(long, default_value_t = 1)]
        count: u32,
        /// How long one request may take, in seconds.
        #[arg(long, default_value_t = 10)]
        timeout: u64,
        /// Prints length and SHA-256 of the body in its place.
        #[arg(long)]
        digest: bool,
    },
    /// Reads the greeting of a server-first server, sends a line, and prints what comes back.
    Greet {
        /// For example `server:9000`.
        address: String,
        /// What is sent.
        #[arg(default_value = "hello")]
        line: String,
    },
    /// Prints length and SHA-256 of what `/bytes/N` serves.
    Digest {
        /// N.
        length: u64,
    },
    /// Does nothing until it is told to end.
    Sleep,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    match run(Arguments::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(addresses) => serve::serve(addresses).await,
        Command::Get {
            url,
            count,
            timeout,
            digest,
        } => {
            let show = if digest {
                fetch::Show::Digest
            } else {
                fetch::Show::Body
            };
            for _ in 0..count {
                println!(
                    "{}",
                    fetch::get(&url, Duration::from_secs(timeout), show).await?
                );
            }
            Ok(())
        }
        Command::Greet { address, line } => {
            println!("{}", fetch::greet(&address, &line).await?);
            Ok(())
        }
        Command::Digest { length } => {
            println!("{}", pattern::digest(length));
            Ok(())
        }
        Command::Sleep => serve::until_terminated().await,
    }
}
