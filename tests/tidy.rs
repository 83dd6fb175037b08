//! The invariants of ARCHITECTURE.md that can be read off the source: who may name whom, what stays pure, what stays short.

use std::path::{Path, PathBuf};

/// Longest file, tests aside.
const MAX_LINES: usize = 800;

/// Modules of the upper half in the order of the arrow, with the modules that each may name.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("flowspec", &["wire"]),
    ("session", &["wire"]),
    ("rib", &["wire", "flowspec"]),
    ("engine", &["wire", "flowspec", "session", "rib"]),
    ("config", &["wire", "flowspec", "engine", "session"]),
    (
        "io",
        &["wire", "flowspec", "session", "rib", "engine", "config"],
    ),
    ("lab", &[]),
    (
        "cli",
        &[
            "wire", "flowspec", "session", "rib", "engine", "config", "io", "lab",
        ],
    ),
];

/// Modules of the data plane crate that each module of the upper half may name.
const MAY_NAME_OF_DATAPLANE: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("flowspec", &["packet", "rule", "interval"]),
    ("session", &[]),
    ("rib", &["rule"]),
    (
        "engine",
        &["packet", "rule", "interval", "desired", "guard", "backend"],
    ),
];

/// Without clock, socket, file, thread or logging: a file, or a folder, or both of that name.
const PURE: &[&str] = &[
    "src/wire",
    "src/flowspec",
    "src/session",
    "src/rib",
    "src/engine",
    "dataplane/src/interval",
    "dataplane/src/rule",
    "dataplane/src/action",
    "dataplane/src/routing/marks",
    "dataplane/src/routing/usage",
    "dataplane/src/routing/entries",
    "dataplane/src/overlap",
    "dataplane/src/guard",
    "dataplane/src/packet",
    "dataplane/src/desired",
    "dataplane/src/backend",
    "dataplane/src/sim",
    "dataplane/src/nft/compile",
    "dataplane/src/nft/layout",
    "dataplane/src/layered",
    "dataplane/src/tcam",
    "dataplane/src/cumulus/file",
    "dataplane/src/cumulus/line",
    "dataplane/src/cumulus/output",
    "dataplane/src/cumulus/plan",
    "dataplane/src/cumulus/policer",
    "dataplane/src/sonic/acl",
    "dataplane/src/sonic/document",
    "dataplane/src/sonic/ledger",
    "dataplane/src/sonic/model",
    "dataplane/src/sonic/placed",
    "dataplane/src/sonic/priority",
    "dataplane/src/sonic/transition",
];

/// What a pure module may not say.
const IMPURE: &[&str] = &[
    "Instant::now",
    "SystemTime",
    "std::fs",
    "std::thread",
    "std::process",
    "TcpStream",
    "UdpSocket",
    "tokio::",
    "tracing::",
    "println!",
    "rand::",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below some paths, each of which stands for a folder, for the file of that name, or for both.
fn files(below: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = Vec::new();
    for path in below {
        let path = root().join(path);
        let places = [path.with_extension("rs"), path];
        assert!(places.iter().any(|place| place.exists()), "{places:?}");
        open.extend(places);
    }
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.extension().is_some_and(|extension| extension == "rs") && path.is_file() {
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            found.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort();
    found.dedup();
    assert!(!found.is_empty(), "nothing below {below:?}");
    found
}

fn is_test_file(name: &str) -> bool {
    name.contains("/tests") || name.ends_with("_tests.rs") || name.ends_with("/testing.rs")
}

/// The lines of a file before its tests, numbered from 1, without comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let before_tests = text.lines().take_while(|line| *line != "#[cfg(test)]");
    let numbered = before_tests
        .enumerate()
        .map(|(index, line)| (index + 1, line));
    numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The identifiers that follow `prefix` in a line.
fn named_after<'l>(line: &'l str, prefix: &'l str) -> impl Iterator<Item = &'l str> {
    line.match_indices(prefix).map(move |(at, _)| {
        let rest = &line[at + prefix.len()..];
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        &rest[..end]
    })
}

fn assert_none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn modules_name_only_what_comes_before_them() {
    let mut complaints = Vec::new();
    for (module, allowed) in MAY_NAME {
        for (name, text) in files(&[&format!("src/{module}")]) {
            if is_test_file(&name) {
                continue;
            }
            for (number, line) in code(&text) {
                let known = |other: &&str| MAY_NAME.iter().any(|(module, _)| module == other);
                let forbidden = named_after(line, "crate::")
                    .filter(known)
                    .find(|other| other != module && !allowed.contains(other));
                if let Some(other) = forbidden {
                    complaints.push(format!("{name}:{number}: {module} names {other}"));
                }
            }
        }
    }
    assert_none(complaints);
}

#[test]
fn the_core_names_only_the_pure_part_of_the_data_plane() {
    let mut complaints = Vec::new();
    for (module, allowed) in MAY_NAME_OF_DATAPLANE {
        for (name, text) in files(&[&format!("src/{module}")]) {
            if is_test_file(&name) {
                continue;
            }
            for (number, line) in code(&text) {
                if let Some(other) =
                    named_after(line, "dataplane::").find(|other| !allowed.contains(other))
                {
                    complaints.push(format!(
                        "{name}:{number}: {module} names dataplane::{other}"
                    ));
                }
            }
        }
    }
    assert_none(complaints);
}

#[test]
fn the_data_plane_knows_nothing_of_the_upper_half() {
    let manifest = std::fs::read_to_string(root().join("dataplane/Cargo.toml")).unwrap();
    assert!(
        !manifest.contains("flowacl"),
        "dataplane depends on the upper half"
    );
    let words = ["BGP message", "Nlri", "NOTIFICATION", "crate::wire"];
    let mut complaints = Vec::new();
    for (name, text) in files(&["dataplane/src"]) {
        for (number, line) in code(&text) {
            complaints.extend(
                words
                    .iter()
                    .filter(|word| line.contains(*word))
                    .map(|word| format!("{name}:{number}: {word}")),
            );
        }
    }
    assert_none(complaints);
}

#[test]
fn pure_modules_have_no_clock_socket_file_thread_or_log() {
    let mut complaints = Vec::new();
    for (name, text) in files(PURE) {
        if is_test_file(&name) {
            continue;
        }
        for (number, line) in code(&text) {
            complaints.extend(
                IMPURE
                    .iter()
                    .filter(|word| line.contains(*word))
                    .map(|word| format!("{name}:{number}: {word}")),
            );
        }
    }
    assert_none(complaints);
}

#[test]
fn unsafe_code_stands_only_in_modules_named_sys() {
    let mut complaints = Vec::new();
    for (name, text) in files(&["src", "dataplane/src"]) {
        if name.ends_with("/sys.rs") {
            continue;
        }
        for (number, line) in code(&text) {
            if line.contains("unsafe ") || line.contains("allow(unsafe_code)") {
                complaints.push(format!("{name}:{number}: {}", line.trim()));
            }
        }
    }
    assert_none(complaints);
}

#[test]
fn files_can_be_read_in_one_sitting() {
    let mut complaints = Vec::new();
    for (name, text) in files(&["src", "dataplane/src"]) {
        let lines = text
            .lines()
            .take_while(|line| *line != "#[cfg(test)]")
            .count();
        if lines > MAX_LINES && !is_test_file(&name) {
            complaints.push(format!("{name}: {lines} lines before its tests"));
        }
    }
    assert_none(complaints);
}

#[test]
fn every_file_says_what_it_is() {
    let all = files(&["src", "dataplane/src", "tests"]);
    let silent = all
        .iter()
        .filter(|(name, text)| !is_test_file(name) && !text.starts_with("//!"));
    assert_none(
        silent
            .map(|(name, _)| format!("{name}: no headline"))
            .collect(),
    );
}

#[test]
fn nobody_reads_a_clock_that_can_jump() {
    let mut complaints = Vec::new();
    for (name, text) in files(&["src", "dataplane/src"]) {
        for (number, line) in code(&text) {
            let clocks = ["SystemTime", "UNIX_EPOCH", "CLOCK_REALTIME"];
            if clocks.iter().any(|clock| line.contains(clock)) {
                complaints.push(format!("{name}:{number}: {}", line.trim()));
            }
        }
    }
    assert_none(complaints);
}

/// Files that documents name in code spans, as seen from the repository's root.
#[test]
fn documents_name_files_that_exist() {
    let mut complaints = Vec::new();
    let (mut open, mut named) = (vec![root().to_owned()], 0);
    while let Some(path) = open.pop() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && name != "target" && (path == root() || !name.starts_with('.')) {
            let entries = std::fs::read_dir(&path).unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
        }
        if path.extension().is_none_or(|extension| extension != "md") || !path.is_file() {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for span in text.split('`').skip(1).step_by(2) {
            let (folder, rest) = span.split_once('/').unwrap_or_default();
            let is_path =
                !rest.is_empty() && !rest.contains(|c: char| c.is_whitespace() || c == '*');
            if is_path && !folder.is_empty() && root().join(folder).is_dir() {
                named += 1;
                if !root().join(span).exists() {
                    complaints.push(format!("{}: {span}", path.display()));
                }
            }
        }
    }
    assert!(named > 20, "{named}");
    assert_none(complaints);
}
