//! Octets as people paste them.

/// Reads hex digits. Spaces, colons, commas, dashes and `0x` between octets are ignored.
pub(super) fn parse(text: &str) -> Result<Vec<u8>, String> {
    let mut digits = String::with_capacity(text.len());
    let is_separator = |c: char| c.is_whitespace() || matches!(c, ':' | ',' | '-');
    for word in text.split(is_separator) {
        let word = word
            .strip_prefix("0x")
            .or_else(|| word.strip_prefix("0X"))
            .unwrap_or(word);
        if let Some(bad) = word.chars().find(|c| !c.is_ascii_hexdigit()) {
            return Err(format!("{bad:?} is not a hex digit"));
        }
        digits.push_str(word);
    }
    match digits.len() {
        0 => Err("there are no hex digits".into()),
        length if length % 2 == 1 => Err(format!(
            "{length} hex digits are not a whole number of octets"
        )),
        _ => hex::decode(digits).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerates_what_people_paste() {
        let rows = [
            (
                "plain",
                "0120cb007105",
                Ok(vec![0x01, 0x20, 0xcb, 0x00, 0x71, 0x05]),
            ),
            (
                "spaces and colons",
                " 01 20:cb:00\n7105 ",
                Ok(vec![0x01, 0x20, 0xcb, 0x00, 0x71, 0x05]),
            ),
            ("0x", "0x0120 0xCB", Ok(vec![0x01, 0x20, 0xcb])),
            ("array of a program", "0x01, 0x20", Ok(vec![0x01, 0x20])),
            (
                "odd",
                "012",
                Err("3 hex digits are not a whole number of octets".to_owned()),
            ),
            ("no digit", "01g0", Err("'g' is not a hex digit".to_owned())),
            ("nothing", " ", Err("there are no hex digits".to_owned())),
        ];
        for (name, text, expected) in rows {
            assert_eq!(parse(text), expected, "{name}");
        }
    }
}
