//! Without rules every packet of the corpus comes through, so that a missing packet means a rule.

use dataplane::packet::Packet;
use flowacl::lab::{Lab, LabError, Passed};

use crate::corpus::samples;
use crate::network::available;

#[test]
fn without_rules_every_packet_passes() {
    type Build = fn() -> Result<Lab, LabError>;
    let builds = [("routed", Lab::routed as Build), ("bridged", Lab::bridged)];
    for (kind, build) in builds {
        let Some(mut lab) = available(build) else {
            return;
        };
        let samples = samples();
        let packets: Vec<_> = samples.iter().map(|sample| sample.octets.clone()).collect();
        let lost: Vec<_> = lab
            .pass(&packets)
            .unwrap()
            .into_iter()
            .zip(&samples)
            .filter(|(passed, _)| *passed == Passed::Dropped)
            .map(|(_, sample)| sample.name.as_str())
            .collect();
        assert_eq!(lost, Vec::<&str>::new(), "{kind}");
        for sample in &samples {
            assert!(Packet::parse(&sample.octets).is_some(), "{}", sample.name);
        }
    }
}
