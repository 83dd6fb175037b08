//! Truncations and bit flips of good vectors: no panic, and nothing wider than what was meant.

use flowacl::flowspec::text::format_match;
use flowacl::wire::iana::FlowFamily;
use flowacl::wire::message::{MAX_EXTENDED_MESSAGE_LENGTH, Message, split};
use flowacl::wire::nlri::Nlri;
use flowacl::wire::update::decode;

use crate::{announcement, context, load, read_all};

/// Id, family (none: whole messages) and octets of all good NLRI and messages.
fn good_vectors() -> Vec<(String, Option<FlowFamily>, Vec<u8>)> {
    let vectors: Vec<_> = load("vectors.jsonl")
        .iter()
        .filter(|vector| vector.is_valid() && matches!(vector.kind(), "nlri" | "message"))
        .map(|vector| {
            let family = vector.family().filter(|_| vector.kind() == "nlri");
            (vector.id().to_string(), family, vector.octets())
        })
        .collect();
    assert!(vectors.len() > 150, "only {}", vectors.len());
    vectors
}

/// Decodes and shows all that can be shown.
fn survive(family: Option<FlowFamily>, octets: &[u8]) {
    match family {
        Some(family) => {
            for nlri in read_all(family, octets).unwrap_or_default() {
                assert!(!format_match(&nlri).is_empty());
                assert_eq!(read_all(family, &nlri.encoded()), Some(vec![nlri]));
            }
            survive_update(&announcement(family, octets));
        }
        None => {
            let mut buffer = octets.to_vec();
            while let Ok(Some(message)) = split(&mut buffer, MAX_EXTENDED_MESSAGE_LENGTH) {
                let again = split(&mut message.encode(), MAX_EXTENDED_MESSAGE_LENGTH);
                assert_eq!(again.as_ref(), Ok(&Some(message.clone())));
                if let Message::Update(body) = message {
                    survive_update(&body);
                }
            }
        }
    }
}

fn survive_update(body: &[u8]) {
    for (ibgp, add_path) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut context = context(ibgp, ibgp);
        let families = context.families.iter().filter(|_| add_path);
        context.add_path = families.map(|family| family.afi_safi()).collect();
        match decode(body, &context) {
            Ok(update) => {
                for error in &update.errors {
                    assert!(error.offset <= body.len(), "{error}");
                }
                let both = |nlri| update.announced.contains(nlri);
                assert!(!update.withdrawn.iter().any(both));
            }
            Err(error) => assert!(error.offset <= body.len(), "{error}"),
        }
    }
}

#[test]
fn every_truncation_is_survived() {
    for (id, family, octets) in good_vectors() {
        for length in 0..octets.len() {
            let cut = &octets[..length];
            survive(family, cut);
            // Its length octets still promise the whole.
            if let Some(family) = family.filter(|_| length > 0)
                && let Some(routes) = read_all(family, cut)
            {
                let whole = read_all(family, &octets).unwrap();
                assert!(routes.len() < whole.len(), "{id} cut to {length} octets");
            }
        }
    }
}

#[test]
fn every_single_bit_flip_is_survived() {
    for (_, family, octets) in good_vectors() {
        for bit in 0..octets.len() * 8 {
            let mut flipped = octets.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            survive(family, &flipped);
        }
    }
}

#[test]
fn a_component_cut_short_is_never_a_wider_filter() {
    for (id, family, octets) in good_vectors() {
        let Some(family) = family else { continue };
        for nlri in read_all(family, &octets).unwrap() {
            let value = nlri.value();
            for length in 1..value.len() {
                // The length octets agree with the cut: only the components can tell.
                let Ok(cut) = Nlri::decode(family, &value[..length]) else {
                    continue;
                };
                let (cut, whole) = (cut.components(), nlri.components());
                assert_eq!(
                    cut,
                    whole[..cut.len()],
                    "{id} cut to {length} octets: not at an edge"
                );
            }
        }
    }
}
