//! The packet filters by the names that the configuration uses.

use dataplane::backend::Backend;
use dataplane::nft::Nftables;

use crate::config::BackendKind;

/// Makes a backend; nothing is touched before its `start`.
pub fn create(kind: BackendKind) -> Box<dyn Backend> {
    match kind {
        BackendKind::Nftables => Box::new(Nftables::new()),
        BackendKind::Sim => Box::new(interim::Sim),
    }
}

/// Takes every rule and forwards nothing, until `dataplane::sim` does it.
mod interim {
    use std::sync::Arc;

    use dataplane::backend::{Backend, BackendError, Capability, Counter, Unsupported};
    use dataplane::desired::{Changes, Link, Settings};
    use dataplane::rule::{Rule, RuleId};

    /// See the module.
    pub(super) struct Sim;

    impl Capability for Sim {
        fn check(&self, _: &Rule) -> Result<(), Unsupported> {
            Ok(())
        }
    }

    impl Backend for Sim {
        fn name(&self) -> &'static str {
            "sim"
        }
        fn capability(&self) -> Arc<dyn Capability> {
            Arc::new(Sim)
        }
        fn start(&mut self, _: &Settings, _: &[Link]) -> Result<(), BackendError> {
            Ok(())
        }
        fn reconfigure(&mut self, _: &Settings, _: &[Link]) -> Result<(), BackendError> {
            Ok(())
        }
        fn commit(&mut self, _: &Changes) -> Result<(), BackendError> {
            Ok(())
        }
        fn counters(&mut self) -> Result<Vec<(RuleId, Counter)>, BackendError> {
            Ok(Vec::new())
        }
        fn render(&self, _: &Settings, rules: &[Arc<Rule>]) -> String {
            rules.iter().map(|rule| format!("{rule:?}\n")).collect()
        }
        fn describe(&mut self) -> Result<Vec<(String, String)>, BackendError> {
            Ok(Vec::new())
        }
        fn warnings(&mut self) -> Vec<String> {
            Vec::new()
        }
        fn stop(&mut self) -> Result<(), BackendError> {
            Ok(())
        }
    }
}
