/* Events, a completion port and messages, by the library. */
#include <windows.h>

#include <poll.h>
#include <stdio.h>

#include "check.h"

static int readable(int fd)
{
    struct pollfd polled;
    polled.fd = fd;
    polled.events = POLLIN;
    return poll(&polled, 1, 0) == 1;
}

int main(void)
{
    HANDLE events[2];
    HANDLE port;
    OVERLAPPED overlapped, *taken = &overlapped;
    OVERLAPPED_ENTRY entries[4];
    DWORD bytes = 7;
    ULONG count = 7;
    ULONG_PTR key = 7;
    CHAR text[200];
    WCHAR wide[200];
    LPSTR allocated = NULL;
    ULONGLONG start = GetTickCount64();

    events[0] = CreateEventA(NULL, TRUE, FALSE, NULL);
    events[1] = CreateEventExW(NULL, NULL, CREATE_EVENT_INITIAL_SET, EVENT_ALL_ACCESS);
    CHECK(events[0] && events[1] && events[0] != events[1]);
    CHECK(WaitForMultipleObjects(2, events, TRUE, 0) == WAIT_TIMEOUT);
    CHECK(!readable(peerdist_event_fd(events[0])));
    CHECK(SetEvent(events[0]) && readable(peerdist_event_fd(events[0])));
    CHECK(WaitForMultipleObjects(2, events, TRUE, INFINITE) == WAIT_OBJECT_0);
    CHECK(WaitForSingleObject(events[0], 0) == WAIT_OBJECT_0);
    CHECK(WaitForSingleObjectEx(events[1], 1, TRUE) == WAIT_TIMEOUT);
    CHECK(ResetEvent(events[0]) && WaitForSingleObject(events[0], 0) == WAIT_TIMEOUT);
    CHECK(!CreateEventW(NULL, TRUE, FALSE, PEERDIST_WIDE("name")) && GetLastError() == ERROR_NOT_SUPPORTED);
    CHECK(CloseHandle(events[0]) && !CloseHandle(events[0]) && GetLastError() == ERROR_INVALID_HANDLE);

    port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 0);
    CHECK(port && !readable(peerdist_port_fd(port)));
    CHECK(!GetQueuedCompletionStatus(port, &bytes, &key, &taken, 0) && GetLastError() == WAIT_TIMEOUT);
    CHECK(!taken && bytes == 7 && key == 7);
    CHECK(PostQueuedCompletionStatus(port, 1, 2, &overlapped) && PostQueuedCompletionStatus(port, 3, 4, NULL));
    CHECK(readable(peerdist_port_fd(port)));
    CHECK(GetQueuedCompletionStatus(port, &bytes, &key, &taken, INFINITE));
    CHECK(bytes == 1 && key == 2 && taken == &overlapped);
    CHECK(GetQueuedCompletionStatusEx(port, entries, ARRAYSIZE(entries), &count, INFINITE, FALSE));
    CHECK(count == 1 && entries[0].lpCompletionKey == 4 && entries[0].dwNumberOfBytesTransferred == 3);
    CHECK(!readable(peerdist_port_fd(port)) && CloseHandle(port));

    CHECK(FormatMessageA(FORMAT_MESSAGE_FROM_SYSTEM, NULL, PEERDIST_ERROR_NO_MORE, 0, text, sizeof(text), NULL) ==
          strlen(text));
    CHECK(FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM, NULL, PEERDIST_ERROR_NO_MORE, 0, wide, ARRAYSIZE(wide), NULL) ==
          strlen(text));
    CHECK(FormatMessage(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_ALLOCATE_BUFFER, NULL,
                        (DWORD)HRESULT_FROM_WIN32(PEERDIST_ERROR_NO_MORE), 0, (LPSTR)&allocated, 0, NULL) != 0);
    CHECK(strcmp(allocated, text) == 0 && !LocalFree(allocated));

    SetLastError(ERROR_BUSY);
    Sleep(1);
    CHECK(GetLastError() == ERROR_BUSY && GetTickCount64() > start);
    puts("done");
    return 0;
}
