/*
 * What of Windows a program for peerdist.h or dismapi.h needs, on 64-bit Linux.
 *
 * The types have their widths of 64-bit Windows: DWORD and LONG have 32 bits, WCHAR has 16. The functions are those of
 * libpeerdist with its prefix; macros give them their names, so that they clash with no other library's. Handles are
 * those of libpeerdist alone. Not offered: names and security attributes of events, alertable waits, files on ports.
 *
 * NTDDI_VERSION or _WIN32_WINNT choose the version of Windows to compile for, Windows 8 if neither is defined.
 * There are no macros min and max, and no __in and __out: C++ libraries use these names.
 */
#ifndef _WINDOWS_
#define _WINDOWS_

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if UINTPTR_MAX != 0xFFFFFFFFFFFFFFFFu
#error "windows.h of peerdist is for 64-bit targets"
#endif

/* Versions. */

#define _WIN32_WINNT_WIN7    0x0601
#define _WIN32_WINNT_WIN8    0x0602
#define _WIN32_WINNT_WINBLUE 0x0603
#define _WIN32_WINNT_WIN10   0x0A00
#define NTDDI_WIN7           0x06010000
#define NTDDI_WIN8           0x06020000
#define NTDDI_WINBLUE        0x06030000
#define NTDDI_WIN10          0x0A000000

#if !defined(_WIN32_WINNT) && !defined(NTDDI_VERSION)
#define _WIN32_WINNT _WIN32_WINNT_WIN8
#endif
#ifndef NTDDI_VERSION
#define NTDDI_VERSION ((_WIN32_WINNT) * 0x10000)
#endif
#ifndef _WIN32_WINNT
#define _WIN32_WINNT ((NTDDI_VERSION) / 0x10000)
#endif
#ifndef WINVER
#define WINVER _WIN32_WINNT
#endif

#include "winapifamily.h"

/* Calling conventions and annotations say nothing here. */

#define WINAPI
#define APIENTRY
#define CALLBACK
#define WINAPIV
#define WINBASEAPI
#define NTAPI
#define STDAPICALLTYPE
#define DECLSPEC_IMPORT

#define IN
#define OUT
#define OPTIONAL
#define CONST const

#define _In_
#define _In_opt_
#define _In_z_
#define _In_opt_z_
#define _In_reads_(count)
#define _In_reads_opt_(count)
#define _In_reads_bytes_(size)
#define _In_reads_bytes_opt_(size)
#define _Out_
#define _Out_opt_
#define _Out_writes_(count)
#define _Out_writes_opt_(count)
#define _Out_writes_to_(size, count)
#define _Out_writes_bytes_(size)
#define _Out_writes_bytes_opt_(size)
#define _Out_writes_bytes_to_(size, count)
#define _Out_writes_bytes_to_opt_(size, count)
#define _Outptr_
#define _Outptr_opt_
#define _Outptr_result_buffer_(count)
#define _Inout_
#define _Inout_opt_
#define _Reserved_
#define _Pre_
#define _Post_
#define _Ret_maybenull_
#define _Must_inspect_result_
#define _Check_return_
#define _Success_(expression)
#define _When_(expression, annotations)

#define UNREFERENCED_PARAMETER(parameter) ((void)(parameter))
#define FORCEINLINE static inline
#ifdef __cplusplus
#define EXTERN_C extern "C"
#else
#define EXTERN_C extern
#endif

/* Types. */

#define VOID void
#define FALSE 0
#define TRUE 1

typedef int32_t BOOL, *PBOOL, *LPBOOL;
typedef uint8_t BYTE, *PBYTE, *LPBYTE;
typedef uint8_t BOOLEAN, *PBOOLEAN;
typedef uint8_t UCHAR, *PUCHAR;
typedef char CHAR, *PCHAR;
typedef int16_t SHORT, *PSHORT;
typedef uint16_t USHORT, *PUSHORT;
typedef uint16_t WORD, *PWORD, *LPWORD;
typedef int32_t INT, *PINT, *LPINT;
typedef uint32_t UINT, *PUINT;
typedef int32_t LONG, *PLONG, *LPLONG;
typedef uint32_t ULONG, *PULONG;
typedef uint32_t DWORD, *PDWORD, *LPDWORD;
typedef int32_t INT32;
typedef uint32_t UINT32, ULONG32, DWORD32;
typedef long long INT64, LONG64;
typedef unsigned long long UINT64, ULONG64, DWORD64;
/* As %lld and %llu want them. */
typedef long long LONGLONG, *PLONGLONG;
typedef unsigned long long ULONGLONG, *PULONGLONG;
typedef unsigned long long DWORDLONG;
typedef intptr_t INT_PTR, LONG_PTR, *PLONG_PTR;
typedef uintptr_t UINT_PTR, ULONG_PTR, *PULONG_PTR, DWORD_PTR;
typedef ULONG_PTR SIZE_T, *PSIZE_T;
typedef LONG_PTR SSIZE_T;
typedef void *PVOID, *LPVOID;
typedef const void *LPCVOID, *PCVOID;
typedef void *HANDLE, **PHANDLE, **LPHANDLE;
typedef HANDLE HLOCAL;
typedef HANDLE HMODULE;
typedef int32_t HRESULT;
typedef int32_t NTSTATUS;

/* Wide literals: u"..." as a rule, L"..." where the compiler's wchar_t has 16 bits (-fshort-wchar). */
#if __SIZEOF_WCHAR_T__ == 2
typedef wchar_t WCHAR;
#define PEERDIST_WIDE(literal) L##literal
#else
#ifdef __cplusplus
typedef char16_t WCHAR;
#else
typedef uint16_t WCHAR;
#endif
#define PEERDIST_WIDE(literal) u##literal
#endif

typedef WCHAR *PWCHAR, *PWSTR, *LPWSTR;
typedef const WCHAR *PCWSTR, *LPCWSTR;
typedef CHAR *PSTR, *LPSTR;
typedef const CHAR *PCSTR, *LPCSTR;

#ifdef UNICODE
typedef WCHAR TCHAR, *PTSTR, *LPTSTR;
typedef const WCHAR *PCTSTR, *LPCTSTR;
#define TEXT(literal) PEERDIST_WIDE(literal)
#else
typedef CHAR TCHAR, *PTSTR, *LPTSTR;
typedef const CHAR *PCTSTR, *LPCTSTR;
#define TEXT(literal) literal
#endif

typedef struct _GUID {
    uint32_t Data1;
    uint16_t Data2;
    uint16_t Data3;
    uint8_t Data4[8];
} GUID;

typedef union _LARGE_INTEGER {
    __extension__ struct {
        DWORD LowPart;
        LONG HighPart;
    };
    struct {
        DWORD LowPart;
        LONG HighPart;
    } u;
    LONGLONG QuadPart;
} LARGE_INTEGER, *PLARGE_INTEGER;

typedef union _ULARGE_INTEGER {
    __extension__ struct {
        DWORD LowPart;
        DWORD HighPart;
    };
    struct {
        DWORD LowPart;
        DWORD HighPart;
    } u;
    ULONGLONG QuadPart;
} ULARGE_INTEGER, *PULARGE_INTEGER;

typedef struct _SECURITY_ATTRIBUTES {
    DWORD nLength;
    LPVOID lpSecurityDescriptor;
    BOOL bInheritHandle;
} SECURITY_ATTRIBUTES, *PSECURITY_ATTRIBUTES, *LPSECURITY_ATTRIBUTES;

typedef struct _OVERLAPPED {
    ULONG_PTR Internal;
    ULONG_PTR InternalHigh;
    __extension__ union {
        __extension__ struct {
            DWORD Offset;
            DWORD OffsetHigh;
        };
        PVOID Pointer;
    };
    HANDLE hEvent;
} OVERLAPPED, *LPOVERLAPPED;

typedef struct _OVERLAPPED_ENTRY {
    ULONG_PTR lpCompletionKey;
    LPOVERLAPPED lpOverlapped;
    ULONG_PTR Internal;
    DWORD dwNumberOfBytesTransferred;
} OVERLAPPED_ENTRY, *LPOVERLAPPED_ENTRY;

/* Constants. */

#define INVALID_HANDLE_VALUE ((HANDLE)(LONG_PTR)-1)
#define INFINITE             ((DWORD)0xFFFFFFFF)
#define MAXDWORD             ((DWORD)0xFFFFFFFF)
#define MAX_PATH             260

#define WAIT_OBJECT_0        ((DWORD)0x00000000)
#define WAIT_ABANDONED       ((DWORD)0x00000080)
#define WAIT_ABANDONED_0     ((DWORD)0x00000080)
#define WAIT_IO_COMPLETION   ((DWORD)0x000000C0)
#define WAIT_FAILED          ((DWORD)0xFFFFFFFF)
#define MAXIMUM_WAIT_OBJECTS 64

/* DWORD, not NTSTATUS, in the headers of Windows too. */
#define STATUS_PENDING       ((DWORD)0x00000103)
#define STATUS_SUCCESS       ((NTSTATUS)0x00000000)
#define STATUS_CANCELLED     ((NTSTATUS)0xC0000120)
#define NT_SUCCESS(status)   ((NTSTATUS)(status) >= 0)

#define CREATE_EVENT_MANUAL_RESET ((DWORD)0x00000001)
#define CREATE_EVENT_INITIAL_SET  ((DWORD)0x00000002)
#define EVENT_MODIFY_STATE        ((DWORD)0x00000002)
#define EVENT_ALL_ACCESS          ((DWORD)0x001F0003)
#define SYNCHRONIZE               ((DWORD)0x00100000)

#define FORMAT_MESSAGE_ALLOCATE_BUFFER ((DWORD)0x00000100)
#define FORMAT_MESSAGE_IGNORE_INSERTS  ((DWORD)0x00000200)
#define FORMAT_MESSAGE_FROM_STRING     ((DWORD)0x00000400)
#define FORMAT_MESSAGE_FROM_HMODULE    ((DWORD)0x00000800)
#define FORMAT_MESSAGE_FROM_SYSTEM     ((DWORD)0x00001000)
#define FORMAT_MESSAGE_ARGUMENT_ARRAY  ((DWORD)0x00002000)
#define FORMAT_MESSAGE_MAX_WIDTH_MASK  ((DWORD)0x000000FF)

#define LANG_NEUTRAL    0x00
#define LANG_ENGLISH    0x09
#define SUBLANG_NEUTRAL 0x00
#define SUBLANG_DEFAULT 0x01
#define SUBLANG_ENGLISH_US 0x01
#define MAKELANGID(primary, sub) ((WORD)(((WORD)(sub) << 10) | (WORD)(primary)))

#include "winerror.h"

/* Parts and wholes. */

#define LOBYTE(word)  ((BYTE)((DWORD_PTR)(word) & 0xFF))
#define HIBYTE(word)  ((BYTE)(((DWORD_PTR)(word) >> 8) & 0xFF))
#define LOWORD(dword) ((WORD)((DWORD_PTR)(dword) & 0xFFFF))
#define HIWORD(dword) ((WORD)(((DWORD_PTR)(dword) >> 16) & 0xFFFF))
#define MAKEWORD(low, high) ((WORD)(((DWORD_PTR)(low) & 0xFF) | (((DWORD_PTR)(high) & 0xFF) << 8)))
#define MAKELONG(low, high) ((LONG)(((DWORD_PTR)(low) & 0xFFFF) | (((DWORD_PTR)(high) & 0xFFFF) << 16)))

#define ARRAYSIZE(array) (sizeof(array) / sizeof((array)[0]))
#define ZeroMemory(target, size)           memset((target), 0, (size))
#define FillMemory(target, size, value)    memset((target), (value), (size))
#define CopyMemory(target, source, size)   memcpy((target), (source), (size))
#define MoveMemory(target, source, size)   memmove((target), (source), (size))

/* Functions. */

#define CloseHandle                 peerdist_CloseHandle
#define CreateEventA                peerdist_CreateEventA
#define CreateEventExA              peerdist_CreateEventExA
#define CreateEventExW              peerdist_CreateEventExW
#define CreateEventW                peerdist_CreateEventW
#define CreateIoCompletionPort      peerdist_CreateIoCompletionPort
#define FormatMessageA              peerdist_FormatMessageA
#define FormatMessageW              peerdist_FormatMessageW
#define GetLastError                peerdist_GetLastError
#define GetOverlappedResult         peerdist_GetOverlappedResult
#define GetOverlappedResultEx       peerdist_GetOverlappedResultEx
#define GetQueuedCompletionStatus   peerdist_GetQueuedCompletionStatus
#define GetQueuedCompletionStatusEx peerdist_GetQueuedCompletionStatusEx
#define GetTickCount64              peerdist_GetTickCount64
#define LocalFree                   peerdist_LocalFree
#define PostQueuedCompletionStatus  peerdist_PostQueuedCompletionStatus
#define ResetEvent                  peerdist_ResetEvent
#define SetEvent                    peerdist_SetEvent
#define SetLastError                peerdist_SetLastError
#define Sleep                       peerdist_Sleep
#define WaitForMultipleObjects      peerdist_WaitForMultipleObjects
#define WaitForSingleObject         peerdist_WaitForSingleObject
#define WaitForSingleObjectEx       peerdist_WaitForSingleObjectEx

#ifdef UNICODE
#define CreateEvent   CreateEventW
#define CreateEventEx CreateEventExW
#define FormatMessage FormatMessageW
#else
#define CreateEvent   CreateEventA
#define CreateEventEx CreateEventExA
#define FormatMessage FormatMessageA
#endif

#ifdef __cplusplus
extern "C" {
#endif

HANDLE WINAPI CreateEventA(LPSECURITY_ATTRIBUTES lpEventAttributes, BOOL bManualReset, BOOL bInitialState, LPCSTR lpName);
HANDLE WINAPI CreateEventW(LPSECURITY_ATTRIBUTES lpEventAttributes, BOOL bManualReset, BOOL bInitialState, LPCWSTR lpName);
HANDLE WINAPI CreateEventExA(LPSECURITY_ATTRIBUTES lpEventAttributes, LPCSTR lpName, DWORD dwFlags, DWORD dwDesiredAccess);
HANDLE WINAPI CreateEventExW(LPSECURITY_ATTRIBUTES lpEventAttributes, LPCWSTR lpName, DWORD dwFlags, DWORD dwDesiredAccess);
BOOL WINAPI SetEvent(HANDLE hEvent);
BOOL WINAPI ResetEvent(HANDLE hEvent);
/* Events and completion ports. */
BOOL WINAPI CloseHandle(HANDLE hObject);

/* Events alone can be waited for. */
DWORD WINAPI WaitForSingleObject(HANDLE hHandle, DWORD dwMilliseconds);
DWORD WINAPI WaitForSingleObjectEx(HANDLE hHandle, DWORD dwMilliseconds, BOOL bAlertable);
DWORD WINAPI WaitForMultipleObjects(DWORD nCount, const HANDLE *lpHandles, BOOL bWaitAll, DWORD dwMilliseconds);

/* FileHandle is INVALID_HANDLE_VALUE. */
HANDLE WINAPI CreateIoCompletionPort(HANDLE FileHandle, HANDLE ExistingCompletionPort, ULONG_PTR CompletionKey,
                                     DWORD NumberOfConcurrentThreads);
BOOL WINAPI GetQueuedCompletionStatus(HANDLE CompletionPort, LPDWORD lpNumberOfBytesTransferred,
                                      PULONG_PTR lpCompletionKey, LPOVERLAPPED *lpOverlapped, DWORD dwMilliseconds);
BOOL WINAPI GetQueuedCompletionStatusEx(HANDLE CompletionPort, LPOVERLAPPED_ENTRY lpCompletionPortEntries, ULONG ulCount,
                                        PULONG ulNumEntriesRemoved, DWORD dwMilliseconds, BOOL fAlertable);
BOOL WINAPI PostQueuedCompletionStatus(HANDLE CompletionPort, DWORD dwNumberOfBytesTransferred,
                                       ULONG_PTR dwCompletionKey, LPOVERLAPPED lpOverlapped);

/* Of PeerDist's operations; hFile is not looked at. */
BOOL WINAPI GetOverlappedResult(HANDLE hFile, LPOVERLAPPED lpOverlapped, LPDWORD lpNumberOfBytesTransferred, BOOL bWait);
BOOL WINAPI GetOverlappedResultEx(HANDLE hFile, LPOVERLAPPED lpOverlapped, LPDWORD lpNumberOfBytesTransferred,
                                  DWORD dwMilliseconds, BOOL bAlertable);
/* The library stores Internal last, with release order. */
#define HasOverlappedIoCompleted(lpOverlapped) \
    ((DWORD)__atomic_load_n(&(lpOverlapped)->Internal, __ATOMIC_ACQUIRE) != STATUS_PENDING)

DWORD WINAPI GetLastError(void);
void WINAPI SetLastError(DWORD dwErrCode);
void WINAPI Sleep(DWORD dwMilliseconds);
ULONGLONG WINAPI GetTickCount64(void);

/* English texts for the errors of this library, with FORMAT_MESSAGE_FROM_SYSTEM. */
DWORD WINAPI FormatMessageA(DWORD dwFlags, LPCVOID lpSource, DWORD dwMessageId, DWORD dwLanguageId, LPSTR lpBuffer,
                            DWORD nSize, va_list *Arguments);
DWORD WINAPI FormatMessageW(DWORD dwFlags, LPCVOID lpSource, DWORD dwMessageId, DWORD dwLanguageId, LPWSTR lpBuffer,
                            DWORD nSize, va_list *Arguments);
/* What FormatMessage allocated. */
HLOCAL WINAPI LocalFree(HLOCAL hMem);

/*
 * Not in Windows: file descriptors for poll and epoll, readable while the event is signalled or packets are queued; -1
 * on failure. They are not to be read, and are closed with their handle.
 */
int peerdist_event_fd(HANDLE hEvent);
int peerdist_port_fd(HANDLE hCompletionPort);

#ifdef __cplusplus
}
#endif

#endif
