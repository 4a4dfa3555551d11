//! The network that commands see: rtnetlink(7), include/uapi/linux/rtnetlink.h and its kin.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::facts::Facts;
use super::netlink::{Message, NETLINK_NETFILTER, NETLINK_ROUTE, dump};

/// Every network namespace has one of each from the moment when its module is there, and none can be removed.
const OF_MODULES: [&str; 9] =
    ["erspan0", "gre0", "gretap0", "ip6_vti0", "ip6gre0", "ip6tnl0", "ip_vti0", "sit0", "tunl0"];

const LOOPBACK: u32 = 1;

pub fn links() -> Facts {
    const RTM_GETLINK: u16 = 18;
    const IFF_UP: u32 = 1;
    const IFLA_IFNAME: u16 = 3;
    const IFLA_MTU: u16 = 4;
    // struct ifinfomsg: family, padding, type, index at 4, flags at 8, change.
    let links = dump(NETLINK_ROUTE, RTM_GETLINK, 16).into_iter().map(|link| {
        let is_up = link.number(8) & IFF_UP != 0;
        let how =
            format!("{}, mtu {}", if is_up { "up" } else { "down" }, link.attribute_number(IFLA_MTU).unwrap_or(0));
        (link.attribute_text(IFLA_IFNAME), how)
    });
    links.filter(|(name, how)| how.starts_with("up") || !OF_MODULES.contains(&name.as_str())).collect()
}

/// Those of the loopback interface: the others come and go with theirs.
pub fn addresses() -> Facts {
    const RTM_GETADDR: u16 = 22;
    const IFA_ADDRESS: u16 = 1;
    // struct ifaddrmsg: family, prefix length at 1, flags, scope, index at 4.
    let addresses = dump(NETLINK_ROUTE, RTM_GETADDR, 8).into_iter();
    let addresses = addresses.filter(|address| address.number(4) == LOOPBACK);
    addresses.map(|address| (prefix(address.attribute(IFA_ADDRESS), address.byte(1)), String::new())).collect()
}

/// Those that belong to no interface or to the loopback one: the others come and go with theirs.
pub fn routes() -> Facts {
    const RTM_GETROUTE: u16 = 26;
    const RTA_DST: u16 = 1;
    const RTA_OIF: u16 = 4;
    const RTA_TABLE: u16 = 15;
    // struct rtmsg: family, length of the destination at 1, of the source, tos, table at 4.
    let routes = dump(NETLINK_ROUTE, RTM_GETROUTE, 12).into_iter();
    let routes = routes.filter(|route| route.attribute_number(RTA_OIF).is_none_or(|index| index == LOOPBACK));
    let name = |route: Message| {
        let table = route.attribute_number(RTA_TABLE).unwrap_or(route.byte(4).into());
        format!("{} in table {table}", prefix(route.attribute(RTA_DST), route.byte(1)))
    };
    routes.map(|route| (name(route), String::new())).collect()
}

pub fn rules() -> Facts {
    const RTM_GETRULE: u16 = 34;
    const FRA_PRIORITY: u16 = 6;
    const FRA_TABLE: u16 = 15;
    // struct fib_rule_hdr: family at 0, …, table at 4.
    let rules = dump(NETLINK_ROUTE, RTM_GETRULE, 12).into_iter().map(|rule| {
        let (priority, table) = (rule.attribute_number(FRA_PRIORITY).unwrap_or(0), rule.attribute_number(FRA_TABLE));
        let family = if rule.byte(0) == 10 { "IPv6" } else { "IPv4" };
        format!("{priority} to table {}, {family}", table.unwrap_or(rule.byte(4).into()))
    });
    rules.map(|rule| (rule, String::new())).collect()
}

/// Those of the loopback interface: the others come and go with theirs.
pub fn qdiscs() -> Facts {
    const RTM_GETQDISC: u16 = 38;
    const TCA_KIND: u16 = 1;
    // struct tcmsg: family, padding, index at 4.
    let qdiscs = dump(NETLINK_ROUTE, RTM_GETQDISC, 20).into_iter();
    let qdiscs = qdiscs.filter(|qdisc| qdisc.number(4) == LOOPBACK);
    qdiscs.map(|qdisc| (format!("{} of lo", qdisc.attribute_text(TCA_KIND)), String::new())).collect()
}

/// Empty tables do no harm: `iptables` leaves some.
pub fn nftables() -> Facts {
    // NFNL_SUBSYS_NFTABLES and NFT_MSG_GETRULE.
    const GET_RULES: u16 = 10 << 8 | 7;
    const NFTA_RULE_TABLE: u16 = 1;
    const NFTA_RULE_CHAIN: u16 = 2;
    // Asking for it would load it.
    if !Path::new("/sys/module/nf_tables").exists() {
        return Facts::new();
    }
    let rules = dump(NETLINK_NETFILTER, GET_RULES, 4).into_iter();
    let name = |rule: Message| {
        format!("table {}, chain {}", rule.attribute_text(NFTA_RULE_TABLE), rule.attribute_text(NFTA_RULE_CHAIN))
    };
    rules.map(|rule| (name(rule), String::new())).collect()
}

/// An address or a destination, which is none where all are meant.
fn prefix(bytes: Option<&[u8]>, length: u8) -> String {
    let address = match bytes.unwrap_or_default() {
        [] => return "default".to_owned(),
        bytes => match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
            (Ok(v4), _) => IpAddr::V4(Ipv4Addr::from(v4)).to_string(),
            (_, Ok(v6)) => IpAddr::V6(Ipv6Addr::from(v6)).to_string(),
            _ => "?".to_owned(),
        },
    };
    format!("{address}/{length}")
}
