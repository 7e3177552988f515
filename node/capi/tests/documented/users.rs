//! Publications of several users.

use peerdist::abi::*;

use crate::support::*;

#[test]
fn t88_two_users_publish_the_same_identifier() {
    case_of_two_users(
        "users::t88_two_users_publish_the_same_identifier",
        |world| {
            let instance = startup();
            publish(instance, b"t88", &bytes(1000));
            let before = information(instance, b"t88", 1);
            let mut other = Partner::start(world);
            let theirs = other.hear();
            assert_eq!(information(instance, b"t88", 1), before);
            assert_eq!(publish_stream(instance, b"t88", 0), Err(PEERDIST_ERROR_ALREADY_EXISTS), "ours it is");
            // Theirs is of what they published.
            publish(instance, b"t88-same", &bytes(2000));
            assert_eq!(information(instance, b"t88-same", 1), theirs);
            // Neither goes with the other.
            assert_eq!(unpublish(instance, b"t88"), ERROR_SUCCESS);
            other.tell(b"ours is gone");
            assert_eq!(other.hear(), theirs);
            other.join();
        },
        |first| {
            let instance = startup();
            assert!(open_information(instance, b"t88", 0, 0).is_err(), "theirs is not ours");
            publish(instance, b"t88", &bytes(2000));
            first.tell(&information(instance, b"t88", 1));
            first.hear();
            first.tell(&information(instance, b"t88", 1));
        },
    );
}

#[test]
fn t98_nobody_unpublishes_what_another_user_published() {
    case_of_two_users(
        "users::t98_nobody_unpublishes_what_another_user_published",
        |world| {
            let instance = startup();
            publish(instance, b"t98", &bytes(1000));
            let before = information(instance, b"t98", 1);
            let unfinished = publish_stream(instance, b"t98-unfinished", 0).unwrap();
            let mut other = Partner::start(world);
            other.hear();
            assert_eq!(information(instance, b"t98", 1), before);
            assert_eq!(added(instance, unfinished, &[1; 100]), ERROR_SUCCESS);
            assert_eq!(completed(instance, unfinished), ERROR_SUCCESS);
            other.join();
        },
        |first| {
            let instance = startup();
            unpublish(instance, b"t98");
            unpublish(instance, b"t98-unfinished");
            // Not in the way of a publication of one's own either.
            publish(instance, b"t98", &bytes(2000));
            assert_eq!(unpublish(instance, b"t98"), ERROR_SUCCESS);
            unpublish(instance, b"t98");
            first.tell(b"done");
        },
    );
}
