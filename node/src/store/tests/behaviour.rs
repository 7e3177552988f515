//! What the store promises while nothing goes wrong, and where the disk is full.

use std::os::unix::fs::PermissionsExt;

use super::super::policy;
use super::super::types::{AppendError, Malformed, Refusal, StoreError};
use super::*;

#[test]
fn blocks_come_back_as_they_went_in() {
    let mut bench = Bench::new();
    let (v1, v2) = (key(1, 512), key(2, 1));
    for index in [0, 7, 511] {
        bench.append(v1, index, 65_552, Trust::Bound);
    }
    bench.append(v2, 0, 131_088, Trust::Bound);
    let plain = BlkTail { algorithm: CryptoAlgoId::None, size_of_block: 5, bytes: vec![9; 16].into() };
    bench.store().append(&key(3, 1), 0, &plain, Trust::Claimed, Tag::NONE).unwrap();
    for _ in 0..2 {
        for index in [0, 7, 511] {
            assert!(bench.read(&v1.id, index) == Some(tail(&v1.id, index, 65_552)));
        }
        assert!(bench.read(&v2.id, 0) == Some(tail(&v2.id, 0, 131_088)));
        assert_eq!(bench.read(&key(3, 1).id, 0), Some(plain.clone()));
        assert_eq!(bench.read(&v1.id, 1), None);
        assert_eq!(bench.read(&v2.id, 1), None);
        assert_eq!(bench.read(&key(4, 1).id, 0), None);
        let held = bench.store().held(&v1.id).unwrap();
        assert_eq!((held.blocks, held.block_count), ([0, 7, 511].into_iter().collect(), 512));
        let stats = bench.store().stats();
        assert_eq!((stats.segments, stats.blocks), (3, 5));
        bench.reopen();
    }
}

#[tokio::test]
async fn asynchronous_reads_give_the_same() {
    let bench = Bench::new();
    let key = key(1, 2);
    bench.append(key, 0, 65_552, Trust::Bound);
    bench.append(key, 1, 65_552, Trust::Claimed);
    assert!(bench.store().read_async(&key.id, 1).await.unwrap() == Some(tail(&key.id, 1, 65_552)));
    assert!(bench.store().read_for_async(&key.id, 0, Audience::Peers).await.unwrap() == Some(tail(&key.id, 0, 65_552)));
    assert_eq!(bench.store().read_for_async(&key.id, 1, Audience::Peers).await.unwrap(), None);
    assert_eq!(bench.store().read_async(&key.id, 2).await.unwrap(), None);
}

#[tokio::test]
async fn blocks_that_only_the_disk_has_are_read_elsewhere() {
    use super::super::read::Attempt;

    let bench = Bench::new();
    let key = key(1, 1);
    bench.append(key, 0, 131_088, Trust::Bound);
    bench.store().sync().unwrap();
    let pack = std::fs::File::open(&bench.files("pack")[0]).unwrap();
    let forget = || rustix::fs::fadvise(&pack, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    forget();
    let core = &bench.store().0.core;
    let located = core.locate(&key.id, 0, Audience::Peers).unwrap();
    let read = match core.try_read(located).unwrap() {
        // The directory is in memory, or the system kept the pages.
        Attempt::Done(read) => read,
        Attempt::WouldBlock(located) => core.read(*located).unwrap(),
    };
    assert!(read == Some(tail(&key.id, 0, 131_088)));
    forget();
    assert!(bench.store().read_async(&key.id, 0).await.unwrap() == Some(tail(&key.id, 0, 131_088)));
}

#[test]
fn space_is_made_in_the_background() {
    let bench = Bench::new();
    let core = &bench.store().0.core;
    let is_tight = || policy::is_tight(core.used(), core.limit(), core.limit_now());
    // Up to the first pack that is begun when space is short.
    let mut packs = 0;
    for number in 0.. {
        let was_tight = is_tight();
        bench.append(key(number, 1), 0, 100_000, Trust::Bound);
        let before = std::mem::replace(&mut packs, bench.files("pack").len());
        if was_tight && packs != before {
            break;
        }
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while is_tight() || bench.store().stats().evicted == 0 {
        assert!(std::time::Instant::now() < deadline, "{:?}", bench.store().stats());
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_retrieval_server_gets_what_is_bound() {
    use peerdist_transport::retrieval::server::BlockSource;

    let bench = Bench::new();
    let key = key(1, 3);
    bench.append(key, 0, 48, Trust::Claimed);
    assert_eq!(BlockSource::age(bench.store(), &key.id), None);
    bench.append(key, 2, 48, Trust::Bound);
    bench.pass(5);
    assert_eq!(BlockSource::held(bench.store(), &key.id), [2].into_iter().collect());
    assert_eq!(BlockSource::age(bench.store(), &key.id), Some(Duration::from_secs(5)));
    assert!(BlockSource::read(bench.store(), &key.id, 0).await.is_none());
    assert!(BlockSource::read(bench.store(), &key.id, 2).await == Some(tail(&key.id, 2, 48)));
}

#[test]
fn a_directory_has_one_store() {
    let mut bench = Bench::new();
    assert!(matches!(Store::open(&bench.config()), Err(StoreError::InUse { dir }) if dir == bench.path()));
    let other = bench.store().clone();
    bench.close();
    let again = Store::open(&bench.config()).unwrap();
    let key = key(1, 1);
    let closed = other.append(&key, 0, &tail(&key.id, 0, 48), Trust::Bound, Tag::NONE);
    assert!(matches!(closed, Err(AppendError::Refused(Refusal::Closed))));
    drop(again);
    Store::open(&bench.config()).unwrap();
}

#[test]
fn the_directory_is_its_owners() {
    let parent = tempfile::tempdir().unwrap();
    let config = |name: &str| StoreConfig::new(parent.path().join(name));
    let mode = |name: &str| std::fs::metadata(parent.path().join(name)).unwrap().permissions().mode() & 0o777;
    drop(Store::open(&config("a/new")).unwrap());
    assert_eq!(mode("a/new"), 0o700);

    std::fs::create_dir(parent.path().join("open")).unwrap();
    std::fs::set_permissions(parent.path().join("open"), PermissionsExt::from_mode(0o755)).unwrap();
    drop(Store::open(&config("open")).unwrap());
    assert_eq!(mode("open"), 0o700);

    std::fs::create_dir(parent.path().join("home")).unwrap();
    std::fs::set_permissions(parent.path().join("home"), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(parent.path().join("home/letter"), "dear").unwrap();
    assert!(matches!(Store::open(&config("home")), Err(StoreError::Foreign { name, .. }) if name == "letter"));
    assert_eq!(mode("home"), 0o755);
}

#[test]
fn only_bound_blocks_are_announced_and_served() {
    let mut bench = Bench::new();
    let key = key(1, 3);
    bench.append(key, 0, 48, Trust::Claimed);
    bench.append(key, 1, 48, Trust::Claimed);
    assert_eq!(bench.store().availability(&key.id), None);
    assert_eq!(bench.store().read_bound(&key.id, 0).unwrap(), None);
    assert_eq!(bench.store().held(&key.id).unwrap().trust, Trust::Claimed);

    bench.append(key, 2, 48, Trust::Bound);
    bench.pass(10);
    let held = bench.store().availability(&key.id).unwrap();
    assert_eq!((held.blocks, held.complete, held.age), (1, false, Some(Duration::from_secs(10))));
    assert_eq!(bench.store().blocks_for(&key.id, Audience::Peers), [2].into_iter().collect());
    assert_eq!(bench.store().next_for(&key.id, 0, Audience::Peers), Some(2));

    assert!(bench.store().raise_to_bound(&key.id));
    assert!(!bench.store().raise_to_bound(&key.id));
    for _ in 0..2 {
        let held = bench.store().availability(&key.id).unwrap();
        assert_eq!((held.blocks, held.complete), (3, true));
        assert!(bench.store().read_bound(&key.id, 1).unwrap() == Some(tail(&key.id, 1, 48)));
        bench.reopen();
    }
}

#[tokio::test]
async fn a_branch_also_gets_what_is_blind_and_nothing_that_is_claimed() {
    let mut bench = Bench::new();
    let (many, one) = (key(1, 4), key(2, 1));
    bench.append(many, 0, 48, Trust::Claimed);
    assert_eq!(bench.store().age_for(&many.id, Audience::Branch), None);
    bench.append(many, 1, 48, Trust::Blind);
    bench.pass(5);
    bench.append(many, 3, 48, Trust::Bound);
    bench.append(one, 0, 48, Trust::Blind);
    // What nobody verified is not raised, however well the others are proven.
    assert!(bench.store().raise_to_bound(&many.id));
    assert!(!bench.store().raise_to_bound(&one.id));
    for _ in 0..2 {
        let store = bench.store();
        assert_eq!(store.blocks_for(&many.id, Audience::Branch), [0, 1, 3].into_iter().collect());
        assert_eq!(store.blocks_for(&many.id, Audience::Peers), [0, 3].into_iter().collect());
        assert_eq!(store.blocks_for(&one.id, Audience::Branch), [0].into_iter().collect());
        assert_eq!(store.next_for(&many.id, 0, Audience::Branch), Some(1));
        assert_eq!(store.next_for(&many.id, 0, Audience::Peers), Some(3));
        assert_eq!(store.age_for(&many.id, Audience::Branch), Some(Duration::from_secs(5)));
        assert_eq!(store.age_for(&one.id, Audience::Peers), None);
        let blind = store.read_for_async(&one.id, 0, Audience::Branch).await.unwrap();
        assert!(blind == Some(tail(&one.id, 0, 48)));
        assert_eq!(store.read_for_async(&one.id, 0, Audience::Peers).await.unwrap(), None);
        bench.reopen();
    }
}

#[test]
fn what_the_branch_gets_stays_until_something_is_proven_or_newer() {
    let mut bench = Bench::new();
    let key = key(1, 2);
    bench.append(key, 0, 48, Trust::Claimed);
    bench.append(key, 0, 64, Trust::Blind);
    bench.append(key, 0, 80, Trust::Claimed);
    bench.append(key, 0, 96, Trust::Blind);
    assert!(bench.read(&key.id, 0) == Some(tail(&key.id, 0, 64)));
    let replace =
        |bench: &Bench, key: &SegmentKey, size| bench.store().replace(key, 0, &tail(&key.id, 0, size), Tag::NONE);
    replace(&bench, &key, 112).unwrap();
    bench.reopen();
    assert!(bench.read(&key.id, 0) == Some(tail(&key.id, 0, 112)));
    let killed = bench.killed();
    assert!(killed.read(&key.id, 0) == Some(tail(&key.id, 0, 112)));
    // Who came first with a wrong number of blocks does not keep the others out.
    let right = SegmentKey { block_count: 3, ..key };
    replace(&bench, &right, 128).unwrap();
    assert_eq!(bench.store().held(&key.id).unwrap().block_count, 3);
    bench.append(right, 0, 144, Trust::Bound);
    replace(&bench, &right, 160).unwrap();
    assert!(bench.read(&key.id, 0) == Some(tail(&key.id, 0, 144)));
}

#[test]
fn more_trust_replaces_less() {
    let mut bench = Bench::new();
    let key = key(1, 2);
    bench.append(key, 0, 48, Trust::Claimed);
    bench.append(key, 0, 64, Trust::Claimed);
    assert!(bench.read(&key.id, 0) == Some(tail(&key.id, 0, 48)));
    assert_eq!(bench.store().stats().duplicates, 1);
    bench.append(key, 0, 80, Trust::Bound);
    bench.append(key, 0, 96, Trust::Blind);
    for _ in 0..2 {
        assert!(bench.read(&key.id, 0) == Some(tail(&key.id, 0, 80)));
        assert_eq!(bench.store().stats().blocks, 1);
        bench.reopen();
    }
}

#[test]
fn a_proven_block_count_corrects_a_claimed_one() {
    let bench = Bench::new();
    let (wrong, right) = (key(1, 7), key(1, 3));
    let append = |key: SegmentKey, trust| bench.store().append(&key, 0, &tail(&key.id, 0, 48), trust, Tag::NONE);
    append(wrong, Trust::Claimed).unwrap();
    assert!(matches!(
        append(SegmentKey { block_count: 9, ..wrong }, Trust::Blind),
        Err(AppendError::Malformed(Malformed::BlockCountConflict { known: 7, given: 9 })) | Ok(())
    ));
    append(right, Trust::Bound).unwrap();
    assert_eq!(bench.store().held(&right.id).unwrap().block_count, 3);
    let index = 1;
    let late = bench.store().append(&wrong, index, &tail(&wrong.id, index, 48), Trust::Bound, Tag::NONE);
    assert!(matches!(late, Err(AppendError::Malformed(Malformed::BlockCountConflict { known: 3, given: 7 }))));
}

#[test]
fn malformed_blocks_are_refused() {
    let bench = Bench::new();
    let good = tail(&key(1, 1).id, 0, 48);
    let append =
        |count, index, tail: &BlkTail| match bench.store().append(&key(1, count), index, tail, Trust::Bound, Tag::NONE)
        {
            Err(AppendError::Malformed(malformed)) => malformed,
            other => panic!("{other:?}"),
        };
    assert_eq!(append(0, 0, &good), Malformed::BlockCount(0));
    assert_eq!(append(513, 0, &good), Malformed::BlockCount(513));
    assert_eq!(append(4, 4, &good), Malformed::Index { index: 4, block_count: 4 });
    let short = BlkTail { bytes: good.bytes.slice(1..), ..good.clone() };
    assert_eq!(append(1, 0, &short), Malformed::Size { size: short.bytes.len(), size_of_block: 48 });
    let huge = tail(&key(1, 1).id, 0, 131_089);
    assert_eq!(append(1, 0, &huge), Malformed::Size { size: huge.bytes.len(), size_of_block: 131_089 });
    let empty = BlkTail { algorithm: CryptoAlgoId::None, size_of_block: 0, bytes: vec![0; 8].into() };
    assert_eq!(append(1, 0, &empty), Malformed::Size { size: 8, size_of_block: 0 });
}

#[test]
fn old_blocks_are_gone() {
    let mut bench = Bench::new();
    let (old, young) = (key(1, 1), key(2, 2));
    bench.append(old, 0, 48, Trust::Bound);
    bench.append(young, 0, 48, Trust::Bound);
    bench.pass(28 * DAY);
    bench.append(young, 1, 48, Trust::Bound);
    assert!(bench.read(&old.id, 0).is_some());
    bench.pass(1);
    assert_eq!(bench.read(&old.id, 0), None);
    assert_eq!(bench.store().held(&old.id), None);
    assert_eq!(bench.store().availability(&old.id), None);
    let held = bench.store().availability(&young.id).unwrap();
    assert_eq!((held.blocks, held.complete, held.age), (1, false, Some(Duration::from_secs(1))));
    assert_eq!(bench.store().list().len(), 1);
    // An old block may come again, and a pack without young blocks is dropped.
    bench.append(old, 0, 48, Trust::Bound);
    assert!(bench.read(&old.id, 0).is_some());
    bench.pass(28 * DAY + 1);
    bench.store().0.core.tidy();
    assert_eq!(bench.files("pack").len(), 0);
    assert_eq!(bench.store().stats().expired, 3);
    bench.reopen();
    assert_eq!(bench.store().stats().blocks, 0);
}

#[test]
fn what_was_removed_does_not_come_back() {
    let mut bench = Bench::new();
    let tag = Tag { owner: 1000, bytes: *b"sixteen bytes ok" };
    for number in 0..30 {
        let key = key(number, 2);
        for index in 0..2 {
            let tag = if number % 3 == 0 && index == 1 { tag } else { Tag::NONE };
            bench.store().append(&key, index, &tail(&key.id, index, 1000), Trust::Bound, tag).unwrap();
        }
    }
    assert_eq!(bench.store().remove(&key(1, 2).id).unwrap(), 2);
    assert_eq!(bench.store().remove(&key(1, 2).id).unwrap(), 0);
    assert!(bench.store().remove_block(&key(2, 2).id, 0).unwrap());
    assert_eq!(bench.store().remove_tag(tag).unwrap(), 10);
    assert_eq!(bench.store().remove_tag(tag).unwrap(), 0);
    let check = |bench: &Bench| {
        assert_eq!(bench.store().stats().blocks, 60 - 13);
        for number in 0..30 {
            for index in 0..2 {
                let gone = number == 1 || (number, index) == (2, 0) || number % 3 == 0 && index == 1;
                assert_eq!(bench.read(&key(number, 2).id, index).is_none(), gone, "{number} {index}");
            }
        }
    };
    check(&bench);
    check(&bench.killed());
    bench.reopen();
    check(&bench);
    // Not even where the sidecar is lost.
    bench.close();
    bench.files("index").iter().for_each(|path| std::fs::remove_file(path).unwrap());
    bench.open();
    assert_eq!(bench.store().stats().rescanned_packs, 1);
    check(&bench);

    bench.store().clear().unwrap();
    assert_eq!(bench.files("pack").len() + bench.files("index").len(), 0);
    assert_eq!(bench.store().stats().bytes_on_disk, 0);
    bench.append(key(5, 2), 0, 48, Trust::Bound);
    bench.reopen();
    assert_eq!(bench.store().stats().blocks, 1);
}

#[test]
fn the_oldest_go_first_but_what_is_used_stays() {
    let mut bench = Bench::new();
    let count = 400;
    for number in 0..count {
        bench.append(key(number, 1), 0, 100_000, Trust::Bound);
        // One block of the first pack is wanted all the time.
        if number > 10 {
            assert!(bench.read(&key(3, 1).id, 0).is_some(), "after {number}");
        }
        let stats = bench.store().stats();
        assert!(stats.bytes_on_disk <= MIN_LIMIT, "{} bytes after {number}", stats.bytes_on_disk);
    }
    for _ in 0..2 {
        // From here on there is nothing left to drop in the background.
        bench.store().0.core.tidy();
        let stats = bench.store().stats();
        bench.check_size("");
        assert!(stats.blocks > 130, "{} blocks", stats.blocks);
        let held = (0..count).filter(|number| bench.store().held(&key(*number, 1).id).is_some());
        let held: Vec<_> = held.collect();
        assert_eq!(held[0], 3);
        let rest: Vec<_> = (held[1]..count).collect();
        assert_eq!(held[1..], rest);
        bench.reopen();
    }
}

#[test]
fn a_smaller_limit_holds_at_once() {
    let bench = Bench::with_limit(64 << 20);
    for number in 0..400 {
        bench.append(key(number, 1), 0, 100_000, Trust::Bound);
    }
    assert_eq!(bench.store().stats().blocks, 400);
    bench.store().set_limits(Limits { size: SizeLimit::Bytes(MIN_LIMIT), ..bench.limits }).unwrap();
    let stats = bench.store().stats();
    assert!(stats.bytes_on_disk <= MIN_LIMIT && stats.blocks > 120, "{stats:?}");
    assert!(bench.store().set_limits(Limits { size: SizeLimit::Bytes(1), ..bench.limits }).is_err());
    // Others need all of the volume: nothing is kept.
    bench.store().set_limits(Limits { keep_free: u64::MAX, ..bench.limits }).unwrap();
    assert_eq!(bench.store().stats().blocks, 0);
    let refused = bench.store().append(&key(1, 1), 0, &tail(&key(1, 1).id, 0, 48), Trust::Bound, Tag::NONE);
    assert!(matches!(refused, Err(AppendError::Refused(Refusal::KeepFree))));
    assert_eq!(bench.store().stats().refused.keep_free, 1);
}

#[test]
fn a_failing_disk_stops_appends_for_a_while_but_no_reads() {
    let bench = Bench::new();
    bench.append(key(1, 1), 0, 100_000, Trust::Bound);
    // The next pack cannot be created.
    let aside = bench.path().with_extension("aside");
    std::fs::rename(bench.path(), &aside).unwrap();
    let append = |number| {
        let key = key(number, 1);
        bench.store().append(&key, 0, &tail(&key.id, 0, 100_000), Trust::Bound, Tag::NONE)
    };
    let refused = (2..20).map(append).find_map(Result::err);
    assert!(matches!(refused, Some(AppendError::Refused(Refusal::WriteFailed))));
    assert!(bench.read(&key(1, 1).id, 0).is_some());
    std::fs::rename(&aside, bench.path()).unwrap();
    assert!(matches!(append(30), Err(AppendError::Refused(Refusal::WriteFailed))));
    assert_eq!(bench.store().stats().paused, Some(Refusal::WriteFailed));
    bench.pass(30);
    append(30).unwrap();
    assert_eq!(bench.store().stats().paused, None);
    assert!(bench.read(&key(30, 1).id, 0).is_some());
}

#[test]
fn everything_is_listed() {
    let bench = Bench::new();
    let tag = Tag { owner: 7, bytes: [1; 16] };
    for number in 0..5000 {
        let key = key(number, 2);
        bench.store().append(&key, 1, &tail(&key.id, 1, 16), Trust::Claimed, tag).unwrap();
    }
    bench.pass(5);
    let mut list = bench.store().list();
    assert_eq!(list.len(), 5000);
    list.sort_by_key(|segment| segment.id);
    let first = &list[0];
    assert_eq!(first.id, key(0, 2).id);
    assert_eq!((first.block_count, first.blocks, first.trust, first.tag), (2, 1, Trust::Claimed, tag));
    assert_eq!((first.age, first.bytes), (Duration::from_secs(5), 128 + 48));
    let stats = bench.store().stats();
    assert_eq!(stats.live_bytes, 5000 * 176);
}

#[test]
fn the_store_works_while_others_use_it() {
    let bench = Bench::new();
    std::thread::scope(|scope| {
        let store = bench.store();
        for thread in 0..4u32 {
            scope.spawn(move || {
                for round in 0..150u32 {
                    let key = key(thread * 1000 + round, 1);
                    store.append(&key, 0, &tail(&key.id, 0, 100_000), Trust::Bound, Tag::NONE).unwrap();
                    if round % 10 == 9 {
                        store.remove(&key.id).unwrap();
                    }
                    if round % 40 == 39 && thread == 0 {
                        store.sync().unwrap();
                        store.0.core.tidy();
                    }
                    for other in 0..4 {
                        let id = super::key(other * 1000 + round / 2, 1).id;
                        if let Some(found) = store.read(&id, 0).unwrap() {
                            assert!(found == tail(&id, 0, 100_000));
                        }
                    }
                }
            });
        }
    });
    let stats = bench.store().stats();
    assert_eq!((stats.corrupt, stats.failed_reads), (0, 0));
    assert!(stats.bytes_on_disk <= MIN_LIMIT);
}
