/* What dismapi.h needs of windows.h, for as long as include/ has none: there the compiler looks first. */
#ifndef STUB_WINDOWS_H
#define STUB_WINDOWS_H
#include <stddef.h>
#include <stdint.h>
#define WINAPI
#define CALLBACK
#define VOID void
#define TRUE 1
#define FALSE 0
#define FAILED(result) ((HRESULT)(result) < 0)
#define SUCCEEDED(result) ((HRESULT)(result) >= 0)
#define S_OK ((HRESULT)0)
#define HRESULT_FROM_WIN32(error) ((HRESULT)(0x80070000u | ((error) & 0xFFFFu)))
typedef uint32_t UINT;
typedef int32_t BOOL;
typedef int32_t HRESULT;
typedef void *PVOID;
typedef void *HANDLE;
#if __SIZEOF_WCHAR_T__ == 2
typedef wchar_t WCHAR;
#elif defined(__cplusplus)
typedef char16_t WCHAR;
#else
typedef uint_least16_t WCHAR;
#endif
typedef const WCHAR *PCWSTR;
#endif
