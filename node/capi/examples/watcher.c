/*
 * Prints the status of the service, and every change of it, until Ctrl-C.
 */
#include <windows.h>
#include <peerdist.h>

#include <stdio.h>
#include <stdlib.h>

#include "interrupt.h"

/* What packets of the port are about. */
#define KEY_STATUS 1
#define KEY_STOP   2

static void stop(void *port)
{
    PostQueuedCompletionStatus(port, 0, KEY_STOP, NULL);
}

static void print(PEERDIST_STATUS status)
{
    const char *name = "unknown";
    switch (status) {
    case PEERDIST_STATUS_DISABLED:
        name = "disabled";
        break;
    case PEERDIST_STATUS_UNAVAILABLE:
        name = "unavailable";
        break;
    case PEERDIST_STATUS_AVAILABLE:
        name = "available";
        break;
    }
    printf("%s\n", name);
    fflush(stdout);
}

static DWORD watch(PEERDIST_INSTANCE_HANDLE instance, HANDLE port)
{
    /* From a registration to its packet these two belong to the service. */
    OVERLAPPED changed;
    PEERDIST_STATUS status;
    PEERDIST_STATUS now;
    BOOL first = TRUE;
    OVERLAPPED *ended;
    ULONG_PTR key;
    DWORD bytes, result;
    for (;;) {
        /* Each is for one change, and completes at once where that has happened already. */
        ZeroMemory(&changed, sizeof(changed));
        result = PeerDistRegisterForStatusChangeNotification(instance, port, KEY_STATUS, &changed, &status);
        if (result != ERROR_IO_PENDING)
            return result;
        /* The first one is for a change from PEERDIST_STATUS_DISABLED, and does not tell of that. */
        if (first && PeerDistGetStatus(instance, &now) == ERROR_SUCCESS && now == PEERDIST_STATUS_DISABLED)
            print(now);
        first = FALSE;
        if (!GetQueuedCompletionStatus(port, &bytes, &key, &ended, INFINITE))
            return GetLastError();
        if (key == KEY_STOP) {
            /* Aborts the operation, unless it is complete. Its packet comes either way. */
            PeerDistUnregisterForStatusChangeNotification(instance);
            GetQueuedCompletionStatus(port, &bytes, &key, &ended, INFINITE);
            return ERROR_SUCCESS;
        }
        print(status);
    }
}

int main(void)
{
    PEERDIST_INSTANCE_HANDLE instance;
    DWORD result;
    HANDLE port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 1);
    if (port == NULL) {
        fprintf(stderr, "completion port: error %u\n", (unsigned)GetLastError());
        return EXIT_FAILURE;
    }
    if (on_interrupt(stop, port) != 0) {
        fprintf(stderr, "Ctrl-C cannot be handled\n");
        return EXIT_FAILURE;
    }
    result = PeerDistStartup(PEERDIST_VERSION, &instance, NULL);
    if (result == ERROR_SUCCESS) {
        result = watch(instance, port);
        PeerDistShutdown(instance);
    }
    if (result != ERROR_SUCCESS) {
        fprintf(stderr, "error %u\n", (unsigned)result);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
