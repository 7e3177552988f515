/* What the rows about the PeerDist API measure, as a program for peerdist.h does it. Prints one number a line. */

#include <windows.h>
#include <peerdist.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MIB (1u << 20)
#define BLOCK (64u << 10)

static PEERDIST_INSTANCE_HANDLE instance;

static void need(DWORD got, DWORD wanted, const char *what)
{
    if (got != wanted) {
        fprintf(stderr, "%s: %u\n", what, (unsigned)got);
        exit(1);
    }
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Waits for an operation. Returns its error, and how many bytes it moved. */
static DWORD ended(OVERLAPPED *operation, DWORD *bytes)
{
    return PeerDistGetOverlappedResult(operation, bytes, TRUE) ? ERROR_SUCCESS : GetLastError();
}

static void start(OVERLAPPED *operation, ULONGLONG offset)
{
    memset(operation, 0, sizeof *operation);
    operation->Offset = (DWORD)offset;
    operation->OffsetHigh = (DWORD)(offset >> 32);
}

static unsigned char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    unsigned char *bytes;
    if (!file || fseek(file, 0, SEEK_END)) {
        perror(path);
        exit(1);
    }
    *size = (size_t)ftell(file);
    rewind(file);
    bytes = malloc(*size ? *size : 1);
    if (!bytes || fread(bytes, 1, *size, file) != *size) {
        perror(path);
        exit(1);
    }
    fclose(file);
    return bytes;
}

static PEERDIST_CONTENT_HANDLE open_content(const char *information)
{
    PEERDIST_CONTENT_TAG tag = {{1}};
    PEERDIST_CONTENT_HANDLE content;
    OVERLAPPED operation;
    DWORD moved;
    size_t size;
    unsigned char *bytes = read_file(information, &size);
    need(PeerDistClientOpenContent(instance, &tag, NULL, 0, &content), ERROR_SUCCESS, "open");
    start(&operation, 0);
    need(PeerDistClientAddContentInformation(instance, content, (DWORD)size, bytes, &operation), ERROR_IO_PENDING, "add");
    need(ended(&operation, &moved), ERROR_SUCCESS, "added");
    start(&operation, 0);
    need(PeerDistClientCompleteContentInformation(instance, content, &operation), ERROR_IO_PENDING, "complete");
    need(ended(&operation, &moved), ERROR_SUCCESS, "completed");
    free(bytes);
    return content;
}

/* Sequential StreamReads with buffers of 1 MiB: seconds. */
static void stream(const char *information)
{
    PEERDIST_CONTENT_HANDLE content = open_content(information);
    unsigned char *buffer = malloc(MIB);
    ULONGLONG total = 0;
    double began = now();
    for (;;) {
        OVERLAPPED operation;
        DWORD moved, error;
        start(&operation, 0);
        need(PeerDistClientStreamRead(instance, content, MIB, buffer, PEERDIST_READ_TIMEOUT_DEFAULT, &operation),
             ERROR_IO_PENDING, "read");
        error = ended(&operation, &moved);
        if (error == (DWORD)PEERDIST_ERROR_NO_MORE) {
            break;
        }
        need(error, ERROR_SUCCESS, "was read");
        total += moved;
    }
    printf("%llu\n%f\n", (unsigned long long)total, now() - began);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* `count` BlockReads of 64 KiB one after the other, all over `length` bytes: the median in seconds. */
static double block_reads(PEERDIST_CONTENT_HANDLE content, ULONGLONG length, unsigned count)
{
    unsigned char *buffer = malloc(BLOCK);
    double *times = malloc(count * sizeof *times), median;
    ULONGLONG state = 88172645463325252ull;
    for (unsigned i = 0; i < count; i++) {
        OVERLAPPED operation;
        DWORD moved;
        double began;
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        start(&operation, state % (length / BLOCK) * BLOCK);
        began = now();
        need(PeerDistClientBlockRead(instance, content, BLOCK, buffer, PEERDIST_READ_TIMEOUT_DEFAULT, &operation),
             ERROR_IO_PENDING, "read");
        need(ended(&operation, &moved), ERROR_SUCCESS, "was read");
        times[i] = now() - began;
    }
    qsort(times, count, sizeof *times, by_value);
    median = times[count / 2];
    free(times);
    free(buffer);
    return median;
}

/* 500 reads wait for data that never comes, while 500 others of the same handle are answered: the median of a BlockRead
 * without and with those that wait, and the time of the 500 in seconds. `here` bytes at the start are in the cache. */
static void outstanding(const char *information, ULONGLONG here, ULONGLONG length)
{
    enum { WAITING = 500 };
    static OVERLAPPED waiting[WAITING], answered[WAITING];
    PEERDIST_CONTENT_HANDLE content = open_content(information);
    unsigned char *buffers = malloc((size_t)2 * WAITING * BLOCK);
    DWORD moved;
    unsigned still = 0;
    double alone = block_reads(content, here, 500), beside, began;
    for (unsigned i = 0; i < WAITING; i++) {
        start(&waiting[i], here + (length - here) / WAITING * i);
        need(PeerDistClientBlockRead(instance, content, BLOCK, buffers + (size_t)i * BLOCK, 600000, &waiting[i]),
             ERROR_IO_PENDING, "wait");
    }
    beside = block_reads(content, here, 500);
    began = now();
    for (unsigned i = 0; i < WAITING; i++) {
        start(&answered[i], here / WAITING / BLOCK * BLOCK * i);
        need(PeerDistClientBlockRead(instance, content, BLOCK, buffers + (size_t)(WAITING + i) * BLOCK,
                                     PEERDIST_READ_TIMEOUT_DEFAULT, &answered[i]),
             ERROR_IO_PENDING, "read");
    }
    for (unsigned i = 0; i < WAITING; i++) {
        need(ended(&answered[i], &moved), ERROR_SUCCESS, "was read");
    }
    printf("%.9f\n%.9f\n%f\n", alone, beside, now() - began);
    for (unsigned i = 0; i < WAITING; i++) {
        still += !HasOverlappedIoCompleted(&waiting[i]);
    }
    printf("%u\n", still);
}

/* AddToStream in pieces of 1 MiB, one after the other, and CompleteStream: seconds. */
static void publish(const char *path)
{
    PEERDIST_STREAM_HANDLE content;
    OVERLAPPED operation;
    DWORD moved;
    size_t size;
    unsigned char *bytes = read_file(path, &size), name[] = "benchmark";
    double began = now();
    need(PeerDistServerPublishStream(instance, sizeof name, name, size, NULL, NULL, 0, &content), ERROR_SUCCESS, "publish");
    for (size_t at = 0; at < size; at += MIB) {
        DWORD count = (DWORD)(size - at < MIB ? size - at : MIB);
        start(&operation, 0);
        need(PeerDistServerPublishAddToStream(instance, content, count, bytes + at, &operation), ERROR_IO_PENDING, "add");
        need(ended(&operation, &moved), ERROR_SUCCESS, "added");
    }
    start(&operation, 0);
    need(PeerDistServerPublishCompleteStream(instance, content, &operation), ERROR_IO_PENDING, "complete");
    need(ended(&operation, &moved), ERROR_SUCCESS, "completed");
    printf("%f\n", now() - began);
}

int main(int count, char **words)
{
    if (count < 3) {
        return 2;
    }
    need(PeerDistStartup(PEERDIST_VERSION, &instance, NULL), ERROR_SUCCESS, "startup");
    if (!strcmp(words[1], "stream")) {
        stream(words[2]);
    } else if (!strcmp(words[1], "block")) {
        printf("%.9f\n", block_reads(open_content(words[2]), strtoull(words[3], NULL, 10), 5000));
    } else if (!strcmp(words[1], "outstanding")) {
        outstanding(words[2], strtoull(words[3], NULL, 10), strtoull(words[4], NULL, 10));
    } else if (!strcmp(words[1], "publish")) {
        publish(words[2]);
    }
    need(PeerDistShutdown(instance), ERROR_SUCCESS, "shutdown");
    return 0;
}
