/*
 * Publishes a file and writes its content information to another. The publication lives as long as this program, which
 * goes on until Ctrl-C, or until the service goes away.
 *
 *     publisher FILE IDENTIFIER CONTENT_INFORMATION [MAX_VERSION]
 *
 * MAX_VERSION is the highest version of content information that the clients process: 2, unless it is given.
 */
#include <windows.h>
#include <peerdist.h>

#include <stdio.h>
#include <stdlib.h>

#include <pthread.h>
#include <signal.h>

#define PIECE (1024 * 1024)

static BYTE buffer[PIECE];

static int complain(LPCSTR what, DWORD error)
{
    char text[256];
    if (!FormatMessageA(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS | FORMAT_MESSAGE_MAX_WIDTH_MASK, NULL,
                        error, 0, text, sizeof(text), NULL))
        text[0] = '\0';
    fprintf(stderr, "%s: error %u %s\n", what, error, text);
    return EXIT_FAILURE;
}

/* Waits for what a function has started, and says how it ended. */
static DWORD finish(DWORD started, OVERLAPPED *operation, DWORD *bytes)
{
    if (started != ERROR_IO_PENDING)
        return started;
    return PeerDistGetOverlappedResult(operation, bytes, TRUE) ? ERROR_SUCCESS : GetLastError();
}

/* The offsets of an OVERLAPPED are reserved in calls that take no position. */
static void reset_offset(OVERLAPPED *operation)
{
    operation->Offset = 0;
    operation->OffsetHigh = 0;
}

static DWORD publish(PEERDIST_INSTANCE_HANDLE instance, FILE *file, PBYTE name, DWORD length)
{
    PEERDIST_PUBLICATION_OPTIONS options = {PEERDIST_PUBLICATION_OPTIONS_VERSION, 0};
    PEERDIST_STREAM_HANDLE stream;
    OVERLAPPED operation;
    DWORD bytes;
    size_t size;
    /* A length of 0 says that it is not known yet. */
    DWORD result = PeerDistServerPublishStream(instance, length, name, 0, &options, NULL, 0, &stream);
    if (result != ERROR_SUCCESS)
        return result;
    ZeroMemory(&operation, sizeof(operation));
    operation.hEvent = CreateEvent(NULL, TRUE, FALSE, NULL);
    while (result == ERROR_SUCCESS && (size = fread(buffer, 1, sizeof(buffer), file)) > 0) {
        reset_offset(&operation);
        result = finish(PeerDistServerPublishAddToStream(instance, stream, (DWORD)size, buffer, &operation), &operation,
                        &bytes);
    }
    if (result == ERROR_SUCCESS && ferror(file))
        result = ERROR_OPERATION_ABORTED;
    if (result == ERROR_SUCCESS) {
        reset_offset(&operation);
        result = finish(PeerDistServerPublishCompleteStream(instance, stream, &operation), &operation, &bytes);
    }
    CloseHandle(operation.hEvent);
    /* The publication stays, once it is complete. */
    PeerDistServerCloseStreamHandle(instance, stream);
    return result;
}

static DWORD retrieve(PEERDIST_INSTANCE_HANDLE instance, PBYTE name, DWORD length, DWORD max_version, FILE *output)
{
    PEERDIST_RETRIEVAL_OPTIONS options = {sizeof(options), PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION_1, max_version, 0};
    PEERDIST_CONTENTINFO_HANDLE information;
    OVERLAPPED operation;
    DWORD bytes;
    /* Offset and length of 0: the whole content. */
    DWORD result = PeerDistServerOpenContentInformationEx(instance, length, name, 0, 0, &options, NULL, 0, &information);
    if (result != ERROR_SUCCESS)
        return result;
    ZeroMemory(&operation, sizeof(operation));
    operation.hEvent = CreateEvent(NULL, TRUE, FALSE, NULL);
    for (;;) {
        reset_offset(&operation);
        result = finish(PeerDistServerRetrieveContentInformation(instance, information, sizeof(buffer), buffer, &operation),
                        &operation, &bytes);
        if (result != ERROR_SUCCESS)
            break;
        if (fwrite(buffer, 1, bytes, output) != bytes) {
            result = ERROR_OPERATION_ABORTED;
            break;
        }
    }
    CloseHandle(operation.hEvent);
    PeerDistServerCloseContentInformation(instance, information);
    return result == PEERDIST_ERROR_NO_MORE ? ERROR_SUCCESS : result;
}

/* Waits until `stop` is set or the service goes away, and the publication with it. */
static DWORD stay(PEERDIST_INSTANCE_HANDLE instance, HANDLE stop)
{
    PEERDIST_STATUS status = PEERDIST_STATUS_AVAILABLE;
    OVERLAPPED changed;
    HANDLE events[2];
    DWORD bytes, result;
    ZeroMemory(&changed, sizeof(changed));
    changed.hEvent = CreateEvent(NULL, TRUE, FALSE, NULL);
    events[0] = stop;
    events[1] = changed.hEvent;
    do {
        /* Each registration is for one change; the first one tells at once that the service is available. */
        result = PeerDistRegisterForStatusChangeNotification(instance, NULL, 0, &changed, &status);
        if (result != ERROR_IO_PENDING)
            break;
        if (WaitForMultipleObjects(2, events, FALSE, INFINITE) == WAIT_OBJECT_0)
            PeerDistUnregisterForStatusChangeNotification(instance);
        /* Here too, for `changed` and `status` belong to the service until then. */
        result = finish(ERROR_IO_PENDING, &changed, &bytes);
    } while (result == ERROR_SUCCESS && status == PEERDIST_STATUS_AVAILABLE);
    CloseHandle(changed.hEvent);
    if (result == ERROR_OPERATION_ABORTED)
        return ERROR_SUCCESS;
    return result == ERROR_SUCCESS ? PEERDIST_ERROR_SERVICE_UNAVAILABLE : result;
}

static sigset_t interrupts;

/* As a console control handler on Windows, this has a thread of its own. */
static void *wait_for_interrupt(void *stop)
{
    int which;
    sigwait(&interrupts, &which);
    SetEvent(stop);
    return NULL;
}

int main(int argc, char **argv)
{
    PEERDIST_INSTANCE_HANDLE instance;
    pthread_t thread;
    HANDLE stop;
    FILE *file, *output;
    DWORD result, max_version = PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION;
    PBYTE name;
    DWORD length;
    if (argc < 4 || argc > 5) {
        fprintf(stderr, "usage: publisher FILE IDENTIFIER CONTENT_INFORMATION [MAX_VERSION]\n");
        return 2;
    }
    name = (PBYTE)argv[2];
    length = (DWORD)strlen(argv[2]);
    if (argc == 5)
        max_version = (DWORD)atoi(argv[4]);
    /* Before the library starts its thread, which inherits this. */
    sigemptyset(&interrupts);
    sigaddset(&interrupts, SIGINT);
    sigaddset(&interrupts, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &interrupts, NULL);
    stop = CreateEvent(NULL, TRUE, FALSE, NULL);
    if (stop == NULL || pthread_create(&thread, NULL, wait_for_interrupt, stop) != 0) {
        fprintf(stderr, "no thread can be started\n");
        return EXIT_FAILURE;
    }
    file = fopen(argv[1], "rb");
    if (file == NULL) {
        perror(argv[1]);
        return EXIT_FAILURE;
    }

    result = PeerDistStartup(PEERDIST_VERSION, &instance, NULL);
    if (result != ERROR_SUCCESS)
        return complain("startup", result);
    result = publish(instance, file, name, length);
    fclose(file);
    if (result != ERROR_SUCCESS) {
        PeerDistShutdown(instance);
        return complain("publish", result);
    }
    output = fopen(argv[3], "wb");
    if (output == NULL) {
        perror(argv[3]);
        PeerDistShutdown(instance);
        return EXIT_FAILURE;
    }
    result = retrieve(instance, name, length, max_version, output);
    if (fclose(output) != 0 && result == ERROR_SUCCESS)
        result = ERROR_OPERATION_ABORTED;
    if (result != ERROR_SUCCESS) {
        PeerDistShutdown(instance);
        return complain("content information", result);
    }
    printf("published\n");
    fflush(stdout);

    result = stay(instance, stop);
    /* Takes the publication back. */
    PeerDistShutdown(instance);
    return result == ERROR_SUCCESS ? EXIT_SUCCESS : complain("the publication is gone", result);
}
