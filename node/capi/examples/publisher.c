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
#include <string.h>

#include "interrupt.h"

#define PIECE (1024 * 1024)

static BYTE buffer[PIECE];

struct job {
    PEERDIST_INSTANCE_HANDLE instance;
    PBYTE identifier;
    DWORD identifier_length;
    /* Of every operation in turn. */
    OVERLAPPED operation;
};

static void complain(LPCSTR what, DWORD error)
{
    char text[256];
    if (!FormatMessageA(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS | FORMAT_MESSAGE_MAX_WIDTH_MASK,
                        NULL, error, 0, text, sizeof(text), NULL))
        text[0] = '\0';
    fprintf(stderr, "%s: error %u %s\n", what, (unsigned)error, text);
}

/* For the next operation. Where there is no position to tell, the offsets are reserved. */
static LPOVERLAPPED fresh(struct job *job)
{
    job->operation.Offset = 0;
    job->operation.OffsetHigh = 0;
    return &job->operation;
}

/* Waits for what a function has started, and says how it ended. */
static DWORD finish(struct job *job, DWORD started, DWORD *bytes)
{
    if (started != ERROR_IO_PENDING)
        return started;
    return PeerDistGetOverlappedResult(&job->operation, bytes, TRUE) ? ERROR_SUCCESS : GetLastError();
}

/* The service hashes the file as it comes, and keeps none of it. */
static DWORD publish(struct job *job, FILE *file)
{
    PEERDIST_PUBLICATION_OPTIONS options = {PEERDIST_PUBLICATION_OPTIONS_VERSION, 0};
    PEERDIST_STREAM_HANDLE stream;
    DWORD bytes;
    size_t size;
    /* A length of 0: it is not known yet. */
    DWORD result = PeerDistServerPublishStream(job->instance, job->identifier_length, job->identifier, 0, &options,
                                               NULL, 0, &stream);
    if (result != ERROR_SUCCESS)
        return result;
    while (result == ERROR_SUCCESS && (size = fread(buffer, 1, sizeof(buffer), file)) > 0)
        result = finish(job, PeerDistServerPublishAddToStream(job->instance, stream, (DWORD)size, buffer, fresh(job)),
                        &bytes);
    if (result == ERROR_SUCCESS && ferror(file))
        result = ERROR_OPERATION_ABORTED;
    if (result == ERROR_SUCCESS)
        result = finish(job, PeerDistServerPublishCompleteStream(job->instance, stream, fresh(job)), &bytes);
    /* A complete publication stays. */
    PeerDistServerCloseStreamHandle(job->instance, stream);
    return result;
}

static DWORD retrieve(struct job *job, DWORD max_version, FILE *output)
{
    PEERDIST_RETRIEVAL_OPTIONS options = {sizeof(options), PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION_1, 0, 0};
    PEERDIST_CONTENTINFO_HANDLE information;
    DWORD bytes, result;
    options.dwContentInfoMaxVersion = max_version;
    /* Offset and length of 0: of the whole content. */
    result = PeerDistServerOpenContentInformationEx(job->instance, job->identifier_length, job->identifier, 0, 0,
                                                    &options, NULL, 0, &information);
    if (result != ERROR_SUCCESS)
        return result;
    for (;;) {
        result = finish(job, PeerDistServerRetrieveContentInformation(job->instance, information, sizeof(buffer),
                                                                      buffer, fresh(job)),
                        &bytes);
        if (result != ERROR_SUCCESS)
            break;
        if (fwrite(buffer, 1, bytes, output) != bytes) {
            result = ERROR_OPERATION_ABORTED;
            break;
        }
    }
    PeerDistServerCloseContentInformation(job->instance, information);
    return result == PEERDIST_ERROR_NO_MORE ? ERROR_SUCCESS : result;
}

/* Waits until `stop` is set, or the service goes away and the publication with it. */
static DWORD stay(struct job *job, HANDLE stop)
{
    PEERDIST_STATUS status;
    DWORD bytes, result;
    HANDLE events[2];
    events[0] = job->operation.hEvent;
    events[1] = stop;
    do {
        /* Each registration is for one change; the first one tells at once that the service is available. */
        result = PeerDistRegisterForStatusChangeNotification(job->instance, NULL, 0, fresh(job), &status);
        if (result != ERROR_IO_PENDING)
            return result;
        if (WaitForMultipleObjects(2, events, FALSE, INFINITE) != WAIT_OBJECT_0)
            PeerDistUnregisterForStatusChangeNotification(job->instance);
        /* After that call too: the service writes to `status` until the operation has ended. */
        result = finish(job, ERROR_IO_PENDING, &bytes);
        if (result != ERROR_SUCCESS)
            return result == ERROR_OPERATION_ABORTED ? ERROR_SUCCESS : result;
    } while (status == PEERDIST_STATUS_AVAILABLE);
    return PEERDIST_ERROR_SERVICE_UNAVAILABLE;
}

static void set(void *event)
{
    SetEvent(event);
}

/* All of it, between startup and shutdown. */
static int run(struct job *job, FILE *file, FILE *output, DWORD max_version)
{
    HANDLE stop;
    DWORD result = publish(job, file);
    if (result != ERROR_SUCCESS) {
        complain("publish", result);
        return EXIT_FAILURE;
    }
    result = retrieve(job, max_version, output);
    if (fclose(output) != 0 && result == ERROR_SUCCESS)
        result = ERROR_OPERATION_ABORTED;
    if (result != ERROR_SUCCESS) {
        complain("content information", result);
        return EXIT_FAILURE;
    }
    stop = CreateEvent(NULL, TRUE, FALSE, NULL);
    if (stop == NULL || on_interrupt(set, stop) != 0) {
        fprintf(stderr, "Ctrl-C cannot be handled\n");
        return EXIT_FAILURE;
    }
    printf("published\n");
    fflush(stdout);
    result = stay(job, stop);
    if (result != ERROR_SUCCESS) {
        complain("the publication is gone", result);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct job job;
    FILE *file, *output;
    DWORD result, max_version = PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION;
    int status;
    if (argc < 4 || argc > 5) {
        fprintf(stderr, "usage: publisher FILE IDENTIFIER CONTENT_INFORMATION [MAX_VERSION]\n");
        return 2;
    }
    ZeroMemory(&job, sizeof(job));
    job.identifier = (PBYTE)argv[2];
    job.identifier_length = (DWORD)strlen(argv[2]);
    if (argc == 5)
        max_version = (DWORD)strtoul(argv[4], NULL, 10);
    file = fopen(argv[1], "rb");
    if (file == NULL) {
        perror(argv[1]);
        return EXIT_FAILURE;
    }
    output = fopen(argv[3], "wb");
    if (output == NULL) {
        perror(argv[3]);
        return EXIT_FAILURE;
    }
    job.operation.hEvent = CreateEvent(NULL, TRUE, FALSE, NULL);
    if (job.operation.hEvent == NULL) {
        complain("event", GetLastError());
        return EXIT_FAILURE;
    }
    result = PeerDistStartup(PEERDIST_VERSION, &job.instance, NULL);
    if (result != ERROR_SUCCESS) {
        complain("startup", result);
        return EXIT_FAILURE;
    }
    status = run(&job, file, output, max_version);
    /* Takes the publication back. */
    PeerDistShutdown(job.instance);
    return status;
}
