//! Publishing step by step.

use peerdist::abi::*;

use super::calls::*;

/// Adds bytes to a stream. How that ended.
pub(crate) fn added(instance: HANDLE, stream: HANDLE, bytes: &[u8]) -> DWORD {
    let operation = Overlapped::new(NULL);
    assert_eq!(add_to_stream(instance, stream, bytes, &operation), ERROR_IO_PENDING);
    operation.wait().error
}

/// Completes a stream. How that ended.
pub(crate) fn completed(instance: HANDLE, stream: HANDLE) -> DWORD {
    let operation = Overlapped::new(NULL);
    assert_eq!(complete_stream(instance, stream, &operation), ERROR_IO_PENDING);
    operation.wait().error
}
