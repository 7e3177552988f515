//! Operations that end while their memory goes, a hundred thousand of each kind: natively with memory that nobody may touch
//! any more, and under valgrind.

use peerdist::abi::*;

use crate::support::programs::{beside, compiled};
use crate::support::*;

const ROUNDS: &str = "100000";

/// Runs the program `races` in one of its modes.
fn race(world: &World, mode: &str) {
    let program = compiled(world, "races");
    for checker in [None, Some("valgrind")] {
        let (mut command, memory) = match checker {
            None => (beside(world, &program), "pages"),
            Some(checker) => (beside(world, checker), "malloc"),
        };
        if checker.is_some() {
            // Only who touches what is looked at, which is quicker.
            command.args(["-q", "--error-exitcode=99", "--leak-check=no", "--undef-value-errors=no"]).arg(&program);
        }
        let ran = command.args([mode, ROUNDS, memory]).output().expect("the tests need valgrind");
        let said = [ran.stdout, ran.stderr].concat();
        assert!(ran.status.success(), "{mode} {memory}: {}: {}", ran.status, String::from_utf8_lossy(&said));
    }
}

#[test]
fn t37_an_operation_is_not_touched_after_its_packet() {
    case("races::t37_an_operation_is_not_touched_after_its_packet", |world| race(world, "freed"));
}

#[test]
fn t81_of_a_cancel_and_an_end_one_happens_and_cancel_says_which() {
    case("races::t81_of_a_cancel_and_an_end_one_happens_and_cancel_says_which", |world| race(world, "cancel"));
}

#[test]
fn t82_nothing_is_written_after_cancel_has_returned() {
    case("races::t82_nothing_is_written_after_cancel_has_returned", |world| race(world, "buffer"));
}

#[test]
fn a_program_may_cancel_thousands_of_operations_at_once() {
    case("races::a_program_may_cancel_thousands_of_operations_at_once", |world| {
        let instance = startup();
        let content = cached(instance, 1, b"many", &bytes(100_000), 1);
        let reads: Vec<_> = (0..5000).map(|_| Overlapped::new(NULL)).collect();
        let mut buffer = [0; 10];
        let mut begin = |reads: &[Overlapped]| {
            for at in reads {
                at.set_offset(0);
                assert_eq!(block_read(instance, content, &mut buffer, 0, at), ERROR_IO_PENDING);
            }
        };
        let end = |reads: &[Overlapped]| {
            assert_eq!(cancel(instance, content, None), ERROR_SUCCESS);
            reads.iter().map(Overlapped::wait).filter(|ended| ended.error == ERROR_OPERATION_ABORTED).count()
        };
        for _ in 0..4 {
            // Before the daemon has looked at any of them.
            world.daemon().pause();
            begin(&reads);
            assert_eq!(end(&reads), reads.len());
            world.daemon().go_on();
            assert_eq!(read(instance, content, 0, 10, 0).0.error, ERROR_SUCCESS);
        }
        // While it answers, so that answers meet cancels on their way.
        let mut cancelled = 0;
        for _ in 0..200 {
            let some = &reads[..500];
            begin(some);
            some[100].wait();
            cancelled += end(some);
            assert_eq!(read(instance, content, 0, 10, 0).0.error, ERROR_SUCCESS);
        }
        // More than what ended the connection once.
        assert!(cancelled > 2000, "only {cancelled} were cancelled");
    });
}
