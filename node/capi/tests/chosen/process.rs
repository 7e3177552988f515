//! What the library is in a foreign process: one thread and a handful of descriptors, and nothing that a forked child
//! could stumble over.

use peerdist::abi::*;
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::support::*;

const OUTSTANDING: usize = 1000;

/// How many threads and open descriptors this process has.
fn threads_and_descriptors() -> [usize; 2] {
    ["/proc/self/task", "/proc/self/fd"].map(|path| std::fs::read_dir(path).unwrap().count())
}

#[test]
fn whatever_is_outstanding_it_is_one_thread_and_a_handful_of_descriptors() {
    case_without_daemon("process::whatever_is_outstanding_it_is_one_thread_and_a_handful_of_descriptors", |world| {
        world.start_with(&patient());
        let [threads, descriptors] = threads_and_descriptors();
        let instances = [startup(), startup()];
        let port = port();
        publish(instances[0], b"process", &bytes(1 << 20));
        let described = information(instances[0], b"process", 2);
        let contents = instances.map(|instance| readable(instance, 1, &described));
        let mut reads: Vec<_> = (0..OUTSTANDING).map(|at| (Overlapped::at(at as u64, NULL), [0; 64])).collect();
        for (number, (at, buffer)) in reads.iter_mut().enumerate() {
            let (instance, content) = (instances[number % 2], contents[number % 2]);
            assert_eq!(block_read(instance, content, buffer, 600_000, at), ERROR_IO_PENDING);
        }
        // The daemon has taken them all: what is asked after them was answered.
        for instance in instances {
            assert_eq!(unpublish(instance, b"nothing"), ERROR_NOT_FOUND);
        }
        assert!(reads.iter().all(|(at, _)| at.is_pending()));
        let [more_threads, more_descriptors] = threads_and_descriptors();
        assert_eq!(more_threads, threads + 1);
        assert!(more_descriptors <= descriptors + 16, "{descriptors} descriptors became {more_descriptors}");
        assert!(instances.map(shutdown) == [ERROR_SUCCESS; 2]);
        close(port);
    });
}

#[test]
fn a_forked_child_cannot_use_the_instances_of_its_parent_and_starts_its_own() {
    case("process::a_forked_child_cannot_use_the_instances_of_its_parent_and_starts_its_own", |_| {
        let instance = startup();
        publish(instance, b"forked", &bytes(1000));
        let content = open_content(instance, 1, NULL, 0).unwrap();
        // SAFETY: the child calls the library, whose locks nobody holds, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let at = Overlapped::new(NULL);
            let (_, own, _) = startup_of(PEERDIST_VERSION);
            let seen = [
                block_read(instance, content, &mut [0; 10], 0, &at),
                close_content(instance, content),
                unpublish(instance, b"forked"),
                shutdown(instance),
                // Its own works.
                open_content(own, 1, NULL, 0).map_or_else(|error| error, |content| close_content(own, content)),
                shutdown(own),
            ];
            let expected = [ERROR_INVALID_HANDLE; 4].into_iter().chain([ERROR_SUCCESS; 2]);
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(i32::from(!expected.eq(seen))) };
        }
        let (_, ended) = waitpid(Pid::from_raw(child), WaitOptions::empty()).unwrap().unwrap();
        assert_eq!(ended.exit_status(), Some(0));
        // The parent's are as they were.
        assert!(!information(instance, b"forked", 1).is_empty());
        assert_eq!(close_content(instance, content), ERROR_SUCCESS);
        assert_eq!(shutdown(instance), ERROR_SUCCESS);
    });
}
