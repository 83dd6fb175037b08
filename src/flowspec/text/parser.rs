//! Tokens to Flow Specifications: the structure around the statements, and the statements of
//! `match`.

use std::net::IpAddr;

use crate::flowspec::action::TrafficFilteringActions;
use crate::wire::iana::FlowFamily;
use crate::wire::nlri::{BitmaskType, Component, Nlri, NumericType, RouteDistinguisher};

use super::administrators::parse_route_distinguisher;
use super::lexer::{Place, Token, tokens};
use super::terms::{Prefix, Term, bitmask_op, numeric_op, parse_prefix, split_terms};
use super::then::Communities;
use super::words::{self, Keyword};
use super::{Flow, TextError};

/// Reads all flows of a text, or reports everything that is wrong with it.
///
/// Total: any text gives an answer, with memory and time in proportion to its length. After an
/// error, reading goes on at the next `flow` or `route`.
pub fn parse_flows(text: &str) -> Result<Vec<Flow>, Vec<TextError>> {
    let (tokens, end) = tokens(text);
    let mut parser = Parser {
        tokens: &tokens,
        next: 0,
        end,
    };
    let mut flows = Vec::new();
    let mut errors = Vec::new();
    let mut in_section = false;
    while let Some(token) = parser.peek() {
        match parser.item(&mut in_section) {
            Ok(flow) => flows.extend(flow),
            Err(error) => {
                errors.push(error);
                // At least the token at fault is behind us, so this ends.
                if parser.peek().is_some_and(|next| next.place == token.place) {
                    parser.next += 1;
                }
                parser.skip_to_next_item();
            }
        }
    }
    if in_section && errors.is_empty() {
        errors.push(
            parser
                .end
                .error("expected \"route\" or \"}\", found the end of the text"),
        );
    }
    if errors.is_empty() {
        Ok(flows)
    } else {
        Err(errors)
    }
}

/// A position in the tokens.
pub(super) struct Parser<'t> {
    tokens: &'t [Token<'t>],
    next: usize,
    end: Place,
}

/// What a component is compared with.
enum Argument<'t> {
    Destination(Prefix),
    Source(Prefix),
    Numeric(NumericType, Vec<Term<'t>>),
    Bitmask(BitmaskType, Vec<Term<'t>>),
}

/// One statement of `match`.
struct MatchStatement<'t> {
    name: Token<'t>,
    keyword: Keyword,
    argument: Argument<'t>,
}

/// The statements of one route as they are collected.
#[derive(Default)]
struct Route<'t> {
    family: Option<FlowFamily>,
    distinguisher: Option<RouteDistinguisher>,
    components: Vec<MatchStatement<'t>>,
    communities: Communities,
}

impl<'t> Parser<'t> {
    /// The next token.
    pub(super) fn peek(&self) -> Option<Token<'t>> {
        self.tokens.get(self.next).copied()
    }

    /// The next token's text; empty at the end.
    fn peek_text(&self) -> &'t str {
        self.peek().map_or("", |token| token.text)
    }

    /// Takes the next token, whatever it is.
    fn take(&mut self, expected: &str) -> Result<Token<'t>, TextError> {
        let token = self.peek().ok_or_else(|| {
            self.end
                .error(format!("expected {expected}, found the end of the text"))
        })?;
        self.next += 1;
        Ok(token)
    }

    /// Takes a word.
    pub(super) fn word(&mut self, expected: &str) -> Result<Token<'t>, TextError> {
        let token = self.take(expected)?;
        if token.is_punctuation() {
            Err(token.unexpected(expected))
        } else {
            Ok(token)
        }
    }

    /// Takes exactly this token.
    pub(super) fn expect(&mut self, text: &str) -> Result<(), TextError> {
        let quoted = format!("{text:?}");
        let token = self.take(&quoted)?;
        if token.text == text {
            Ok(())
        } else {
            Err(token.unexpected(quoted))
        }
    }

    /// Takes this token if it is the next.
    pub(super) fn accept(&mut self, text: &str) -> bool {
        let found = self.peek_text() == text;
        self.next += usize::from(found);
        found
    }

    /// Takes the semicolon that ends a statement; before a closing brace it may be missing.
    pub(super) fn end_of_statement(&mut self) -> Result<(), TextError> {
        if self.peek_text() == "}" {
            Ok(())
        } else {
            self.expect(";")
        }
    }

    /// Takes one word, or several in brackets.
    pub(super) fn list(&mut self, expected: &str) -> Result<Vec<Token<'t>>, TextError> {
        if !self.accept("[") {
            return Ok(vec![self.word(expected)?]);
        }
        let mut words = Vec::new();
        while !self.accept("]") {
            words.push(self.word(&format!("{expected} or \"]\""))?);
        }
        Ok(words)
    }

    /// Goes on behind an error: to a word that can begin a flow.
    fn skip_to_next_item(&mut self) {
        while let Some(token) = self.peek() {
            let starts_statement = match self.next.checked_sub(1).map(|last| self.tokens[last].text)
            {
                None => true,
                Some(before) => matches!(before, "}" | ";" | "{"),
            };
            if starts_statement && matches!(token.text, "announce" | "flow" | "route") {
                return;
            }
            self.next += 1;
        }
    }

    /// Takes one item at the top of the file, or inside `flow { … }`: a flow, or a brace that opens
    /// or closes a section.
    fn item(&mut self, in_section: &mut bool) -> Result<Option<Flow>, TextError> {
        if *in_section && self.accept("}") {
            *in_section = false;
            return Ok(None);
        }
        if self.accept(";") {
            return Ok(None);
        }
        if self.peek_text() != "route" {
            let announced = self.accept("announce");
            let expected = match (*in_section, announced) {
                (true, _) => "\"route\" or \"}\"",
                (false, true) => "\"flow\"",
                (false, false) => "\"flow route\"",
            };
            let token = self.take(expected)?;
            if token.text != "flow" {
                return Err(token.unexpected(expected));
            }
            *in_section = false;
            if !announced && self.accept("{") {
                *in_section = true;
                return Ok(None);
            }
        }
        self.expect("route")?;
        self.route().map(Some)
    }

    /// Takes a route from behind the word `route`.
    fn route(&mut self) -> Result<Flow, TextError> {
        let name = match self.peek_text() {
            "{" => None,
            _ => Some(self.word("a name or \"{\"")?.text.to_string()),
        };
        let opening = self.peek().map_or(self.end, |token| token.place);
        self.expect("{")?;
        let mut route = Route::default();
        while !self.accept("}") {
            self.route_statement(&mut route)?;
        }
        route.finish(name, opening)
    }

    /// Takes one statement of a route.
    fn route_statement(&mut self, route: &mut Route<'t>) -> Result<(), TextError> {
        const EXPECTED: &str =
            "\"match\", \"then\", \"scope\", \"rd\", \"family\", \"next-hop\" or \"}\"";
        let token = self.take(EXPECTED)?;
        match token.text {
            ";" => return Ok(()),
            "match" => return self.block(|parser| parser.match_statement(route)),
            "then" => return self.block(|parser| route.communities.then_statement(parser)),
            "scope" => return self.block(|parser| route.communities.scope_statement(parser)),
            "rd" | "route-distinguisher" => {
                let value = self.word("a route distinguisher such as 65000:1")?;
                route.distinguisher = Some(parse_route_distinguisher(value)?);
            }
            "family" => {
                let name = self.word("a family such as ipv6-flow")?;
                let family = name
                    .text
                    .parse()
                    .map_err(|reason: String| name.place.error(reason))?;
                route.family = Some(family);
            }
            "next-hop" => {
                let address = self.word("an address or \"self\"")?;
                if address.text != "self" && address.text.parse::<IpAddr>().is_err() {
                    return Err(address.unexpected("an address or \"self\""));
                }
            }
            _ => return Err(token.unexpected(EXPECTED)),
        }
        self.end_of_statement()
    }

    /// Takes a block of statements in braces.
    fn block(
        &mut self,
        mut statement: impl FnMut(&mut Self) -> Result<(), TextError>,
    ) -> Result<(), TextError> {
        self.expect("{")?;
        while !self.accept("}") {
            if !self.accept(";") {
                statement(self)?;
            }
        }
        Ok(())
    }

    /// Takes one component.
    fn match_statement(&mut self, route: &mut Route<'t>) -> Result<(), TextError> {
        let name = self.word("a component such as destination or \"}\"")?;
        let found = words::COMPONENTS
            .iter()
            .find(|(known, _)| *known == name.text);
        let Some((_, keyword)) = found else {
            let known: Vec<_> = words::COMPONENTS.iter().map(|(known, _)| *known).collect();
            return Err(name.unexpected(format!("a component ({})", known.join(", "))));
        };
        if route
            .components
            .iter()
            .any(|earlier| earlier.keyword == *keyword)
        {
            return Err(name.place.error(format!(
                "{} is given twice: a Flow Specification has each component once, \
                 with all terms in one list",
                name.text
            )));
        }
        let argument = match *keyword {
            Keyword::Destination => Argument::Destination(self.prefix()?),
            Keyword::Source => Argument::Source(self.prefix()?),
            Keyword::Numeric(kind) => Argument::Numeric(kind, self.terms()?),
            Keyword::Bitmask(kind) => Argument::Bitmask(kind, self.terms()?),
        };
        self.end_of_statement()?;
        route.components.push(MatchStatement {
            name,
            keyword: *keyword,
            argument,
        });
        Ok(())
    }

    /// Takes a prefix.
    fn prefix(&mut self) -> Result<Prefix, TextError> {
        parse_prefix(self.word("a prefix such as 192.0.2.0/24")?)
    }

    /// Takes an operator list: terms in brackets, or up to the end of the statement.
    fn terms(&mut self) -> Result<Vec<Term<'t>>, TextError> {
        const EXPECTED: &str = "a term such as =80";
        let mut terms = Vec::new();
        let in_brackets = self.accept("[");
        loop {
            match self.peek_text() {
                "]" if in_brackets && !terms.is_empty() => {
                    self.next += 1;
                    return Ok(terms);
                }
                ";" | "}" if !in_brackets && !terms.is_empty() => return Ok(terms),
                _ => split_terms(self.word(EXPECTED)?, &mut terms)?,
            }
        }
    }
}

impl Route<'_> {
    /// Puts the collected statements together.
    fn finish(self, name: Option<String>, opening: Place) -> Result<Flow, TextError> {
        let family = self.family(opening)?;
        let ipv6 = family.is_ipv6();
        let mut components = Vec::with_capacity(self.components.len());
        for statement in &self.components {
            components.push(match &statement.argument {
                Argument::Destination(prefix) => Component::DestinationPrefix(prefix.pattern),
                Argument::Source(prefix) => Component::SourcePrefix(prefix.pattern),
                Argument::Numeric(kind, terms) => {
                    let ops: Result<_, _> = terms
                        .iter()
                        .map(|term| numeric_op(*kind, ipv6, term))
                        .collect();
                    Component::Numeric(*kind, ops?)
                }
                Argument::Bitmask(kind, terms) => {
                    let ops: Result<_, _> = terms
                        .iter()
                        .map(|term| bitmask_op(*kind, ipv6, term))
                        .collect();
                    Component::Bitmask(*kind, ops?)
                }
            });
        }
        components.sort_by_key(Component::code);
        if components.is_empty() {
            return Err(
                opening.error("a Flow Specification needs at least one component in \"match\"")
            );
        }
        let nlri = Nlri::new(family, self.distinguisher, &components)
            .map_err(|error| opening.error(format!("this flow has no NLRI: {error}")))?;
        let communities = self.communities;
        let actions =
            TrafficFilteringActions::from_communities(&communities.extended, &communities.ipv6)
                .map_err(|error| opening.error(error.to_string()))?;
        Ok(Flow {
            name,
            nlri,
            actions,
            extended_communities: communities.extended,
            ipv6_extended_communities: communities.ipv6,
            communities: communities.standard,
            large_communities: communities.large,
        })
    }

    /// The family that the statements agree on; IPv4 when none says anything.
    fn family(&self, opening: Place) -> Result<FlowFamily, TextError> {
        let mut ipv6 = self.family.map(FlowFamily::is_ipv6);
        for statement in &self.components {
            let says_ipv6 = match &statement.argument {
                Argument::Destination(prefix) | Argument::Source(prefix) => prefix.ipv6,
                Argument::Numeric(..) | Argument::Bitmask(..) => match statement.name.text {
                    words::NEXT_HEADER | words::TRAFFIC_CLASS | words::FLOW_LABEL => true,
                    _ => continue,
                },
            };
            if *ipv6.get_or_insert(says_ipv6) != says_ipv6 {
                let [own, other] = if says_ipv6 {
                    ["IPv6", "IPv4"]
                } else {
                    ["IPv4", "IPv6"]
                };
                let name = statement.name.text;
                return Err(statement
                    .name
                    .place
                    .error(format!("{name} is {own} here, but the flow is {other}")));
            }
        }
        let family = match (ipv6.unwrap_or(false), self.distinguisher.is_some()) {
            (false, false) => FlowFamily::Ipv4Flow,
            (true, false) => FlowFamily::Ipv6Flow,
            (false, true) => FlowFamily::Ipv4FlowVpn,
            (true, true) => FlowFamily::Ipv6FlowVpn,
        };
        match self.family {
            Some(stated) if stated != family => {
                let present = if stated.is_vpn() { "needs a" } else { "has no" };
                Err(opening.error(format!(
                    "family {stated} {present} route distinguisher (rd)"
                )))
            }
            Some(_) | None => Ok(family),
        }
    }
}
