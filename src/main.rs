//! The `larder` program: arguments, configuration, log, server, exit code.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use clap::{Parser, Subcommand};
use larder::call::loading;
use larder::config::{CommandLine, Config};
use larder::persistence::aof::check as log;
use larder::persistence::disk::RealDisk;
use larder::persistence::rdb::check;
use larder::server::log::Log;
use larder::util::clock::UnixMs;
use larder::util::memory::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// An in-memory cache server that speaks the Redis protocol.
#[derive(Parser)]
#[command(
    name = "larder",
    disable_version_flag = true,
    disable_help_subcommand = true,
    args_conflicts_with_subcommands = true,
    override_usage = "larder [FILE | -] [--OPTION VALUE ...] [-]\n       larder check-rdb FILE\n       larder check-aof FILE|MANIFEST"
)]
struct Arguments {
    #[command(subcommand)]
    tool: Option<Tool>,

    /// Print the version and exit.
    #[arg(short = 'v', long)]
    version: bool,

    /// A configuration file (- reads standard input), then options that override it: --port 7777 --save 60 1.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FILE, OPTIONS")]
    rest: Vec<OsString>,
}

/// What the program does in place of serving.
#[derive(Subcommand)]
enum Tool {
    /// Check a snapshot file: reads all of it, changes nothing; exit status 1 when it is damaged.
    CheckRdb {
        /// The file.
        file: PathBuf,
    },
    /// Check a file of an append-only log, or all of those that a manifest names; exit status 1 when one is damaged.
    CheckAof {
        /// The file, or the manifest.
        file: PathBuf,
        /// Cut off what is not whole at the end of the last file.
        #[arg(long)]
        fix: bool,
        /// Cut off what was done after this time, in seconds since the epoch, as far as the log notes the time.
        #[arg(long, value_name = "SECONDS")]
        truncate_to_timestamp: Option<i64>,
    },
}

impl Tool {
    /// Does it; whether all is well.
    fn run(&self) -> std::io::Result<bool> {
        let mut out = std::io::stdout().lock();
        let options = loading::options(&Config::default(), UnixMs::now());
        match self {
            Tool::CheckRdb { file } => check::check(&RealDisk::default(), file, &options, &mut out),
            Tool::CheckAof { file, fix, truncate_to_timestamp } => {
                let repair = log::Repair { fix: *fix, until_s: *truncate_to_timestamp };
                log::check(&RealDisk::default(), file, repair, &options, &mut out)
            }
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(tool) = &arguments.tool {
        return match tool.run() {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => complain(&error),
        };
    }
    if arguments.version {
        let printed = writeln!(std::io::stdout(), "{}", version());
        return if printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    match start(&arguments.rest) {
        Ok(Some((config, log))) => larder::server::run(config, log),
        Ok(None) => ExitCode::SUCCESS,
        Err(why) => complain(&why),
    }
}

fn complain(why: &dyn std::fmt::Display) -> ExitCode {
    // Nowhere is left to report a failure of this write.
    let _ = writeln!(std::io::stderr(), "{why}");
    ExitCode::FAILURE
}

/// What a server needs.
type Ready = (Arc<Config>, Log);

/// Reads the configuration, moves into `dir`, and starts the log. `None` when another process does, in the background.
fn start(arguments: &[OsString]) -> Result<Option<Ready>, Box<dyn std::error::Error>> {
    let line = CommandLine::read(arguments.iter().map(OsString::as_os_str));
    let mut text = Vec::new();
    if line.stdin {
        std::io::stdin().read_to_end(&mut text).map_err(|error| format!("Can't read standard input: {error}"))?;
    }
    let config = Config::load(&line, &mut &text[..])?;
    if config.daemonize() && std::env::var_os(BACKGROUND).is_none() {
        go_on_in_background(&text).map_err(|error| format!("Can't start in the background: {error}"))?;
        return Ok(None);
    }
    if config.daemonize() {
        rustix::process::setsid().map_err(|error| format!("Can't leave the terminal: {error}"))?;
    }
    std::env::set_current_dir(config.dir()).map_err(|error| format!("Can't change to 'dir': {error}"))?;
    let config = Arc::new(config);
    let log = Log::start(&config).map_err(|error| format!("Can't open the log file: {error}"))?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    Ok(Some((config, log)))
}

/// Tells the program that it is the one in the background.
const BACKGROUND: &str = "LARDER_IN_BACKGROUND";

/// Starts the program once more, with the same arguments and without a terminal; `text` was its standard input. A process that has
/// threads cannot be split in two, and this one is about to have some.
fn go_on_in_background(text: &[u8]) -> std::io::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).env(BACKGROUND, "1");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    match child.stdin.take() {
        Some(mut stdin) => stdin.write_all(text),
        None => Ok(()),
    }
}

/// The line of `--version`, in the shape of `redis-server`'s, which test suites read.
fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let build = fnv(version.as_bytes());
    format!("Larder server v={version} sha=00000000:0 malloc=jemalloc bits={} build={build:016x}", usize::BITS)
}

/// FNV-1a, to have a build number that changes with the version.
const fn fnv(bytes: &[u8]) -> u64 {
    let (mut hash, mut at) = (0xcbf2_9ce4_8422_2325_u64, 0);
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x100_0000_01b3);
        at += 1;
    }
    hash
}
