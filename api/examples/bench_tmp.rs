//! Temporary.
#[path = "../src/bench/mod.rs"]
mod bench;
use clap::Parser;
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: bench::BenchCommand,
}
#[tokio::main]
async fn main() {
    Cli::parse().command.run().await.unwrap();
}
