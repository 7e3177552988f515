/* Turns the feature off and on again while an instance waits to be told of it. */
#include <windows.h>
#include <dismapi.h>
#include <peerdist.h>

#include "check.h"

static PEERDIST_INSTANCE_HANDLE instance;
static OVERLAPPED registration;
static PEERDIST_STATUS told;

static void ask(void)
{
    ZeroMemory(&registration, sizeof registration);
    told = (PEERDIST_STATUS)-1;
    CHECK(PeerDistRegisterForStatusChangeNotification(instance, NULL, 0, &registration, &told) == ERROR_IO_PENDING);
}

static void expect(PEERDIST_STATUS status)
{
    DWORD bytes;
    CHECK(PeerDistGetOverlappedResult(&registration, &bytes, TRUE));
    CHECK(told == status);
    CHECK(PeerDistGetStatus(instance, &told) == ERROR_SUCCESS && told == status);
}

int main(void)
{
    DismSession session;
    CHECK(PeerDistStartup(PEERDIST_VERSION, &instance, NULL) == ERROR_SUCCESS);
    CHECK(DismInitialize(DismLogErrors, NULL, NULL) == S_OK);
    CHECK(DismOpenSession(DISM_ONLINE_IMAGE, NULL, NULL, &session) == S_OK);
    ask();
    expect(PEERDIST_STATUS_AVAILABLE);
    ask();
    CHECK(!HasOverlappedIoCompleted(&registration));
    CHECK(DismDisableFeature(session, u"BranchCache", NULL, FALSE, NULL, NULL, NULL) == S_OK);
    expect(PEERDIST_STATUS_DISABLED);
    ask();
    CHECK(!HasOverlappedIoCompleted(&registration));
    CHECK(DismEnableFeature(session, u"PeerDist", NULL, DismPackageNone, FALSE, NULL, 0, TRUE, NULL, NULL, NULL) == S_OK);
    expect(PEERDIST_STATUS_AVAILABLE);
    CHECK(DismCloseSession(session) == S_OK);
    CHECK(DismShutdown() == S_OK);
    CHECK(PeerDistShutdown(instance) == ERROR_SUCCESS);
    return 0;
}
