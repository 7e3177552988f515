//! Instances and the status.

use peerdist::abi::*;

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
fn t22_a_status_that_goes_takes_the_handles_with_it() {
    case("instance::t22_a_status_that_goes_takes_the_handles_with_it", |world| {
        let instance = startup();
        let content = cached(instance, 1, b"t22", &bytes(300_000), 1);
        let stream = publish_stream(instance, b"t22-stream", 0).unwrap();
        let information = open_information(instance, b"t22", 0, 0).unwrap();
        world.disable();
        wait_for_status(instance, PEERDIST_STATUS_DISABLED);
        let operation = Overlapped::new(NULL);
        let mut buffer = [0; 10];
        assert_eq!(block_read(instance, content, &mut buffer, 0, &operation), PEERDIST_ERROR_INVALIDATED);
        assert_eq!(stream_read(instance, content, &mut buffer, 0, &operation), PEERDIST_ERROR_INVALIDATED);
        assert_eq!(add_data(instance, content, &buffer, &operation), PEERDIST_ERROR_INVALIDATED);
        assert_eq!(add_information(instance, content, &buffer, &operation), PEERDIST_ERROR_INVALIDATED);
        assert_eq!(complete_information(instance, content, &operation), PEERDIST_ERROR_INVALIDATED);
        assert_eq!(add_to_stream(instance, stream, &buffer, &operation), PEERDIST_ERROR_INVALIDATED);
        assert_eq!(complete_stream(instance, stream, &operation), PEERDIST_ERROR_INVALIDATED);
        assert_eq!(retrieve(instance, information, &mut buffer, &operation), PEERDIST_ERROR_INVALIDATED);
        assert_eq!(close_content(instance, content), ERROR_SUCCESS);
        assert_eq!(close_stream(instance, stream), ERROR_SUCCESS);
        assert_eq!(close_information(instance, information), ERROR_SUCCESS);
    });
}
