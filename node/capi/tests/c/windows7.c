/* For Windows 7: the names of Windows 8 are free for the program to use. */
#include <windows.h>
#include <peerdist.h>

#include <stdio.h>

enum {
    PeerDistGetStatusEx,
    PeerDistRegisterForStatusChangeNotificationEx,
    PeerDistGetOverlappedResult,
    PeerDistClientGetInformationByHandle,
    PeerDistServerOpenContentInformationEx,
    PEERDIST_RETRIEVAL_OPTIONS,
    PEERDIST_STATUS_INFO,
    PEERDIST_CLIENT_INFO_BY_HANDLE_CLASS,
    PEERDIST_CLIENT_BASIC_INFO
};

#ifdef PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION
#error "a constant of Windows 8"
#endif

/* Those of Windows 7 are declared. */
static DWORD (*const startup)(DWORD, PPEERDIST_INSTANCE_HANDLE, PDWORD) = PeerDistStartup;

int main(int argc, char **argv)
{
    (void)argv;
    printf("%#x %u %#x\n", (unsigned)PEERDIST_VERSION, (unsigned)PEERDIST_PUBLICATION_OPTIONS_VERSION,
           (unsigned)_WIN32_WINNT);
    /* Never called, but the compiler does not know. */
    return argc > 1000 ? (int)startup(PEERDIST_VERSION, NULL, NULL) : 0;
}

/* The program is not linked with the library. */
DWORD WINAPI PeerDistStartup(DWORD version, PPEERDIST_INSTANCE_HANDLE instance, PDWORD supported)
{
    (void)instance;
    (void)supported;
    return version;
}
