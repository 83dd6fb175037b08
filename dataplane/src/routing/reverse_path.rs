//! Reverse path filters that would drop redirected packets.

use std::fs;

/// A warning when the kernel would look for the way back of redirected packets by the mark that sends them elsewhere, on
/// interfaces that are filtered. Reads the settings of this thread's network namespace.
pub(crate) fn warning(interfaces: &[String]) -> Option<String> {
    let names = interfaces.iter().map(String::as_str);
    let strict: Vec<&str> = names.filter(|name| is_strict(setting, name)).collect();
    (!strict.is_empty()).then(|| {
        format!(
            "strict rp_filter and src_valid_mark are on for {}: the kernel drops redirected packets there; \
             sysctl net.ipv4.conf.INTERFACE.src_valid_mark=0",
            strict.join(", ")
        )
    })
}

/// Whether the way back of packets of an interface is looked for by their mark, and must lead there.
fn is_strict(setting: impl Fn(&str, &str) -> u32, interface: &str) -> bool {
    let greatest = |key| setting("all", key).max(setting(interface, key));
    greatest("rp_filter") == 1 && greatest("src_valid_mark") != 0
}

/// A setting of an interface; 0 when there is none.
fn setting(interface: &str, key: &str) -> u32 {
    let path = format!("/proc/sys/net/ipv4/conf/{interface}/{key}");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_strict_filters_that_look_at_marks_drop() {
        // rp_filter and src_valid_mark, of all interfaces and of this one.
        let rows = [
            ("nothing", [0, 0], [0, 0], false),
            ("no marks", [1, 0], [1, 0], false),
            ("marks of all", [0, 1], [1, 0], true),
            ("strict for all", [1, 0], [0, 1], true),
            ("the loose one counts more", [1, 1], [2, 0], false),
            ("not filtered", [0, 1], [0, 1], false),
        ];
        for (name, all, own, expected) in rows {
            let setting = |interface: &str, key: &str| {
                let of = if interface == "all" { all } else { own };
                of[usize::from(key == "src_valid_mark")]
            };
            assert_eq!(is_strict(setting, "eth0"), expected, "{name}");
        }
    }
}
