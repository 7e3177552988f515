/* Ctrl-C: a console control handler on Windows, and elsewhere a signal. */
#define _POSIX_C_SOURCE 200809L

#include "interrupt.h"

static void (*to_call)(void *);
static void *to_pass;

#ifdef _WIN32

#include <windows.h>

static BOOL WINAPI handle(DWORD event)
{
    if (event != CTRL_C_EVENT)
        return FALSE;
    to_call(to_pass);
    return TRUE;
}

int on_interrupt(void (*stop)(void *), void *argument)
{
    to_call = stop;
    to_pass = argument;
    return SetConsoleCtrlHandler(handle, TRUE) ? 0 : -1;
}

#else

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>

static sem_t interrupted;

/* A signal handler may do next to nothing, and call no function of windows.h or peerdist.h. */
static void handle(int signal)
{
    int saved = errno;
    (void)signal;
    sem_post(&interrupted);
    errno = saved;
}

static void *wait_for_it(void *unused)
{
    while (sem_wait(&interrupted) != 0)
        continue;
    to_call(to_pass);
    return unused;
}

int on_interrupt(void (*stop)(void *), void *argument)
{
    struct sigaction action;
    pthread_t thread;
    to_call = stop;
    to_pass = argument;
    if (sem_init(&interrupted, 0, 0) != 0 || pthread_create(&thread, NULL, wait_for_it, NULL) != 0)
        return -1;
    pthread_detach(thread);
    memset(&action, 0, sizeof(action));
    action.sa_handler = handle;
    action.sa_flags = SA_RESTART;
    return sigaction(SIGINT, &action, NULL) == 0 && sigaction(SIGTERM, &action, NULL) == 0 ? 0 : -1;
}

#endif
