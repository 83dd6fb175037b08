//! Which interfaces merge received packets before any packet filter sees them.

use std::collections::BTreeSet;

use ethtool::{EthtoolAttr, EthtoolFeatureAttr, EthtoolFeatureBit, EthtoolHeader};
use futures_util::TryStreamExt;
use tokio::spawn;

/// Features of the kernel's list that merge: in software and by the device.
const MERGING: [&str; 3] = ["rx-gro", "rx-gro-hw", "rx-lro"];

/// Names of the interfaces that merge packets, in the network namespace of the calling thread.
///
/// Empty where the kernel does not answer: all that depends on it is a warning.
pub(super) async fn merging() -> BTreeSet<String> {
    match read().await {
        Ok(names) => names,
        Err(error) => {
            tracing::debug!("cannot read the offloads of interfaces: {error}");
            BTreeSet::new()
        }
    }
}

/// Asks for the features of all interfaces.
async fn read() -> Result<BTreeSet<String>, Box<dyn std::error::Error + Send + Sync>> {
    let (connection, mut handle, _) = ethtool::new_connection()?;
    let connection = spawn(connection);
    let replies = handle.feature().get(None).execute().await?;
    let messages: Vec<_> = replies.try_collect().await?;
    connection.abort();
    Ok(messages
        .into_iter()
        .filter_map(|message| merging_name(message.payload.nlas))
        .collect())
}

/// The interface's name, if it merges.
fn merging_name(attributes: Vec<EthtoolAttr>) -> Option<String> {
    let (mut name, mut merges) = (None, false);
    for attribute in attributes {
        match attribute {
            EthtoolAttr::Feature(EthtoolFeatureAttr::Header(headers)) => {
                name = headers.into_iter().find_map(|header| match header {
                    EthtoolHeader::DevName(name) => Some(name),
                    _ => None,
                });
            }
            EthtoolAttr::Feature(EthtoolFeatureAttr::Active(bits)) => {
                let is_on = |bit: &EthtoolFeatureBit| bit.value && MERGING.contains(&&*bit.name);
                merges = bits.iter().any(is_on);
            }
            _ => {}
        }
    }
    name.filter(|_| merges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_offloads() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let names = runtime
            .block_on(read())
            .expect("the kernel has ethtool's netlink family");
        assert!(names.contains("lo"), "lo merges by default: {names:?}");
    }
}
