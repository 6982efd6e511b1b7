//! Who meets whom: pairs of identities, each with what it trusts and which names it accepts.

use jiff::Timestamp;
use proptest::{collection::vec, prelude::*, sample::select};
use rootshift::pki::mint::Defect;
use rootshift::pki::{Bundle, Cert, Identity, SanRules};

use crate::pki::cases::{self, Case};
use crate::pki::mutants::mutants;

/// One side of a pair.
#[derive(Debug, Clone)]
pub(super) struct Party {
    /// What it presents, and what a peer would have to trust.
    pub(super) case: Case,
    /// What it trusts, in the order of the text.
    pub(super) trusts: Vec<Cert>,
    /// The names that it accepts, as a client and as a server.
    pub(super) accepts: SanRules,
}

/// Two parties, each of whom judges the other.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    /// How it came about, for failures.
    pub(super) name: String,
    pub(super) a: Party,
    pub(super) b: Party,
}

/// What a party makes of its peer.
#[derive(Debug, Clone, Copy)]
struct View {
    /// It trusts what its own peers would have to, not what this one needs.
    stranger: bool,
    order: Order,
    names: Names,
}

/// Envoy takes the first certificate that fits, so the order of a bundle's text decides. (In a large bundle
/// not even that: BoringSSL sorts it by name, and those of one name may change places.)
#[derive(Debug, Clone, Copy)]
enum Order {
    Istios,
    Reversed,
    Shuffled(u64),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Names {
    Any,
    Domain,
    OtherDomain,
    Right,
    Wrong,
}

impl Party {
    fn new(case: &Case, peer: &Case, view: View) -> Self {
        let bundle = if view.stranger {
            &case.trusted
        } else {
            &peer.trusted
        };
        let mut trusts: Vec<Cert> = bundle.in_istios_order().cloned().collect();
        match view.order {
            Order::Istios => {}
            Order::Reversed => trusts.reverse(),
            Order::Shuffled(mut seed) => {
                for last in (1..trusts.len()).rev() {
                    let below = last as u64 + 1;
                    trusts.swap(last, usize::try_from(seed % below).unwrap());
                    seed /= below;
                }
            }
        }
        let right = peer.chain[0].uris().first();
        let right = right.map_or("spiffe://cluster.local/none", String::as_str);
        let accepts = match view.names {
            Names::Any => SanRules::any(),
            Names::Domain => SanRules::prefixes(["spiffe://cluster.local/"]),
            Names::OtherDomain => SanRules::prefixes(["spiffe://project.svc.id.goog/"]),
            Names::Right => SanRules::exact([right]),
            Names::Wrong => SanRules::exact([format!("{right}s")]),
        };
        let case = case.clone();
        Self {
            case,
            trusts,
            accepts,
        }
    }

    pub(super) fn identity(&self) -> Identity {
        Identity {
            chain: self.case.chain.clone(),
            key: self.case.key.clone(),
            bundle: self.bundle(),
        }
    }

    pub(super) fn bundle(&self) -> Bundle {
        self.trusts.iter().cloned().collect()
    }
}

/// The text of certificates in this order.
pub(super) fn pem(certs: &[Cert]) -> String {
    certs.iter().map(Cert::pem).collect()
}

/// The same in every run, but for keys and what follows from them: serial numbers, and the order of PEM
/// texts.
pub(super) fn pairs(now: Timestamp) -> Vec<Pair> {
    let plain = || cases::specimen(&[], now);
    let mut pairs = Vec::new();
    // Each defect alone on each side.
    let all = Defect::all();
    let views = cases::draw((friendly(), friendly()), 2 * all.len(), 3);
    for (defect, views) in all.iter().zip(views.chunks(2)) {
        let case = cases::specimen(&[*defect], now);
        pairs.push(pair(&case, &plain(), views[0]));
        pairs.push(pair(&plain(), &case, views[1]));
    }
    // Some together, and peers that do not know each other.
    let specimens = |most: usize| {
        let defects = vec(select(Defect::all()), 0..=most);
        defects.prop_map(move |defects| cases::specimen(&defects, now))
    };
    let meeting = (specimens(2), specimens(1), view(), view(), any::<bool>());
    for (a, b, of_a, of_b, swapped) in cases::draw(meeting, 400, 4) {
        let (a, b) = if swapped { (b, a) } else { (a, b) };
        pairs.push(pair(&a, &b, (of_a, of_b)));
    }
    // CAs that are easily confused.
    let peer = prop_oneof![specimens(0), cases::confusions(now)];
    let meeting = (cases::confusions(now), peer, friendly(), friendly());
    for (a, b, of_a, of_b) in cases::draw(meeting, 90, 5) {
        pairs.push(pair(&a, &b, (of_a, of_b)));
    }
    // What minting cannot make.
    let foreign = [cases::algorithms(), mutants(now, 300)].concat();
    let views = cases::draw((friendly(), friendly()), foreign.len(), 7);
    for (case, views) in foreign.iter().zip(views) {
        pairs.push(pair(case, &plain(), views));
    }
    pairs
}

/// A pair of which the second party does not trust the first one's CA; and the second party as it would be
/// if it did.
pub(super) fn control(now: Timestamp) -> (Pair, Party) {
    let view = View {
        stranger: false,
        order: Order::Istios,
        names: Names::Domain,
    };
    let stranger = View {
        stranger: true,
        ..view
    };
    let (a, b) = (cases::specimen(&[], now), cases::specimen(&[], now));
    (pair(&a, &b, (view, stranger)), Party::new(&b, &a, view))
}

fn pair(a: &Case, b: &Case, (of_a, of_b): (View, View)) -> Pair {
    let shown = |view: View| {
        let View {
            stranger,
            order,
            names,
        } = view;
        let trust = if stranger { "strangers, " } else { "" };
        format!("{trust}{order:?}, {names:?}")
    };
    Pair {
        name: format!(
            "{} ({}) and {} ({})",
            a.name,
            shown(of_a),
            b.name,
            shown(of_b)
        ),
        a: Party::new(a, b, of_a),
        b: Party::new(b, a, of_b),
    }
}

/// One that trusts what its peer needs, and accepts its name.
fn friendly() -> impl Strategy<Value = View> {
    let names = select(vec![Names::Any, Names::Domain, Names::Right]);
    (order(), names).prop_map(|(order, names)| View {
        stranger: false,
        order,
        names,
    })
}

fn view() -> impl Strategy<Value = View> {
    use Names::{Any, Domain, OtherDomain, Right, Wrong};
    let names = select(vec![
        Any,
        Any,
        Domain,
        Domain,
        Domain,
        Right,
        Right,
        OtherDomain,
        Wrong,
    ]);
    (0..8u8, order(), names).prop_map(|(chance, order, names)| View {
        stranger: chance == 0,
        order,
        names,
    })
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![
        Just(Order::Istios),
        Just(Order::Reversed),
        any::<u64>().prop_map(Order::Shuffled),
    ]
}
