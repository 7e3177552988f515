//! Notifications of changes of the status.

use std::sync::mpsc;
use std::thread;

use peerdist::abi::*;

use crate::support::*;

#[test]
fn t13_the_first_registration_fires_at_once_when_available() {
    case("notification::t13_the_first_registration_fires_at_once_when_available", |_| {
        for form in FORMS {
            for known in [true, false] {
                let instance = startup_only();
                if known {
                    wait_for_status(instance, PEERDIST_STATUS_AVAILABLE);
                }
                let registration = Registration::new(form, event());
                assert_eq!(registration.submit(instance, NULL, 0), ERROR_IO_PENDING);
                assert!(!known || registration.at.result(false).is_some(), "there is nothing to wait for");
                assert_eq!(registration.at.wait().error, ERROR_SUCCESS);
                assert_eq!(registration.status(), PEERDIST_STATUS_AVAILABLE);
                assert_eq!(shutdown(instance), ERROR_SUCCESS);
            }
        }
    });
}

#[test]
fn t13_the_first_registration_tells_that_the_service_is_unavailable() {
    case_without_daemon("notification::t13_the_first_registration_tells_that_the_service_is_unavailable", |world| {
        for form in FORMS {
            let instance = startup();
            let registration = Registration::new(form, NULL);
            assert_eq!(registration.submit(instance, NULL, 0), ERROR_IO_PENDING);
            assert_eq!(registration.at.wait().error, ERROR_SUCCESS);
            assert_eq!(registration.status(), PEERDIST_STATUS_UNAVAILABLE);
        }
        // This is how a program waits for the service.
        let (instance, registration) = (notified(PEERDIST_STATUS_UNAVAILABLE), Registration::new(Form::Plain, NULL));
        assert_eq!(registration.submit(instance, NULL, 0), ERROR_IO_PENDING);
        assert_eq!(registration.at.result(false), None);
        world.start_with("node.mode = \"local\"\n");
        assert_eq!(registration.at.wait().error, ERROR_SUCCESS);
        assert_eq!(registration.status(), PEERDIST_STATUS_AVAILABLE);
    });
}

#[test]
fn t14_the_first_registration_waits_while_disabled_and_fires_once() {
    case("notification::t14_the_first_registration_waits_while_disabled_and_fires_once", |world| {
        for form in FORMS {
            world.disable();
            let (instance, port) = (startup(), port());
            wait_for_status(instance, PEERDIST_STATUS_DISABLED);
            let registration = Registration::new(form, NULL);
            assert_eq!(registration.submit(instance, port, 14), ERROR_IO_PENDING);
            assert_eq!(take(port, 200), None);
            assert_eq!((registration.at.result(false), registration.status()), (None, UNTOLD));
            world.enable();
            let packet = take(port, INFINITE).unwrap();
            assert_eq!((packet.error, packet.key), (ERROR_SUCCESS, 14));
            assert_eq!(packet.overlapped, registration.at.raw());
            assert_eq!(registration.status(), PEERDIST_STATUS_AVAILABLE);
            world.disable();
            wait_for_status(instance, PEERDIST_STATUS_DISABLED);
            assert_eq!((take(port, 0), registration.status()), (None, PEERDIST_STATUS_AVAILABLE));
            assert_eq!(shutdown(instance), ERROR_SUCCESS);
        }
    });
}

#[test]
fn t15_what_was_told_is_not_told_again() {
    case("notification::t15_what_was_told_is_not_told_again", |world| {
        for form in FORMS {
            let instance = notified(PEERDIST_STATUS_AVAILABLE);
            let registration = Registration::new(form, event());
            assert_eq!(registration.submit(instance, NULL, 0), ERROR_IO_PENDING);
            assert_eq!(status(instance), PEERDIST_STATUS_AVAILABLE);
            assert_eq!((registration.at.result(false), registration.status()), (None, UNTOLD));
            world.disable();
            assert_eq!(registration.at.wait().error, ERROR_SUCCESS);
            assert_eq!(registration.status(), PEERDIST_STATUS_DISABLED);
            assert_eq!(shutdown(instance), ERROR_SUCCESS);
            world.enable();
        }
    });
}

#[test]
fn t16_a_change_between_two_registrations_is_not_lost() {
    case("notification::t16_a_change_between_two_registrations_is_not_lost", |world| {
        for form in FORMS {
            for known in [true, false] {
                let instance = notified(PEERDIST_STATUS_AVAILABLE);
                world.disable();
                if known {
                    wait_for_status(instance, PEERDIST_STATUS_DISABLED);
                }
                let registration = Registration::new(form, NULL);
                assert_eq!(registration.submit(instance, NULL, 0), ERROR_IO_PENDING);
                assert!(!known || registration.at.result(false).is_some(), "there is nothing to wait for");
                assert_eq!(registration.at.wait().error, ERROR_SUCCESS);
                assert_eq!(registration.status(), PEERDIST_STATUS_DISABLED);
                assert_eq!(shutdown(instance), ERROR_SUCCESS);
                world.enable();
            }
        }
    });
}

#[test]
fn t17_a_second_registration_fails_and_the_first_still_fires() {
    case("notification::t17_a_second_registration_fails_and_the_first_still_fires", |world| {
        for (form, other) in FORMS.into_iter().flat_map(|form| FORMS.map(|other| (form, other))) {
            world.disable();
            let instance = startup();
            wait_for_status(instance, PEERDIST_STATUS_DISABLED);
            let (first, second) = (Registration::new(form, event()), Registration::new(other, event()));
            assert_eq!(first.submit(instance, NULL, 0), ERROR_IO_PENDING);
            let code = second.submit(instance, NULL, 0);
            assert!(code != ERROR_SUCCESS && code != ERROR_IO_PENDING, "{form:?}, {other:?}: {code}");
            assert_eq!(first.at.result(false), None);
            world.enable();
            assert_eq!(first.at.wait().error, ERROR_SUCCESS);
            assert_eq!(first.status(), PEERDIST_STATUS_AVAILABLE);
            assert_eq!(second.status(), UNTOLD);
            // The place is free again.
            assert_eq!(second.submit(instance, NULL, 0), ERROR_IO_PENDING);
            assert_eq!(shutdown(instance), ERROR_SUCCESS);
        }
    });
}

#[test]
fn t18_each_session_registers_for_itself() {
    case("notification::t18_each_session_registers_for_itself", |world| {
        let instances = [notified(PEERDIST_STATUS_AVAILABLE), notified(PEERDIST_STATUS_AVAILABLE)];
        let port = port();
        let registrations = FORMS.map(|form| Registration::new(form, NULL));
        for (key, (instance, registration)) in instances.iter().zip(&registrations).enumerate() {
            assert_eq!(registration.submit(*instance, port, key), ERROR_IO_PENDING);
        }
        world.disable();
        let mut keys: Vec<_> = (0..2)
            .map(|_| {
                let packet = take(port, INFINITE).unwrap();
                assert_eq!(packet.overlapped, registrations[packet.key].at.raw());
                (packet.key, packet.error, registrations[packet.key].status())
            })
            .collect();
        keys.sort_unstable();
        assert_eq!(keys, [(0, ERROR_SUCCESS, 0), (1, ERROR_SUCCESS, 0)]);
        assert_eq!(take(port, 0), None);
    });
}

#[test]
fn t19_a_registration_that_is_taken_back_ends_as_cancelled() {
    case("notification::t19_a_registration_that_is_taken_back_ends_as_cancelled", |_| {
        for form in FORMS {
            let (instance, port, event) = (notified(PEERDIST_STATUS_AVAILABLE), port(), event());
            let registration = Registration::new(form, NULL);
            assert_eq!(registration.submit(instance, port, 19), ERROR_IO_PENDING);
            assert_eq!(unregister(instance), ERROR_SUCCESS);
            let packet = take(port, INFINITE).unwrap();
            assert_eq!((packet.error, packet.key), (ERROR_OPERATION_ABORTED, 19));
            assert_eq!(packet.overlapped, registration.at.raw());
            assert_eq!(take(port, 0), None);

            let registration = Registration::new(form, event);
            assert_eq!(registration.submit(instance, NULL, 0), ERROR_IO_PENDING);
            assert_eq!(unregister(instance), ERROR_SUCCESS);
            assert!(wait_for(event, INFINITE));
            assert_eq!(registration.at.wait().error, ERROR_OPERATION_ABORTED);
            assert_eq!(registration.status(), UNTOLD);
        }
    });
}

#[test]
fn t25_the_status_is_there_before_the_signal_and_left_alone_after_it() {
    case("notification::t25_the_status_is_there_before_the_signal_and_left_alone_after_it", |world| {
        for form in FORMS {
            for with_port in [true, false] {
                let instance = Carried::new(notified(PEERDIST_STATUS_AVAILABLE));
                let port = Carried::new(if with_port { port() } else { NULL });
                let event = Carried::new(if with_port { NULL } else { event() });
                let registration = Registration::new(form, event.get());
                let (armed, wait_until_armed) = mpsc::channel();
                thread::scope(|scope| {
                    let registration = &registration;
                    let seen = scope.spawn(move || {
                        let mut seen = Vec::new();
                        for _ in 0..10 {
                            registration.overwrite(UNTOLD);
                            assert_eq!(registration.submit(instance.get(), port.get(), 0), ERROR_IO_PENDING);
                            armed.send(()).unwrap();
                            if with_port {
                                assert_eq!(take(port.get(), INFINITE).unwrap().overlapped, registration.at.raw());
                            } else {
                                assert!(wait_for(event.get(), INFINITE));
                            }
                            seen.push(registration.status());
                        }
                        seen
                    });
                    for round in 0..10 {
                        wait_until_armed.recv().unwrap();
                        if round % 2 == 0 { world.disable() } else { world.enable() }
                    }
                    assert_eq!(seen.join().unwrap(), [0, 2, 0, 2, 0, 2, 0, 2, 0, 2]);
                });
                // The memory is the caller's again, also when the status changes.
                registration.overwrite(UNTOLD);
                world.disable();
                wait_for_status(instance.get(), PEERDIST_STATUS_DISABLED);
                assert_eq!(registration.status(), UNTOLD);
                world.enable();
                assert_eq!(shutdown(instance.get()), ERROR_SUCCESS);
            }
        }
    });
}
