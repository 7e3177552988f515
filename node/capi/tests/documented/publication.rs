//! Publishing.

use std::thread;
use std::time::Instant;

use peerdist::abi::*;

use crate::support::*;

#[test]
fn t86_what_is_published_comes_back_byte_for_byte() {
    case("publication::t86_what_is_published_comes_back_byte_for_byte", |_| {
        let instance = startup();
        let content = bytes(700_001);
        for version in [1, 2] {
            let name = [b'n', version as u8];
            let handle = cached(instance, 1, &name, &content, version);
            let mut back = Vec::new();
            while back.len() < content.len() {
                let (ended, piece) = read(instance, handle, back.len() as u64, 200_000, 0);
                assert_eq!((ended.error, ended.offset), (ERROR_SUCCESS, back.len() as u64));
                back.extend_from_slice(&piece);
            }
            assert_eq!(back, content);
        }
    });
}

#[test]
fn t87_an_identifier_is_published_once_by_one_user() {
    case("publication::t87_an_identifier_is_published_once_by_one_user", |_| {
        let (first, second) = (startup(), startup());
        publish(first, b"t87", &bytes(1000));
        let before = information(first, b"t87", 1);
        for instance in [first, second] {
            assert_eq!(publish_stream(instance, b"t87", 0), Err(PEERDIST_ERROR_ALREADY_EXISTS));
            assert_eq!(information(instance, b"t87", 1), before);
        }
        assert_eq!(unpublish(first, b"t87"), ERROR_SUCCESS);
        publish(second, b"t87", &bytes(2000));
        assert_ne!(information(first, b"t87", 1), before);
    });
}

#[test]
fn t90_what_is_added_is_as_long_as_was_declared() {
    case("publication::t90_what_is_added_is_as_long_as_was_declared", |_| {
        let instance = startup();
        let short = publish_stream(instance, b"short", 10).unwrap();
        assert_eq!(added(instance, short, &bytes(9)), ERROR_SUCCESS);
        assert_ne!(completed(instance, short), ERROR_SUCCESS);
        let long = publish_stream(instance, b"long", 10).unwrap();
        assert_ne!(added(instance, long, &bytes(11)), ERROR_SUCCESS);
        let longer = publish_stream(instance, b"longer", 10).unwrap();
        assert_eq!(added(instance, longer, &bytes(9)), ERROR_SUCCESS);
        assert_ne!(added(instance, longer, &bytes(2)), ERROR_SUCCESS);
        for (stream, name) in [(short, &b"short"[..]), (long, b"long"), (longer, b"longer")] {
            assert_eq!(close_stream(instance, stream), ERROR_SUCCESS);
            assert!(open_information(instance, name, 0, 0).is_err(), "it is not published");
        }
        let exact = publish_stream(instance, b"exact", 10).unwrap();
        for piece in bytes(10).chunks(3) {
            assert_eq!(added(instance, exact, piece), ERROR_SUCCESS);
        }
        assert_eq!(completed(instance, exact), ERROR_SUCCESS);
        assert!(open_information(instance, b"exact", 0, 0).is_ok());
    });
}

#[test]
fn t91_a_length_that_is_not_declared_may_be_any() {
    case("publication::t91_a_length_that_is_not_declared_may_be_any", |_| {
        let instance = startup();
        for length in [1, 65_536, 70_000, 3_000_001] {
            let (declared, open) = (format!("{length} declared"), format!("{length} open"));
            for (name, told) in [(&declared, length as u64), (&open, 0)] {
                let stream = publish_stream(instance, name.as_bytes(), told).unwrap();
                assert_eq!(added(instance, stream, &bytes(length)), ERROR_SUCCESS);
                assert_eq!(completed(instance, stream), ERROR_SUCCESS);
            }
            let same = [&declared, &open].map(|name| information(instance, name.as_bytes(), 1));
            assert_eq!(same[0], same[1]);
        }
    });
}

#[test]
fn t92_a_content_is_published_for_clients_of_either_version() {
    case("publication::t92_a_content_is_published_for_clients_of_either_version", |_| {
        let instance = startup();
        let options = |version| Some(PEERDIST_PUBLICATION_OPTIONS { dwVersion: version, dwFlags: 0 });
        for (name, options) in [(&b"none"[..], None), (b"first", options(1)), (b"second", options(2))] {
            let stream = publish_stream_to(instance, name, 0, options, NULL, 0).unwrap();
            assert_eq!(added(instance, stream, &bytes(1000)), ERROR_SUCCESS);
            assert_eq!(completed(instance, stream), ERROR_SUCCESS);
            assert_eq!(close_stream(instance, stream), ERROR_SUCCESS);
            assert_eq!(information(instance, name, 1)[..2], [0, 1]);
        }
        assert_eq!(information(instance, b"second", 2)[..2], [0, 2]);
    });
}

#[test]
fn t93_there_is_no_content_information_before_the_stream_is_complete() {
    case("publication::t93_there_is_no_content_information_before_the_stream_is_complete", |_| {
        let instance = startup();
        assert!(open_information(instance, b"t93", 0, 0).is_err());
        let stream = publish_stream(instance, b"t93", 1000).unwrap();
        assert!(open_information(instance, b"t93", 0, 0).is_err());
        assert_eq!(added(instance, stream, &bytes(1000)), ERROR_SUCCESS);
        assert!(open_information(instance, b"t93", 0, 0).is_err());
        assert_eq!(completed(instance, stream), ERROR_SUCCESS);
        assert!(open_information(instance, b"t93", 0, 0).is_ok());
    });
}

#[test]
fn t94_a_publication_outlives_its_stream() {
    case("publication::t94_a_publication_outlives_its_stream", |_| {
        let instance = startup();
        let stream = publish_stream(instance, b"t94", 0).unwrap();
        assert_eq!(added(instance, stream, &bytes(1000)), ERROR_SUCCESS);
        assert_eq!(completed(instance, stream), ERROR_SUCCESS);
        let before = information(instance, b"t94", 1);
        assert_eq!(close_stream(instance, stream), ERROR_SUCCESS);
        assert_eq!(close_stream(instance, stream), ERROR_INVALID_HANDLE);
        assert_eq!(information(instance, b"t94", 1), before);
    });
}

#[test]
fn t95_closing_a_stream_that_is_being_completed_cancels_the_publication() {
    case("publication::t95_closing_a_stream_that_is_being_completed_cancels_the_publication", |world| {
        let (instance, port) = (startup(), port());
        let stream = publish_stream_to(instance, b"t95", 0, None, port, 95).unwrap();
        assert_eq!(added(instance, stream, &bytes(1000)), ERROR_SUCCESS);
        assert!(take(port, 0).is_some(), "that of the bytes");
        world.daemon().pause();
        let completing = Overlapped::new(NULL);
        assert_eq!(complete_stream(instance, stream, &completing), ERROR_IO_PENDING);
        assert_eq!(completing.result(false), None);
        let (of, handle) = (Carried::new(instance), Carried::new(stream));
        let closing = thread::spawn(move || close_stream(of.get(), handle.get()));
        let packet = take(port, INFINITE).unwrap();
        assert_eq!((packet.error, packet.key), (ERROR_OPERATION_ABORTED, 95));
        assert_eq!(packet.overlapped, completing.raw());
        world.daemon().go_on();
        assert_eq!(closing.join().unwrap(), ERROR_SUCCESS);
        assert!(open_information(instance, b"t95", 0, 0).is_err(), "it is not published");
        assert_eq!(take(port, 0), None);
    });
}

#[test]
fn t95_a_stream_that_is_closed_in_a_race_is_published_if_it_was_completed() {
    case("publication::t95_a_stream_that_is_closed_in_a_race_is_published_if_it_was_completed", |_| {
        let (instance, piece) = (startup(), bytes(1000));
        let mut ends = [0, 0];
        for round in 0..500_u32 {
            let name = round.to_le_bytes();
            let stream = publish_stream(instance, &name, 0).unwrap();
            assert_eq!(added(instance, stream, &piece), ERROR_SUCCESS);
            let completing = Overlapped::new(NULL);
            assert_eq!(complete_stream(instance, stream, &completing), ERROR_IO_PENDING);
            // Sooner and later, and when it is over.
            let began = Instant::now();
            while began.elapsed().as_micros() < u128::from(round % 100 * 20) {
                thread::yield_now();
            }
            if round % 100 == 99 {
                completing.wait();
            }
            assert_eq!(close_stream(instance, stream), ERROR_SUCCESS);
            let ended = completing.result(false).expect("it ends with its stream").error;
            let published = open_information(instance, &name, 0, 0).map(|open| close_information(instance, open));
            match ended {
                ERROR_SUCCESS => assert_eq!(published, Ok(ERROR_SUCCESS), "{round}"),
                _ => assert_eq!((ended, published.is_err()), (ERROR_OPERATION_ABORTED, true), "{round}"),
            }
            ends[usize::from(ended == ERROR_SUCCESS)] += 1;
            if ended == ERROR_SUCCESS {
                assert_eq!(unpublish(instance, &name), ERROR_SUCCESS);
            }
        }
        assert!(ends[0] > 0 && ends[1] > 0, "{ends:?}");
    });
}

#[test]
fn t97_unpublishing_cancels_what_is_pending_in_its_instance() {
    case("publication::t97_unpublishing_cancels_what_is_pending_in_its_instance", |world| {
        let (instance, other, port) = (startup(), startup(), port());
        publish(instance, b"t97", &bytes(1000));
        publish(instance, b"t97-stays", &bytes(1000));
        let opened = open_information_to(instance, b"t97", 0, 0, port, 97).unwrap();
        let kept = open_information(instance, b"t97-stays", 0, 0).unwrap();
        let foreign = open_information(other, b"t97", 0, 0).unwrap();
        world.daemon().pause();
        let operations = [Overlapped::new(NULL), Overlapped::new(NULL), Overlapped::new(NULL)];
        let mut buffers = [[0xEE; 500]; 3];
        let submitted = [(instance, opened), (instance, kept), (other, foreign)];
        for (((of, handle), at), buffer) in submitted.into_iter().zip(&operations).zip(&mut buffers) {
            assert_eq!(retrieve(of, handle, buffer, at), ERROR_IO_PENDING);
        }
        let of = Carried::new(instance);
        let unpublishing = thread::spawn(move || unpublish(of.get(), b"t97"));
        let packet = take(port, INFINITE).unwrap();
        assert_eq!((packet.error, packet.key), (ERROR_OPERATION_ABORTED, 97));
        assert_eq!(packet.overlapped, operations[0].raw());
        assert!(operations[1..].iter().all(|at| at.result(false).is_none()), "they are none of its business");
        world.daemon().go_on();
        assert_eq!(unpublishing.join().unwrap(), ERROR_SUCCESS);
        assert!(operations[1..].iter().all(|at| at.wait().error == ERROR_SUCCESS));
        assert_eq!(buffers[0], [0xEE; 500]);
        // The handle is still to be closed.
        assert_eq!(close_information(instance, opened), ERROR_SUCCESS);
        assert_eq!(close_information(instance, opened), ERROR_INVALID_HANDLE);
        assert!(open_information(instance, b"t97", 0, 0).is_err());
        assert!(open_information(instance, b"t97-stays", 0, 0).is_ok());
    });
}

#[test]
fn t105_pieces_are_put_together_in_the_order_of_the_calls() {
    case("publication::t105_pieces_are_put_together_in_the_order_of_the_calls", |_| {
        let (instance, content) = (startup(), bytes(2_500_000));
        publish(instance, b"whole", &content);
        let stream = publish_stream(instance, b"pieces", 0).unwrap();
        let mut rest = &content[..];
        for size in [1, 3, 65_535, 65_537, 1 << 20, 0, 100_000].into_iter().cycle() {
            let (piece, behind) = rest.split_at(rest.len().min(size));
            assert_eq!(added(instance, stream, piece), ERROR_SUCCESS);
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        assert_eq!(completed(instance, stream), ERROR_SUCCESS);
        for version in [1, 2] {
            assert_eq!(information(instance, b"pieces", version), information(instance, b"whole", version));
        }
    });
}
