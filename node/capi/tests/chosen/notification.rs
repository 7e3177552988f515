//! Notifications of changes of the status.

use std::thread;

use peerdist::abi::*;

use crate::support::*;

#[test]
fn t16_a_change_and_its_undoing_between_two_registrations_are_not_told() {
    case("notification::t16_a_change_and_its_undoing_between_two_registrations_are_not_told", |world| {
        let instance = notified(PEERDIST_STATUS_AVAILABLE);
        world.disable();
        wait_for_status(instance, PEERDIST_STATUS_DISABLED);
        world.enable();
        wait_for_status(instance, PEERDIST_STATUS_AVAILABLE);
        let registration = Registration::new(Form::Plain, NULL);
        assert_eq!(registration.submit(instance, NULL, 0), ERROR_IO_PENDING);
        assert_eq!(registration.at.result(false), None);
        assert_eq!(unregister(instance), ERROR_SUCCESS);
    });
}

#[test]
fn t17_a_second_registration_exists_already() {
    case("notification::t17_a_second_registration_exists_already", |_| {
        let instance = notified(PEERDIST_STATUS_AVAILABLE);
        let (first, event) = (Registration::new(Form::Plain, NULL), event());
        assert_eq!(first.submit(instance, NULL, 0), ERROR_IO_PENDING);
        for form in FORMS {
            let second = Registration::new(form, event);
            assert_eq!(second.submit(instance, NULL, 0), PEERDIST_ERROR_ALREADY_EXISTS);
            assert_eq!((second.at.internal(), second.status()), (0, UNTOLD));
        }
        assert_eq!(first.submit(instance, NULL, 0), PEERDIST_ERROR_ALREADY_EXISTS);
        assert!(!is_set(event));
        assert_eq!(first.at.result(false), None);
        assert_eq!(unregister(instance), ERROR_SUCCESS);
        assert!(!is_set(event));
    });
}

#[test]
fn t19_a_registration_that_is_taken_back_was_told_nothing() {
    case("notification::t19_a_registration_that_is_taken_back_was_told_nothing", |world| {
        let (instance, registration) = (notified(PEERDIST_STATUS_AVAILABLE), Registration::new(Form::Ex, NULL));
        for _ in 0..2 {
            assert_eq!(registration.submit(instance, NULL, 0), ERROR_IO_PENDING);
            assert_eq!(unregister(instance), ERROR_SUCCESS);
            // It has ended when the function returns.
            assert_eq!(registration.at.result(false).unwrap().error, ERROR_OPERATION_ABORTED);
        }
        // What was told last is what was told before.
        assert_eq!(registration.submit(instance, NULL, 0), ERROR_IO_PENDING);
        assert_eq!(registration.at.result(false), None);
        world.disable();
        assert_eq!(registration.at.wait().error, ERROR_SUCCESS);
        assert_eq!(registration.status(), PEERDIST_STATUS_DISABLED);
    });
}

#[test]
fn t19_a_registration_ends_once_whether_it_is_told_or_taken_back() {
    case("notification::t19_a_registration_ends_once_whether_it_is_told_or_taken_back", |world| {
        let (instance, port) = (notified(PEERDIST_STATUS_AVAILABLE), port());
        for round in 0..120 {
            let registration = Registration::new(FORMS[round / 6 % 2], NULL);
            assert_eq!(registration.submit(instance, port, round), ERROR_IO_PENDING);
            let next = if round % 2 == 0 { PEERDIST_STATUS_DISABLED } else { PEERDIST_STATUS_AVAILABLE };
            let change = || if next == PEERDIST_STATUS_DISABLED { world.disable() } else { world.enable() };
            // It is taken back while the status changes, when it has changed, and when that is known here.
            let order = round / 2 % 3;
            thread::scope(|scope| {
                let changing = scope.spawn(change);
                if order > 0 {
                    changing.join().unwrap();
                }
                if order > 1 {
                    wait_for_status(instance, next);
                }
                assert_eq!(unregister(instance), ERROR_SUCCESS);
            });
            let packet = take(port, 0).expect("it has ended");
            assert_eq!((packet.key, packet.overlapped), (round, registration.at.raw()));
            match packet.error {
                ERROR_SUCCESS => assert!([0, 2].contains(&registration.status())),
                error => assert_eq!((error, registration.status()), (ERROR_OPERATION_ABORTED, UNTOLD)),
            }
            assert!(order < 2 || packet.error == ERROR_SUCCESS);
            wait_for_status(instance, next);
            assert_eq!(take(port, 0), None, "round {round}");
        }
    });
}

#[test]
fn t20_there_need_not_be_a_registration_to_take_back() {
    case("notification::t20_there_need_not_be_a_registration_to_take_back", |_| {
        let instance = startup();
        for _ in 0..2 {
            assert_eq!(unregister(instance), ERROR_SUCCESS);
        }
        let registration = Registration::new(Form::Plain, NULL);
        assert_eq!(registration.submit(instance, NULL, 0), ERROR_IO_PENDING);
        assert_eq!(registration.at.wait().error, ERROR_SUCCESS);
        assert_eq!(unregister(instance), ERROR_SUCCESS, "one that has ended");
        assert_eq!(registration.at.wait().error, ERROR_SUCCESS);
        assert_eq!(registration.submit(instance, NULL, 0), ERROR_IO_PENDING);
        assert_eq!(registration.at.result(false), None);
        assert_eq!(unregister(NULL), ERROR_INVALID_HANDLE);
        assert_eq!(registration.at.result(false), None);
        assert_eq!(unregister(instance), ERROR_SUCCESS);
    });
}

#[test]
fn t21_both_forms_of_registering_start_an_operation() {
    case("notification::t21_both_forms_of_registering_start_an_operation", |_| {
        for form in FORMS {
            let registration = Registration::new(form, NULL);
            assert_eq!(registration.submit(startup(), NULL, 0), ERROR_IO_PENDING);
            assert_eq!(registration.at.wait().error, ERROR_SUCCESS);
            assert_eq!(registration.status(), PEERDIST_STATUS_AVAILABLE);
        }
    });
}

#[test]
fn t25_the_versions_are_told_with_the_status() {
    case("notification::t25_the_versions_are_told_with_the_status", |_| {
        let registration = Registration::new(Form::Ex, NULL);
        assert_eq!(registration.submit(startup(), NULL, 0), ERROR_IO_PENDING);
        assert_eq!(registration.at.wait().error, ERROR_SUCCESS);
        let told = registration.told();
        assert_eq!((told.cbSize, told.status, told.dwMinVer, told.dwMaxVer), (16, PEERDIST_STATUS_AVAILABLE, 1, 2));
    });
}
