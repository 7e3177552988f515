/* Layouts and values, held by the compiler. */
#include "dismapi.h"

#include <stddef.h>

#ifndef __cplusplus
#define static_assert _Static_assert
#endif

static_assert(sizeof(DismSession) == 4, "DismSession");
static_assert(sizeof(DismFeature) == 12, "DismFeature");
static_assert(offsetof(DismFeature, State) == 8, "State");
static_assert(sizeof(DismFeatureInfo) == 44, "DismFeatureInfo");
static_assert(offsetof(DismFeatureInfo, FeatureState) == 8, "FeatureState");
static_assert(offsetof(DismFeatureInfo, DisplayName) == 12, "DisplayName");
static_assert(offsetof(DismFeatureInfo, Description) == 20, "Description");
static_assert(offsetof(DismFeatureInfo, RestartRequired) == 28, "RestartRequired");
static_assert(offsetof(DismFeatureInfo, CustomProperty) == 32, "CustomProperty");
static_assert(offsetof(DismFeatureInfo, CustomPropertyCount) == 40, "CustomPropertyCount");
static_assert(sizeof(DismCustomProperty) == 24, "DismCustomProperty");
static_assert(offsetof(DismCustomProperty, Value) == 8, "Value");
static_assert(offsetof(DismCustomProperty, Path) == 16, "Path");
static_assert(sizeof(DismString) == 8, "DismString");
static_assert(sizeof(DISM_ONLINE_IMAGE) == 2 * (sizeof("DISM_{53BFAE52-B167-4E2F-A258-0A37B57FF845}")), "UTF-16");

/* Every failure is one to FAILED, and the positive successes are not. */
static_assert(FAILED(DISMAPI_E_DISMAPI_NOT_INITIALIZED) && FAILED(DISMAPI_E_DISMAPI_ALREADY_INITIALIZED), "signed");
static_assert(FAILED(DISMAPI_E_UNKNOWN_FEATURE) && FAILED(DISMAPI_E_BUSY) && FAILED(DISMAPI_E_NEEDS_REMOUNT), "signed");
static_assert(SUCCEEDED(DISMAPI_S_RELOAD_IMAGE_SESSION_REQUIRED) && DISMAPI_S_RELOAD_IMAGE_SESSION_REQUIRED == 1, "1");
static_assert(SUCCEEDED((HRESULT)3010), "ERROR_SUCCESS_REBOOT_REQUIRED");
static_assert((UINT)DISMAPI_E_PARENT_FEATURE_DISABLED == 0xC004000Du, "PARENT_FEATURE_DISABLED");
static_assert(DismStateStaged == 2 && DismStateRemoved == 3 && DismStateInstalled == 4, "states");
static_assert(DismPackageNone == 0 && DismPackageName == 1 && DismPackagePath == 2, "identifiers");
static_assert(DismRestartNo == 0 && DismRestartRequired == 2 && DismLogErrorsWarningsInfo == 2, "others");
