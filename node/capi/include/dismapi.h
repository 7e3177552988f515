/*
 * The DISM subset of libpeerdist: sessions, and the features PeerDist (also called BranchCache) and SMBHashGeneration.
 * Names, values and layouts are those of Windows; the texts and the code are not.
 *
 * DISM_ONLINE_IMAGE is the daemon of this host; any other image path is the root directory of a system that does not
 * run. Texts are UTF-16: u"PeerDist", or L"PeerDist" with -fshort-wchar.
 */
#ifndef _DISMAPI_H_
#define _DISMAPI_H_

#include "windows.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A number, not a pointer. */
typedef UINT DismSession;

/* How far an operation is. It is called on the thread that called the operation. */
typedef void(CALLBACK *DISM_PROGRESS_CALLBACK)(UINT Current, UINT Total, PVOID UserData);

#define DISM_SESSION_DEFAULT 0

#if defined(__SIZEOF_WCHAR_T__) && __SIZEOF_WCHAR_T__ == 2
#define DISM_ONLINE_IMAGE L"DISM_{53BFAE52-B167-4E2F-A258-0A37B57FF845}"
#else
#define DISM_ONLINE_IMAGE u"DISM_{53BFAE52-B167-4E2F-A258-0A37B57FF845}"
#endif

/* Results. Those of the system that occur too are HRESULT_FROM_WIN32 of: ERROR_PATH_NOT_FOUND 3, ERROR_ACCESS_DENIED 5,
 * ERROR_INVALID_DATA 13, ERROR_INVALID_PARAMETER 87, ERROR_ELEVATION_REQUIRED 740, ERROR_SERVICE_NOT_ACTIVE 1062 (no
 * daemon runs), ERROR_NOT_FOUND 1168, ERROR_CANCELLED 1223. */
#define DISMAPI_S_RELOAD_IMAGE_SESSION_REQUIRED ((HRESULT)0x00000001)
#define DISMAPI_E_DISMAPI_NOT_INITIALIZED ((HRESULT)0xC0040001u)
#define DISMAPI_E_SHUTDOWN_IN_PROGRESS ((HRESULT)0xC0040002u)
#define DISMAPI_E_OPEN_SESSION_HANDLES ((HRESULT)0xC0040003u)
#define DISMAPI_E_INVALID_DISM_SESSION ((HRESULT)0xC0040004u)
#define DISMAPI_E_INVALID_IMAGE_INDEX ((HRESULT)0xC0040005u)
#define DISMAPI_E_INVALID_IMAGE_NAME ((HRESULT)0xC0040006u)
#define DISMAPI_E_UNABLE_TO_UNMOUNT_IMAGE_PATH ((HRESULT)0xC0040007u)
#define DISMAPI_E_LOGGING_DISABLED ((HRESULT)0xC0040009u)
#define DISMAPI_E_OPEN_HANDLES_UNABLE_TO_UNMOUNT_IMAGE_PATH ((HRESULT)0xC004000Au)
#define DISMAPI_E_OPEN_HANDLES_UNABLE_TO_MOUNT_IMAGE_PATH ((HRESULT)0xC004000Bu)
#define DISMAPI_E_OPEN_HANDLES_UNABLE_TO_REMOUNT_IMAGE_PATH ((HRESULT)0xC004000Cu)
#define DISMAPI_E_PARENT_FEATURE_DISABLED ((HRESULT)0xC004000Du)
#define DISMAPI_E_MUST_SPECIFY_ONLINE_IMAGE ((HRESULT)0xC004000Eu)
#define DISMAPI_E_INVALID_PRODUCT_KEY ((HRESULT)0xC004000Fu)
#define DISMAPI_E_NEEDS_REMOUNT ((HRESULT)0xC1510114u)
#define DISMAPI_E_UNKNOWN_FEATURE ((HRESULT)0x800F080Cu)
#define DISMAPI_E_BUSY ((HRESULT)0x800F0902u)
/* Windows publishes no value for it; this one is that of ERROR_ALREADY_INITIALIZED. */
#define DISMAPI_E_DISMAPI_ALREADY_INITIALIZED ((HRESULT)0x800704DFu)

typedef enum _DismLogLevel { DismLogErrors = 0, DismLogErrorsWarnings = 1, DismLogErrorsWarningsInfo = 2 } DismLogLevel;

typedef enum _DismPackageIdentifier {
    DismPackageNone = 0,
    DismPackageName = 1,
    DismPackagePath = 2
} DismPackageIdentifier;

/* Features are Staged (off) or Installed (on) here: no change waits for a restart. */
typedef enum _DismPackageFeatureState {
    DismStateNotPresent = 0,
    DismStateUninstallPending = 1,
    DismStateStaged = 2,
    DismStateResolved = 3,
    DismStateRemoved = 3,
    DismStateInstalled = 4,
    DismStateInstallPending = 5,
    DismStateSuperseded = 6,
    DismStatePartiallyInstalled = 7
} DismPackageFeatureState;

typedef enum _DismRestartType { DismRestartNo = 0, DismRestartPossible = 1, DismRestartRequired = 2 } DismRestartType;

/* Packed: the elements of an array of DismFeature lie 12 bytes apart, so their members are misaligned. */
#pragma pack(push, 1)

typedef struct _DismFeature {
    PCWSTR FeatureName;
    DismPackageFeatureState State;
} DismFeature;

typedef struct _DismCustomProperty {
    PCWSTR Name;
    PCWSTR Value;
    PCWSTR Path;
} DismCustomProperty;

typedef struct _DismFeatureInfo {
    PCWSTR FeatureName;
    DismPackageFeatureState FeatureState;
    PCWSTR DisplayName;
    PCWSTR Description;
    DismRestartType RestartRequired;
    DismCustomProperty *CustomProperty;
    UINT CustomPropertyCount;
} DismFeatureInfo;

typedef struct _DismString {
    PCWSTR Value;
} DismString;

#pragma pack(pop)

/* Once, before everything else. The caller has to be root or may write to the daemon's admin socket. No log is written:
 * both paths may be NULL and are ignored. */
HRESULT WINAPI DismInitialize(DismLogLevel LogLevel, PCWSTR LogFilePath, PCWSTR ScratchDirectory);

/* Undoes DismInitialize, unless sessions are open. */
HRESULT WINAPI DismShutdown(void);

/* WindowsDirectory and SystemDrive have to be NULL for DISM_ONLINE_IMAGE, and are ignored for others. */
HRESULT WINAPI DismOpenSession(PCWSTR ImagePath, PCWSTR WindowsDirectory, PCWSTR SystemDrive, DismSession *Session);

/* Waits for the operations of other threads in the session. */
HRESULT WINAPI DismCloseSession(DismSession Session);

/* What failed just before on this thread. Not for DismShutdown, DismDelete and itself. Free it with DismDelete. */
HRESULT WINAPI DismGetLastErrorMessage(DismString **ErrorMessage);

/* Frees what the functions below and DismGetLastErrorMessage returned; fails for every other pointer, NULL included. */
HRESULT WINAPI DismDelete(VOID *DismStructure);

/* Identifier may be NULL: both features belong to the foundation package. */
HRESULT WINAPI DismGetFeatures(DismSession Session, PCWSTR Identifier, DismPackageIdentifier PackageIdentifier,
                               DismFeature **Feature, UINT *Count);

HRESULT WINAPI DismGetFeatureInfo(DismSession Session, PCWSTR FeatureName, PCWSTR Identifier,
                                  DismPackageIdentifier PackageIdentifier, DismFeatureInfo **FeatureInfo);

HRESULT WINAPI DismGetFeatureParent(DismSession Session, PCWSTR FeatureName, PCWSTR Identifier,
                                    DismPackageIdentifier PackageIdentifier, DismFeature **Feature, UINT *Count);

/* FeatureName: one, or several with semicolons between them, all of which are enabled or none. */
HRESULT WINAPI DismEnableFeature(DismSession Session, PCWSTR FeatureName, PCWSTR Identifier,
                                 DismPackageIdentifier PackageIdentifier, BOOL LimitAccess, PCWSTR *SourcePaths,
                                 UINT SourcePathCount, BOOL EnableAll, HANDLE CancelEvent,
                                 DISM_PROGRESS_CALLBACK Progress, PVOID UserData);

/* As for DismEnableFeature. What needs a feature is disabled with it. */
HRESULT WINAPI DismDisableFeature(DismSession Session, PCWSTR FeatureName, PCWSTR PackageName, BOOL RemovePayload,
                                  HANDLE CancelEvent, DISM_PROGRESS_CALLBACK Progress, PVOID UserData);

#ifdef __cplusplus
}
#endif

#endif
