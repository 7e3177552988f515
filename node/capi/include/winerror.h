/*
 * Results: error codes and HRESULTs.
 *
 * The codes are plain int constants, 32 bits wide as LONG is: with the suffix L they would have 64.
 */
#ifndef _WINERROR_
#define _WINERROR_

#include <stdint.h>

/* What HRESULT is in windows.h, for who includes this file alone. */
#define _HRESULT_TYPEDEF_(value) ((int32_t)(value))

#define SEVERITY_SUCCESS 0
#define SEVERITY_ERROR   1

#define FACILITY_NULL  0
#define FACILITY_ITF   4
#define FACILITY_WIN32 7
#define FACILITY_NT_BIT 0x10000000

#define SUCCEEDED(hr) ((int32_t)(hr) >= 0)
#define FAILED(hr)    ((int32_t)(hr) < 0)
#define IS_ERROR(status) ((uint32_t)(status) >> 31 == SEVERITY_ERROR)
#define HRESULT_CODE(hr)     ((int32_t)((uint32_t)(hr) & 0xFFFF))
#define HRESULT_FACILITY(hr) ((int32_t)(((uint32_t)(hr) >> 16) & 0x1FFF))
#define HRESULT_SEVERITY(hr) ((int32_t)(((uint32_t)(hr) >> 31) & 1))
#define SCODE_CODE(sc)       HRESULT_CODE(sc)
#define SCODE_FACILITY(sc)   HRESULT_FACILITY(sc)
#define SCODE_SEVERITY(sc)   HRESULT_SEVERITY(sc)
#define MAKE_HRESULT(severity, facility, code) \
    ((int32_t)(((uint32_t)(severity) << 31) | ((uint32_t)(facility) << 16) | (uint32_t)(code)))
/* Zero, and what is an HRESULT already, stay as they are. */
#define HRESULT_FROM_WIN32(error) \
    ((int32_t)(error) <= 0 ? (int32_t)(error) \
                           : (int32_t)(((uint32_t)(error) & 0xFFFFu) | ((uint32_t)FACILITY_WIN32 << 16) | 0x80000000u))
#define __HRESULT_FROM_WIN32(error) HRESULT_FROM_WIN32(error)
#define HRESULT_FROM_NT(status) ((int32_t)((uint32_t)(status) | FACILITY_NT_BIT))

#define S_OK    _HRESULT_TYPEDEF_(0)
#define S_FALSE _HRESULT_TYPEDEF_(1)

#define E_NOTIMPL      _HRESULT_TYPEDEF_(0x80004001)
#define E_NOINTERFACE  _HRESULT_TYPEDEF_(0x80004002)
#define E_POINTER      _HRESULT_TYPEDEF_(0x80004003)
#define E_ABORT        _HRESULT_TYPEDEF_(0x80004004)
#define E_FAIL         _HRESULT_TYPEDEF_(0x80004005)
#define E_UNEXPECTED   _HRESULT_TYPEDEF_(0x8000FFFF)
#define E_ACCESSDENIED _HRESULT_TYPEDEF_(0x80070005)
#define E_HANDLE       _HRESULT_TYPEDEF_(0x80070006)
#define E_OUTOFMEMORY  _HRESULT_TYPEDEF_(0x8007000E)
#define E_INVALIDARG   _HRESULT_TYPEDEF_(0x80070057)

#define NO_ERROR                         0
#define ERROR_SUCCESS                    0
#define ERROR_INVALID_FUNCTION           1
#define ERROR_FILE_NOT_FOUND             2
#define ERROR_PATH_NOT_FOUND             3
#define ERROR_TOO_MANY_OPEN_FILES        4
#define ERROR_ACCESS_DENIED              5
#define ERROR_INVALID_HANDLE             6
#define ERROR_NOT_ENOUGH_MEMORY          8
#define ERROR_INVALID_DATA               13
#define ERROR_OUTOFMEMORY                14
#define ERROR_GEN_FAILURE                31
#define ERROR_HANDLE_EOF                 38
#define ERROR_NOT_SUPPORTED              50
#define ERROR_INVALID_PARAMETER          87
#define ERROR_CALL_NOT_IMPLEMENTED       120
#define ERROR_INSUFFICIENT_BUFFER        122
#define ERROR_INVALID_NAME               123
#define ERROR_BUSY                       170
#define ERROR_ALREADY_EXISTS             183
#define ERROR_MORE_DATA                  234
#define ERROR_NO_MORE_ITEMS              259
#define ERROR_MR_MID_NOT_FOUND           317
#define ERROR_ABANDONED_WAIT_0           735
#define ERROR_ELEVATION_REQUIRED         740
#define ERROR_OPERATION_ABORTED          995
#define ERROR_IO_INCOMPLETE              996
#define ERROR_IO_PENDING                 997
#define ERROR_NOT_FOUND                  1168
#define ERROR_CANCELLED                  1223
#define ERROR_ACCESS_DISABLED_BY_POLICY  1260
#define ERROR_INTERNAL_ERROR             1359
#define ERROR_NO_SYSTEM_RESOURCES        1450
#define ERROR_TIMEOUT                    1460
#define ERROR_SUCCESS_REBOOT_REQUIRED    3010

#define WAIT_TIMEOUT 258

#define PEERDIST_ERROR_CONTENTINFO_VERSION_UNSUPPORTED 4050
#define PEERDIST_ERROR_CANNOT_PARSE_CONTENTINFO        4051
#define PEERDIST_ERROR_MISSING_DATA                    4052
#define PEERDIST_ERROR_NO_MORE                         4053
#define PEERDIST_ERROR_NOT_INITIALIZED                 4054
#define PEERDIST_ERROR_ALREADY_INITIALIZED             4055
#define PEERDIST_ERROR_SHUTDOWN_IN_PROGRESS            4056
#define PEERDIST_ERROR_INVALIDATED                     4057
#define PEERDIST_ERROR_ALREADY_EXISTS                  4058
#define PEERDIST_ERROR_OPERATION_NOTFOUND              4059
#define PEERDIST_ERROR_ALREADY_COMPLETED               4060
#define PEERDIST_ERROR_OUT_OF_BOUNDS                   4061
#define PEERDIST_ERROR_VERSION_UNSUPPORTED             4062
#define PEERDIST_ERROR_INVALID_CONFIGURATION           4063
#define PEERDIST_ERROR_NOT_LICENSED                    4064
#define PEERDIST_ERROR_SERVICE_UNAVAILABLE             4065
#define PEERDIST_ERROR_TRUST_FAILURE                   4066

#endif
