//! The command line: one module per subcommand. Exit codes: 0 done, 1 it failed or the answer is no, 2 the command
//! line or the configuration is wrong.

mod announce;
mod ask;
mod check;
mod clear;
mod decode;
mod demo;
mod explain;
mod flows;
mod hex;
mod orders;
mod plan;
mod reload;
mod run;
mod show;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::ConfigErrors;

/// Exit code for a wrong configuration; clap uses the same for a wrong command line.
const EXIT_USAGE: u8 = 2;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "flowacl",
    version,
    about = "BGP FlowSpec receiver that makes the packet filter equal to the received Flow Specifications",
    long_about = "Receives BGP Flow Specifications (RFC 8955, RFC 8956) and makes the packet filter of this machine \
        equal to them. What cannot be enforced exactly is refused with a reason, never widened.",
    after_help = "Exit codes: 0 done; 1 it failed, or the answer is no; 2 the command line or the configuration is \
        wrong.\n\nTry `flowacl demo` first: the whole story on this machine, without root.",
    max_term_width = 100
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// What to do. The help of each stands with its arguments.
#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Check(check::Arguments),
    Show(show::Arguments),
    Explain(explain::Arguments),
    Reload(reload::Arguments),
    Disable(orders::DisableArguments),
    Enable(orders::EnableArguments),
    Panic(orders::PanicArguments),
    Resume(orders::ResumeArguments),
    Clear(clear::Arguments),
    Decode(decode::Arguments),
    Plan(plan::Arguments),
    Announce(announce::Arguments),
    Demo(demo::Arguments),
}

/// Reads the command line, does what it says, and tells how it went.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Nothing above this line starts a thread: `demo` has to enter its namespaces first.
    let mut output = io::BufWriter::new(io::stdout().lock());
    let result = carry_out(arguments.command, &mut output).and_then(|code| {
        output.flush()?;
        Ok(code)
    });
    match result {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref::<ConfigErrors>() {
            Some(errors) => {
                eprintln!("{errors}");
                ExitCode::from(EXIT_USAGE)
            }
            None => {
                eprintln!("flowacl: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

/// Carries out one command, printing to `output`.
fn carry_out(command: Command, output: &mut dyn Write) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::run(&arguments, output),
        Command::Show(arguments) => show::run(&arguments, output),
        Command::Explain(arguments) => explain::run(&arguments, output),
        Command::Reload(arguments) => reload::run(&arguments, output),
        Command::Disable(arguments) => orders::disable(&arguments, output),
        Command::Enable(arguments) => orders::enable(&arguments, output),
        Command::Panic(arguments) => orders::panic(&arguments, output),
        Command::Resume(arguments) => orders::resume(&arguments, output),
        Command::Clear(arguments) => clear::run(&arguments, output),
        Command::Decode(arguments) => decode::run(&arguments, output),
        Command::Plan(arguments) => plan::run(&arguments, output),
        Command::Announce(arguments) => announce::run(&arguments, output),
        Command::Demo(arguments) => demo::run(&arguments, output),
    }
}

/// Prints `value` as indented JSON.
fn print_json(output: &mut dyn Write, value: &impl serde::Serialize) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *output, value).map_err(io::Error::from)?;
    writeln!(output)?;
    Ok(())
}

/// True when the reader of our output has gone, as in `flowacl show rules | head`: nothing is wrong.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io_error = error.downcast_ref::<io::Error>();
    io_error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
