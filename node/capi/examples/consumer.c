/*
 * Fetches a file by its content information: from the cache and the peers what they have, the rest from its web server,
 * and that goes into the cache, for others to take it from here.
 *
 *     consumer CONTENT_INFORMATION URL OUTPUT
 */
#include <windows.h>
#include <peerdist.h>

#include <stdio.h>
#include <stdlib.h>

#include "origin.h"

#define PIECE (1024 * 1024)

/* By this name FlushContent would remove from the cache what is added here. */
static const PEERDIST_CONTENT_TAG tag = {
    {'e', 'x', 'a', 'm', 'p', 'l', 'e', '-', 'c', 'o', 'n', 's', 'u', 'm', 'e', 'r'}};

static BYTE buffer[PIECE];

struct job {
    PEERDIST_INSTANCE_HANDLE instance;
    PEERDIST_CONTENT_HANDLE content;
    /* Of every operation in turn. */
    OVERLAPPED operation;
    const char *url;
    FILE *output;
    /* Where in the content the next byte of the output is from. */
    ULONGLONG position;
    ULONGLONG from_peers, from_origin;
    /* The origin does not give the file, or it cannot be written. */
    BOOL failed;
};

static void complain(LPCSTR what, DWORD error)
{
    char text[256];
    if (!FormatMessageA(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS | FORMAT_MESSAGE_MAX_WIDTH_MASK,
                        NULL, error, 0, text, sizeof(text), NULL))
        text[0] = '\0';
    fprintf(stderr, "%s: error %u %s\n", what, (unsigned)error, text);
}

/* For the next operation, on the bytes from an offset on. */
static LPOVERLAPPED at(struct job *job, ULONGLONG offset)
{
    job->operation.Offset = (DWORD)offset;
    job->operation.OffsetHigh = (DWORD)(offset >> 32);
    return &job->operation;
}

/* Waits for what a function has started, and says how it ended. */
static DWORD finish(struct job *job, DWORD started, DWORD *bytes)
{
    *bytes = 0;
    if (started != ERROR_IO_PENDING)
        return started;
    return PeerDistGetOverlappedResult(&job->operation, bytes, TRUE) ? ERROR_SUCCESS : GetLastError();
}

/* Appends to the output. */
static void keep(struct job *job, size_t size)
{
    job->position += size;
    if (fwrite(buffer, 1, size, job->output) != size) {
        perror("output");
        job->failed = TRUE;
    }
}

/* Gives the service the content information, piece by piece as it would come from a network. */
static DWORD describe(struct job *job, FILE *information)
{
    DWORD result = ERROR_SUCCESS, bytes;
    size_t size;
    while (result == ERROR_SUCCESS && (size = fread(buffer, 1, sizeof(buffer), information)) > 0)
        result = finish(job, PeerDistClientAddContentInformation(job->instance, job->content, (DWORD)size, buffer,
                                                                 at(job, 0)),
                        &bytes);
    if (result == ERROR_SUCCESS && ferror(information))
        result = ERROR_OPERATION_ABORTED;
    if (result != ERROR_SUCCESS)
        return result;
    return finish(job, PeerDistClientCompleteContentInformation(job->instance, job->content, at(job, 0)), &bytes);
}

/* Takes bytes from the origin, from the end of the output on: `length` of them, or all the rest if that is 0. */
static void fetch(struct job *job, ULONGLONG length, BOOL share)
{
    DWORD result, bytes;
    long count;
    ORIGIN *origin = origin_open(job->url, job->position, length);
    if (origin == NULL) {
        job->failed = TRUE;
        return;
    }
    while (!job->failed && (count = origin_read(origin, buffer, sizeof(buffer))) != 0) {
        if (count < 0) {
            fprintf(stderr, "%s: the origin stops in the middle\n", job->url);
            job->failed = TRUE;
            break;
        }
        if (share) {
            /* For the cache, and for others. */
            result = finish(job, PeerDistClientAddData(job->instance, job->content, (DWORD)count, buffer,
                                                       at(job, job->position)),
                            &bytes);
            if (result != ERROR_SUCCESS) {
                complain("add data", result);
                share = FALSE;
            }
        }
        job->from_origin += (ULONGLONG)count;
        keep(job, (size_t)count);
    }
    origin_close(origin);
}

/* Reads to the end of the content, and says why it stops. */
static DWORD read_all(struct job *job)
{
    DWORD result = ERROR_SUCCESS, bytes;
    while (!job->failed) {
        result = finish(job, PeerDistClientStreamRead(job->instance, job->content, sizeof(buffer), buffer,
                                                      PEERDIST_READ_TIMEOUT_DEFAULT, at(job, 0)),
                        &bytes);
        if (result == ERROR_SUCCESS) {
            job->from_peers += bytes;
            keep(job, bytes);
        } else if (result == PEERDIST_ERROR_MISSING_DATA || result == ERROR_TIMEOUT) {
            /* The OVERLAPPED has the offset of what is missing, `bytes` the length. The stream has skipped it. */
            fetch(job, bytes, TRUE);
        } else {
            break;
        }
    }
    return result;
}

/* Fetches with the help of the service, as far as that goes: PEERDIST_ERROR_NO_MORE says that it went to the end. */
static DWORD consume(struct job *job, FILE *information)
{
    DWORD result = PeerDistStartup(PEERDIST_VERSION, &job->instance, NULL);
    if (result != ERROR_SUCCESS)
        return result;
    result = PeerDistClientOpenContent(job->instance, &tag, NULL, 0, &job->content);
    if (result == ERROR_SUCCESS) {
        result = describe(job, information);
        if (result == ERROR_SUCCESS)
            result = read_all(job);
        PeerDistClientCloseContent(job->instance, job->content);
    }
    PeerDistShutdown(job->instance);
    return result;
}

int main(int argc, char **argv)
{
    struct job job;
    FILE *information;
    DWORD result;
    if (argc != 4) {
        fprintf(stderr, "usage: consumer CONTENT_INFORMATION URL OUTPUT\n");
        return 2;
    }
    ZeroMemory(&job, sizeof(job));
    job.url = argv[2];
    information = fopen(argv[1], "rb");
    if (information == NULL) {
        perror(argv[1]);
        return EXIT_FAILURE;
    }
    job.output = fopen(argv[3], "wb");
    if (job.output == NULL) {
        perror(argv[3]);
        return EXIT_FAILURE;
    }
    job.operation.hEvent = CreateEvent(NULL, TRUE, FALSE, NULL);
    if (job.operation.hEvent == NULL) {
        complain("event", GetLastError());
        return EXIT_FAILURE;
    }

    result = consume(&job, information);
    /* Without the service it is slower, and no more than that. */
    if (!job.failed && result != PEERDIST_ERROR_NO_MORE) {
        complain("the rest comes from the origin", result);
        fetch(&job, 0, FALSE);
    }

    CloseHandle(job.operation.hEvent);
    fclose(information);
    if (fclose(job.output) != 0) {
        perror(argv[3]);
        job.failed = TRUE;
    }
    printf("%llu bytes from the cache and peers, %llu from the origin\n", (unsigned long long)job.from_peers,
           (unsigned long long)job.from_origin);
    return job.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
