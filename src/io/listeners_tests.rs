use super::*;

/// A link of some kind, in some VRF.
fn link(index: u32, name: &str, kind: Option<&str>, master: Option<u32>) -> Link {
    Link {
        index,
        name: name.into(),
        kind: kind.map(String::from),
        master,
        ..Link::default()
    }
}

/// Neighbors without an interface, in a VRF, on interfaces inside and outside of it, and with a port of its own.
fn config() -> Config {
    Config::parse(
        "[bgp]\nlocal_as = 65140\nrouter_id = \"192.0.2.2\"\nlisten = [\"0.0.0.0:179\", \"[::]:179\"]\n\
         [[neighbor]]\naddress = \"192.0.2.1\"\nremote_as = 65070\nmd5_password = \"one\"\n\
         [[neighbor]]\naddress = \"198.51.100.0/24\"\nremote_as = 65070\nmd5_password = \"two\"\n\
         interface = \"blue\"\n\
         [[neighbor]]\naddress = \"fe80::1\"\nremote_as = 65070\ninterface = \"swp1\"\n\
         listen = [\"[::]:1790\"]\n\
         [[neighbor]]\naddress = \"192.0.2.9\"\nremote_as = 65070\ninterface = \"swp2\"\n\
         [[neighbor]]\naddress = \"192.0.2.10\"\nremote_as = 65070\ninterface = \"swp3\"\n",
    )
    .unwrap()
}

#[test]
fn who_may_come_in_where() {
    let config = config();
    let links = [
        link(2, "blue", Some("vrf"), None),
        link(3, "swp1", None, None),
        link(4, "swp2", None, Some(2)),
        link(5, "swp3", None, None),
    ];
    let rows: [(&str, &[&str], &[&str]); 6] = [
        ("0.0.0.0:179", &["192.0.2.1/32"], &["192.0.2.1/32"]),
        ("[::]:179", &[], &[]),
        (
            "0.0.0.0:179%blue",
            &["198.51.100.0/24"],
            &["198.51.100.0/24"],
        ),
        // It is a part of the VRF, where 192.0.2.1 is somebody else.
        ("0.0.0.0:179%swp2", &["192.0.2.9/32"], &[]),
        // The kernel brings here what comes to 192.0.2.1 by swp3.
        (
            "0.0.0.0:179%swp3",
            &["192.0.2.1/32", "192.0.2.10/32"],
            &["192.0.2.1/32"],
        ),
        ("[::]:1790%swp1", &["fe80::1/128"], &[]),
    ];
    let places = wanted(&config);
    assert_eq!(places.len(), rows.len(), "{places:?}");
    for (shown, admitted, with_password) in rows {
        let place = places.iter().find(|place| place.to_string() == shown);
        let place = place.unwrap_or_else(|| panic!("{shown}: {places:?}"));
        let neighbors = config.neighbors.iter();
        let found: Vec<_> = neighbors
            .filter(|neighbor| may_connect(&config, neighbor, place, &links))
            .map(|neighbor| neighbor.remote.to_string())
            .collect();
        assert_eq!(found, admitted, "{shown}");
        let told = passwords(&config, place, &links);
        let told: Vec<_> = told.keys().map(ToString::to_string).collect();
        assert_eq!(told, with_password, "{shown}");
    }
    let first = &places[0];
    assert_eq!(first.interface, None, "opened first: {places:?}");
}
