/* NULL wherever a function takes a pointer that it needs: each says so, touches nothing, and what it was called on goes on
 * working. */
#include <windows.h>
#include <peerdist.h>

#include "check.h"

#define REFUSED(call) CHECK((call) == ERROR_INVALID_PARAMETER)
#define STARTED(call)                                           \
    do {                                                        \
        DWORD moved;                                            \
        CHECK((call) == ERROR_IO_PENDING);                      \
        CHECK(PeerDistGetOverlappedResult(&o, &moved, TRUE));   \
        ZeroMemory(&o, sizeof o);                               \
    } while (0)

int main(void)
{
    static BYTE name[] = "nulls", bytes[1000], information[4096];
    PEERDIST_PUBLICATION_OPTIONS *no_options = NULL;
    PEERDIST_CONTENT_TAG tag = {{1}};
    PEERDIST_RETRIEVAL_OPTIONS options = {sizeof options, 1, 2, 0};
    PEERDIST_INSTANCE_HANDLE i;
    PEERDIST_STREAM_HANDLE s;
    PEERDIST_CONTENTINFO_HANDLE ci;
    PEERDIST_CONTENT_HANDLE c;
    PEERDIST_STATUS status;
    PEERDIST_STATUS_INFO status_info;
    OVERLAPPED o;
    DWORD size;
    BOOL crowd;
    ZeroMemory(&o, sizeof o);

    REFUSED(PeerDistStartup(PEERDIST_VERSION, NULL, NULL));
    CHECK(PeerDistStartup(PEERDIST_VERSION, &i, NULL) == ERROR_SUCCESS);
    REFUSED(PeerDistGetStatus(i, NULL));
    REFUSED(PeerDistGetStatusEx(i, NULL));
    REFUSED(PeerDistRegisterForStatusChangeNotification(i, NULL, 0, NULL, &status));
    REFUSED(PeerDistRegisterForStatusChangeNotification(i, NULL, 0, &o, NULL));
    status_info.cbSize = sizeof status_info;
    REFUSED(PeerDistRegisterForStatusChangeNotificationEx(i, NULL, 0, NULL, &status_info));
    REFUSED(PeerDistRegisterForStatusChangeNotificationEx(i, NULL, 0, &o, NULL));
    status_info.cbSize = 0;
    REFUSED(PeerDistRegisterForStatusChangeNotificationEx(i, NULL, 0, &o, &status_info));

    REFUSED(PeerDistServerPublishStream(i, sizeof name, NULL, 0, no_options, NULL, 0, &s));
    REFUSED(PeerDistServerPublishStream(i, 0, name, 0, no_options, NULL, 0, &s));
    REFUSED(PeerDistServerPublishStream(i, sizeof name, name, 0, no_options, NULL, 0, NULL));
    CHECK(PeerDistServerPublishStream(i, sizeof name, name, 0, no_options, NULL, 0, &s) == ERROR_SUCCESS);
    REFUSED(PeerDistServerPublishAddToStream(i, s, sizeof bytes, NULL, &o));
    REFUSED(PeerDistServerPublishAddToStream(i, s, sizeof bytes, bytes, NULL));
    STARTED(PeerDistServerPublishAddToStream(i, s, sizeof bytes, bytes, &o));
    REFUSED(PeerDistServerPublishCompleteStream(i, s, NULL));
    STARTED(PeerDistServerPublishCompleteStream(i, s, &o));
    REFUSED(PeerDistServerUnpublish(i, sizeof name, NULL));
    REFUSED(PeerDistServerCancelAsyncOperation(i, sizeof name, NULL, &o));
    REFUSED(PeerDistServerCancelAsyncOperation(i, sizeof name, name, NULL));

    REFUSED(PeerDistServerOpenContentInformation(i, sizeof name, NULL, 0, 0, NULL, 0, &ci));
    REFUSED(PeerDistServerOpenContentInformation(i, sizeof name, name, 0, 0, NULL, 0, NULL));
    REFUSED(PeerDistServerOpenContentInformationEx(i, sizeof name, NULL, 0, 0, &options, NULL, 0, &ci));
    REFUSED(PeerDistServerOpenContentInformationEx(i, sizeof name, name, 0, 0, NULL, NULL, 0, &ci));
    REFUSED(PeerDistServerOpenContentInformationEx(i, sizeof name, name, 0, 0, &options, NULL, 0, NULL));
    CHECK(PeerDistServerOpenContentInformation(i, sizeof name, name, 0, 0, NULL, 0, &ci) == ERROR_SUCCESS);
    REFUSED(PeerDistServerRetrieveContentInformation(i, ci, sizeof information, NULL, &o));
    REFUSED(PeerDistServerRetrieveContentInformation(i, ci, sizeof information, information, NULL));
    CHECK(PeerDistServerRetrieveContentInformation(i, ci, sizeof information, information, &o) == ERROR_IO_PENDING);
    CHECK(PeerDistGetOverlappedResult(&o, &size, TRUE));
    ZeroMemory(&o, sizeof o);

    REFUSED(PeerDistClientOpenContent(i, NULL, NULL, 0, &c));
    REFUSED(PeerDistClientOpenContent(i, &tag, NULL, 0, NULL));
    CHECK(PeerDistClientOpenContent(i, &tag, NULL, 0, &c) == ERROR_SUCCESS);
    REFUSED(PeerDistClientAddContentInformation(i, c, size, NULL, &o));
    REFUSED(PeerDistClientAddContentInformation(i, c, size, information, NULL));
    STARTED(PeerDistClientAddContentInformation(i, c, size, information, &o));
    REFUSED(PeerDistClientCompleteContentInformation(i, c, NULL));
    STARTED(PeerDistClientCompleteContentInformation(i, c, &o));
    REFUSED(PeerDistClientAddData(i, c, sizeof bytes, NULL, &o));
    REFUSED(PeerDistClientAddData(i, c, sizeof bytes, bytes, NULL));
    STARTED(PeerDistClientAddData(i, c, sizeof bytes, bytes, &o));
    REFUSED(PeerDistClientBlockRead(i, c, sizeof bytes, NULL, 0, &o));
    REFUSED(PeerDistClientBlockRead(i, c, sizeof bytes, bytes, 0, NULL));
    STARTED(PeerDistClientBlockRead(i, c, sizeof bytes, bytes, 0, &o));
    REFUSED(PeerDistClientStreamRead(i, c, sizeof bytes, NULL, 0, &o));
    REFUSED(PeerDistClientStreamRead(i, c, sizeof bytes, bytes, 0, NULL));
    STARTED(PeerDistClientStreamRead(i, c, sizeof bytes, bytes, 0, &o));
    REFUSED(PeerDistClientGetInformationByHandle(i, c, PeerDistClientBasicInfo, sizeof crowd, NULL));
    REFUSED(PeerDistClientFlushContent(i, NULL, NULL, 0, &o));
    REFUSED(PeerDistClientFlushContent(i, &tag, NULL, 0, NULL));
    STARTED(PeerDistClientFlushContent(i, &tag, NULL, 0, &o));
    /* NULL means all. */
    CHECK(PeerDistClientCancelAsyncOperation(i, c, NULL) == ERROR_SUCCESS);
    CHECK(!PeerDistGetOverlappedResult(NULL, &size, FALSE) && GetLastError() == ERROR_INVALID_PARAMETER);

    CHECK(PeerDistClientCloseContent(i, c) == ERROR_SUCCESS);
    CHECK(PeerDistServerCloseContentInformation(i, ci) == ERROR_SUCCESS);
    CHECK(PeerDistServerCloseStreamHandle(i, s) == ERROR_SUCCESS);
    CHECK(PeerDistShutdown(i) == ERROR_SUCCESS);
    return 0;
}
