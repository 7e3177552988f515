/* Prints sizes, alignments and offsets. */
#include <windows.h>
#include <peerdist.h>

#include <stddef.h>
#include <stdio.h>

#ifdef __cplusplus
#define ALIGN(type) alignof(type)
#else
#define ALIGN(type) _Alignof(type)
#endif

#define TYPE(type) printf(#type " %zu %zu\n", sizeof(type), (size_t)ALIGN(type))
#define MEMBER(type, member) printf(#type "." #member " %zu %zu\n", offsetof(type, member), sizeof(((type *)0)->member))

int main(void)
{
    TYPE(OVERLAPPED);
    MEMBER(OVERLAPPED, Internal);
    MEMBER(OVERLAPPED, InternalHigh);
    MEMBER(OVERLAPPED, Offset);
    MEMBER(OVERLAPPED, OffsetHigh);
    MEMBER(OVERLAPPED, hEvent);
    TYPE(OVERLAPPED_ENTRY);
    MEMBER(OVERLAPPED_ENTRY, lpCompletionKey);
    MEMBER(OVERLAPPED_ENTRY, lpOverlapped);
    MEMBER(OVERLAPPED_ENTRY, Internal);
    MEMBER(OVERLAPPED_ENTRY, dwNumberOfBytesTransferred);
    TYPE(PEERDIST_CONTENT_TAG);
    MEMBER(PEERDIST_CONTENT_TAG, Data);
    TYPE(PEERDIST_PUBLICATION_OPTIONS);
    MEMBER(PEERDIST_PUBLICATION_OPTIONS, dwVersion);
    MEMBER(PEERDIST_PUBLICATION_OPTIONS, dwFlags);
    TYPE(PEERDIST_RETRIEVAL_OPTIONS);
    MEMBER(PEERDIST_RETRIEVAL_OPTIONS, cbSize);
    MEMBER(PEERDIST_RETRIEVAL_OPTIONS, dwContentInfoMinVersion);
    MEMBER(PEERDIST_RETRIEVAL_OPTIONS, dwContentInfoMaxVersion);
    MEMBER(PEERDIST_RETRIEVAL_OPTIONS, dwReserved);
    TYPE(PEERDIST_STATUS_INFO);
    MEMBER(PEERDIST_STATUS_INFO, cbSize);
    MEMBER(PEERDIST_STATUS_INFO, status);
    MEMBER(PEERDIST_STATUS_INFO, dwMinVer);
    MEMBER(PEERDIST_STATUS_INFO, dwMaxVer);
    TYPE(PEERDIST_CLIENT_BASIC_INFO);
    MEMBER(PEERDIST_CLIENT_BASIC_INFO, fFlashCrowd);
    TYPE(PEERDIST_STATUS);
    TYPE(PEERDIST_CLIENT_INFO_BY_HANDLE_CLASS);
    TYPE(PEERDIST_INSTANCE_HANDLE);
    TYPE(PEERDIST_CONTENT_HANDLE);
    TYPE(PEERDIST_CONTENTINFO_HANDLE);
    TYPE(PEERDIST_STREAM_HANDLE);
    TYPE(HANDLE);
    TYPE(DWORD);
    TYPE(BOOL);
    TYPE(ULONG_PTR);
    TYPE(NTSTATUS);
    /* Of no Rust type. */
    TYPE(LONG);
    TYPE(ULONG);
    TYPE(ULONGLONG);
    TYPE(BYTE);
    TYPE(WCHAR);
    TYPE(HRESULT);
    return offsetof(OVERLAPPED, Pointer) == offsetof(OVERLAPPED, Offset) && (HRESULT)-1 < 0 && (LONG)-1 < 0 ? 0 : 1;
}
