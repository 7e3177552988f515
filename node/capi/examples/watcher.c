/*
 * Prints the status of the service, and every change of it, until Ctrl-C.
 */
#include <windows.h>
#include <peerdist.h>

#include <stdio.h>
#include <stdlib.h>

#include <pthread.h>
#include <signal.h>

/* What packets of the port are about. */
#define KEY_STATUS 1
#define KEY_STOP   2

static sigset_t interrupts;

/* As a console control handler on Windows, this has a thread of its own. */
static void *wait_for_interrupt(void *port)
{
    int which;
    sigwait(&interrupts, &which);
    PostQueuedCompletionStatus(port, 0, KEY_STOP, NULL);
    return NULL;
}

static const char *name_of(PEERDIST_STATUS status)
{
    switch (status) {
    case PEERDIST_STATUS_DISABLED:
        return "disabled";
    case PEERDIST_STATUS_UNAVAILABLE:
        return "unavailable";
    case PEERDIST_STATUS_AVAILABLE:
        return "available";
    }
    return "unknown";
}

int main(void)
{
    PEERDIST_INSTANCE_HANDLE instance;
    /* What notifications are compared with when none was sent so far. */
    PEERDIST_STATUS status = PEERDIST_STATUS_DISABLED;
    OVERLAPPED changed;
    LPOVERLAPPED ended;
    ULONG_PTR key;
    pthread_t thread;
    DWORD result, bytes;
    HANDLE port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 1);
    /* Before the library starts its thread, which inherits this. */
    sigemptyset(&interrupts);
    sigaddset(&interrupts, SIGINT);
    sigaddset(&interrupts, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &interrupts, NULL);
    if (port == NULL || pthread_create(&thread, NULL, wait_for_interrupt, port) != 0) {
        fprintf(stderr, "no thread can be started\n");
        return EXIT_FAILURE;
    }
    result = PeerDistStartup(PEERDIST_VERSION, &instance, NULL);
    if (result != ERROR_SUCCESS) {
        fprintf(stderr, "startup: error %u\n", result);
        return EXIT_FAILURE;
    }
    if (PeerDistGetStatus(instance, &status) == ERROR_SUCCESS && status == PEERDIST_STATUS_DISABLED) {
        printf("%s\n", name_of(status));
        fflush(stdout);
    }
    for (;;) {
        ZeroMemory(&changed, sizeof(changed));
        /* For one change, or at once where the status is not the one of the last notification. */
        result = PeerDistRegisterForStatusChangeNotification(instance, port, KEY_STATUS, &changed, &status);
        if (result != ERROR_IO_PENDING)
            break;
        if (!GetQueuedCompletionStatus(port, &bytes, &key, &ended, INFINITE)) {
            result = GetLastError();
            break;
        }
        if (key == KEY_STOP) {
            PeerDistUnregisterForStatusChangeNotification(instance);
            /* `changed` and `status` belong to the service until this packet comes. */
            GetQueuedCompletionStatus(port, &bytes, &key, &ended, INFINITE);
            result = ERROR_SUCCESS;
            break;
        }
        printf("%s\n", name_of(status));
        fflush(stdout);
    }
    PeerDistShutdown(instance);
    CloseHandle(port);
    if (result != ERROR_SUCCESS) {
        fprintf(stderr, "error %u\n", result);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
