/* A program that has everything open and under way that a program can have, until it is killed.
 *
 * held [child]: says "ready" when it has; then, for each line that it reads, starts operations with many bytes and says "more".
 * With `child` it has forked a child by then, which keeps all descriptors until the standard input ends. */
#define _DEFAULT_SOURCE
#include <windows.h>
#include <peerdist.h>

#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

#define AN_HOUR 3600000
#define READS 8
#define MORE 8

static PEERDIST_INSTANCE_HANDLE instance;
static PEERDIST_STREAM_HANDLE stream;
static PEERDIST_CONTENT_HANDLE unverified, readable;
static PEERDIST_CONTENTINFO_HANDLE described;
static BYTE bytes[1 << 20], buffers[READS][1000];
static BYTE finished[] = "finished", unfinished[] = "unfinished";
static PEERDIST_CONTENT_TAG tag = {{1}};

/* The bytes that an operation moved that was started and has to succeed. */
static DWORD finish(DWORD started, OVERLAPPED *overlapped)
{
    DWORD count;
    CHECK(started == ERROR_IO_PENDING);
    CHECK(PeerDistGetOverlappedResult(overlapped, &count, TRUE));
    return count;
}

/* A content of two mebibytes, and a stream with one. */
static void publish(void)
{
    OVERLAPPED overlapped = {0};
    size_t i;
    for (i = 0; i < sizeof(bytes); i++)
        bytes[i] = (BYTE)(i * i >> 3);
    CHECK(!PeerDistServerPublishStream(instance, sizeof(finished), finished, 0, NULL, NULL, 0, &stream));
    for (i = 0; i < 2; i++)
        finish(PeerDistServerPublishAddToStream(instance, stream, sizeof(bytes), bytes, &overlapped), &overlapped);
    finish(PeerDistServerPublishCompleteStream(instance, stream, &overlapped), &overlapped);
    CHECK(!PeerDistServerCloseStreamHandle(instance, stream));
    CHECK(!PeerDistServerPublishStream(instance, sizeof(unfinished), unfinished, 0, NULL, NULL, 0, &stream));
    finish(PeerDistServerPublishAddToStream(instance, stream, sizeof(bytes), bytes, &overlapped), &overlapped);
}

static void describe(PEERDIST_CONTENT_HANDLE *content, DWORD size, BYTE *information)
{
    OVERLAPPED overlapped = {0};
    CHECK(!PeerDistClientOpenContent(instance, &tag, NULL, 0, content));
    finish(PeerDistClientAddContentInformation(instance, *content, size, information, &overlapped), &overlapped);
}

/* A content with bytes that cannot be verified, one with half of its content information, and one that is being read. */
static void open_contents(void)
{
    static BYTE information[4096];
    static OVERLAPPED reads[READS];
    OVERLAPPED overlapped = {0};
    PEERDIST_CONTENT_HANDLE half;
    DWORD size;
    int i;
    /* Of the first block alone. */
    CHECK(!PeerDistServerOpenContentInformation(instance, sizeof(finished), finished, 0, 65536, NULL, 0, &described));
    size = finish(PeerDistServerRetrieveContentInformation(instance, described, sizeof(information), information,
                                                           &overlapped),
                  &overlapped);
    describe(&unverified, size, information);
    finish(PeerDistClientCompleteContentInformation(instance, unverified, &overlapped), &overlapped);
    finish(PeerDistClientAddData(instance, unverified, 1000, bytes, &overlapped), &overlapped);
    overlapped.Offset = sizeof(bytes);
    finish(PeerDistClientAddData(instance, unverified, sizeof(bytes), bytes, &overlapped), &overlapped);
    describe(&half, size / 2, information);
    describe(&readable, size, information);
    overlapped.Offset = 0;
    finish(PeerDistClientCompleteContentInformation(instance, readable, &overlapped), &overlapped);
    for (i = 0; i < READS; i++) {
        reads[i].Offset = (DWORD)i * 1000;
        CHECK(PeerDistClientBlockRead(instance, readable, sizeof(buffers[i]), buffers[i], AN_HOUR, &reads[i]) ==
              ERROR_IO_PENDING);
    }
}

static void wait_for_a_change(void)
{
    static OVERLAPPED overlapped;
    static PEERDIST_STATUS status;
    finish(PeerDistRegisterForStatusChangeNotification(instance, NULL, 0, &overlapped, &status), &overlapped);
    CHECK(PeerDistRegisterForStatusChangeNotification(instance, NULL, 0, &overlapped, &status) == ERROR_IO_PENDING);
}

static void start_more(void)
{
    OVERLAPPED *at = calloc(3 * MORE + 2, sizeof(*at));
    static BYTE information[7], other[1000];
    int i;
    CHECK(at != NULL);
    for (i = 0; i < MORE; i++, at += 3) {
        at->Offset = sizeof(bytes);
        CHECK(PeerDistClientAddData(instance, unverified, sizeof(bytes), bytes, at) == ERROR_IO_PENDING);
        CHECK(PeerDistServerPublishAddToStream(instance, stream, sizeof(bytes), bytes, at + 1) == ERROR_IO_PENDING);
        CHECK(PeerDistServerRetrieveContentInformation(instance, described, sizeof(information), information, at + 2) ==
              ERROR_IO_PENDING);
    }
    CHECK(PeerDistClientStreamRead(instance, readable, sizeof(other), other, AN_HOUR, at) == ERROR_IO_PENDING);
    CHECK(PeerDistClientFlushContent(instance, &tag, NULL, 0, at + 1) == ERROR_IO_PENDING);
}

/* The child keeps what it inherited while the parent, or somebody else, may write to the standard input. */
static void fork_child(void)
{
    struct pollfd input = {STDIN_FILENO, 0, 0};
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        while (!(input.revents & POLLHUP))
            poll(&input, 1, -1);
        _exit(0);
    }
}

int main(int count, char **arguments)
{
    PEERDIST_STATUS status = PEERDIST_STATUS_UNAVAILABLE;
    char line[16];
    CHECK(!PeerDistStartup(PEERDIST_VERSION, &instance, NULL));
    while (status != PEERDIST_STATUS_AVAILABLE) {
        CHECK(!PeerDistGetStatus(instance, &status));
        sched_yield();
    }
    publish();
    open_contents();
    wait_for_a_change();
    if (count > 1 && !strcmp(arguments[1], "child"))
        fork_child();
    puts("ready");
    CHECK(!fflush(stdout));
    while (fgets(line, sizeof(line), stdin)) {
        start_more();
        puts("more");
        CHECK(!fflush(stdout));
    }
    return 0;
}
