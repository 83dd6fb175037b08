//! `flowacl explain`: which rule decides this packet?

use std::io::Write;
use std::process::ExitCode;

use super::ask::Daemon;
use crate::engine::explain::Explanation;
use crate::io::report::ExplainRequest;

/// Ask the running daemon which installed rule decides a packet
///
/// The packet is given in words: protocol, source, destination, and what else rules can look at. The answer names every
/// installed rule that the packet meets, in precedence order, and what becomes of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  flowacl explain \"udp 198.51.100.7:123 > 203.0.113.5:4444 len 468\"
  flowacl explain \"udp 198.51.100.7:123 > 203.0.113.5:4444 on eth0\"
  flowacl explain \"tcp 198.51.100.7:40000 > 203.0.113.5:80 flags syn\"")]
pub(super) struct Arguments {
    /// The packet, as one argument or several
    #[arg(required = true, value_name = "PACKET")]
    packet: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    daemon: Daemon,
}

/// Carries out the command.
pub(super) fn run(arguments: &Arguments, output: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let request = ExplainRequest {
        packet: arguments.packet.join(" "),
    };
    let explanation: Explanation = arguments.daemon.post("/v1/explain", &request)?;
    if arguments.json {
        super::print_json(output, &explanation)?;
    } else {
        print(output, &explanation)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the explanation as text.
fn print(output: &mut dyn Write, explanation: &Explanation) -> anyhow::Result<()> {
    write!(output, "{}", explanation.verdict)?;
    if let Some(dscp) = explanation.dscp {
        write!(output, ", leaves with DSCP {dscp}")?;
    }
    if explanation.sampled {
        write!(output, ", a copy goes to the sampling group")?;
    }
    writeln!(output)?;
    if !explanation.taken.is_empty() {
        writeln!(output, "actions: {}", explanation.taken.join(", "))?;
    }
    if let Some(reason) = &explanation.protected {
        writeln!(output, "\nno rule touches it: {reason}")?;
        return Ok(());
    }
    for rule in &explanation.matched {
        writeln!(output, "\n  {}", rule.flow)?;
        writeln!(
            output,
            "    from {}: {}",
            rule.neighbor,
            rule.actions.join(", ")
        )?;
        writeln!(output, "    {}", rule.then)?;
    }
    if !explanation.decided {
        let compared = explanation.compared;
        let rules = if compared == 1 { "rule" } else { "rules" };
        writeln!(
            output,
            "\nnone of the {compared} installed {rules} of its family decides it"
        )?;
    }
    Ok(())
}
