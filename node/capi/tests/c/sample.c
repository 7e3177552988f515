/* What a program for Windows looks like: compiled, not run. */
#include <windows.h>
#include <peerdist.h>

#include <stdio.h>
#include <stdlib.h>

static PEERDIST_CONTENT_TAG tag = {{1, 2, 3}};

/* Waits for an operation in either of the ways. */
static DWORD finish(DWORD started, HANDLE port, OVERLAPPED *operation, DWORD *bytes)
{
    ULONG_PTR key;
    LPOVERLAPPED ended;
    if (started != ERROR_IO_PENDING)
        return started;
    if (operation->hEvent) {
        if (WaitForSingleObject(operation->hEvent, INFINITE) != WAIT_OBJECT_0)
            return GetLastError();
        return PeerDistGetOverlappedResult(operation, bytes, TRUE) ? ERROR_SUCCESS : GetLastError();
    }
    if (!GetQueuedCompletionStatus(port, bytes, &key, &ended, INFINITE))
        return GetLastError();
    return ended == operation && HasOverlappedIoCompleted(ended) ? ERROR_SUCCESS : ERROR_INVALID_HANDLE;
}

static void WINAPI complain(_In_ LPCSTR what, _In_ DWORD error)
{
    LPSTR text = NULL;
    if (FormatMessageA(FORMAT_MESSAGE_ALLOCATE_BUFFER | FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS,
                       NULL, error, MAKELANGID(LANG_NEUTRAL, SUBLANG_DEFAULT), (LPSTR)&text, 0, NULL)) {
        fprintf(stderr, "%s: %s", what, text);
        LocalFree(text);
    }
}

static DWORD client(PEERDIST_INSTANCE_HANDLE instance, HANDLE port, PBYTE information, DWORD size)
{
    PEERDIST_CONTENT_HANDLE content;
    PEERDIST_CLIENT_BASIC_INFO basic;
    BYTE buffer[4096];
    OVERLAPPED operation;
    DWORD bytes = 0;
    DWORD result = PeerDistClientOpenContent(instance, &tag, port, 1, &content);
    if (result != ERROR_SUCCESS)
        return result;
    ZeroMemory(&operation, sizeof(operation));
    operation.hEvent = CreateEvent(NULL, TRUE, FALSE, NULL);
    result = finish(PeerDistClientAddContentInformation(instance, content, size, information, &operation), port,
                    &operation, &bytes);
    if (result == ERROR_SUCCESS)
        result = finish(PeerDistClientCompleteContentInformation(instance, content, &operation), port, &operation, &bytes);
    while (result == ERROR_SUCCESS) {
        operation.Offset = 0;
        operation.OffsetHigh = 0;
        result = finish(PeerDistClientStreamRead(instance, content, sizeof(buffer), buffer,
                                                 PEERDIST_READ_TIMEOUT_DEFAULT, &operation),
                        port, &operation, &bytes);
        switch (result) {
        case PEERDIST_ERROR_MISSING_DATA:
        case ERROR_TIMEOUT: {
            ULONGLONG from = (ULONGLONG)operation.OffsetHigh << 32 | operation.Offset;
            printf("fetch %u bytes from %llu\n", bytes, (unsigned long long)from);
            result = finish(PeerDistClientAddData(instance, content, sizeof(buffer), buffer, &operation), port, &operation,
                            &bytes);
            break;
        }
        case PEERDIST_ERROR_NO_MORE:
            break;
        default:
            complain("read", result);
        }
    }
    if (PeerDistClientGetInformationByHandle(instance, content, PeerDistClientBasicInfo, sizeof(basic), &basic) == NO_ERROR)
        printf("flash crowd: %d\n", basic.fFlashCrowd);
    PeerDistClientCancelAsyncOperation(instance, content, NULL);
    CloseHandle(operation.hEvent);
    PeerDistClientCloseContent(instance, content);
    return finish(PeerDistClientFlushContent(instance, &tag, port, 2, &operation), port, &operation, &bytes);
}

static DWORD server(PEERDIST_INSTANCE_HANDLE instance, HANDLE port, PBYTE name, DWORD length)
{
    PEERDIST_PUBLICATION_OPTIONS options = {PEERDIST_PUBLICATION_OPTIONS_VERSION, 0};
    PEERDIST_RETRIEVAL_OPTIONS versions = {sizeof(versions), PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION_1,
                                           PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION, 0};
    PEERDIST_STREAM_HANDLE stream;
    PEERDIST_CONTENTINFO_HANDLE information;
    BYTE buffer[512] = {0};
    OVERLAPPED operation;
    DWORD bytes;
    DWORD result = PeerDistServerPublishStream(instance, length, name, sizeof(buffer), &options, port, 3, &stream);
    if (result != ERROR_SUCCESS)
        return result;
    ZeroMemory(&operation, sizeof(operation));
    finish(PeerDistServerPublishAddToStream(instance, stream, sizeof(buffer), buffer, &operation), port, &operation, &bytes);
    finish(PeerDistServerPublishCompleteStream(instance, stream, &operation), port, &operation, &bytes);
    PeerDistServerCloseStreamHandle(instance, stream);
    result = PeerDistServerOpenContentInformation(instance, length, name, 0, 0, port, 4, &information);
    if (result == PEERDIST_ERROR_NOT_FOUND)
        result = PeerDistServerOpenContentInformationEx(instance, length, name, 0, 0, &versions, port, 4, &information);
    result = finish(PeerDistServerRetrieveContentInformation(instance, information, sizeof(buffer), buffer, &operation),
                    port, &operation, &bytes);
    PeerDistServerCancelAsyncOperation(instance, length, name, &operation);
    PeerDistServerCloseContentInformation(instance, information);
    PeerDistServerUnpublish(instance, length, name);
    return result;
}

int main(void)
{
    BYTE name[] = {'a', 0, 'b'};
    PEERDIST_INSTANCE_HANDLE instance;
    PEERDIST_STATUS status;
    PEERDIST_STATUS_INFO info;
    OVERLAPPED changed;
    DWORD supported;
    HANDLE port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 1);
    DWORD result = PeerDistStartup(PEERDIST_VERSION, &instance, &supported);
    if (result != ERROR_SUCCESS || port == NULL) {
        complain("startup", result);
        return EXIT_FAILURE;
    }
    printf("version %u.%u\n", LOBYTE(LOWORD(supported)), HIBYTE(LOWORD(supported)));
    info.cbSize = sizeof(info);
    memset(&changed, 0, sizeof(changed));
    if (PeerDistGetStatus(instance, &status) == ERROR_SUCCESS && status == PEERDIST_STATUS_DISABLED)
        PeerDistRegisterForStatusChangeNotification(instance, port, 0, &changed, &status);
    if (PeerDistGetStatusEx(instance, &info) == ERROR_SUCCESS && info.status != PEERDIST_STATUS_AVAILABLE)
        PeerDistRegisterForStatusChangeNotificationEx(instance, port, 0, &changed, &info);
    PeerDistUnregisterForStatusChangeNotification(instance);
    result = server(instance, port, name, sizeof(name));
    if (result == ERROR_SUCCESS)
        result = client(instance, port, name, sizeof(name));
    CloseHandle(port);
    PeerDistShutdown(instance);
    return SUCCEEDED(HRESULT_FROM_WIN32(result)) ? EXIT_SUCCESS : EXIT_FAILURE;
}
