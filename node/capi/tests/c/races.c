/* Operations that end while their memory goes: each has memory of its own, given back at the first moment that the
 * documentation allows, so that every access that comes later is seen.
 *
 * races freed ROUNDS MEMORY: the OVERLAPPED and the buffer go when the packet was dequeued.
 * races cancel ROUNDS MEMORY: each operation is cancelled when it is about to end by itself; each has one end, and Cancel says
 *     which.
 * races buffer ROUNDS MEMORY: the same, and OVERLAPPED and buffer go as soon as Cancel has returned.
 *
 * MEMORY is `pages`: what was given back never comes again, and the processor ends the program that touches it; or `malloc`,
 * for a checker that watches the heap.
 *
 * Prints how the operations ended. */
#define _DEFAULT_SOURCE
#include <windows.h>
#include <peerdist.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "check.h"

#define OUTSTANDING 64
#define CONTENT_SIZE 4096
#define READ_SIZE 64
/* A page of the processor's, and one behind it that nobody may touch. */
#define PAGE ((size_t)4096)

struct operation {
    DWORD offset;
    DWORD cancelled;
    DWORD error;
    /* Of Cancel and the packet, what has come. */
    atomic_int parts;
    OVERLAPPED overlapped;
    BYTE buffer[READ_SIZE];
};

static PEERDIST_INSTANCE_HANDLE instance;
static PEERDIST_CONTENT_HANDLE content;
static HANDLE port;
static BYTE bytes[CONTENT_SIZE];

static DWORD finish(DWORD started, OVERLAPPED *overlapped, DWORD *transferred)
{
    CHECK(started == ERROR_IO_PENDING);
    return PeerDistGetOverlappedResult(overlapped, transferred, TRUE) ? ERROR_SUCCESS : GetLastError();
}

/* A content that is here, all of it, to be read. */
static void prepare(void)
{
    static BYTE name[] = "races", information[4096];
    static PEERDIST_CONTENT_TAG tag = {{1}};
    PEERDIST_STATUS status = PEERDIST_STATUS_UNAVAILABLE;
    PEERDIST_STREAM_HANDLE stream;
    PEERDIST_CONTENTINFO_HANDLE described;
    OVERLAPPED overlapped = {0};
    DWORD transferred, size;
    size_t i;
    for (i = 0; i < sizeof(bytes); i++)
        bytes[i] = (BYTE)(i * i >> 3);
    CHECK(PeerDistStartup(PEERDIST_VERSION, &instance, NULL) == ERROR_SUCCESS);
    /* Under a checker the library may take longer to find the daemon than a function waits for it. */
    while (status != PEERDIST_STATUS_AVAILABLE)
        CHECK(PeerDistGetStatus(instance, &status) == ERROR_SUCCESS);
    CHECK(PeerDistServerPublishStream(instance, sizeof(name), name, 0, NULL, NULL, 0, &stream) == ERROR_SUCCESS);
    CHECK(!finish(PeerDistServerPublishAddToStream(instance, stream, sizeof(bytes), bytes, &overlapped), &overlapped,
                  &transferred));
    CHECK(!finish(PeerDistServerPublishCompleteStream(instance, stream, &overlapped), &overlapped, &transferred));
    CHECK(PeerDistServerCloseStreamHandle(instance, stream) == ERROR_SUCCESS);
    CHECK(PeerDistServerOpenContentInformation(instance, sizeof(name), name, 0, 0, NULL, 0, &described) == ERROR_SUCCESS);
    CHECK(!finish(PeerDistServerRetrieveContentInformation(instance, described, sizeof(information), information,
                                                           &overlapped),
                  &overlapped, &size));
    CHECK(PeerDistServerCloseContentInformation(instance, described) == ERROR_SUCCESS);
    CHECK((port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 0)) != NULL);
    CHECK(PeerDistClientOpenContent(instance, &tag, NULL, 0, &content) == ERROR_SUCCESS);
    CHECK(!finish(PeerDistClientAddContentInformation(instance, content, size, information, &overlapped), &overlapped,
                  &transferred));
    CHECK(!finish(PeerDistClientCompleteContentInformation(instance, content, &overlapped), &overlapped, &transferred));
    CHECK(!finish(PeerDistClientAddData(instance, content, sizeof(bytes), bytes, &overlapped), &overlapped, &transferred));
    CHECK(PeerDistClientCloseContent(instance, content) == ERROR_SUCCESS);
    /* Once more, for a handle with the port. */
    overlapped.Offset = 0;
    CHECK(PeerDistClientOpenContent(instance, &tag, port, 7, &content) == ERROR_SUCCESS);
    CHECK((overlapped.hEvent = CreateEvent(NULL, TRUE, FALSE, NULL)) != NULL);
    CHECK(!finish(PeerDistClientAddContentInformation(instance, content, size, information, &overlapped), &overlapped,
                  &transferred));
    CHECK(!finish(PeerDistClientCompleteContentInformation(instance, content, &overlapped), &overlapped, &transferred));
    CHECK(CloseHandle(overlapped.hEvent));
}

/* All pages that operations get, or NULL for the heap. */
static PBYTE pages;

static struct operation *begin(long round)
{
    struct operation *operation;
    if (pages) {
        PBYTE page = pages + 2 * PAGE * (size_t)round;
        CHECK(!mprotect(page, PAGE, PROT_READ | PROT_WRITE));
        /* The buffer ends with the page. */
        operation = (struct operation *)(void *)(page + PAGE - sizeof(*operation));
    } else {
        CHECK((operation = calloc(1, sizeof(*operation))) != NULL);
    }
    operation->offset = (DWORD)(round % (CONTENT_SIZE - READ_SIZE));
    operation->overlapped.Offset = operation->offset;
    CHECK(PeerDistClientBlockRead(instance, content, READ_SIZE, operation->buffer, PEERDIST_READ_TIMEOUT_LOCAL_CACHE_ONLY,
                                  &operation->overlapped) == ERROR_IO_PENDING);
    return operation;
}

static void end(struct operation *operation)
{
    if (pages) {
        PBYTE page = (PBYTE)operation + sizeof(*operation) - PAGE;
        /* A new mapping, because the system merges those with their neighbours, and gives a process only so many. */
        CHECK(mmap(page, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == page);
    } else {
        free(operation);
    }
}

static struct operation *operation_of(LPOVERLAPPED overlapped)
{
    return (struct operation *)(void *)((PBYTE)overlapped - offsetof(struct operation, overlapped));
}

static long long nanoseconds(void)
{
    struct timespec now;
    CHECK(!clock_gettime(CLOCK_MONOTONIC, &now));
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* The next packet; FALSE for the last one, which `main` posts itself. */
static int dequeue(LPOVERLAPPED *overlapped, DWORD *error)
{
    DWORD transferred = 0;
    ULONG_PTR key = 0;
    *error = GetQueuedCompletionStatus(port, &transferred, &key, overlapped, INFINITE) ? ERROR_SUCCESS : GetLastError();
    if (!*overlapped)
        return 0;
    CHECK(key == 7);
    CHECK(*error == ERROR_SUCCESS ? transferred == READ_SIZE : *error == ERROR_OPERATION_ABORTED);
    return 1;
}

static void freed(long rounds)
{
    long begun = 0, ended;
    LPOVERLAPPED overlapped;
    DWORD error;
    for (ended = 0; ended < rounds; ended++) {
        struct operation *operation;
        for (; begun < rounds && begun < ended + OUTSTANDING; begun++)
            begin(begun);
        CHECK(dequeue(&overlapped, &error) && error == ERROR_SUCCESS);
        operation = operation_of(overlapped);
        CHECK(operation->overlapped.Offset == operation->offset);
        CHECK(!memcmp(operation->buffer, bytes + operation->offset, READ_SIZE));
        end(operation);
    }
    printf("%ld read\n", ended);
}

struct ends {
    int dereferenced;
    long read;
    long aborted;
};

/* Cancel and the packet are there. */
static void both(struct operation *operation)
{
    if (operation->error == ERROR_OPERATION_ABORTED) {
        CHECK(operation->cancelled == ERROR_SUCCESS);
    } else {
        CHECK(operation->cancelled == PEERDIST_ERROR_OPERATION_NOTFOUND);
        CHECK(!memcmp(operation->buffer, bytes + operation->offset, READ_SIZE));
    }
    end(operation);
}

static void *packets(void *argument)
{
    struct ends *ends = argument;
    LPOVERLAPPED overlapped;
    DWORD error;
    while (dequeue(&overlapped, &error)) {
        if (error == ERROR_SUCCESS)
            ends->read++;
        else
            ends->aborted++;
        if (ends->dereferenced) {
            struct operation *operation = operation_of(overlapped);
            operation->error = error;
            if (atomic_fetch_add(&operation->parts, 1))
                both(operation);
        }
    }
    return NULL;
}

static void cancel(long rounds, int at_once)
{
    static struct operation *operations[OUTSTANDING];
    struct ends ends = {!at_once, 0, 0};
    long begun = 0, cancelled, aborted = 0;
    long long pause = 0;
    LPOVERLAPPED overlapped;
    DWORD transferred;
    ULONG_PTR key;
    pthread_t thread;
    CHECK(!pthread_create(&thread, NULL, packets, &ends));
    for (cancelled = 0; cancelled < rounds; cancelled++) {
        long long until;
        struct operation *operation;
        DWORD code;
        for (; begun < rounds && begun < cancelled + OUTSTANDING; begun++)
            operations[begun % OUTSTANDING] = begin(begun);
        operation = operations[cancelled % OUTSTANDING];
        for (until = nanoseconds() + pause; nanoseconds() < until;)
            sched_yield();
        code = PeerDistClientCancelAsyncOperation(instance, content, &operation->overlapped);
        CHECK(code == ERROR_SUCCESS || code == PEERDIST_ERROR_OPERATION_NOTFOUND);
        /* The pause is kept such that about one half has ended by itself. */
        if (code == ERROR_SUCCESS) {
            aborted++;
            pause += 1000;
        } else if (pause > 0) {
            pause -= 1000;
        }
        if (at_once) {
            end(operation);
            continue;
        }
        operation->cancelled = code;
        if (atomic_fetch_add(&operation->parts, 1))
            both(operation);
    }
    /* Cancel returns after the packet was posted, so all are before this one. */
    CHECK(PostQueuedCompletionStatus(port, 0, 0, NULL));
    CHECK(!pthread_join(thread, NULL));
    CHECK(!GetQueuedCompletionStatus(port, &transferred, &key, &overlapped, 0) && GetLastError() == WAIT_TIMEOUT);
    CHECK(ends.read + ends.aborted == rounds && ends.aborted == aborted);
    /* It is no race if one side always wins. */
    CHECK(ends.read > rounds / 100 && ends.aborted > rounds / 100);
    printf("%ld read, %ld aborted\n", ends.read, ends.aborted);
}

int main(int count, char **arguments)
{
    long rounds;
    CHECK(count == 4);
    rounds = atol(arguments[2]);
    if (!strcmp(arguments[3], "pages")) {
        pages = mmap(NULL, 2 * PAGE * (size_t)rounds, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        CHECK(pages != MAP_FAILED);
    }
    prepare();
    if (!strcmp(arguments[1], "freed"))
        freed(rounds);
    else
        cancel(rounds, !strcmp(arguments[1], "buffer"));
    CHECK(PeerDistClientCloseContent(instance, content) == ERROR_SUCCESS);
    CHECK(PeerDistShutdown(instance) == ERROR_SUCCESS);
    CHECK(CloseHandle(port));
    return 0;
}
