//! The book, filled by hand.

use super::*;

const fn s(seconds: u64) -> Moment {
    Moment::from_secs(seconds)
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn name(number: u64) -> EndpointAddress {
    EndpointAddress::from_random(number.into())
}

fn nothing() -> [(SegmentId, Availability); 0] {
    []
}

#[test]
fn one_host_on_both_families_is_one_host() {
    let mut book = PeerBook::new();
    let four = book.matched(s(0), &name(1), &[address("10.0.0.1:80")], nothing()).unwrap();
    let six = book.matched(s(0), &name(1), &[address("[fd00::1]:80")], nothing()).unwrap();
    assert_eq!(four, six);
    assert_eq!(book.summary(s(0))[0].addresses.len(), 2);
    book.begin(s(0), six);
    book.finish(s(0), six, Outcome::BadHash);
    assert!(matches!(book.standing(s(1), four), Some(Standing::Out { cause: OutCause::BadHash, .. })));
}

#[test]
fn a_new_name_does_not_clear_a_penalty() {
    let mut book = PeerBook::new();
    let liar = book.matched(s(0), &name(1), &[address("10.0.0.1:80")], nothing()).unwrap();
    book.begin(s(0), liar);
    book.finish(s(0), liar, Outcome::BadHash);
    let again = book.matched(s(1), &name(2), &[address("10.0.0.1:80")], nothing()).unwrap();
    assert_eq!(again, liar);
    // The old name is free again, and the new one leads to the same host.
    let other = book.matched(s(2), &name(1), &[address("10.0.0.2:80")], nothing()).unwrap();
    assert_ne!(other, liar);
    assert_eq!(book.matched(s(2), &name(2), &[], nothing()), Some(liar));
}

#[test]
fn an_address_stays_with_the_host_that_had_it_first() {
    let mut book = PeerBook::new();
    let honest = book.matched(s(0), &name(1), &[address("10.0.0.1:80")], nothing()).unwrap();
    let liar = book.matched(s(0), &name(2), &[address("10.0.0.2:80")], nothing()).unwrap();
    book.matched(s(0), &name(2), &[address("10.0.0.1:80")], nothing());
    assert_eq!(book.address(liar), Some(address("10.0.0.2:80")));
    assert_eq!(book.address(honest), Some(address("10.0.0.1:80")));
    assert_eq!(book.matched(s(0), &name(3), &[], nothing()), None);
}

#[test]
fn a_peer_is_never_taken_for_a_hosted_cache() {
    let mut book = PeerBook::new();
    let cache = book.add_hosted_cache(s(0));
    book.set_addresses(cache, vec![address("10.0.0.1:80")]);
    let peer = book.matched(s(0), &name(1), &[address("10.0.0.1:80"), address("10.0.0.2:80")], nothing()).unwrap();
    assert_ne!(peer, cache);
    assert_eq!(book.summary_of(s(0), cache).unwrap().addresses, [address("10.0.0.1:80")]);
    assert!(!book.is_hosted_cache(peer));
}

#[test]
fn what_a_hosted_cache_was_found_not_to_hold_it_does_not_possibly_hold() {
    let id = SegmentId::from_slice(&[1; 32]).unwrap();
    let mut book = PeerBook::new();
    let cache = book.add_hosted_cache(s(0));
    book.may_have_segments(s(0), cache, [&id]);
    assert_eq!(book.holders(s(0), &id).next().unwrap().1.basis(0, 1), Some(Basis::Perhaps));
    book.withdraw(s(1), &id, cache);
    book.may_have_segments(s(1), cache, [&id]);
    assert_eq!(book.knowledge(s(1), &id), Knowledge::Unknown);
    book.may_have_segments(s(1) + NEGATIVE_LIFETIME, cache, [&id]);
    assert_eq!(book.knowledge(s(1) + NEGATIVE_LIFETIME, &id), Knowledge::Somebody);
    // A list says more than that.
    book.listed(s(20), &id, cache, BlockRanges::first(2));
    book.may_have_segments(s(20), cache, [&id]);
    assert_eq!(book.holders(s(20), &id).next().unwrap().1.basis(2, 8), None);
}

#[test]
fn a_wrong_block_is_not_in_the_hosted_cache_and_all_others_are() {
    let id = SegmentId::from_slice(&[1; 32]).unwrap();
    let mut book = PeerBook::new();
    let cache = book.add_hosted_cache(s(0));
    book.may_have_segments(s(0), cache, [&id]);
    assert!(!book.is_in_hosted_cache(s(0), &id, 0, 8), "it did not say so");
    book.listed(s(0), &id, cache, BlockRanges::first(3));
    book.lacks(&id, cache, 1);
    let held = |book: &PeerBook| (0..4).map(|block| book.is_in_hosted_cache(s(0), &id, block, 8)).collect::<Vec<_>>();
    assert_eq!(held(&book), [true, false, true, false]);
    book.begin(s(0), cache);
    book.finish(s(0), cache, Outcome::Unreachable);
    assert_eq!(held(&book), [false; 4]);
    let peer = book.matched(s(0), &name(1), &[address("10.0.0.1:80")], nothing()).unwrap();
    book.listed(s(0), &id, peer, BlockRanges::first(8));
    assert_eq!(held(&book), [false; 4], "what peers hold is offered");
}

#[test]
fn hosted_caches_are_lost_once_all_of_them_failed() {
    let mut book = PeerBook::new();
    assert!(!book.has_lost_hosted_caches(s(0)));
    let caches = [book.add_hosted_cache(s(0)), book.add_hosted_cache(s(0))];
    for cache in caches {
        assert!(!book.has_lost_hosted_caches(s(0)));
        book.begin(s(0), cache);
        book.finish(s(0), cache, Outcome::Unreachable);
    }
    assert!(book.has_lost_hosted_caches(s(0)));
    assert!(book.has_lost_hosted_caches(s(100)), "they have to prove that they are back");
    book.begin(s(100), caches[1]);
    book.finish(s(100), caches[1], Outcome::Delivered { took: s(0) });
    assert!(!book.has_lost_hosted_caches(s(100)));
}

#[test]
fn a_hosted_cache_that_failed_is_looked_after_until_it_answers_and_one_that_keeps_readers_waiting_is_not() {
    let mut book = PeerBook::new();
    let [failing, slow] = [book.add_hosted_cache(s(0)), book.add_hosted_cache(s(0))];
    let looked_after = |book: &PeerBook, now| [failing, slow].map(|cache| book.is_to_be_looked_after(now, cache));
    assert_eq!(looked_after(&book, s(0)), [false; 2], "nothing is sent while all is well");
    book.begin(s(0), failing);
    book.finish(s(0), failing, Outcome::Unreachable);
    for wait in [0, 10] {
        book.kept_waiting(s(wait + 1), slow, s(wait));
    }
    assert_eq!(looked_after(&book, s(1)), [false; 2], "it is left alone");
    assert!(book.is_on_probation(slow));
    assert_eq!(looked_after(&book, s(100)), [true, false], "its answer would prove nothing");
    book.begin(s(100), failing);
    book.finish(s(100), failing, Outcome::Listed { took: s(0) });
    assert_eq!(looked_after(&book, s(100)), [false; 2]);
}

#[test]
fn hosts_are_bounded_and_penalties_are_kept() {
    let mut book = PeerBook::new();
    let cache = book.add_hosted_cache(s(0));
    let add = |book: &mut PeerBook, number: u64| {
        let address = SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 80));
        book.matched(s(number), &name(number), &[address], nothing()).unwrap()
    };
    let liar = add(&mut book, 0);
    book.begin(s(0), liar);
    book.finish(s(0), liar, Outcome::BadHash);
    let innocent = add(&mut book, 1);
    for number in 2..MAX_HOSTS as u64 {
        add(&mut book, number);
    }
    assert!(book.standing(s(2), innocent).is_some());
    // The penalty lasts 600 s; the book fills at 1 s per host, so look at it while it still holds.
    let late = book.matched(s(500), &name(9_999), &[address("10.9.9.9:80")], nothing()).unwrap();
    assert!(book.standing(s(500), late).is_some());
    assert_eq!(book.standing(s(500), innocent), None);
    assert!(book.standing(s(500), liar).is_some());
    assert!(book.standing(s(500), cache).is_some());
    assert_eq!(book.hosts.len(), MAX_HOSTS + 1);
    assert_eq!(book.by_endpoint.len(), MAX_HOSTS);
    assert_eq!(book.by_address.len(), MAX_HOSTS);
}
