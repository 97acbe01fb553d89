use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::domain::quantity::QUANTITY_MAX;

fn listing(id: u128, rule: Rule) -> ListingInput {
    ListingInput {
        id: ListingId::new(Uuid::from_u128(id)),
        components: vec![Component { product: 0, units: 1 }],
        locations: vec![0],
        rule,
        quota_left: None,
    }
}

fn pool(available: i64) -> Pool {
    [((0, 0), available)].into_iter().collect()
}

fn shown(available: i64, rules: &[Rule]) -> Vec<i64> {
    let listings: Vec<_> = (1..).zip(rules).map(|(id, rule)| listing(id, rule.clone())).collect();
    quantities(&pool(available), &listings)
}

fn rule(text: &str) -> Rule {
    serde_json::from_str(text).unwrap_or_else(|error| unreachable!("{text}: {error}"))
}

#[test]
fn by_default_everything_is_shown_everywhere() {
    assert_eq!(shown(47, &[Rule::default(), Rule::default()]), [47, 47]);
    assert_eq!(shown(-3, &[Rule::default()]), [0]);
    assert_eq!(shown(QUANTITY_MAX + 5, &[Rule::default()]), [QUANTITY_MAX]);
    assert!(allocate(&pool(3), &[]).is_empty());
}

#[test]
fn each_rule_does_what_it_says() {
    for (available, text, wanted) in [
        (10, r#"{"buffer":3}"#, 7),
        (2, r#"{"buffer":3}"#, 0),
        (5, r#"{"stop_below":5}"#, 0),
        (6, r#"{"stop_below":5}"#, 6),
        (8, r#"{"buffer":3,"stop_below":5}"#, 0),
        (10, r#"{"fixed":4}"#, 4),
        (3, r#"{"fixed":4}"#, 3),
        (10, r#"{"fixed":4,"share_percent":10}"#, 4),
        (10, r#"{"share_percent":33}"#, 3),
        (10, r#"{"share_percent":35,"rounding":"nearest"}"#, 4),
        (10, r#"{"share_percent":31,"rounding":"ceil"}"#, 4),
        (10, r#"{"share_percent":0}"#, 0),
        (10, r#"{"quota":4}"#, 4),
        (3, r#"{"quota":4}"#, 3),
        (10, r#"{"quota":4,"share_percent":20}"#, 4),
        (10, r#"{"max_listed":5}"#, 5),
        (10, r#"{"paused":true}"#, 0),
    ] {
        assert_eq!(shown(available, &[rule(text)]), [wanted], "{available} {text}");
    }
}

#[test]
fn a_quota_is_kept_from_everyone_else_while_it_lasts() {
    let mut owner = listing(1, rule(r#"{"quota":3}"#));
    let other = listing(2, Rule::default());
    assert_eq!(quantities(&pool(10), &[owner.clone(), other.clone()]), [3, 7]);
    // Two sold, and the pool is two smaller: nothing changes for the others.
    owner.quota_left = Some(1);
    assert_eq!(quantities(&pool(8), &[owner.clone(), other.clone()]), [1, 7]);
    owner.quota_left = Some(-1);
    assert_eq!(quantities(&pool(6), &[owner.clone(), other.clone()]), [0, 6]);
    // Pausing the owner does not give its units away.
    owner.quota_left = Some(3);
    owner.rule.paused = Some(true);
    assert_eq!(quantities(&pool(10), &[owner.clone(), other.clone()]), [0, 7]);
    // Stock that the owner cannot sell is not kept for it.
    owner.locations = vec![1];
    assert_eq!(quantities(&pool(10), &[owner, other]), [0, 10]);
}

#[test]
fn short_stock_serves_quotas_by_priority() {
    let rules = [rule(r#"{"quota":5}"#), rule(r#"{"quota":5,"priority":1}"#), Rule::default()];
    assert_eq!(shown(12, &rules), [5, 5, 2]);
    assert_eq!(shown(6, &rules), [1, 5, 0]);
    assert_eq!(shown(1, &rules), [0, 1, 0]);
    assert_eq!(shown(1, &[rule(r#"{"quota":5}"#), rule(r#"{"quota":5}"#)]), [1, 0]);
}

#[test]
fn the_last_unit_goes_to_the_highest_priority() {
    let low = rule(r#"{"share_percent":40,"rounding":"ceil"}"#);
    let high = rule(r#"{"share_percent":40,"priority":9}"#);
    assert_eq!(shown(1, &[low.clone(), high.clone()]), [0, 1]);
    assert_eq!(shown(2, &[low.clone(), high.clone()]), [1, 1]);
    assert_eq!(shown(10, &[low.clone(), high.clone()]), [4, 4]);
    // A listing without a share competes too; a paused one and an owner of a quota do not.
    assert_eq!(shown(1, &[low.clone(), high.clone(), rule(r#"{"priority":10}"#)]), [0, 0, 1]);
    assert_eq!(shown(1, &[high.clone(), rule(r#"{"priority":10,"paused":true}"#)]), [1, 0]);
    assert_eq!(shown(2, &[high, rule(r#"{"priority":10,"quota":1}"#)]), [1, 1]);
    // One unit above its own buffer is not the last unit.
    let buffered = rule(r#"{"buffer":5,"share_percent":40,"rounding":"ceil"}"#);
    assert_eq!(shown(6, &[buffered, rule(r#"{"priority":9}"#)]), [1, 6]);
    // A whole share is no share.
    assert_eq!(shown(1, &[rule(r#"{"share_percent":100}"#), rule(r#"{"priority":1}"#)]), [1, 1]);
}

#[test]
fn a_pack_divides_last_and_a_bundle_first() {
    let mut pack = listing(1, rule(r#"{"buffer":1,"max_listed":13}"#));
    pack.components[0].units = 6;
    assert_eq!(quantities(&pool(30), &[pack.clone()]), [2], "13 pieces make two packs");
    assert_eq!(pack.quota_change(2), 12);

    let mut bundle = listing(2, rule(r#"{"buffer":1}"#));
    bundle.components = vec![Component { product: 0, units: 2 }, Component { product: 1, units: 1 }];
    bundle.locations = vec![0, 1];
    assert_eq!(bundle.quota_change(2), 2);
    let stock: Pool = [((0, 0), 7), ((0, 1), 2), ((1, 1), 9)].into_iter().collect();
    assert_eq!(quantities(&stock, &[bundle.clone()]), [3], "9 ÷ 2 = 4, less the buffer");
    // A quota on one component leaves fewer bundles; the bundle's own quota keeps its components from single listings.
    let single = listing(3, rule(r#"{"quota":3}"#));
    assert_eq!(quantities(&stock, &[bundle.clone(), single]), [2, 3]);
    bundle.rule = rule(r#"{"quota":2}"#);
    assert_eq!(quantities(&stock, &[bundle, listing(3, Rule::default())]), [2, 3]);
}

#[test]
fn nothing_to_sell_is_zero() {
    let mut empty = listing(1, Rule::default());
    empty.components.clear();
    assert_eq!(quantities(&pool(5), &[empty]), [0]);
    let mut nowhere = listing(1, Rule::default());
    nowhere.locations.clear();
    assert_eq!(quantities(&pool(5), &[nowhere]), [0]);
}

#[test]
fn the_trace_reads_like_an_explanation() {
    let mut owner = listing(1, rule(r#"{"quota":4}"#));
    owner.quota_left = Some(3);
    let mut pack = listing(2, rule(r#"{"buffer":2,"stop_below":1,"share_percent":50,"max_listed":100}"#));
    pack.components[0].units = 2;
    let answer = allocate(&pool(20), &[owner, pack]);
    let lines: Vec<_> = answer[1].trace.iter().map(|s| format!("{}: {} → {}, {}", s.step, s.before, s.after, s.detail)).collect();
    assert_eq!(
        lines,
        [
            "available: 0 → 20, 20 at 1 location",
            "others_quota: 20 → 17, 3 kept by the quotas of other listings",
            "buffer: 17 → 15, 2 kept back",
            "stop_below: 15 → 15, nothing is shown at 1 or below",
            "share_percent: 15 → 7, 50 % rounded down",
            "max_listed: 7 → 7, at most 100",
            "units: 7 → 3, 2 pieces in each unit of the listing",
            "shown: 3 → 3, never below 0",
        ]
    );
    let json = serde_json::to_value(&answer[0].trace).unwrap_or_default();
    assert_eq!(json[1], serde_json::json!({"step":"quota","detail":"3 of its own quota left","before":20,"after":3}));
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let number = |most: i64| proptest::option::weighted(0.35, 0..=most);
    let rounding = prop_oneof![Just(Rounding::Floor), Just(Rounding::Nearest), Just(Rounding::Ceil)];
    (
        (number(10), number(10), number(30), number(100), proptest::option::of(rounding)),
        (number(12), number(30), number(2), proptest::option::weighted(0.1, any::<bool>())),
    )
        .prop_map(|((buffer, stop_below, fixed, share_percent, rounding), (quota, max_listed, priority, paused))| Rule {
            buffer,
            stop_below,
            fixed,
            share_percent,
            rounding,
            quota,
            max_listed,
            priority,
            paused,
        })
}

fn any_listing() -> impl Strategy<Value = ListingInput> {
    let parts = proptest::sample::subsequence(vec![0_usize, 1, 2], 1..=3);
    let places = proptest::sample::subsequence(vec![0_usize, 1, 2], 1..=3);
    (parts, proptest::collection::vec(1_i64..=4, 3), places, any_rule(), proptest::option::of(-3_i64..=12)).prop_map(
        |(products, units, locations, rule, quota_left)| ListingInput {
            components: products.into_iter().zip(units).map(|(product, units)| Component { product, units }).collect(),
            locations,
            quota_left,
            ..listing(0, rule)
        },
    )
}

fn any_listings() -> impl Strategy<Value = Vec<ListingInput>> {
    proptest::collection::vec(any_listing(), 1..=6).prop_map(|mut listings| {
        for (id, listing) in (1..).zip(&mut listings) {
            listing.id = ListingId::new(Uuid::from_u128(id));
        }
        listings
    })
}

fn any_pool() -> impl Strategy<Value = Pool> {
    proptest::collection::vec(-8_i64..=40, 9).prop_map(|levels| (0..9).map(|at| (at / 3, at % 3)).zip(levels).collect::<Pool>())
}

/// The units of `product` that exist at any of the locations of these listings.
fn existing(pool: &Pool, product: usize, listings: &[&ListingInput]) -> i64 {
    let seen = |location: &usize| listings.iter().any(|listing| listing.locations.contains(location));
    (0..3).filter(seen).map(|location| pool.at(product, location).max(0)).sum()
}

fn takes(listing: &ListingInput, product: usize, quantity: i64) -> i64 {
    listing.components.iter().filter(|part| part.product == product).map(|part| part.units * quantity).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn more_stock_never_shows_less(
        pool in any_pool(),
        listings in any_listings(),
        at in (0_usize..3, 0_usize..3),
        more in 1_i64..=30,
    ) {
        let mut larger = pool.clone();
        larger.set(at.0, at.1, pool.at(at.0, at.1) + more);
        for (before, after) in quantities(&pool, &listings).into_iter().zip(quantities(&larger, &listings)) {
            prop_assert!(after >= before, "{before} → {after}");
        }
    }

    #[test]
    fn never_above_the_stock_and_zero_without(pool in any_pool(), listings in any_listings()) {
        for (listing, quantity) in listings.iter().zip(quantities(&pool, &listings)) {
            prop_assert!(quantity >= 0);
            for part in &listing.components {
                let sum: i64 = listing.locations.iter().map(|&location| pool.at(part.product, location)).sum();
                prop_assert!(quantity * part.units <= sum.max(0));
            }
        }
    }

    #[test]
    fn the_trace_is_a_chain_that_ends_at_the_quantity(pool in any_pool(), listings in any_listings()) {
        let answers = allocate(&pool, &listings);
        prop_assert_eq!(&answers, &allocate(&pool, &listings));
        let numbers: Vec<_> = answers.iter().map(|answer| answer.quantity).collect();
        prop_assert_eq!(numbers, quantities(&pool, &listings));
        for answer in answers {
            prop_assert_eq!(answer.trace.first().map(|step| (step.step, step.before)), Some(("available", 0)));
            prop_assert_eq!(answer.trace.last().map(|step| step.after), Some(answer.quantity));
            for pair in answer.trace.windows(2) {
                prop_assert_eq!(pair[0].after, pair[1].before);
                // Only the clamp at 0 and the last unit of a first-ranked share may lift a value.
                prop_assert!(pair[1].after <= pair[1].before.max(0));
            }
        }
    }

    #[test]
    fn the_order_of_the_listings_does_not_matter(pool in any_pool(), listings in any_listings(), turn in 0_usize..6) {
        let mut turned = listings.clone();
        turned.reverse();
        let by = turn % turned.len();
        turned.rotate_left(by);
        let mut straight = allocate(&pool, &listings);
        let mut other = allocate(&pool, &turned);
        straight.sort_by_key(|answer| answer.listing);
        other.sort_by_key(|answer| answer.listing);
        prop_assert_eq!(straight, other);
    }

    #[test]
    fn no_unit_is_promised_to_two_quotas(pool in any_pool(), listings in any_listings()) {
        let shown = quantities(&pool, &listings);
        let owners: Vec<_> = listings.iter().zip(&shown).filter(|(listing, _)| listing.rule.quota.is_some()).collect();
        for product in 0..3 {
            let everyone: Vec<_> = owners.iter().map(|(listing, _)| *listing).collect();
            let promised: i64 = owners.iter().map(|(listing, quantity)| takes(listing, product, **quantity)).sum();
            prop_assert!(promised <= existing(&pool, product, &everyone), "{promised} of {product}");
            // Nor does a listing without a quota show a unit that an owner it competes with may sell.
            for (listing, quantity) in listings.iter().zip(&shown).filter(|(listing, _)| listing.rule.quota.is_none()) {
                let rivals: Vec<_> = owners.iter().filter(|(owner, _)| owner.shares_stock(listing)).collect();
                let mut together: Vec<_> = rivals.iter().map(|(owner, _)| *owner).collect();
                together.push(listing);
                let sum: i64 = rivals.iter().map(|(owner, quantity)| takes(owner, product, **quantity)).sum();
                if takes(listing, product, 1) > 0 {
                    prop_assert!(sum + takes(listing, product, *quantity) <= existing(&pool, product, &together));
                }
            }
        }
    }
}
