"""Fetches a file by its content information: from the cache and the peers what they have, the rest from its web server,
and that goes into the cache, for others to take it from here.

    python3 consumer.py CONTENT_INFORMATION URL OUTPUT

The functions of peerdist.h through ctypes. What windows.h names without a prefix has the prefix peerdist_ in the
library. PEERDIST_LIBRARY names another file than the installed one.
"""

import ctypes
import http.client
import os
import re
import sys
import urllib.error
import urllib.request
from ctypes import POINTER, byref, c_int32, c_size_t, c_uint32, c_void_p

PEERDIST_VERSION = 2
PEERDIST_READ_TIMEOUT_DEFAULT = 0xFFFFFFFE

ERROR_SUCCESS = 0
ERROR_IO_PENDING = 997
ERROR_TIMEOUT = 1460
PEERDIST_ERROR_MISSING_DATA = 4052
PEERDIST_ERROR_NO_MORE = 4053

PIECE = 1024 * 1024


class Overlapped(ctypes.Structure):
    _fields_ = [
        ("Internal", c_size_t),
        ("InternalHigh", c_size_t),
        ("Offset", c_uint32),
        ("OffsetHigh", c_uint32),
        ("hEvent", c_void_p),
    ]


class ContentTag(ctypes.Structure):
    _fields_ = [("Data", ctypes.c_ubyte * 16)]


library = ctypes.CDLL(os.environ.get("PEERDIST_LIBRARY", "libpeerdist.so.0"))


def function(name, result, *arguments):
    found = getattr(library, name)
    found.restype, found.argtypes = result, arguments
    return found


create_event = function("peerdist_CreateEventA", c_void_p, c_void_p, c_int32, c_int32, c_void_p)
close_handle = function("peerdist_CloseHandle", c_int32, c_void_p)
get_last_error = function("peerdist_GetLastError", c_uint32)
get_overlapped_result = function(
    "PeerDistGetOverlappedResult", c_int32, POINTER(Overlapped), POINTER(c_uint32), c_int32
)
startup = function("PeerDistStartup", c_uint32, c_uint32, POINTER(c_void_p), POINTER(c_uint32))
shutdown = function("PeerDistShutdown", c_uint32, c_void_p)
open_content = function(
    "PeerDistClientOpenContent", c_uint32, c_void_p, POINTER(ContentTag), c_void_p, c_size_t, POINTER(c_void_p)
)
close_content = function("PeerDistClientCloseContent", c_uint32, c_void_p, c_void_p)
add_content_information = function(
    "PeerDistClientAddContentInformation", c_uint32, c_void_p, c_void_p, c_uint32, c_void_p, POINTER(Overlapped)
)
complete_content_information = function(
    "PeerDistClientCompleteContentInformation", c_uint32, c_void_p, c_void_p, POINTER(Overlapped)
)
add_data = function(
    "PeerDistClientAddData", c_uint32, c_void_p, c_void_p, c_uint32, c_void_p, POINTER(Overlapped)
)
stream_read = function(
    "PeerDistClientStreamRead", c_uint32, c_void_p, c_void_p, c_uint32, c_void_p, c_uint32, POINTER(Overlapped)
)


class PeerDistError(Exception):
    """A call failed with one of the codes of winerror.h."""

    def __init__(self, code):
        super().__init__(f"error {code}")
        self.code = code


def check(code):
    if code != ERROR_SUCCESS:
        raise PeerDistError(code)


class Content:
    """A content handle, and the one OVERLAPPED that its operations use in turn."""

    def __init__(self, instance, tag):
        self.instance = instance
        self.handle = c_void_p()
        check(open_content(instance, byref(ContentTag.from_buffer_copy(tag)), None, 0, byref(self.handle)))
        self.operation = Overlapped(hEvent=create_event(None, True, False, None))
        if not self.operation.hEvent:
            error = get_last_error()
            close_content(self.instance, self.handle)
            raise PeerDistError(error)
        self.buffer = ctypes.create_string_buffer(PIECE)

    def close(self):
        close_content(self.instance, self.handle)
        close_handle(self.operation.hEvent)

    @property
    def offset(self):
        return self.operation.OffsetHigh << 32 | self.operation.Offset

    def finish(self, call, *arguments, offset=0):
        """Makes a call that starts an operation, and waits for it: its error and the number of bytes."""
        self.operation.Offset = offset & 0xFFFFFFFF
        self.operation.OffsetHigh = offset >> 32
        started = call(self.instance, self.handle, *arguments, byref(self.operation))
        if started != ERROR_IO_PENDING:
            return started, 0
        count = c_uint32()
        if get_overlapped_result(byref(self.operation), byref(count), True):
            return ERROR_SUCCESS, count.value
        return get_last_error(), count.value

    def describe(self, information):
        # The buffer belongs to the service until the operation ends, which `finish` waits for.
        check(self.finish(add_content_information, len(information), information)[0])
        check(self.finish(complete_content_information)[0])

    def add(self, offset, data):
        check(self.finish(add_data, len(data), data, offset=offset)[0])

    def read(self):
        """The next bytes, or where the missing ones are: (bytes, None) or (None, (offset, length)); None at the end."""
        error, count = self.finish(stream_read, PIECE, self.buffer, PEERDIST_READ_TIMEOUT_DEFAULT)
        if error == ERROR_SUCCESS:
            return ctypes.string_at(self.buffer, count), None
        if error in (PEERDIST_ERROR_MISSING_DATA, ERROR_TIMEOUT):
            return None, (self.offset, count)
        if error == PEERDIST_ERROR_NO_MORE:
            return None
        raise PeerDistError(error)


def origin(url, offset, length):
    """The pieces of a range of a file, as the web server sends them; all the rest where `length` is None."""
    last = "" if length is None else offset + length - 1
    request = urllib.request.Request(url, headers={"Range": f"bytes={offset}-{last}"})
    try:
        answer = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as refusal:
        # The rest from the end on is nothing.
        if refusal.code == 416 and length is None:
            return
        raise
    with answer:
        sent = re.match(r"bytes (\d+)-(\d+)/", answer.headers.get("Content-Range", ""))
        if answer.status != 206 or not sent or int(sent[1]) != offset or last not in ("", int(sent[2])):
            raise OSError(f"the origin answers with status {answer.status} and not with the range")
        left = int(sent[2]) + 1 - offset
        while left > 0:
            piece = answer.read(min(left, PIECE))
            if not piece:
                raise OSError("the origin stops in the middle")
            left -= len(piece)
            yield piece


def consume(information, url, output):
    """Writes the file, and returns how many bytes came from the cache and the peers, and how many from the origin."""
    from_peers = from_origin = 0
    instance = c_void_p()
    content = None
    try:
        check(startup(PEERDIST_VERSION, byref(instance), None))
        content = Content(instance, b"example-consumer")
        content.describe(information)
        while (found := content.read()) is not None:
            data, missing = found
            if missing is None:
                output.write(data)
                from_peers += len(data)
                continue
            # The stream has skipped what is missing: it goes to the output, and to the cache for others.
            offset, length = missing
            for piece in origin(url, offset, length):
                output.write(piece)
                from_origin += len(piece)
                content.add(offset, piece)
                offset += len(piece)
    except PeerDistError as error:
        # Without the service it is slower, and no more than that.
        print(f"the rest comes from the origin: {error}", file=sys.stderr)
        for piece in origin(url, from_peers + from_origin, None):
            output.write(piece)
            from_origin += len(piece)
    finally:
        if content is not None:
            content.close()
        if instance:
            shutdown(instance)
    return from_peers, from_origin


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: consumer.py CONTENT_INFORMATION URL OUTPUT")
    with open(sys.argv[1], "rb") as file:
        information = file.read()
    try:
        with open(sys.argv[3], "wb") as output:
            from_peers, from_origin = consume(information, sys.argv[2], output)
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"{sys.argv[2]}: {error}")
    print(f"{from_peers} bytes from the cache and peers, {from_origin} from the origin")


if __name__ == "__main__":
    main()
