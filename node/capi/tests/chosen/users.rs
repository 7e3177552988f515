//! Publications of several users.

use peerdist::abi::*;

use crate::support::*;

#[test]
fn t98_what_another_user_published_is_not_found() {
    case_of_two_users(
        "users::t98_what_another_user_published_is_not_found",
        |world| {
            let instance = startup();
            publish(instance, b"t98", &bytes(1000));
            let mut other = Partner::start(world);
            other.hear();
            assert_eq!(unpublish(instance, b"theirs"), ERROR_NOT_FOUND, "not even for root");
            assert_eq!(open_information(instance, b"theirs", 0, 0), Err(ERROR_NOT_FOUND));
            other.tell(b"looked for");
            other.join();
        },
        |first| {
            let instance = startup();
            assert_eq!(unpublish(instance, b"t98"), ERROR_NOT_FOUND);
            assert_eq!(open_information(instance, b"t98", 0, 0), Err(ERROR_NOT_FOUND));
            publish(instance, b"theirs", &bytes(1000));
            first.tell(b"published");
            first.hear();
            assert_eq!(unpublish(instance, b"theirs"), ERROR_SUCCESS);
        },
    );
}
