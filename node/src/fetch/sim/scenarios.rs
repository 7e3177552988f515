//! What has to come true whatever the seed.

use std::time::Duration;

use peerdist_protocol::content::BlockRanges;
use peerdist_protocol::discovery::Form;

use super::with_seeds;
use super::world::{Host, Kind, World};
use crate::fetch::Moment;

const SIZE: u64 = 24 << 20;
const FORMS: [Form; 2] = [Form::V1, Form::V2];

fn s(seconds: u64) -> Moment {
    Moment::from_secs(seconds)
}

/// Runs a world made by `build`, in both forms, and lets `check` judge it.
fn each(seeds: u64, size: u64, build: impl Fn(&mut World) -> Vec<usize>, check: impl Fn(&World, usize)) {
    for form in FORMS {
        with_seeds(seeds, |seed| {
            let mut world = World::new(seed, form, size);
            let clients = build(&mut world);
            world.run();
            for client in clients {
                // Five seconds of patience, one Probe that is waited for, one by name.
                let wait = world.client(client).longest_wait;
                assert!(wait < Duration::from_millis(5800), "waited {wait:?}");
                check(&world, client);
            }
        });
    }
}

/// Peers have to give so many per cent of the content.
fn peers_gave(world: &World, client: usize, per_cent: u64) {
    let (gave, size) = (world.client(client).from_peers, world.size());
    assert!(gave * 100 >= size * per_cent, "peers gave {gave} of {size}, {form}", form = world.segment_count());
}

fn took(world: &World, client: usize) -> Duration {
    world.client(client).finished.unwrap() - world.client(client).started
}

#[test]
fn one_seeder_gives_everything() {
    let build = |world: &mut World| {
        world.add_seeder(Kind::Honest);
        vec![world.add_client(s(1))]
    };
    each(4, SIZE, build, |world, client| {
        peers_gave(world, client, 100);
        // 24 MiB at 125 MB/s, and the first Probe.
        assert!(took(world, client) < Duration::from_millis(600), "{:?}", took(world, client));
        assert_eq!(world.client(client).wasted, 0);
        assert!(world.client(client).probes_sent <= 12, "{}", world.client(client).probes_sent);
    });
}

#[test]
fn lost_probes_cost_little() {
    let build = |world: &mut World| {
        world.loss = 20;
        world.add_seeder(Kind::Honest);
        world.add_seeder(Kind::Honest);
        vec![world.add_client(s(1))]
    };
    each(12, SIZE, build, |world, client| peers_gave(world, client, 95));
}

#[test]
fn nobody_costs_no_time() {
    let build = |world: &mut World| vec![world.add_client(s(1))];
    each(2, SIZE, build, |world, client| {
        assert_eq!(world.client(client).from_origin, world.size());
        let bare = Duration::from_secs_f64(world.size() as f64 / world.wan as f64);
        assert!(took(world, client) < bare + Duration::from_secs(1), "{:?} for {bare:?}", took(world, client));
    });
}

#[test]
fn holders_of_contiguous_parts_give_what_they_hold() {
    let build = |world: &mut World| {
        for part in 0..4 {
            let count = world.segment_count();
            let mut host = Host::new(Kind::Honest);
            for segment in part * count / 4..(part + 1) * count / 4 {
                host.holds.insert(segment, BlockRanges::first(world.block_count(segment)));
            }
            world.hosts.push(host);
        }
        vec![world.add_client(s(1))]
    };
    each(4, SIZE, build, |world, client| peers_gave(world, client, 95));
}

#[test]
fn holders_of_scattered_blocks_give_what_they_hold() {
    let build = |world: &mut World| {
        for _ in 0..3 {
            let mut host = Host::new(Kind::Honest);
            for segment in 0..world.segment_count() {
                let blocks = 0..world.block_count(segment);
                host.holds.insert(segment, blocks.filter(|_| world.random.chance(50)).collect());
            }
            world.hosts.push(host);
        }
        vec![world.add_client(s(1))]
    };
    each(6, SIZE, build, |world, client| {
        let mut held = 0;
        let mut all = 0;
        for segment in 0..world.segment_count() {
            for block in 0..world.block_count(segment) {
                let has = |host: &Host| host.holds.get(&segment).is_some_and(|blocks| blocks.contains(block));
                held += u64::from(world.hosts[..3].iter().any(has));
                all += 1;
            }
        }
        peers_gave(world, client, 95 * held / all);
    });
}

#[test]
fn liars_cost_time_but_no_bytes() {
    let build = |world: &mut World| {
        for _ in 0..3 {
            world.add_seeder(Kind::Mute);
            world.add_seeder(Kind::Busy);
            world.add_seeder(Kind::Babbler);
            world.add_seeder(Kind::Forger);
        }
        for _ in 0..4 {
            world.add_seeder(Kind::Honest);
        }
        vec![world.add_client(s(1))]
    };
    each(8, SIZE, build, |world, client| {
        peers_gave(world, client, 95);
        assert!(took(world, client) < s(10), "{:?}", took(world, client));
    });
}

#[test]
fn a_lan_of_liars_does_not_hold_up_the_origin_for_long() {
    let build = |world: &mut World| {
        for _ in 0..5 {
            world.add_seeder(Kind::Mute);
            world.add_seeder(Kind::Busy);
            world.add_seeder(Kind::Babbler);
            world.add_seeder(Kind::Forger);
        }
        vec![world.add_client(s(1))]
    };
    each(2, SIZE / 2, build, |world, client| {
        assert_eq!(world.client(client).from_peers, 0);
        assert!(took(world, client) < s(45), "{:?}", took(world, client));
    });
}

#[test]
fn a_peer_that_claims_everything_and_is_always_busy_is_soon_left_alone() {
    for busy in [1, 5] {
        let build = |world: &mut World| {
            (0..busy).for_each(|_| _ = world.add_seeder(Kind::Busy));
            vec![world.add_client(s(1))]
        };
        each(2, 4 * SIZE, build, |world, client| {
            assert_eq!(world.client(client).from_peers, 0);
            let bare = Duration::from_secs_f64(world.size() as f64 / world.wan as f64);
            assert!(took(world, client) < bare + s(9), "{:?} for {bare:?}", took(world, client));
        });
    }
}

#[test]
fn a_hosted_cache_that_is_nearly_always_busy_costs_some_seconds_in_all() {
    for per_cent in [90, 95] {
        let build = |world: &mut World| {
            world.add_seeder(Kind::OftenBusy(per_cent));
            vec![world.add_client_of(0, s(1))]
        };
        each(3, 100_000_000, build, |world, client| {
            let waited = world.client(client).waited;
            assert!(waited < s(12), "waited {waited:?} at {per_cent} %");
        });
    }
}

#[test]
fn a_hosted_cache_whose_blocks_come_late_costs_some_seconds_in_all() {
    for millis in [4000, 4900, 8000] {
        let build = |world: &mut World| {
            world.add_seeder(Kind::Late(Duration::from_millis(millis)));
            vec![world.add_client_of(0, s(1))]
        };
        each(2, SIZE, build, |world, client| {
            let bare = Duration::from_secs_f64(world.size() as f64 / world.wan as f64);
            assert!(took(world, client) < bare + s(15), "{:?} for {bare:?}, {millis} ms", took(world, client));
        });
    }
}

#[test]
fn peers_whose_blocks_come_late_cost_some_seconds_in_all() {
    for (peers, millis) in [(1, 4900), (1, 8000), (4, 4900), (4, 8000)] {
        let build = |world: &mut World| {
            (0..peers).for_each(|_| _ = world.add_seeder(Kind::Late(Duration::from_millis(millis))));
            vec![world.add_client(s(1))]
        };
        each(2, SIZE, build, |world, client| {
            let bare = Duration::from_secs_f64(world.size() as f64 / world.wan as f64);
            assert!(
                took(world, client) < bare + s(10 * peers + 5),
                "{:?} for {bare:?}, {millis} ms",
                took(world, client)
            );
        });
    }
}

#[test]
fn a_hosted_cache_on_a_slow_line_or_under_load_stays_in_use() {
    for (kind, uplink) in [
        (Kind::Honest, 20_000_000 / 8),
        (Kind::Late(s(1)), 125_000_000),
        (Kind::Late(Duration::from_millis(1500)), 125_000_000),
    ] {
        let build = |world: &mut World| {
            world.add_seeder(kind).uplink = uplink;
            vec![world.add_client_of(0, s(1))]
        };
        each(2, SIZE, build, |world, client| peers_gave(world, client, 100));
    }
}

#[test]
fn peers_that_die_are_replaced() {
    let build = |world: &mut World| {
        for _ in 0..5 {
            let dies = s(1) + Duration::from_millis(70 + world.random.below(300));
            world.add_seeder(Kind::Honest).dies_at = Some(dies);
        }
        world.add_seeder(Kind::Honest);
        vec![world.add_client(s(1))]
    };
    each(8, SIZE, build, |world, client| peers_gave(world, client, 95));
}

#[test]
fn everybody_dies_and_the_origin_finishes() {
    let build = |world: &mut World| {
        for _ in 0..3 {
            world.add_seeder(Kind::Honest).dies_at = Some(s(1) + Duration::from_millis(120));
        }
        vec![world.add_client(s(1))]
    };
    each(4, SIZE, build, |world, client| {
        assert!(world.client(client).from_peers > 0);
        assert!(took(world, client) < s(15), "{:?}", took(world, client));
    });
}

#[test]
fn slow_peers_do_not_slow_the_fast_ones() {
    let build = |world: &mut World| {
        for _ in 0..6 {
            world.add_seeder(Kind::Honest).uplink = 250_000;
        }
        world.add_seeder(Kind::Honest);
        vec![world.add_client(s(1))]
    };
    each(6, SIZE, build, |world, client| {
        peers_gave(world, client, 95);
        assert!(took(world, client) < s(4), "{:?}", took(world, client));
    });
}

#[test]
fn a_crowd_shares_one_seeder_with_few_uploads() {
    let build = |world: &mut World| {
        world.add_seeder(Kind::Honest).upload_limit = 4;
        (0..20).map(|number| world.add_client(s(1) + Duration::from_millis(number * 150))).collect()
    };
    each(2, SIZE / 4, build, |world, client| peers_gave(world, client, 95));
}

#[test]
fn who_comes_late_gets_it_from_those_who_came_early() {
    let build = |world: &mut World| {
        world.loss = 5;
        let first = world.add_client(s(1));
        let later: Vec<_> = (1..6).map(|number| world.add_client(s(10 * number))).collect();
        assert_eq!(first, 0);
        later
    };
    each(3, SIZE, build, |world, client| {
        assert_eq!(world.client(0).from_origin, world.size());
        peers_gave(world, client, 95);
    });
}

#[test]
fn hundreds_of_hosts() {
    let build = |world: &mut World| {
        world.loss = 2;
        for number in 0..200 {
            let kind = match number % 20 {
                0 => Kind::Mute,
                1 => Kind::Forger,
                2 => Kind::Busy,
                _ => Kind::Honest,
            };
            let dies = world.random.chance(20).then(|| s(1) + Duration::from_millis(world.random.below(3000)));
            let host = world.add_seeder(kind);
            host.dies_at = dies;
            host.upload_limit = 8;
        }
        (0..40).map(|number| world.add_client(s(1) + Duration::from_millis(number * 25))).collect()
    };
    each(1, SIZE / 6, build, |world, client| peers_gave(world, client, 95));
}

#[test]
fn any_world_comes_to_an_end() {
    let build = |world: &mut World| {
        world.loss = world.random.below(40);
        world.wan = 1_000_000 + world.random.below(20_000_000);
        for _ in 0..world.random.below(20) {
            let kinds = [Kind::Honest, Kind::Honest, Kind::Mute, Kind::Busy, Kind::Forger, Kind::Babbler];
            let kind = kinds[world.random.below(6) as usize];
            let dies = world.random.chance(30).then(|| s(1) + Duration::from_millis(world.random.below(5000)));
            let (uplink, limit) = (50_000 << world.random.below(11), 1 + world.random.below(16) as u32);
            let part = world.random.below(100);
            let keep: Vec<bool> = (0..world.segment_count()).map(|_| world.random.chance(part)).collect();
            let host = world.add_seeder(kind);
            (host.dies_at, host.uplink, host.upload_limit) = (dies, uplink, limit);
            if part > 30 {
                host.holds.retain(|segment, _| keep[*segment]);
            }
        }
        (0..1 + world.random.below(5)).map(|number| world.add_client(s(1 + number))).collect()
    };
    each(16, SIZE / 6, build, |_, _| {});
}

#[test]
fn the_same_seed_is_the_same_world() {
    let run = |seed| {
        let mut world = World::new(seed, Form::V2, SIZE / 4);
        world.loss = 10;
        for kind in [Kind::Honest, Kind::Mute, Kind::Forger, Kind::Honest] {
            world.add_seeder(kind);
        }
        let client = world.add_client(s(1));
        world.run();
        let client = world.client(client);
        (client.finished, client.from_origin, client.probes_sent, client.wasted)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
