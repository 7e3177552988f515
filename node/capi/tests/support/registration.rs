//! Registrations for a change of the status.

use std::cell::UnsafeCell;
use std::mem::ManuallyDrop;

use peerdist::abi::*;
use peerdist::peerdist::calls::common::*;

use super::calls::*;

/// The two functions that register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    Ex,
}

pub(crate) const FORMS: [Form; 2] = [Form::Plain, Form::Ex];

/// No status.
pub(crate) const UNTOLD: PEERDIST_STATUS = 0x7E57;

/// A registration and the memory that it is told in.
pub(crate) struct Registration {
    form: Form,
    pub(crate) at: Overlapped,
    out: ManuallyDrop<Box<UnsafeCell<PEERDIST_STATUS_INFO>>>,
}

// SAFETY: what is told is read when nothing writes to it.
unsafe impl Send for Registration {}
// SAFETY: as above.
unsafe impl Sync for Registration {}

impl Registration {
    pub(crate) fn new(form: Form, event: HANDLE) -> Self {
        let out = PEERDIST_STATUS_INFO { cbSize: 16, status: UNTOLD, dwMinVer: 77, dwMaxVer: 78 };
        Self { form, at: Overlapped::new(event), out: ManuallyDrop::new(Box::new(out.into())) }
    }

    /// PeerDistRegisterForStatusChangeNotification or ...Ex.
    pub(crate) fn submit(&self, instance: HANDLE, port: HANDLE, key: usize) -> DWORD {
        let (at, out) = (self.at.raw(), self.out.get());
        // SAFETY: both stay where they are until it has ended.
        unsafe {
            match self.form {
                Form::Plain => {
                    PeerDistRegisterForStatusChangeNotification(instance, port, key, at, &raw mut (*out).status)
                }
                Form::Ex => PeerDistRegisterForStatusChangeNotificationEx(instance, port, key, at, out),
            }
        }
    }

    /// What is in the memory now.
    pub(crate) fn told(&self) -> PEERDIST_STATUS_INFO {
        // SAFETY: valid, and read as a program reads it that waits for the end.
        unsafe { self.out.get().read_volatile() }
    }

    pub(crate) fn status(&self) -> PEERDIST_STATUS {
        self.told().status
    }

    /// Writes another value over what was told.
    pub(crate) fn overwrite(&self, status: PEERDIST_STATUS) {
        // SAFETY: it is not pending.
        unsafe { (&raw mut (*self.out.get()).status).write_volatile(status) };
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if !self.at.is_pending() {
            // SAFETY: once, and nothing is read of it afterwards.
            unsafe { ManuallyDrop::drop(&mut self.out) }
        }
    }
}

/// An instance that was told the status once: the next registration waits for a change.
pub(crate) fn notified(wanted: PEERDIST_STATUS) -> HANDLE {
    let instance = startup();
    wait_for_status(instance, wanted);
    let first = Registration::new(Form::Plain, NULL);
    assert_eq!(first.submit(instance, NULL, 0), ERROR_IO_PENDING);
    assert_eq!((first.at.wait().error, first.status()), (ERROR_SUCCESS, wanted));
    instance
}
