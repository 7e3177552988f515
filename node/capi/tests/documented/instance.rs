//! Instances and the status.

use std::ptr;
use std::thread;

use peerdist::abi::*;
use peerdist::peerdist::calls::client::PeerDistClientGetInformationByHandle;
use peerdist::peerdist::calls::common::*;

use crate::support::*;

#[test]
fn t01_startup_gives_an_instance() {
    case("instance::t01_startup_gives_an_instance", |_| {
        let instance = startup();
        assert_eq!(shutdown(instance), ERROR_SUCCESS);
    });
}

#[test]
fn t02_an_older_version_is_supported() {
    case("instance::t02_an_older_version_is_supported", |_| {
        let (code, instance, supported) = startup_of(0x0001);
        assert_eq!((code, supported), (ERROR_SUCCESS, 0x0002));
        assert!(!instance.is_null());
    });
}

#[test]
fn t03_a_newer_version_is_refused_and_the_low_byte_is_the_major_one() {
    case("instance::t03_a_newer_version_is_refused_and_the_low_byte_is_the_major_one", |_| {
        for version in [0x0003, 0x0102] {
            let (code, instance, _) = startup_of(version);
            assert_eq!(code, PEERDIST_ERROR_VERSION_UNSUPPORTED, "{version:#06x}");
            assert!(instance.is_null());
        }
    });
}

#[test]
fn t04_startup_needs_room_for_the_handle() {
    case("instance::t04_startup_needs_room_for_the_handle", |_| {
        let mut supported = 0;
        for supported in [ptr::null_mut(), &raw mut supported] {
            // SAFETY: NULL is looked for.
            let code = unsafe { PeerDistStartup(PEERDIST_VERSION, ptr::null_mut(), supported) };
            assert_eq!(code, ERROR_INVALID_PARAMETER);
        }
    });
}

#[test]
fn t05_startup_needs_no_service() {
    case_without_daemon("instance::t05_startup_needs_no_service", |world| {
        let without = startup();
        world.start_with("node.mode = \"local\"\n");
        world.disable();
        let disabled = startup();
        assert_eq!(status(disabled), PEERDIST_STATUS_DISABLED);
        assert_eq!(shutdown(without), ERROR_SUCCESS);
        assert_eq!(shutdown(disabled), ERROR_SUCCESS);
    });
}

#[test]
fn t06_instances_end_one_by_one() {
    case("instance::t06_instances_end_one_by_one", |_| {
        for first_goes in [true, false] {
            let (first, second) = (startup(), startup());
            assert_ne!(first, second);
            let kept_content = [first, second].map(|instance| open_content(instance, 1, NULL, 0).unwrap());
            let (goes, stays, content) =
                if first_goes { (first, second, kept_content[1]) } else { (second, first, kept_content[0]) };
            assert_eq!(shutdown(goes), ERROR_SUCCESS);
            assert_eq!(status(stays), PEERDIST_STATUS_AVAILABLE);
            publish(stays, b"t06", &bytes(1000));
            assert_eq!(describe(stays, content, &information(stays, b"t06", 1)), ERROR_SUCCESS);
            assert_eq!(add(stays, content, 0, &bytes(1000)).error, ERROR_SUCCESS);
            assert_eq!(read(stays, content, 0, 1000, 0).1, bytes(1000));
            assert_eq!(shutdown(stays), ERROR_SUCCESS);
        }
    });
}

#[test]
fn t07_only_instances_can_be_shut_down_and_only_once() {
    case("instance::t07_only_instances_can_be_shut_down_and_only_once", |_| {
        let (instance, event, port) = (startup(), event(), port());
        let content = open_content(instance, 1, NULL, 0).unwrap();
        let garbage: HANDLE = ptr::without_provenance_mut(0xDEAD_BEE0);
        for wrong in [garbage, NULL, INVALID_HANDLE_VALUE, event, port, content] {
            assert_eq!(shutdown(wrong), ERROR_INVALID_HANDLE);
        }
        assert!(!is_set(event), "and it is still an event");
        assert_eq!(close_content(instance, content), ERROR_SUCCESS);
        assert_eq!(shutdown(instance), ERROR_SUCCESS);
        assert_eq!(shutdown(instance), ERROR_INVALID_HANDLE);
        // Its place is taken again, by another value.
        let next = startup();
        assert_eq!(shutdown(instance), ERROR_INVALID_HANDLE);
        assert_eq!(shutdown(next), ERROR_SUCCESS);
    });
}

#[test]
fn t08_shutdown_cancels_what_is_pending() {
    case("instance::t08_shutdown_cancels_what_is_pending", |world| {
        let instance = notified(PEERDIST_STATUS_AVAILABLE);
        publish(instance, b"t08", &bytes(1000));
        let content = readable(instance, 1, &information(instance, b"t08", 1));
        let stream = publish_stream(instance, b"t08-stream", 0).unwrap();
        world.daemon().pause();
        let (reading, adding) = (Overlapped::new(event()), Overlapped::new(NULL));
        let registration = Registration::new(Form::Plain, NULL);
        let (mut buffer, piece) = ([0xEE; 100], [0; 100]);
        assert_eq!(block_read(instance, content, &mut buffer, 0, &reading), ERROR_IO_PENDING);
        assert_eq!(add_to_stream(instance, stream, &piece, &adding), ERROR_IO_PENDING);
        let port = port();
        assert_eq!(registration.submit(instance, port, 8), ERROR_IO_PENDING);
        for operation in [&reading, &adding, &registration.at] {
            assert_eq!(operation.result(false), None);
        }
        let ending = thread::spawn({
            let instance = Carried::new(instance);
            move || shutdown(instance.get())
        });
        for operation in [&reading, &adding, &registration.at] {
            assert_eq!(operation.wait().error, ERROR_OPERATION_ABORTED);
        }
        world.daemon().go_on();
        assert_eq!(ending.join().unwrap(), ERROR_SUCCESS);
        let packet = take(port, 0).unwrap();
        assert_eq!((packet.error, packet.key), (ERROR_OPERATION_ABORTED, 8));
        assert_eq!(packet.overlapped, registration.at.raw());
        assert_eq!((buffer, registration.status()), ([0xEE; 100], UNTOLD));
    });
}

#[test]
fn t09_shutdown_takes_the_publications_back() {
    case("instance::t09_shutdown_takes_the_publications_back", |_| {
        let (publisher, other) = (startup(), startup());
        publish(publisher, b"t09", &bytes(1000));
        let information = open_information(other, b"t09", 0, 0).unwrap();
        assert_eq!(close_information(other, information), ERROR_SUCCESS);
        assert_eq!(shutdown(publisher), ERROR_SUCCESS);
        assert_eq!(open_information(other, b"t09", 0, 0), Err(ERROR_NOT_FOUND));
        publish(other, b"t09", &bytes(2000));
    });
}

#[test]
fn t10_shutdown_leaves_the_publications_of_others_alone() {
    case("instance::t10_shutdown_leaves_the_publications_of_others_alone", |_| {
        let (publisher, other) = (startup(), startup());
        publish(publisher, b"t10", &bytes(1000));
        let before = information(other, b"t10", 1);
        assert_eq!(shutdown(other), ERROR_SUCCESS);
        assert_eq!(information(publisher, b"t10", 1), before);
        assert_eq!(information(startup(), b"t10", 1), before);
    });
}

#[test]
fn t11_the_status_is_told_in_every_state() {
    case_without_daemon("instance::t11_the_status_is_told_in_every_state", |world| {
        let instance = startup();
        assert_eq!(status(instance), 1);
        world.start_with("node.mode = \"local\"\n");
        wait_for_status(instance, 2);
        world.disable();
        wait_for_status(instance, 0);
        assert_eq!(status(startup()), 0, "as a new instance sees it");
        world.enable();
        wait_for_status(instance, 2);
        assert_eq!(status(startup()), 2);
        world.kill();
        wait_for_status(instance, 1);
    });
}

#[test]
fn t12_the_status_comes_with_the_versions_of_content_information() {
    case("instance::t12_the_status_comes_with_the_versions_of_content_information", |world| {
        let instance = startup();
        for wanted in [PEERDIST_STATUS_AVAILABLE, PEERDIST_STATUS_DISABLED, PEERDIST_STATUS_UNAVAILABLE] {
            match wanted {
                PEERDIST_STATUS_DISABLED => world.disable(),
                PEERDIST_STATUS_UNAVAILABLE => world.kill(),
                _ => {}
            }
            wait_for_status(instance, wanted);
            let mut info = PEERDIST_STATUS_INFO { cbSize: 16, status: UNTOLD, dwMinVer: 77, dwMaxVer: 78 };
            // SAFETY: valid.
            assert_eq!(unsafe { PeerDistGetStatusEx(instance, &mut info) }, ERROR_SUCCESS);
            assert_eq!((info.cbSize, info.status), (16, wanted));
            assert!(1 <= info.dwMinVer && info.dwMinVer <= info.dwMaxVer && info.dwMaxVer <= 2, "{info:?}");
        }
    });
}

#[test]
fn t22_a_status_that_goes_takes_the_handles_with_it() {
    case("instance::t22_a_status_that_goes_takes_the_handles_with_it", |world| {
        for gone in [PEERDIST_STATUS_DISABLED, PEERDIST_STATUS_UNAVAILABLE] {
            let instance = startup();
            let content = cached(instance, 1, b"t22", &bytes(300_000), 1);
            let stream = publish_stream(instance, b"t22-stream", 0).unwrap();
            let information = open_information(instance, b"t22", 0, 0).unwrap();
            if gone == PEERDIST_STATUS_DISABLED {
                world.disable();
            } else {
                world.kill();
            }
            wait_for_status(instance, gone);
            let operation = Overlapped::new(NULL);
            let mut buffer = [0; 10];
            assert_eq!(block_read(instance, content, &mut buffer, 0, &operation), PEERDIST_ERROR_INVALIDATED);
            assert_eq!(stream_read(instance, content, &mut buffer, 0, &operation), PEERDIST_ERROR_INVALIDATED);
            assert_eq!(add_data(instance, content, &buffer, &operation), PEERDIST_ERROR_INVALIDATED);
            assert_eq!(add_information(instance, content, &buffer, &operation), PEERDIST_ERROR_INVALIDATED);
            assert_eq!(complete_information(instance, content, &operation), PEERDIST_ERROR_INVALIDATED);
            assert_eq!(flash_crowd(instance, content), PEERDIST_ERROR_INVALIDATED);
            assert_eq!(cancel(instance, content, None), PEERDIST_ERROR_INVALIDATED);
            assert_eq!(cancel(instance, content, Some(&operation)), PEERDIST_ERROR_INVALIDATED);
            assert_eq!(add_to_stream(instance, stream, &buffer, &operation), PEERDIST_ERROR_INVALIDATED);
            assert_eq!(complete_stream(instance, stream, &operation), PEERDIST_ERROR_INVALIDATED);
            assert_eq!(retrieve(instance, information, &mut buffer, &operation), PEERDIST_ERROR_INVALIDATED);
            assert_eq!(close_content(instance, content), ERROR_SUCCESS);
            assert_eq!(close_stream(instance, stream), ERROR_SUCCESS);
            assert_eq!(close_information(instance, information), ERROR_SUCCESS);
            assert_eq!(shutdown(instance), ERROR_SUCCESS);
            if gone == PEERDIST_STATUS_DISABLED {
                world.enable();
            }
        }
    });
}

/// PeerDistClientGetInformationByHandle.
fn flash_crowd(instance: HANDLE, content: HANDLE) -> DWORD {
    let mut information = PEERDIST_CLIENT_BASIC_INFO { fFlashCrowd: 7 };
    let room = (&raw mut information).cast();
    // SAFETY: there is room for it.
    unsafe { PeerDistClientGetInformationByHandle(instance, content, PeerDistClientBasicInfo, 4, room) }
}

#[test]
fn t24_nothing_is_opened_while_the_service_is_off_or_away() {
    case("instance::t24_nothing_is_opened_while_the_service_is_off_or_away", |world| {
        let instance = startup();
        publish(instance, b"t24", &bytes(1000));
        for (gone, code) in [
            (PEERDIST_STATUS_DISABLED, ERROR_ACCESS_DISABLED_BY_POLICY),
            (PEERDIST_STATUS_UNAVAILABLE, PEERDIST_ERROR_SERVICE_UNAVAILABLE),
        ] {
            if gone == PEERDIST_STATUS_DISABLED {
                world.disable();
            } else {
                world.kill();
            }
            wait_for_status(instance, gone);
            for instance in [instance, startup()] {
                assert_eq!(open_content(instance, 1, NULL, 0), Err(code));
                assert_eq!(publish_stream(instance, b"t24-stream", 0), Err(code));
                assert_eq!(open_information(instance, b"t24", 0, 0), Err(code));
                assert_eq!(unpublish(instance, b"t24"), code);
                let operation = Overlapped::new(NULL);
                assert_eq!(flush(instance, 1, NULL, 0, &operation), code);
                assert_eq!(server_cancel(instance, b"t24", operation.raw()), code);
            }
        }
    });
}
