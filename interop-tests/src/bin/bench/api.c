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

enum order { FORWARD, ANYWHERE };

/* `count` BlockReads of 64 KiB one after the other in `length` bytes: the median in seconds. */
static double block_reads(PEERDIST_CONTENT_HANDLE content, enum order order, ULONGLONG length, unsigned count)
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
        start(&operation, (order == FORWARD ? i : state) % (length / BLOCK) * BLOCK);
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

enum { AT_ONCE = 500 };

/* AT_ONCE BlockReads of 64 KiB outstanding at once, from the `here` bytes that are cached: seconds until the last. */
static double burst(PEERDIST_CONTENT_HANDLE content, ULONGLONG here)
{
    static OVERLAPPED operations[AT_ONCE];
    unsigned char *buffers = malloc((size_t)AT_ONCE * BLOCK);
    DWORD moved;
    double began = now();
    for (unsigned i = 0; i < AT_ONCE; i++) {
        start(&operations[i], here / BLOCK * i / AT_ONCE * BLOCK);
        need(PeerDistClientBlockRead(instance, content, BLOCK, buffers + (size_t)i * BLOCK, PEERDIST_READ_TIMEOUT_DEFAULT,
                                     &operations[i]),
             ERROR_IO_PENDING, "read");
    }
    for (unsigned i = 0; i < AT_ONCE; i++) {
        need(ended(&operations[i], &moved), ERROR_SUCCESS, "was read");
    }
    free(buffers);
    return now() - began;
}

/* The first `here` bytes of `file` are added, the others come never. The median of a BlockRead and the time of a burst,
 * alone and beside AT_ONCE reads of the same handle that wait; and how many of these still wait then. */
static void outstanding(const char *information, const char *file, ULONGLONG here)
{
    static OVERLAPPED waiting[AT_ONCE];
    PEERDIST_CONTENT_HANDLE content = open_content(information);
    size_t length;
    unsigned char *bytes = read_file(file, &length), *buffers = malloc((size_t)AT_ONCE * BLOCK);
    double each, all;
    DWORD moved;
    unsigned still = 0;
    for (ULONGLONG at = 0; at < here; at += MIB) {
        OVERLAPPED operation;
        start(&operation, at);
        need(PeerDistClientAddData(instance, content, MIB, bytes + at, &operation), ERROR_IO_PENDING, "add data");
        need(ended(&operation, &moved), ERROR_SUCCESS, "added data");
    }
    each = block_reads(content, ANYWHERE, here, AT_ONCE);
    all = burst(content, here);
    printf("%.9f\n%f\n", each, all);
    for (unsigned i = 0; i < AT_ONCE; i++) {
        start(&waiting[i], here + (length - here) / AT_ONCE * i);
        need(PeerDistClientBlockRead(instance, content, BLOCK, buffers + (size_t)i * BLOCK, 600000, &waiting[i]),
             ERROR_IO_PENDING, "wait");
    }
    each = block_reads(content, ANYWHERE, here, AT_ONCE);
    all = burst(content, here);
    for (unsigned i = 0; i < AT_ONCE; i++) {
        still += !HasOverlappedIoCompleted(&waiting[i]);
    }
    printf("%.9f\n%f\n%u\n", each, all, still);
    need(PeerDistClientCloseContent(instance, content), ERROR_SUCCESS, "close");
    free(bytes);
    free(buffers);
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

/* stream INFORMATION | block INFORMATION LENGTH | outstanding INFORMATION FILE HERE | publish FILE */
int main(int count, char **words)
{
    const char *what = count > 2 ? words[1] : "";
    need(PeerDistStartup(PEERDIST_VERSION, &instance, NULL), ERROR_SUCCESS, "startup");
    if (!strcmp(what, "stream")) {
        stream(words[2]);
    } else if (!strcmp(what, "block") && count == 4) {
        ULONGLONG length = strtoull(words[3], NULL, 10);
        printf("%.9f\n", block_reads(open_content(words[2]), FORWARD, length, 5000));
        printf("%.9f\n", block_reads(open_content(words[2]), ANYWHERE, length, 5000));
    } else if (!strcmp(what, "outstanding") && count == 5) {
        outstanding(words[2], words[3], strtoull(words[4], NULL, 10));
    } else if (!strcmp(what, "publish")) {
        publish(words[2]);
    } else {
        return 2;
    }
    need(PeerDistShutdown(instance), ERROR_SUCCESS, "shutdown");
    return 0;
}
