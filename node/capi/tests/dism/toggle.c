/* Turns PeerDist off and on, as a program for Windows would. Ends with the number of the line that went wrong. */
#include "dismapi.h"

#if __SIZEOF_WCHAR_T__ == 2
#define W(text) L##text
#else
#define W(text) u##text
#endif

#define CHECK(condition)     \
    do {                     \
        if (!(condition))    \
            return __LINE__; \
    } while (0)

static void CALLBACK progress(UINT current, UINT total, PVOID user_data)
{
    UINT *last = (UINT *)user_data;
    *last = current * 100 / total;
}

static DismPackageFeatureState state_of(DismSession session, PCWSTR name)
{
    DismFeatureInfo *info = NULL;
    if (FAILED(DismGetFeatureInfo(session, name, NULL, DismPackageNone, &info)))
        return DismStateNotPresent;
    DismPackageFeatureState state = info->FeatureState;
    return FAILED(DismDelete(info)) ? DismStateNotPresent : state;
}

int main(void)
{
    DismSession session = DISM_SESSION_DEFAULT;
    CHECK(DismInitialize(DismLogErrorsWarningsInfo, NULL, NULL) == 0);
    CHECK(DismOpenSession(DISM_ONLINE_IMAGE, NULL, NULL, &session) == 0);

    DismFeature *features = NULL;
    UINT count = 0;
    CHECK(DismGetFeatures(session, NULL, DismPackageNone, &features, &count) == 0);
    CHECK(count == 2 && features[1].FeatureName[0] == W('S'));
    CHECK(DismDelete(features) == 0);

    UINT last = 0;
    CHECK(DismDisableFeature(session, W("PeerDist"), NULL, FALSE, NULL, progress, &last) == 0);
    CHECK(last == 100);
    CHECK(state_of(session, W("PeerDist")) == DismStateStaged);
    CHECK(DismEnableFeature(session, W("BranchCache"), NULL, DismPackageNone, FALSE, NULL, 0, TRUE, NULL, progress, &last) == 0);
    CHECK(state_of(session, W("PeerDist")) == DismStateInstalled);

    CHECK(DismEnableFeature(session, W("Telnet"), NULL, DismPackageNone, FALSE, NULL, 0, FALSE, NULL, NULL, NULL) ==
          DISMAPI_E_UNKNOWN_FEATURE);
    DismString *message = NULL;
    CHECK(DismGetLastErrorMessage(&message) == 0);
    CHECK(message->Value[0] != 0);
    CHECK(DismDelete(message) == 0);
    CHECK(FAILED(DismDelete(NULL)));

    CHECK(DismCloseSession(session) == 0);
    CHECK(DismShutdown() == 0);
    return 0;
}
