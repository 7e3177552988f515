//! Contents, published and retrieved through the API.

use peerdist::abi::*;

use super::calls::*;

/// So many bytes that no two blocks of are equal.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64 ^ length as u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Publishes a content; the stream is closed, the publication stays.
pub(crate) fn publish(instance: HANDLE, identifier: &[u8], content: &[u8]) {
    let stream = publish_stream(instance, identifier, 0).unwrap();
    let operation = Overlapped::new(NULL);
    for piece in content.chunks(3_000_000) {
        assert_eq!(add_to_stream(instance, stream, piece, &operation), ERROR_IO_PENDING);
        assert_eq!(operation.wait().error, ERROR_SUCCESS);
    }
    assert_eq!(complete_stream(instance, stream, &operation), ERROR_IO_PENDING);
    assert_eq!(operation.wait().error, ERROR_SUCCESS);
    assert_eq!(close_stream(instance, stream), ERROR_SUCCESS);
}

/// All bytes of a content information handle, which is closed.
pub(crate) fn retrieve_all(instance: HANDLE, information: HANDLE) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let operation = Overlapped::new(NULL);
        assert_eq!(retrieve(instance, information, &mut buffer, &operation), ERROR_IO_PENDING);
        let ended = operation.wait();
        if ended.error == PEERDIST_ERROR_NO_MORE {
            break;
        }
        assert_eq!((ended.error, ended.offset), (ERROR_SUCCESS, all.len() as u64));
        all.extend_from_slice(&buffer[..ended.bytes as usize]);
    }
    assert_eq!(close_information(instance, information), ERROR_SUCCESS);
    all
}

/// Content information of a published content, of one version.
pub(crate) fn information(instance: HANDLE, identifier: &[u8], version: DWORD) -> Vec<u8> {
    let options = PEERDIST_RETRIEVAL_OPTIONS {
        cbSize: 16,
        dwContentInfoMinVersion: version,
        dwContentInfoMaxVersion: version,
        dwReserved: 0,
    };
    let handle = open_information_ex(instance, identifier, options).unwrap();
    retrieve_all(instance, handle)
}

/// Content information of a range, of version 1.
pub(crate) fn information_of_range(instance: HANDLE, identifier: &[u8], offset: u64, length: u64) -> Vec<u8> {
    let handle = open_information(instance, identifier, offset, length).unwrap();
    retrieve_all(instance, handle)
}

/// Adds content information, whole, and completes it. How that ended.
pub(crate) fn describe(instance: HANDLE, content: HANDLE, information: &[u8]) -> DWORD {
    let operation = Overlapped::new(NULL);
    assert_eq!(add_information(instance, content, information, &operation), ERROR_IO_PENDING);
    let added = operation.wait().error;
    if added != ERROR_SUCCESS {
        return added;
    }
    assert_eq!(complete_information(instance, content, &operation), ERROR_IO_PENDING);
    operation.wait().error
}

/// A content with its content information, ready to be read.
pub(crate) fn readable(instance: HANDLE, tag: u8, information: &[u8]) -> HANDLE {
    let content = open_content(instance, tag, NULL, 0).unwrap();
    assert_eq!(describe(instance, content, information), ERROR_SUCCESS);
    content
}

/// Adds bytes at an offset. How that ended.
pub(crate) fn add(instance: HANDLE, content: HANDLE, offset: u64, bytes: &[u8]) -> Ended {
    let operation = Overlapped::at(offset, NULL);
    assert_eq!(add_data(instance, content, bytes, &operation), ERROR_IO_PENDING);
    operation.wait()
}

/// Publishes a content, adds all of its bytes to the cache under a tag, and gives a readable handle: all of it is here.
pub(crate) fn cached(instance: HANDLE, tag: u8, identifier: &[u8], content: &[u8], version: DWORD) -> HANDLE {
    publish(instance, identifier, content);
    let handle = readable(instance, tag, &information(instance, identifier, version));
    for (index, piece) in content.chunks(1 << 20).enumerate() {
        assert_eq!(add(instance, handle, (index << 20) as u64, piece).error, ERROR_SUCCESS);
    }
    handle
}

/// A BlockRead that is waited for: how it ended, and the bytes of it.
pub(crate) fn read(instance: HANDLE, content: HANDLE, offset: u64, max: usize, timeout: DWORD) -> (Ended, Vec<u8>) {
    let mut buffer = vec![0xEE; max];
    let operation = Overlapped::at(offset, NULL);
    assert_eq!(block_read(instance, content, &mut buffer, timeout, &operation), ERROR_IO_PENDING);
    let ended = operation.wait();
    if ended.error == ERROR_SUCCESS {
        buffer.truncate(ended.bytes as usize);
    }
    (ended, buffer)
}

/// A StreamRead that is waited for.
pub(crate) fn read_on(instance: HANDLE, content: HANDLE, max: usize, timeout: DWORD) -> (Ended, Vec<u8>) {
    let mut buffer = vec![0xEE; max];
    let operation = Overlapped::new(NULL);
    assert_eq!(stream_read(instance, content, &mut buffer, timeout, &operation), ERROR_IO_PENDING);
    let ended = operation.wait();
    if ended.error == ERROR_SUCCESS {
        buffer.truncate(ended.bytes as usize);
    }
    (ended, buffer)
}

/// Flushes a tag, and waits for it.
pub(crate) fn flush_all(instance: HANDLE, tag: u8) {
    let at = Overlapped::new(NULL);
    assert_eq!(flush(instance, tag, NULL, 0, &at), ERROR_IO_PENDING);
    assert_eq!(at.wait(), Ended { error: ERROR_SUCCESS, bytes: 0, offset: 0 });
}
