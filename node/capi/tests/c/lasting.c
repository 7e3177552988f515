/* Has an instance until its standard input ends. */
#include <windows.h>
#include <peerdist.h>

#include <stdio.h>

int main(void)
{
    PEERDIST_INSTANCE_HANDLE instance;
    DWORD result = PeerDistStartup(PEERDIST_VERSION, &instance, NULL);
    if (result != ERROR_SUCCESS)
        return 1;
    while (getchar() != EOF)
        continue;
    return PeerDistShutdown(instance) == ERROR_SUCCESS ? 0 : 1;
}
