//! What the rules of nftables do to a packet, as far as they can be read.
//!
//! A chain is walked rule by rule for a packet of which not everything is known: a rule matches, does not, or may
//! ([`Is`]). So what comes of a packet is a set of [`Fate`]s, and only a set of one is an answer.
//!
//! Invariant: what is not understood may match, and may not; it is never taken for one of the two.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::Ipv4Addr;

use serde_json::Value;

/// How deep chains may lead into each other: the kernel's own limit.
const MAX_DEPTH: usize = 16;

/// A port that nodes need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Port {
    pub(super) protocol: &'static str,
    pub(super) number: u16,
}

/// The first packet of a node to a port of this machine.
#[derive(Debug, Clone)]
pub(super) struct Packet<'a> {
    pub(super) port: Port,
    /// Through which it comes.
    pub(super) interface: &'a str,
    /// The addresses it may come from, the first and the last.
    pub(super) from: [Ipv4Addr; 2],
    pub(super) to: Ipv4Addr,
}

/// What comes of a packet in a chain: any of some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Fate(u8);

impl Fate {
    pub(super) const ACCEPTED: Self = Self(1);
    pub(super) const DROPPED: Self = Self(2);
    /// It comes back from the chain to the one before, or to the policy.
    const RETURNED: Self = Self(4);
    const UNKNOWN: Self = Self(3);

    fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn may(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Whether something is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Is {
    No,
    Maybe,
    Yes,
}

impl Is {
    fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
            Self::Yes => Self::No,
        }
    }

    fn so(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

/// What is known of a field of the packet.
#[derive(Debug, Clone, PartialEq)]
enum Field {
    Number(u64),
    Word(String),
    Addresses([Ipv4Addr; 2]),
    /// It is there, and not nothing.
    Something,
    /// The packet has no such field, so that no rule matches on it.
    Absent,
    Unknown,
}

/// A ruleset.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    /// By family, table and chain.
    chains: HashMap<[&'a str; 3], Vec<&'a [Value]>>,
    /// The elements of sets and maps, by family, table and name.
    sets: HashMap<[&'a str; 3], &'a [Value]>,
    /// Those that packets come to by themselves.
    bases: Vec<Base<'a>>,
}

/// A chain that packets come to by themselves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Base<'a> {
    place: [&'a str; 3],
    drops: bool,
    /// It sees frames, and it is not known whether those of our interface.
    sees_frames: bool,
}

impl Base<'_> {
    /// For people, and for `nft`.
    pub(super) fn name(&self) -> String {
        self.place.join(" ")
    }

    pub(super) fn table(&self) -> &str {
        self.place[1]
    }
}

/// What comes of a packet, and what could not be understood on the way.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) fate: Fate,
    pub(super) doubt: Option<String>,
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[][..], Vec::as_slice)
}

fn place<'a>(value: &'a Value, name: &str) -> [&'a str; 3] {
    ["family", "table", name].map(|key| value[key].as_str().unwrap_or_default())
}

impl<'a> Rules<'a> {
    /// What `nft -j list ruleset` says, for packets that come in through an interface. None if it does not say that.
    pub(super) fn read(ruleset: &'a Value, interface: &str) -> Option<Self> {
        let items = ruleset["nftables"].as_array()?;
        let mut read = Self {
            chains: HashMap::new(),
            sets: HashMap::new(),
            bases: Vec::new(),
        };
        for item in items {
            if let Some(rule) = item.get("rule") {
                let rules = read.chains.entry(place(rule, "chain")).or_default();
                rules.push(array(&rule["expr"]));
            } else if let Some(set) = item.get("set").or_else(|| item.get("map")) {
                read.sets.insert(place(set, "name"), array(&set["elem"]));
            } else if let Some(chain) = item.get("chain")
                && comes_to(chain, interface)
            {
                read.bases.push(Base {
                    place: place(chain, "name"),
                    drops: chain["policy"] == "drop",
                    sees_frames: chain["family"] == "bridge"
                        || (chain["hook"] == "ingress" && chain["dev"].is_null()),
                });
            }
        }
        Some(read)
    }

    pub(super) fn bases(&self) -> &[Base<'a>] {
        &self.bases
    }

    /// What a chain does to a packet.
    pub(super) fn judge(&self, base: &Base<'a>, packet: &Packet<'_>) -> Judged {
        let walk = Walk {
            rules: self,
            packet,
            base,
            seen: RefCell::default(),
            doubt: RefCell::default(),
        };
        let mut fate = walk.chain(base.place, 0);
        if fate.may(Fate::RETURNED) {
            let policy = if base.drops {
                Fate::DROPPED
            } else {
                Fate::ACCEPTED
            };
            fate = fate.without(Fate::RETURNED).with(policy);
        }
        // Which frames a bridge hands to us is not asked here, and nft 1.0 does not tell of which interface a chain is.
        if base.sees_frames && fate != Fate::ACCEPTED {
            fate = Fate::UNKNOWN;
        }
        Judged {
            fate,
            doubt: walk.doubt.into_inner(),
        }
    }
}

/// Whether a chain sees what comes in for this machine. What translates addresses is not asked: it drops nothing.
fn comes_to(chain: &Value, interface: &str) -> bool {
    let is_filter = chain.get("type").is_none_or(|kind| kind == "filter");
    let device = &chain["dev"];
    let is_ours =
        device.is_null() || device == interface || array(device).contains(&interface.into());
    let family = chain["family"].as_str().unwrap_or_default();
    let hook = chain["hook"].as_str().unwrap_or_default();
    is_filter
        && match (family, hook) {
            ("ip" | "inet" | "bridge", "input" | "prerouting") => true,
            ("netdev" | "inet", "ingress") => is_ours,
            _ => false,
        }
}

/// A packet on its way.
struct Walk<'r, 'a> {
    rules: &'r Rules<'a>,
    packet: &'r Packet<'r>,
    base: &'r Base<'a>,
    /// What comes of it in chains that it was in.
    seen: RefCell<HashMap<String, Fate>>,
    /// The first thing that was not understood.
    doubt: RefCell<Option<String>>,
}

impl<'a> Walk<'_, 'a> {
    fn doubt(&self, what: &str) -> Is {
        self.doubt
            .borrow_mut()
            .get_or_insert_with(|| what.to_owned());
        Is::Maybe
    }

    fn chain(&self, place: [&str; 3], depth: usize) -> Fate {
        if depth > MAX_DEPTH {
            self.doubt("chains that lead into each other");
            return Fate::UNKNOWN;
        }
        if let Some(fate) = self.seen.borrow().get(place[2]) {
            return *fate;
        }
        let mut fate = Fate::default();
        let mut goes_on = Is::Yes;
        for rule in self.rules.chains.get(&place).into_iter().flatten() {
            if self.rule(rule, depth, &mut fate) == Is::Yes {
                goes_on = Is::No;
                break;
            }
        }
        if goes_on == Is::Yes {
            fate = fate.with(Fate::RETURNED);
        }
        self.seen.borrow_mut().insert(place[2].to_owned(), fate);
        fate
    }

    /// Adds what a rule does; the answer is whether the packet ends there.
    fn rule(&self, statements: &'a [Value], depth: usize, fate: &mut Fate) -> Is {
        let mut matches = Is::Yes;
        for statement in statements {
            let Some((key, value)) = statement
                .as_object()
                .and_then(|object| object.iter().next())
            else {
                continue;
            };
            match key.as_str() {
                "match" => matches = matches.min(self.matches(value)),
                "limit" | "quota" | "meter" | "ct count" => matches = matches.min(Is::Maybe),
                "vmap" => {
                    let field = self.fields(&value["key"]);
                    let Some(elements) = self.elements(&value["data"]) else {
                        return Self::end(Fate::UNKNOWN, matches.min(Is::Maybe), fate);
                    };
                    for pair in elements {
                        let [key, verdict] = array(pair) else {
                            continue;
                        };
                        let hit = matches.min(self.all(&field, key));
                        if self.verdict(verdict, hit, depth, fate) == Is::Yes {
                            return Is::Yes;
                        }
                        matches = matches.min(hit.not());
                    }
                }
                "accept" | "drop" | "reject" | "return" | "continue" | "jump" | "goto" => {
                    return self.verdict(statement, matches, depth, fate);
                }
                "xt" => match value["name"].as_str().unwrap_or_default() {
                    "LOG" | "NFLOG" | "TRACE" => {}
                    "REJECT" if value["type"] == "target" => {
                        return Self::end(Fate::DROPPED, matches, fate);
                    }
                    name => {
                        matches = matches.min(self.doubt(format!("xt {name}").trim_end()));
                        if value["type"] != "match" {
                            *fate = fate.with(Fate::UNKNOWN);
                        }
                    }
                },
                "queue" | "tproxy" | "synproxy" | "fwd" => {
                    self.doubt(key);
                    return Self::end(Fate::UNKNOWN, matches, fate);
                }
                "counter" | "log" | "mangle" | "notrack" | "set" | "map" | "dup" | "flow"
                | "ct helper" | "ct timeout" | "ct expectation" | "secmark" | "last" => {}
                other => matches = matches.min(self.doubt(other)),
            }
            if matches == Is::No {
                break;
            }
        }
        Is::No
    }

    fn end(end: Fate, matches: Is, fate: &mut Fate) -> Is {
        if matches > Is::No {
            *fate = fate.with(end);
        }
        matches
    }

    fn verdict(&self, verdict: &Value, matches: Is, depth: usize, fate: &mut Fate) -> Is {
        let Some((key, value)) = verdict.as_object().and_then(|object| object.iter().next()) else {
            return Is::No;
        };
        if matches == Is::No {
            return Is::No;
        }
        let target = value["target"].as_str().unwrap_or_default();
        let [family, table, _] = self.base.place;
        let into = || self.chain([family, table, target], depth + 1);
        match key.as_str() {
            "accept" => Self::end(Fate::ACCEPTED, matches, fate),
            "drop" | "reject" => Self::end(Fate::DROPPED, matches, fate),
            "return" => Self::end(Fate::RETURNED, matches, fate),
            "goto" => Self::end(into(), matches, fate),
            "jump" => {
                let there = into();
                *fate = fate.with(there.without(Fate::RETURNED));
                if there.may(Fate::RETURNED) {
                    Is::No
                } else {
                    matches
                }
            }
            _ => Is::No,
        }
    }

    fn matches(&self, what: &'a Value) -> Is {
        let fields = self.fields(&what["left"]);
        if fields.contains(&Field::Absent) {
            return Is::No;
        }
        let right = &what["right"];
        let is = match (what["op"].as_str().unwrap_or_default(), &fields[..]) {
            ("==" | "in", _) => self.all(&fields, right),
            ("!=", _) => self.all(&fields, right).not(),
            (op, [Field::Number(number)]) => match (op, right.as_u64()) {
                ("<", Some(right)) => Is::so(*number < right),
                (">", Some(right)) => Is::so(*number > right),
                ("<=", Some(right)) => Is::so(*number <= right),
                (">=", Some(right)) => Is::so(*number >= right),
                _ => Is::Maybe,
            },
            _ => Is::Maybe,
        };
        if is == Is::Maybe {
            self.doubt(&described(&what["left"]));
        }
        is
    }

    /// The field on the left of a match, or those that are put together.
    fn fields(&self, left: &Value) -> Vec<Field> {
        match left.get("concat") {
            Some(several) => array(several).iter().map(|one| self.field(one)).collect(),
            None => vec![self.field(left)],
        }
    }

    fn field(&self, left: &Value) -> Field {
        let packet = self.packet;
        let Port { protocol, number } = packet.port;
        let word = |text: &str| Field::Word(text.to_owned());
        let asks = packet.to.is_broadcast();
        if let Some(payload) = left.get("payload") {
            let of = payload["protocol"].as_str().unwrap_or_default();
            return match (of, payload["field"].as_str().unwrap_or_default()) {
                ("ip", "saddr") => Field::Addresses(packet.from),
                ("ip", "daddr") => Field::Addresses([packet.to; 2]),
                ("ip", "protocol") => word(protocol),
                ("ip", "version") => Field::Number(4),
                ("ether", "type") => word("ip"),
                ("tcp" | "udp" | "th", field) if of == protocol || of == "th" => match field {
                    "dport" => Field::Number(number.into()),
                    // A DHCP client has a port of its own.
                    "sport" if asks => Field::Number(68),
                    "flags" if of == "tcp" => Field::Number(flag("syn")),
                    _ => Field::Unknown,
                },
                ("ip" | "ether" | "th" | "", _) => Field::Unknown,
                // Of another protocol.
                _ => Field::Absent,
            };
        }
        if let Some(meta) = left.get("meta") {
            return match meta["key"].as_str().unwrap_or_default() {
                "iif" | "iifname" if !self.base.sees_frames => word(packet.interface),
                "oif" | "oifname" => Field::Absent,
                "l4proto" => word(protocol),
                "nfproto" => word("ipv4"),
                "protocol" => word("ip"),
                "pkttype" => word(if asks { "broadcast" } else { "host" }),
                _ => Field::Unknown,
            };
        }
        if let Some(ct) = left.get("ct") {
            return match ct["key"].as_str().unwrap_or_default() {
                "state" => word("new"),
                "direction" => word("original"),
                // Nothing has happened to it yet.
                "status" => word(""),
                _ => Field::Unknown,
            };
        }
        if let Some(fib) = left.get("fib") {
            let of_source = array(&fib["flags"]).contains(&"saddr".into());
            return match (fib["result"].as_str().unwrap_or_default(), of_source) {
                ("type", false) => word(if asks { "broadcast" } else { "local" }),
                // There is a way back to a node; not to one without an address.
                ("oif" | "check", true) if !asks => Field::Something,
                _ => Field::Unknown,
            };
        }
        if let Some([of, mask]) = left.get("&").map(array) {
            return match (self.field(of), bits(mask)) {
                (Field::Number(number), Some(mask)) => Field::Number(number & mask),
                (Field::Absent, _) => Field::Absent,
                _ => Field::Unknown,
            };
        }
        Field::Unknown
    }

    /// The elements of a set that is written there, or named. None for one that is not there.
    fn elements(&self, value: &'a Value) -> Option<&'a [Value]> {
        if let Some(name) = value.as_str().and_then(|text| text.strip_prefix('@')) {
            let [family, table, _] = self.base.place;
            let found = self.rules.sets.get(&[family, table, name]);
            if found.is_none() {
                self.doubt(&format!("the set {name}"));
            }
            return found.copied();
        }
        Some(array(&value["set"]))
    }

    /// Whether a value, or one of a set, is what the fields are together.
    fn all(&self, fields: &[Field], value: &'a Value) -> Is {
        if fields.contains(&Field::Absent) {
            return Is::No;
        }
        let is_set =
            value.get("set").is_some() || value.as_str().is_some_and(|t| t.starts_with('@'));
        if is_set {
            let Some(elements) = self.elements(value) else {
                return Is::Maybe;
            };
            let any = elements.iter().map(|one| self.all(fields, one));
            return any.max().unwrap_or(Is::No);
        }
        if let Some(element) = value.get("elem") {
            return self.all(fields, &element["val"]);
        }
        match (fields, value.get("concat").map(array)) {
            ([field], None) => is(field, value, self.packet.port),
            (fields, Some(values)) if fields.len() == values.len() => fields
                .iter()
                .zip(values)
                .map(|(field, value)| self.all(std::slice::from_ref(field), value))
                .min()
                .unwrap_or(Is::Maybe),
            _ => Is::Maybe,
        }
    }
}

/// What a match is on, for people.
fn described(left: &Value) -> String {
    let Some((kind, what)) = left.as_object().and_then(|object| object.iter().next()) else {
        return "something".to_owned();
    };
    let words = ["protocol", "field", "key", "result", "name"].map(|key| what[key].as_str());
    match words
        .iter()
        .flatten()
        .copied()
        .collect::<Vec<_>>()
        .join(" ")
    {
        words if words.is_empty() => array(what).first().map_or(kind.clone(), described),
        words if kind == "payload" => words,
        words => format!("{kind} {words}"),
    }
}

/// Whether a field is that value.
fn is(field: &Field, value: &Value, port: Port) -> Is {
    if let Some(several) = value.as_array() {
        if let (Field::Number(number), Some(bits)) = (field, bits(value)) {
            return Is::so(*number == bits);
        }
        let any = several.iter().map(|one| is(field, one, port));
        return any.max().unwrap_or(Is::No);
    }
    match field {
        Field::Number(number) => {
            if let Some([from, to]) = value.get("range").map(array) {
                return match (from.as_u64(), to.as_u64()) {
                    (Some(from), Some(to)) => Is::so((from..=to).contains(number)),
                    _ => Is::Maybe,
                };
            }
            bits(value).map_or(Is::Maybe, |value| Is::so(*number == value))
        }
        Field::Word(word) => match value {
            Value::String(text) => match text.strip_suffix('*') {
                Some(begin) => Is::so(word.starts_with(begin)),
                None => Is::so(word == text || (word == "host" && text == "unicast")),
            },
            Value::Number(number) if word == port.protocol => {
                let own = if word == "tcp" { 6 } else { 17 };
                Is::so(number.as_u64() == Some(own))
            }
            _ => Is::Maybe,
        },
        Field::Addresses([first, last]) => match span(value) {
            Some([from, to]) if from <= *first && *last <= to => Is::Yes,
            Some([from, to]) => Is::so(from <= *last && *first <= to).min(Is::Maybe),
            None => Is::Maybe,
        },
        Field::Something => value.as_bool().map_or(Is::Maybe, Is::so),
        Field::Absent => Is::No,
        Field::Unknown => Is::Maybe,
    }
}

/// The first and the last address of a value.
fn span(value: &Value) -> Option<[Ipv4Addr; 2]> {
    let address = |value: &Value| value.as_str()?.parse::<Ipv4Addr>().ok();
    if let Some([from, to]) = value.get("range").map(array) {
        return Some([address(from)?, address(to)?]);
    }
    if let Some(prefix) = value.get("prefix") {
        let first = address(&prefix["addr"])?;
        let length = u32::try_from(prefix["len"].as_u64()?).ok()?;
        let rest = u32::MAX.checked_shr(length).unwrap_or(0);
        return Some([first, Ipv4Addr::from(first.to_bits() | rest)]);
    }
    address(value).map(|address| [address; 2])
}

/// A number, or the flags of TCP that are named.
fn bits(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(name) => Some(flag(name)).filter(|bit| *bit != 0),
        Value::Array(several) => several.iter().map(bits).reduce(|a, b| Some(a? | b?))?,
        Value::Object(_) => bits(value.get("|")?),
        _ => None,
    }
}

fn flag(name: &str) -> u64 {
    let names = ["fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"];
    let at = names.iter().position(|flag| *flag == name);
    at.map_or(0, |at| 1 << at)
}
