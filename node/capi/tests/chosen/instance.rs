//! Instances and the status.

use std::ptr;
use std::time::Instant;

use peerdist::abi::*;
use peerdist::peerdist::calls::common::*;

use crate::support::programs::{beside, compiled};
use crate::support::*;

#[test]
fn t03_versions_are_compared_by_the_major_one_first() {
    case("instance::t03_versions_are_compared_by_the_major_one_first", |_| {
        // The highest version is told also where it is not enough.
        for (version, expected) in [
            (0x0101, (ERROR_SUCCESS, PEERDIST_VERSION)),
            (0x0001_0001, (ERROR_SUCCESS, PEERDIST_VERSION)),
            (0x0003, (PEERDIST_ERROR_VERSION_UNSUPPORTED, PEERDIST_VERSION)),
            (0x0001_0002, (PEERDIST_ERROR_VERSION_UNSUPPORTED, PEERDIST_VERSION)),
            (0x0000, (ERROR_INVALID_PARAMETER, 0)),
            (0x0200, (ERROR_INVALID_PARAMETER, 0)),
        ] {
            let (code, instance, supported) = startup_of(version);
            assert_eq!((code, supported), expected, "{version:#010x}");
            assert_eq!(instance.is_null(), code != ERROR_SUCCESS);
        }
    });
}

#[test]
fn t08_what_shutdown_cancels_has_ended_when_it_returns() {
    case_without_daemon("instance::t08_what_shutdown_cancels_has_ended_when_it_returns", |world| {
        world.start_with(&patient());
        for _ in 0..20 {
            let instance = notified(PEERDIST_STATUS_AVAILABLE);
            publish(instance, b"t08", &bytes(1000));
            let content = readable(instance, 1, &information(instance, b"t08", 1));
            let (reading, registration) = (Overlapped::new(event()), Registration::new(Form::Plain, NULL));
            let (mut buffer, port) = ([0; 100], port());
            assert_eq!(block_read(instance, content, &mut buffer, 3_600_000, &reading), ERROR_IO_PENDING);
            assert_eq!(registration.submit(instance, port, 8), ERROR_IO_PENDING);
            assert_eq!(shutdown(instance), ERROR_SUCCESS);
            assert_eq!(reading.result(false).unwrap().error, ERROR_OPERATION_ABORTED);
            assert_eq!(take(port, 0).unwrap().error, ERROR_OPERATION_ABORTED);
            // The handles of the instance are none any more.
            assert_eq!(close_content(instance, content), ERROR_INVALID_HANDLE);
            assert_eq!(registration.submit(instance, NULL, 0), ERROR_INVALID_HANDLE);
        }
        // Nor does the daemon know of them, as soon as it has seen the last events go.
        let began = Instant::now();
        while world.daemon().status()["api"]["sessions"] != 0 {
            assert!(began.elapsed() < LIMIT, "{}", world.daemon().status());
        }
    });
}

#[test]
fn t12_the_size_of_the_status_has_to_be_right() {
    case("instance::t12_the_size_of_the_status_has_to_be_right", |_| {
        let instance = startup();
        wait_for_status(instance, PEERDIST_STATUS_AVAILABLE);
        for size in [0, 15, 17, DWORD::MAX] {
            let before = PEERDIST_STATUS_INFO { cbSize: size, status: UNTOLD, dwMinVer: 77, dwMaxVer: 78 };
            let mut info = before;
            // SAFETY: valid.
            assert_eq!(unsafe { PeerDistGetStatusEx(instance, &mut info) }, ERROR_INVALID_PARAMETER);
            assert_eq!(info, before);
        }
        let mut info = PEERDIST_STATUS_INFO { cbSize: 16, status: UNTOLD, dwMinVer: 77, dwMaxVer: 78 };
        // SAFETY: valid, here and below; NULL is looked for.
        unsafe {
            assert_eq!(PeerDistGetStatusEx(NULL, &mut info), ERROR_INVALID_HANDLE);
            assert_eq!(info.status, UNTOLD);
            assert_eq!(PeerDistGetStatusEx(instance, ptr::null_mut()), ERROR_INVALID_PARAMETER);
            assert_eq!(PeerDistGetStatus(instance, ptr::null_mut()), ERROR_INVALID_PARAMETER);
            assert_eq!(PeerDistGetStatus(NULL, &mut info.status), ERROR_INVALID_HANDLE);
            assert_eq!(PeerDistGetStatusEx(instance, &mut info), ERROR_SUCCESS);
        }
        assert_eq!((info.dwMinVer, info.dwMaxVer), (1, 2));
    });
}

#[test]
fn t11_a_service_that_was_turned_on_is_there_at_once() {
    case("instance::t11_a_service_that_was_turned_on_is_there_at_once", |world| {
        for _ in 0..50 {
            world.disable();
            let off = startup();
            assert_eq!(status(off), PEERDIST_STATUS_DISABLED);
            assert_eq!(open_content(off, 1, NULL, 0), Err(ERROR_ACCESS_DISABLED_BY_POLICY));
            world.enable();
            let on = startup();
            assert_eq!(status(on), PEERDIST_STATUS_AVAILABLE);
            assert!(open_content(on, 1, NULL, 0).is_ok());
            assert_eq!((shutdown(off), shutdown(on)), (ERROR_SUCCESS, ERROR_SUCCESS));
        }
    });
}

#[test]
fn t22_what_is_pending_when_the_status_goes_ends_as_invalidated() {
    case_without_daemon("instance::t22_what_is_pending_when_the_status_goes_ends_as_invalidated", |world| {
        world.start_with(&patient());
        for gone in [PEERDIST_STATUS_DISABLED, PEERDIST_STATUS_UNAVAILABLE] {
            let instance = startup();
            publish(instance, b"t22", &bytes(1000));
            let content = readable(instance, 1, &information(instance, b"t22", 1));
            let reads = [0, 0].map(|_| Overlapped::new(NULL));
            let mut buffers = [[0xEE; 100]; 2];
            for (read, buffer) in reads.iter().zip(&mut buffers) {
                assert_eq!(block_read(instance, content, buffer, 3_600_000, read), ERROR_IO_PENDING);
            }
            if gone == PEERDIST_STATUS_DISABLED {
                world.disable();
            } else {
                world.kill();
            }
            for read in &reads {
                assert_eq!(read.wait().error, PEERDIST_ERROR_INVALIDATED);
            }
            assert_eq!(buffers, [[0xEE; 100]; 2]);
            // With what it published, which outlives a service that is turned off.
            assert_eq!(shutdown(instance), ERROR_SUCCESS);
            if gone == PEERDIST_STATUS_DISABLED {
                world.enable();
            }
        }
    });
}

#[test]
fn t22_the_daemon_forgets_invalidated_handles_that_are_closed() {
    case("instance::t22_the_daemon_forgets_invalidated_handles_that_are_closed", |world| {
        let instance = startup();
        publish(instance, b"t22", &bytes(1000));
        let content = readable(instance, 1, &information(instance, b"t22", 1));
        let stream = publish_stream(instance, b"t22-stream", 0).unwrap();
        let information = open_information(instance, b"t22", 0, 0).unwrap();
        let held = |what: &str| world.daemon().status()["api"][what].as_u64().unwrap();
        let open = held("contents");
        assert!(open > 0);
        world.disable();
        wait_for_status(instance, PEERDIST_STATUS_DISABLED);
        assert_eq!(close_content(instance, content), ERROR_SUCCESS);
        assert_eq!(close_stream(instance, stream), ERROR_SUCCESS);
        assert_eq!(close_information(instance, information), ERROR_SUCCESS);
        assert_eq!(held("contents"), 0);
    });
}

#[test]
fn t23_handles_stay_dead_when_the_service_comes_back() {
    case("instance::t23_handles_stay_dead_when_the_service_comes_back", |world| {
        for gone in [PEERDIST_STATUS_DISABLED, PEERDIST_STATUS_UNAVAILABLE] {
            let instance = startup();
            let content = bytes(300_000);
            let dead = cached(instance, 1, b"t23", &content, 1);
            let stream = publish_stream(instance, b"t23-stream", 0).unwrap();
            let opened = open_information(instance, b"t23", 0, 0).unwrap();
            if gone == PEERDIST_STATUS_DISABLED {
                world.disable();
                wait_for_status(instance, gone);
                world.enable();
            } else {
                world.kill();
                wait_for_status(instance, gone);
                world.start();
            }
            wait_for_status(instance, PEERDIST_STATUS_AVAILABLE);
            let (operation, mut buffer) = (Overlapped::new(NULL), [0; 10]);
            assert_eq!(block_read(instance, dead, &mut buffer, 0, &operation), PEERDIST_ERROR_INVALIDATED);
            assert_eq!(complete_stream(instance, stream, &operation), PEERDIST_ERROR_INVALIDATED);
            assert_eq!(retrieve(instance, opened, &mut buffer, &operation), PEERDIST_ERROR_INVALIDATED);
            assert_eq!(close_content(instance, dead), ERROR_SUCCESS);
            assert_eq!(close_stream(instance, stream), ERROR_SUCCESS);
            assert_eq!(close_information(instance, opened), ERROR_SUCCESS);

            // What was published outlives a service that is turned off, but not one that ends.
            if gone == PEERDIST_STATUS_DISABLED {
                assert_eq!(unpublish(instance, b"t23"), ERROR_SUCCESS);
            } else {
                assert_eq!(unpublish(instance, b"t23"), ERROR_NOT_FOUND);
            }
            let alive = cached(instance, 1, b"t23", &content, 1);
            assert_eq!(read(instance, alive, 100, 1000, 0).1, content[100..1100]);
            assert_eq!(shutdown(instance), ERROR_SUCCESS);
        }
    });
}

#[test]
fn t11_a_service_that_the_configuration_turns_off_is_disabled() {
    case_without_daemon("instance::t11_a_service_that_the_configuration_turns_off_is_disabled", |world| {
        world.start_with("node.mode = \"local\"\nnode.enabled = false\n");
        let instance = startup();
        assert_eq!(status(instance), PEERDIST_STATUS_DISABLED);
        assert_eq!(open_content(instance, 1, NULL, 0), Err(ERROR_ACCESS_DISABLED_BY_POLICY));
    });
}

#[test]
fn t14_whoever_waits_is_told_when_dism_turns_the_feature_off_and_on() {
    case("instance::t14_whoever_waits_is_told_when_dism_turns_the_feature_off_and_on", |world| {
        let program = compiled(world, "feature");
        let ran = beside(world, &program).output().unwrap();
        assert!(ran.status.success(), "{}: {}", ran.status, String::from_utf8_lossy(&ran.stderr));
    });
}
