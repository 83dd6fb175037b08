//! What all benches print alike: the machine, and numbers that stand for many.

/// Prints how the table below was made.
pub fn headline(command: &str, what: &str) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("$ {command}");
    println!("{what}");
    println!(
        "machine: Linux {}, {cores} cores, {}; load before: {}\n",
        read("/proc/sys/kernel/osrelease").trim(),
        model.map_or("unknown processor", |(_, name)| name),
        read("/proc/loadavg").split(' ').next().unwrap_or_default(),
    );
}

/// `met` or `missed`.
pub fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "missed" }
}

/// The value below which this share of the values lies; there is at least one. Sorts them.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}

/// The value in the middle. Sorts them.
pub fn median(values: &mut [f64]) -> f64 {
    quantile(values, 0.5)
}
