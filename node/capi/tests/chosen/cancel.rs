//! Cancelling.

use peerdist::abi::*;

use crate::support::*;

#[test]
fn t78_a_successful_cancel_tells_its_thread_of_the_abort() {
    case_without_daemon("cancel::t78_a_successful_cancel_tells_its_thread_of_the_abort", |world| {
        world.start_with(&patient());
        let instance = startup();
        let handle = absent(instance, 1, b"t78", &bytes(1000), 1);
        let read = Reading::block(instance, handle, 7, 100, NULL);
        set_last_error(0);
        assert_eq!(cancel(instance, handle, Some(&read.at)), ERROR_SUCCESS);
        assert_eq!(last_error(), ERROR_OPERATION_ABORTED);
        set_last_error(0);
        assert_eq!(cancel(instance, handle, Some(&read.at)), PEERDIST_ERROR_OPERATION_NOTFOUND);
        assert_eq!(last_error(), 0);
        // Nothing came of it, and the offset is what it was.
        assert_eq!(read.at.wait(), Ended { error: ERROR_OPERATION_ABORTED, bytes: 0, offset: 7 });
        assert_eq!(read.at.internal() as u32, 0xC000_0120, "STATUS_CANCELLED");
        assert_eq!(read.at.result_of_windows_7().error, ERROR_OPERATION_ABORTED);
    });
}

#[test]
fn t79_there_need_not_be_anything_to_cancel() {
    case("cancel::t79_there_need_not_be_anything_to_cancel", |_| {
        let instance = startup();
        let handle = open_content(instance, 1, NULL, 0).unwrap();
        for _ in 0..2 {
            assert_eq!(cancel(instance, handle, None), ERROR_SUCCESS);
        }
        let content = bytes(1000);
        let handle = cached(instance, 1, b"t79", &content, 1);
        assert_eq!(cancel(instance, handle, None), ERROR_SUCCESS);
        assert_eq!(read(instance, handle, 0, 1000, 0).1, content);
    });
}

#[test]
fn t79_cancelling_much_at_once_costs_nothing_else() {
    case("cancel::t79_cancelling_much_at_once_costs_nothing_else", |world| {
        let (instance, content) = (startup(), bytes(1000));
        let handle = cached(instance, 1, b"t79", &content, 1);
        world.daemon().pause();
        for _ in 0..20 {
            let reads: Vec<_> = (0..50).map(|offset| Reading::block(instance, handle, offset, 100, NULL)).collect();
            // The daemon is sent them before it hears that they are cancelled.
            std::thread::sleep(std::time::Duration::from_millis(5));
            assert_eq!(cancel(instance, handle, None), ERROR_SUCCESS);
            reads.iter().for_each(Reading::assert_cancelled);
        }
        world.daemon().go_on();
        assert_eq!(read(instance, handle, 0, 1000, 0).0.error, ERROR_SUCCESS);
        assert_eq!(status(instance), PEERDIST_STATUS_AVAILABLE);
    });
}

#[test]
fn t80_a_cancel_of_a_content_does_not_reach_operations_of_the_instance() {
    case("cancel::t80_a_cancel_of_a_content_does_not_reach_operations_of_the_instance", |world| {
        let instance = notified(PEERDIST_STATUS_AVAILABLE);
        let handle = cached(instance, 1, b"t80", &bytes(1000), 1);
        world.daemon().pause();
        let (flushing, registration) = (Overlapped::new(NULL), Registration::new(Form::Plain, NULL));
        assert_eq!(flush(instance, 1, NULL, 0, &flushing), ERROR_IO_PENDING);
        assert_eq!(registration.submit(instance, NULL, 0), ERROR_IO_PENDING);
        for at in [&flushing, &registration.at] {
            assert_eq!(cancel(instance, handle, Some(at)), PEERDIST_ERROR_OPERATION_NOTFOUND);
        }
        assert_eq!(cancel(instance, handle, None), ERROR_SUCCESS);
        assert_eq!((flushing.result(false), registration.at.result(false)), (None, None));
        world.daemon().go_on();
        assert_eq!(flushing.wait().error, ERROR_SUCCESS);
        assert_eq!(registration.at.result(false), None);
        assert_eq!(unregister(instance), ERROR_SUCCESS);
    });
}

#[test]
fn t83_what_closing_a_content_cancels_has_ended_when_it_returns() {
    case_without_daemon("cancel::t83_what_closing_a_content_cancels_has_ended_when_it_returns", |world| {
        world.start_with(&patient());
        let instance = startup();
        publish(instance, b"t83", &bytes(3 * BLOCK));
        let described = information(instance, b"t83", 1);
        for _ in 0..20 {
            let handle = readable(instance, 1, &described);
            let events = [event(), event()];
            let reads = [
                Reading::block(instance, handle, BLOCK as u64, 100, events[0]),
                Reading::stream(instance, handle, 100, HOUR, events[1]),
            ];
            assert_eq!(close_content(instance, handle), ERROR_SUCCESS);
            for (read, event) in reads.iter().zip(events) {
                assert!(is_set(event));
                read.assert_cancelled();
                close(event);
            }
        }
        assert_eq!(world.daemon().status()["api"]["contents"], 0, "nor does the daemon have them any more");
    });
}
