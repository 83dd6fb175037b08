//! UPDATE bodies to routes, with the consequences of RFC 7606.

use std::collections::HashSet;

use ipnetwork::IpNetwork;

use super::unicast::{is_next_hop_length, read_prefixes};
use super::{DecodeContext, UnicastRoutes, Update};
use crate::wire::attribute::code;
use crate::wire::attribute::decode::{As4, merge_as4, read_value};
use crate::wire::cursor::{Cursor, Truncated};
use crate::wire::error::{Consequence, WireError, update_error};
use crate::wire::iana::{AfiSafi, FlowFamily, UnicastFamily};
use crate::wire::nlri::Nlri;
use crate::wire::path::PathOf;

/// Decodes the body of an UPDATE (RFC 4271 §4.3).
///
/// Fails when the session must be reset; all lesser errors stand in [`Update::errors`] and their consequences are
/// carried out already.
pub fn decode(body: &[u8], context: &DecodeContext) -> Result<Update, WireError> {
    let list_error = |offset: usize, reason: &str| {
        WireError::update_reset(offset, update_error::ATTRIBUTE_LIST, &[], reason)
    };
    let mut cursor = Cursor::new(body, 0);
    let mut field = |name: &str| {
        let offset = cursor.offset();
        let length = cursor.u16().map(usize::from);
        length
            .and_then(|length| cursor.take(length))
            .map_err(|error| list_error(offset, &format!("{name}: {error}")))
    };
    let mut withdrawn = field("withdrawn routes")?;
    let attributes = field("path attributes")?;
    // RFC 7606 §5.3: they must be well-formed, whether we take them or not.
    let path_ids = context.has_path_ids(AfiSafi::IPV4_UNICAST);
    let withdrawn = read_prefixes(UnicastFamily::Ipv4Unicast, path_ids, &mut withdrawn)?;
    let announced = read_prefixes(UnicastFamily::Ipv4Unicast, path_ids, &mut cursor)?;

    if body.iter().all(|octet| *octet == 0) && body.len() == 4 {
        // RFC 4724 §2: an UPDATE with nothing in it.
        return Ok(Update {
            end_of_rib: Some(AfiSafi::IPV4_UNICAST),
            ..Update::default()
        });
    }
    let mut decoder = Decoder::new(context);
    decoder.read_attributes(attributes)?;
    decoder.finish(Prefixes {
        announced,
        withdrawn,
    })
}

/// The IPv4 unicast routes that stand outside of MP attributes.
struct Prefixes {
    announced: Vec<PathOf<IpNetwork>>,
    withdrawn: Vec<PathOf<IpNetwork>>,
}

/// Malformed NLRI that are reported one by one: a message may hold tens of thousands, and one decides.
const MAX_ERRORS: usize = 32;

/// Routes of one family in an MP attribute.
#[derive(Debug, Default)]
struct Routes {
    well_formed: Vec<PathOf<Nlri>>,
    unicast: Vec<PathOf<IpNetwork>>,
    /// Octets of NLRI, malformed ones included: none means End-of-RIB in MP_UNREACH_NLRI.
    octets: usize,
}

/// A family that was negotiated.
#[derive(Clone, Copy)]
enum Family {
    Flow(FlowFamily),
    Unicast(UnicastFamily),
}

/// What has been read of one UPDATE.
struct Decoder<'c> {
    context: &'c DecodeContext,
    update: Update,
    as4: As4,
    /// Type codes of the attributes read.
    seen: HashSet<u8>,
    /// The last attribute is not all there.
    cut_short: bool,
    reach: Option<Routes>,
    unreach: Option<(AfiSafi, Routes)>,
    /// Errors that concern one withdrawn route and nothing else.
    withdrawal_errors: Vec<WireError>,
}

impl<'c> Decoder<'c> {
    fn new(context: &'c DecodeContext) -> Self {
        Self {
            context,
            update: Update::default(),
            as4: As4::default(),
            seen: HashSet::new(),
            cut_short: false,
            reach: None,
            unreach: None,
            withdrawal_errors: Vec::new(),
        }
    }

    fn read_attributes(&mut self, mut attributes: Cursor<'_>) -> Result<(), WireError> {
        while !attributes.is_empty() {
            let start = attributes.clone();
            match read_attribute(&mut attributes) {
                Ok((flags, code, value)) => {
                    let used = start.len() - attributes.len();
                    self.attribute(flags, code, value, &start.rest()[..used])?;
                }
                Err(error) => return self.attribute_cut_short(&start, error),
            }
        }
        Ok(())
    }

    /// RFC 7606 §4: what follows cannot be found any more. Routes that stand in an MP attribute cut short could not
    /// be withdrawn, which leaves nothing but the reset of §3(j).
    fn attribute_cut_short(
        &mut self,
        start: &Cursor<'_>,
        error: Truncated,
    ) -> Result<(), WireError> {
        self.cut_short = true;
        let (offset, octets) = (start.offset(), start.rest());
        match octets.get(1) {
            Some(&code @ (code::MP_REACH_NLRI | code::MP_UNREACH_NLRI)) => {
                let reason = format!("{} cut short: {error}", code::name(code));
                let subcode = update_error::OPTIONAL_ATTRIBUTE;
                Err(WireError::update_reset(offset, subcode, octets, reason))
            }
            Some(_) | None => {
                let reason = format!("attribute cut short: {error}");
                let error = WireError::treat_as_withdraw(offset, reason);
                self.update.errors.push(error);
                Ok(())
            }
        }
    }

    /// Takes in one attribute; `octets` are all of it, for NOTIFICATION data.
    fn attribute(
        &mut self,
        flags: u8,
        code: u8,
        mut value: Cursor<'_>,
        octets: &[u8],
    ) -> Result<(), WireError> {
        let offset = value.offset() + value.len() - octets.len();
        let is_mp = matches!(code, code::MP_REACH_NLRI | code::MP_UNREACH_NLRI);
        if !self.seen.insert(code) {
            // RFC 7606 §3(g).
            let reason = format!("{} twice", code::name(code));
            if is_mp {
                let subcode = update_error::ATTRIBUTE_LIST;
                return Err(WireError::update_reset(offset, subcode, &[], reason));
            }
            self.update
                .errors
                .push(WireError::attribute_discard(offset, reason));
            return Ok(());
        }
        if let Err(error) = check_flags(flags, code, offset, octets) {
            if matches!(error.consequence, Consequence::SessionReset(_)) {
                return Err(error);
            }
            self.update.errors.push(error);
            return Ok(());
        }
        match code {
            code::MP_REACH_NLRI => self.mp_reach(value, octets),
            code::MP_UNREACH_NLRI => self.mp_unreach(value, octets),
            _ => {
                let (attributes, as4) = (&mut self.update.attributes, &mut self.as4);
                let read = read_value(self.context, flags, code, &mut value, attributes, as4);
                self.update.errors.extend(read.err());
                Ok(())
            }
        }
    }

    fn mp_reach(&mut self, mut value: Cursor<'_>, octets: &[u8]) -> Result<(), WireError> {
        let header = read_afi_safi(&mut value).and_then(|afi_safi| {
            let next_hop_length = usize::from(value.u8()?);
            let next_hop = value.bytes(next_hop_length)?;
            value.u8()?;
            Ok((afi_safi, next_hop))
        });
        let (afi_safi, next_hop) = header.map_err(|error| {
            let reason = format!("MP_REACH_NLRI cut short: {error}");
            let subcode = update_error::OPTIONAL_ATTRIBUTE;
            WireError::update_reset(error.offset, subcode, octets, reason)
        })?;
        let family = self.negotiated(afi_safi);
        match family {
            Some(Family::Flow(_)) => self.update.attributes.mp_next_hop = next_hop.to_vec(),
            // RFC 7606 §7.11.
            Some(Family::Unicast(family)) if !is_next_hop_length(family, next_hop.len()) => {
                let reason = format!("next hop of {} octets for {family}", next_hop.len());
                let subcode = update_error::OPTIONAL_ATTRIBUTE;
                let offset = value.offset();
                return Err(WireError::update_reset(offset, subcode, octets, reason));
            }
            Some(Family::Unicast(_)) | None => {}
        }
        self.reach = Some(self.read_routes(family, value, true)?);
        Ok(())
    }

    fn mp_unreach(&mut self, mut value: Cursor<'_>, octets: &[u8]) -> Result<(), WireError> {
        let afi_safi = read_afi_safi(&mut value).map_err(|error| {
            let reason = format!("MP_UNREACH_NLRI cut short: {error}");
            let subcode = update_error::OPTIONAL_ATTRIBUTE;
            WireError::update_reset(error.offset, subcode, octets, reason)
        })?;
        let family = self.negotiated(afi_safi);
        let routes = self.read_routes(family, value, false)?;
        self.unreach = Some((afi_safi, routes));
        Ok(())
    }

    fn negotiated(&mut self, afi_safi: AfiSafi) -> Option<Family> {
        let flow = FlowFamily::from_afi_safi(afi_safi)
            .filter(|family| self.context.families.contains(family));
        let unicast = UnicastFamily::from_afi_safi(afi_safi)
            .filter(|family| self.context.unicast.contains(family));
        let family = flow.map(Family::Flow).or(unicast.map(Family::Unicast));
        if family.is_none() {
            self.update.not_negotiated = Some(afi_safi);
        }
        family
    }

    /// Reads all NLRI of an MP attribute; none of a family that was not negotiated. A Flow Specification that is
    /// malformed spoils the announcements of the UPDATE, for its boundary is known; in a withdrawal there is nothing
    /// that it could name.
    fn read_routes(
        &mut self,
        family: Option<Family>,
        mut value: Cursor<'_>,
        announced: bool,
    ) -> Result<Routes, WireError> {
        let mut routes = Routes {
            octets: value.len(),
            ..Routes::default()
        };
        let family = match family {
            Some(Family::Flow(family)) => family,
            Some(Family::Unicast(family)) => {
                let path_ids = self.context.has_path_ids(family.afi_safi());
                routes.unicast = read_prefixes(family, path_ids, &mut value)?;
                return Ok(routes);
            }
            None => return Ok(routes),
        };
        let path_ids = self.context.has_path_ids(family.afi_safi());
        let reset = |offset: usize, reason: String| {
            WireError::update_reset(offset, update_error::NETWORK_FIELD, &[], reason)
        };
        while !value.is_empty() {
            let id = if path_ids { value.u32() } else { Ok(0) };
            let id =
                id.map_err(|error| reset(error.offset, format!("Path Identifier: {error}")))?;
            let start = value.offset();
            let length_octets = match value.rest() {
                [0xf0..=0xff, ..] => 2,
                _ => 1,
            };
            let nlri =
                Nlri::read(family, &mut value).map_err(|error| reset(start, error.to_string()))?;
            match nlri {
                Ok(route) => routes.well_formed.push(PathOf { id, route }),
                Err(error) => {
                    let offset = start + length_octets + error.offset;
                    let (errors, error) = if announced {
                        let reason = format!("announced {family} NLRI: {}", error.kind);
                        let error = WireError::treat_as_withdraw(offset, reason);
                        (&mut self.update.errors, error)
                    } else {
                        let reason = format!("withdrawn {family} NLRI: {}", error.kind);
                        let error = WireError::nlri_ignored(offset, reason);
                        (&mut self.withdrawal_errors, error)
                    };
                    if errors.len() < MAX_ERRORS {
                        errors.push(error);
                    }
                }
            }
        }
        Ok(routes)
    }

    /// Looks at the UPDATE as a whole once all attributes are read.
    fn finish(mut self, prefixes: Prefixes) -> Result<Update, WireError> {
        let reach = self.reach.take();
        let has_prefixes = !prefixes.announced.is_empty();
        let has_withdrawn_prefixes = !prefixes.withdrawn.is_empty();
        let takes_prefixes = self.context.unicast.contains(&UnicastFamily::Ipv4Unicast);
        let has_reachable = has_prefixes || reach.as_ref().is_some_and(|r| r.octets > 0);
        if has_reachable {
            self.check_mandatory(has_prefixes);
        } else if let Some(error) = self.escalated() {
            return Err(error);
        }
        merge_as4(&mut self.update.attributes, std::mem::take(&mut self.as4));

        let Routes {
            well_formed: announced,
            unicast: mut unicast_announced,
            ..
        } = reach.unwrap_or_default();
        let mut unicast_withdrawn = Vec::new();
        if takes_prefixes {
            unicast_announced.extend(prefixes.announced);
            unicast_withdrawn.extend(prefixes.withdrawn);
        }
        let unreach = self.unreach.take();
        let only_unreach = self.seen.len() == 1 && !has_reachable && !has_withdrawn_prefixes;
        let withdrawn = match unreach {
            Some((afi_safi, routes)) => {
                if routes.octets == 0 && only_unreach {
                    self.update.end_of_rib = Some(afi_safi);
                    self.update.not_negotiated = None;
                }
                unicast_withdrawn.extend(routes.unicast);
                routes.well_formed
            }
            None => Vec::new(),
        };
        let spoiled = self
            .update
            .errors
            .iter()
            .any(|error| error.consequence == Consequence::TreatAsWithdraw);
        self.update.errors.append(&mut self.withdrawal_errors);
        self.update.withdrawn = withdrawn;
        if spoiled {
            self.update.withdrawn.extend(announced);
            remove_repeated(&mut self.update.withdrawn);
            unicast_withdrawn.append(&mut unicast_announced);
        } else {
            // RFC 7606 §5.1 and RFC 4271 §4.3: what is in both is announced. The last of equal announcements counts,
            // and all have the same attributes.
            if !self.update.withdrawn.is_empty() {
                let kept: HashSet<&PathOf<Nlri>> = announced.iter().collect();
                self.update.withdrawn.retain(|nlri| !kept.contains(nlri));
            }
            self.update.announced = announced;
            remove_repeated(&mut self.update.announced);
            if !unicast_withdrawn.is_empty() {
                let kept: HashSet<&PathOf<IpNetwork>> = unicast_announced.iter().collect();
                unicast_withdrawn.retain(|prefix| !kept.contains(prefix));
            }
        }
        self.update.unicast = UnicastRoutes {
            announced: unicast_announced,
            withdrawn: unicast_withdrawn,
        };
        Ok(self.update)
    }

    /// Well-known attributes that must be there (RFC 7606 §3(d)): NEXT_HOP beside IPv4 unicast routes, also when those
    /// are not taken.
    fn check_mandatory(&mut self, with_next_hop: bool) {
        let local_pref = self.context.ibgp.then_some(code::LOCAL_PREF);
        let next_hop = with_next_hop.then_some(code::NEXT_HOP);
        let codes = [code::ORIGIN, code::AS_PATH].into_iter();
        for code in codes.chain(local_pref).chain(next_hop) {
            if !self.seen.contains(&code) {
                let reason = format!("{} missing", code::name(code));
                self.update
                    .errors
                    .push(WireError::treat_as_withdraw(0, reason));
            }
        }
    }

    /// RFC 7606 §5.2: without reachable routes there is nothing that an attribute error could withdraw.
    fn escalated(&self) -> Option<WireError> {
        let has_attributes =
            self.cut_short || self.seen.iter().any(|code| *code != code::MP_UNREACH_NLRI);
        let is_withdraw = |error: &&WireError| error.consequence == Consequence::TreatAsWithdraw;
        let error = self.update.errors.iter().find(is_withdraw)?;
        let subcode = update_error::ATTRIBUTE_LIST;
        let reason = format!("{}, in an UPDATE without routes", error.reason);
        has_attributes.then(|| WireError::update_reset(error.offset, subcode, &[], reason))
    }
}

/// Flags, type code and value of the next attribute (RFC 4271 §4.3).
fn read_attribute<'a>(octets: &mut Cursor<'a>) -> Result<(u8, u8, Cursor<'a>), Truncated> {
    let (flags, code) = (octets.u8()?, octets.u8()?);
    let extended = flags & code::EXTENDED_LENGTH != 0;
    let length = if extended {
        octets.u16()?
    } else {
        octets.u8()?.into()
    };
    Ok((flags, code, octets.take(length.into())?))
}

/// Drops all but the first of equal paths.
fn remove_repeated(routes: &mut Vec<PathOf<Nlri>>) {
    let mut seen = HashSet::with_capacity(routes.len());
    if routes.iter().all(|nlri| seen.insert(nlri)) {
        return;
    }
    let mut seen = HashSet::with_capacity(routes.len());
    routes.retain(|nlri| seen.insert(nlri.clone()));
}

fn read_afi_safi(value: &mut Cursor<'_>) -> Result<AfiSafi, Truncated> {
    Ok(AfiSafi {
        afi: value.u16()?,
        safi: value.u8()?,
    })
}

/// RFC 4271 §6.3 and RFC 7606 §3(c): optional and transitive bits of attributes that we know, and attributes that
/// claim to be well-known but are not.
fn check_flags(flags: u8, code: u8, offset: usize, octets: &[u8]) -> Result<(), WireError> {
    let class = flags & (code::OPTIONAL | code::TRANSITIVE);
    let name = code::name(code);
    match code::expected_flags(code) {
        Some(expected) if expected == class => Ok(()),
        Some(_) => {
            let reason = format!("{name} with flags {flags:#04x}");
            Err(
                if matches!(code, code::MP_REACH_NLRI | code::MP_UNREACH_NLRI) {
                    WireError::update_reset(offset, update_error::FLAGS, octets, reason)
                } else if code::is_discarded_when_malformed(code) {
                    WireError::attribute_discard(offset, reason)
                } else {
                    WireError::treat_as_withdraw(offset, reason)
                },
            )
        }
        None if flags & code::OPTIONAL == 0 => {
            let subcode = update_error::UNRECOGNIZED_WELL_KNOWN;
            let reason = format!("{name} claims to be well-known");
            Err(WireError::update_reset(offset, subcode, octets, reason))
        }
        None => Ok(()),
    }
}
