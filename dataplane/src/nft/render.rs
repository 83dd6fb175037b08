//! The table as text in nft's language. Pure.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use super::copy::{self, Targets};
use super::coverage::Coverage;
use super::expression::ObjectKind;
use super::field::PORT_PROTOCOLS;
use super::frame::{ENTRIES, class_chain, frame};
use super::installed::KnownObjects;
use super::layout::Layout;
use super::object::{
    Element, Hook, NamedSet, NftRule, ObjectBody, PRIORITY, Target, Values, comment_text,
};
use super::statement::ScratchMark;
use crate::desired::{Changes, Link, Settings};
use crate::routing::{Marks, MarksInUse};
use crate::rule::{Family, Rule, left_aligned};

/// The table that a backend would have for these rules, in a form that `nft -f` reads.
pub(super) fn render(settings: &Settings, links: &[Link], rules: &[Arc<Rule>]) -> String {
    let Some(scratch) = ScratchMark::new(settings.scratch_mark) else {
        return "# scratch_mark has no seven contiguous bits\n".into();
    };
    let changes = Changes {
        put: rules.to_vec(),
        remove: Vec::new(),
    };
    let mut layout = Layout::empty(settings.sample, scratch, 1);
    let actions = rules.iter().map(|rule| &rule.action);
    let routes = actions.clone().filter_map(|action| action.route().cloned());
    let Some(routes) = numbered(settings.redirect.mark, routes.collect()) else {
        return "# redirect_mark has not enough bits\n".into();
    };
    let addresses = actions.filter_map(|action| action.copy_to());
    let Some(copies) = numbered(settings.redirect.copy_mark, addresses.collect()) else {
        return "# copy_mark has not enough bits\n".into();
    };
    let copy_tables: Vec<String> = Family::ALL
        .into_iter()
        .filter_map(|family| {
            let of_family = copies
                .iter()
                .filter(|(address, _)| left_aligned(**address).0 == family);
            let targets: Targets = of_family
                .map(|(address, number)| (copies.mark(number).value, *address))
                .collect();
            let mask = copies.mask();
            (!targets.is_empty()).then(|| format!("\n{}", copy::text(family, mask, &targets)))
        })
        .collect();
    let known = KnownObjects {
        marks: MarksInUse {
            routes: Arc::new(routes),
            copies: Arc::new(copies),
        },
        ..KnownObjects::default()
    };
    match layout.change(&changes, &known) {
        Ok(_) => text(settings, links, &layout) + &copy_tables.concat(),
        Err(id) => format!("# two rules are called {id}\n"),
    }
}

/// An example of marks: which stands for what is known only where they are in use. `None` when they do not suffice.
fn numbered<T: Ord>(mask: u32, needed: BTreeSet<T>) -> Option<Marks<T>> {
    let mut marks = Marks::new(mask);
    let mut numbers = marks.all_numbers();
    for what in needed {
        marks.insert(what, numbers.next()?);
    }
    Some(marks)
}

/// The table with this layout.
pub(super) fn text(settings: &Settings, links: &[Link], layout: &Layout) -> String {
    let coverage = Coverage::of(settings, links);
    let mut out = String::from("table inet flowacl {\n");
    for (object, rule) in layout.objects() {
        let comment = comment_text(&rule.label.subject());
        // Writing to a string cannot fail.
        let _ = match &object.body {
            ObjectBody::Counter => {
                write!(
                    out,
                    "\tcounter {} {{\n\t\tcomment \"{comment}\"\n\t}}\n\n",
                    object.name
                )
            }
            // Nothing that an operator would read.
            ObjectBody::Memo(_) => Ok(()),
            ObjectBody::Sources(table) => {
                let _ = writeln!(out, "\tset {} {{", object.name);
                let _ = table.write_body(&mut out, &comment);
                out.write_str("\t}\n\n")
            }
            ObjectBody::Limit(bucket) => write!(
                out,
                "\tlimit {} {{\n\t\tcomment \"{comment}\"\n\t\trate over {bucket}\n\t}}\n\n",
                object.name
            ),
            ObjectBody::Allowance(bucket) => write!(
                out,
                "\tlimit {} {{\n\t\tcomment \"{comment}\"\n\t\trate {bucket}\n\t}}\n\n",
                object.name
            ),
        };
    }
    let _ = write!(
        out,
        "\tset {PORT_PROTOCOLS} {{\n\t\ttype inet_proto\n\t\tflags constant\n\
         \t\telements = {{ tcp, udp }}\n\t}}\n"
    );
    // What is named must be known before: the frame comes last.
    let units = layout.unit_chains();
    let structure = layout.class_chains();
    let sets = layout.sets();
    let (to_lists, others): (Vec<_>, Vec<_>) = sets
        .iter()
        .partition(|(set, _)| set.values == Some(Values::Chains));
    for (set, elements) in others {
        let _ = write!(out, "\n{}", set_text(set, elements));
    }
    let of_sources = layout.source_chains();
    for chain in of_sources.map(|(name, rules)| (name.to_owned(), rules)) {
        let _ = write!(out, "\n{}", chain_text(&chain));
    }
    for chain in units.iter().chain(&layout.list_chains()) {
        let _ = write!(out, "\n{}", chain_text(chain));
    }
    for (set, elements) in to_lists {
        let _ = write!(out, "\n{}", set_text(set, elements));
    }
    for chain in &structure {
        let _ = write!(out, "\n{}", chain_text(chain));
    }
    for chain in frame(settings, &coverage) {
        let _ = write!(out, "\n\tchain {} {{\n", chain.name);
        let _ = match &chain.hook {
            Some(Hook::Prerouting) => {
                writeln!(
                    out,
                    "\t\ttype filter hook prerouting priority {PRIORITY}; policy accept;"
                )
            }
            Some(Hook::Ingress(devices)) => writeln!(
                out,
                "\t\ttype filter hook ingress devices = {{ {} }} priority {PRIORITY}; policy accept;",
                devices.join(", ")
            ),
            None => Ok(()),
        };
        for rule in &chain.rules {
            let _ = writeln!(out, "\t\t{rule}");
        }
        out.push_str("\t}\n");
    }
    out.push_str("}\n");
    out
}

/// A named set or map with its elements.
fn set_text(set: &NamedSet, elements: &[Element]) -> String {
    let (kind, data) = match set.values {
        Some(Values::Objects(ObjectKind::Counter)) => ("map", " : counter"),
        Some(Values::Objects(ObjectKind::Limit)) => ("map", " : limit"),
        Some(Values::Chains) => ("map", " : verdict"),
        None => ("set", ""),
    };
    let mut out = format!(
        "\t{kind} {} {{\n\t\t{}{data}\n",
        set.name,
        set.key.type_text()
    );
    if let Some(size) = set.size {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "\t\tsize {size}");
    }
    out.push_str("\t\telements = { ");
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            out.push_str(",\n\t\t\t     ");
        }
        // Writing to a string cannot fail.
        let _ = write!(out, "{}", element.value);
        if let Some(comment) = &element.comment {
            let _ = write!(out, " comment \"{}\"", comment_text(&comment.to_string()));
        }
        let _ = match &element.target {
            None => Ok(()),
            Some(Target::Object(object)) => write!(out, " : \"{object}\""),
            Some(Target::Goto(chain)) => write!(out, " : goto {chain}"),
            Some(Target::Jump(chain)) => write!(out, " : jump {chain}"),
        };
    }
    out.push_str(" }\n\t}\n");
    out
}

/// A chain that is not called by the kernel.
fn chain_text((name, rules): &(String, Vec<NftRule>)) -> String {
    let mut out = format!("\tchain {name} {{\n");
    let entry = ENTRIES
        .iter()
        .find(|(family, class, _)| class_chain(*family, *class) == name);
    // Writing to a string cannot fail.
    if let Some((.., comment)) = entry {
        let _ = writeln!(out, "\t\tcomment \"{comment}\"");
    }
    for rule in rules {
        let _ = writeln!(out, "\t\t{rule}");
    }
    out.push_str("\t}\n");
    out
}
