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
static const PEERDIST_CONTENT_TAG tag = {{'e', 'x', 'a', 'm', 'p', 'l', 'e', '-', 'c', 'o', 'n', 's', 'u', 'm', 'e', 'r'}};

static BYTE buffer[PIECE];

struct job {
    PEERDIST_INSTANCE_HANDLE instance;
    PEERDIST_CONTENT_HANDLE content;
    OVERLAPPED operation;
    const char *url;
    FILE *output;
    /* Where in the content the next byte of the output is from. */
    ULONGLONG position;
    ULONGLONG from_peers, from_origin;
};

static void complain(LPCSTR what, DWORD error)
{
    char text[256];
    if (!FormatMessageA(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS | FORMAT_MESSAGE_MAX_WIDTH_MASK, NULL,
                        error, 0, text, sizeof(text), NULL))
        text[0] = '\0';
    fprintf(stderr, "%s: error %u %s\n", what, error, text);
}

/* Waits for what a function has started, and says how it ended. */
static DWORD finish(struct job *job, DWORD started, DWORD *bytes)
{
    if (started != ERROR_IO_PENDING)
        return started;
    return PeerDistGetOverlappedResult(&job->operation, bytes, TRUE) ? ERROR_SUCCESS : GetLastError();
}

static ULONGLONG offset_of(const struct job *job)
{
    return (ULONGLONG)job->operation.OffsetHigh << 32 | job->operation.Offset;
}

static void set_offset(struct job *job, ULONGLONG offset)
{
    job->operation.Offset = (DWORD)offset;
    job->operation.OffsetHigh = (DWORD)(offset >> 32);
}

/* Appends to the output. */
static int keep(struct job *job, size_t size)
{
    job->position += size;
    if (fwrite(buffer, 1, size, job->output) == size)
        return 0;
    perror("output");
    return -1;
}

/* Gives the service the content information, piece by piece as it would come from a network. */
static DWORD describe(struct job *job, FILE *information)
{
    DWORD result = ERROR_SUCCESS, bytes;
    size_t size;
    while (result == ERROR_SUCCESS && (size = fread(buffer, 1, sizeof(buffer), information)) > 0) {
        set_offset(job, 0);
        result = finish(job, PeerDistClientAddContentInformation(job->instance, job->content, (DWORD)size, buffer,
                                                                 &job->operation),
                        &bytes);
    }
    if (result != ERROR_SUCCESS)
        return result;
    set_offset(job, 0);
    return finish(job, PeerDistClientCompleteContentInformation(job->instance, job->content, &job->operation), &bytes);
}

/*
 * Takes bytes from the origin, from the end of the output on; a length of 0 takes all the rest. With `share` the service
 * gets them, too. Returns 0, or -1 when the file cannot be had.
 */
static int fetch(struct job *job, ULONGLONG length, BOOL share)
{
    DWORD result, bytes;
    long count;
    ORIGIN *origin = origin_open(job->url, job->position, length);
    if (origin == NULL)
        return -1;
    while ((count = origin_read(origin, buffer, sizeof(buffer))) > 0) {
        if (share) {
            set_offset(job, job->position);
            result = finish(job, PeerDistClientAddData(job->instance, job->content, (DWORD)count, buffer, &job->operation),
                            &bytes);
            if (result != ERROR_SUCCESS) {
                /* This program has the bytes all the same. */
                complain("add data", result);
                share = FALSE;
            }
        }
        job->from_origin += (ULONGLONG)count;
        if (keep(job, (size_t)count) != 0)
            break;
    }
    origin_close(origin);
    return count == 0 ? 0 : -1;
}

/* Reads until there is no more, and returns why it ended; -1 in `failed` means that the file cannot be had. */
static DWORD read_all(struct job *job, int *failed)
{
    DWORD result, bytes;
    for (;;) {
        result = finish(job, PeerDistClientStreamRead(job->instance, job->content, sizeof(buffer), buffer,
                                                      PEERDIST_READ_TIMEOUT_DEFAULT, &job->operation),
                        &bytes);
        switch (result) {
        case ERROR_SUCCESS:
            job->from_peers += bytes;
            *failed = keep(job, bytes);
            break;
        case PEERDIST_ERROR_MISSING_DATA:
        case ERROR_TIMEOUT:
            /* Offset and length of what is missing. The stream has skipped it. */
            if (offset_of(job) != job->position) {
                fprintf(stderr, "bytes were left out\n");
                *failed = -1;
            } else {
                *failed = fetch(job, bytes, TRUE);
            }
            break;
        default:
            return result;
        }
        if (*failed)
            return result;
    }
}

int main(int argc, char **argv)
{
    struct job job;
    FILE *information;
    DWORD result;
    int failed = 0;
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

    result = PeerDistStartup(PEERDIST_VERSION, &job.instance, NULL);
    if (result == ERROR_SUCCESS) {
        result = PeerDistClientOpenContent(job.instance, &tag, NULL, 0, &job.content);
        if (result == ERROR_SUCCESS) {
            result = describe(&job, information);
            if (result == ERROR_SUCCESS)
                result = read_all(&job, &failed);
            PeerDistClientCloseContent(job.instance, job.content);
        }
        PeerDistShutdown(job.instance);
    }
    fclose(information);
    CloseHandle(job.operation.hEvent);

    /* Without the service it is slower, and no more than that. */
    if (!failed && result != PEERDIST_ERROR_NO_MORE) {
        complain("the rest comes from the origin", result);
        failed = fetch(&job, 0, FALSE);
    }
    if (fclose(job.output) != 0) {
        perror(argv[3]);
        failed = -1;
    }
    printf("%llu bytes from the cache and peers, %llu from the origin\n", (unsigned long long)job.from_peers,
           (unsigned long long)job.from_origin);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
