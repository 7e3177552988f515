/*
 * The PeerDist API: peer distribution of content, as Windows offers it to programs.
 *
 * A function that starts an operation returns ERROR_IO_PENDING; one completion follows, by the event of the OVERLAPPED
 * or as a packet at the completion port. Any other return value is the end of it.
 */
#ifndef _PEERDIST_H_
#define _PEERDIST_H_

#include "windows.h"

#if WINAPI_FAMILY_PARTITION(WINAPI_PARTITION_DESKTOP) && NTDDI_VERSION >= NTDDI_WIN7

/* The version of the API: major in the low byte, minor in the next. */
#if NTDDI_VERSION >= NTDDI_WIN8
#define PEERDIST_VERSION ((DWORD)0x00000002)
#else
#define PEERDIST_VERSION ((DWORD)0x0001)
#endif

#define PEERDIST_PUBLICATION_OPTIONS_VERSION_1 ((DWORD)1)
#define PEERDIST_PUBLICATION_OPTIONS_VERSION_2 ((DWORD)2)
#if NTDDI_VERSION >= NTDDI_WIN8
#define PEERDIST_PUBLICATION_OPTIONS_VERSION PEERDIST_PUBLICATION_OPTIONS_VERSION_2
#else
#define PEERDIST_PUBLICATION_OPTIONS_VERSION PEERDIST_PUBLICATION_OPTIONS_VERSION_1
#endif

/* Ask no peer: there is no time limit of zero milliseconds. */
#define PEERDIST_READ_TIMEOUT_LOCAL_CACHE_ONLY ((DWORD)0)
/* Five seconds. */
#define PEERDIST_READ_TIMEOUT_DEFAULT ((DWORD)0xFFFFFFFE)

/* Names that the documentation uses for these errors, and winerror.h does not have. */
#define PEERDIST_ERROR_OPERATION_NOT_FOUND PEERDIST_ERROR_OPERATION_NOTFOUND
#define PEERDIST_ERROR_NOT_FOUND ERROR_NOT_FOUND
#ifndef ERROR_NO_MORE
#define ERROR_NO_MORE PEERDIST_ERROR_NO_MORE
#endif

/* Closed by functions of their own and not by CloseHandle. */
typedef HANDLE PEERDIST_INSTANCE_HANDLE, *PPEERDIST_INSTANCE_HANDLE;
typedef HANDLE PEERDIST_CONTENT_HANDLE, *PPEERDIST_CONTENT_HANDLE;
typedef HANDLE PEERDIST_CONTENTINFO_HANDLE, *PPEERDIST_CONTENTINFO_HANDLE;
typedef HANDLE PEERDIST_STREAM_HANDLE, *PPEERDIST_STREAM_HANDLE;

typedef enum {
    PEERDIST_STATUS_DISABLED = 0,
    PEERDIST_STATUS_UNAVAILABLE = 1,
    PEERDIST_STATUS_AVAILABLE = 2
} PEERDIST_STATUS;

typedef struct peerdist_publication_options_tag {
    DWORD dwVersion;
    DWORD dwFlags;
} PEERDIST_PUBLICATION_OPTIONS, *PPEERDIST_PUBLICATION_OPTIONS;
typedef const PEERDIST_PUBLICATION_OPTIONS *PCPEERDIST_PUBLICATION_OPTIONS;

/* The client's own name for a content. */
typedef struct peerdist_content_tag_tag {
    BYTE Data[16];
} PEERDIST_CONTENT_TAG, *PPEERDIST_CONTENT_TAG;
typedef const PEERDIST_CONTENT_TAG *PCPEERDIST_CONTENT_TAG;

#if NTDDI_VERSION >= NTDDI_WIN8

#define PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION_1 ((DWORD)1)
#define PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION_2 ((DWORD)2)
#define PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION PEERDIST_RETRIEVAL_OPTIONS_CONTENTINFO_VERSION_2

/* The versions of content information that a client can process. */
typedef struct peerdist_retrieval_options_tag {
    DWORD cbSize;
    DWORD dwContentInfoMinVersion;
    DWORD dwContentInfoMaxVersion;
    DWORD dwReserved;
} PEERDIST_RETRIEVAL_OPTIONS, *PPEERDIST_RETRIEVAL_OPTIONS;
typedef const PEERDIST_RETRIEVAL_OPTIONS *PCPEERDIST_RETRIEVAL_OPTIONS;

/* The caller sets cbSize. */
typedef struct peerdist_status_info_tag {
    DWORD cbSize;
    PEERDIST_STATUS status;
    DWORD dwMinVer;
    DWORD dwMaxVer;
} PEERDIST_STATUS_INFO, *PPEERDIST_STATUS_INFO;
typedef const PEERDIST_STATUS_INFO *PCPEERDIST_STATUS_INFO;

typedef enum _PEERDIST_CLIENT_INFO_BY_HANDLE_CLASS {
    PeerDistClientBasicInfo = 0,
    MaximumPeerDistClientInfoByHandlesClass = 1
} PEERDIST_CLIENT_INFO_BY_HANDLE_CLASS, *PPEERDIST_CLIENT_INFO_BY_HANDLE_CLASS;

/* Whether many clients fetch this content now. */
typedef struct _PEERDIST_CLIENT_BASIC_INFO {
    BOOL fFlashCrowd;
} PEERDIST_CLIENT_BASIC_INFO, *PPEERDIST_CLIENT_BASIC_INFO;

#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Common. */

DWORD WINAPI PeerDistStartup(DWORD dwVersionRequested, PPEERDIST_INSTANCE_HANDLE phPeerDist, PDWORD pdwSupportedVersion);
DWORD WINAPI PeerDistShutdown(PEERDIST_INSTANCE_HANDLE hPeerDist);
DWORD WINAPI PeerDistGetStatus(PEERDIST_INSTANCE_HANDLE hPeerDist, PEERDIST_STATUS *pPeerDistStatus);
DWORD WINAPI PeerDistRegisterForStatusChangeNotification(PEERDIST_INSTANCE_HANDLE hPeerDist, HANDLE hCompletionPort,
                                                         ULONG_PTR ulCompletionKey, LPOVERLAPPED lpOverlapped,
                                                         PEERDIST_STATUS *pPeerDistStatus);
DWORD WINAPI PeerDistUnregisterForStatusChangeNotification(PEERDIST_INSTANCE_HANDLE hPeerDist);

#if NTDDI_VERSION >= NTDDI_WIN8
DWORD WINAPI PeerDistGetStatusEx(PEERDIST_INSTANCE_HANDLE hPeerDist, PEERDIST_STATUS_INFO *pPeerDistStatus);
DWORD WINAPI PeerDistRegisterForStatusChangeNotificationEx(PEERDIST_INSTANCE_HANDLE hPeerDist, HANDLE hCompletionPort,
                                                           ULONG_PTR ulCompletionKey, LPOVERLAPPED lpOverlapped,
                                                           PEERDIST_STATUS_INFO *pPeerDistStatus);
BOOL WINAPI PeerDistGetOverlappedResult(LPOVERLAPPED lpOverlapped, LPDWORD lpNumberOfBytesTransferred, BOOL bWait);
#endif

/* The client: reads content by its content information. */

DWORD WINAPI PeerDistClientOpenContent(PEERDIST_INSTANCE_HANDLE hPeerDist, PCPEERDIST_CONTENT_TAG pContentTag,
                                       HANDLE hCompletionPort, ULONG_PTR ulCompletionKey,
                                       PPEERDIST_CONTENT_HANDLE phContentHandle);
DWORD WINAPI PeerDistClientCloseContent(PEERDIST_INSTANCE_HANDLE hPeerDist, PEERDIST_CONTENT_HANDLE hContentHandle);
DWORD WINAPI PeerDistClientAddContentInformation(PEERDIST_INSTANCE_HANDLE hPeerDist,
                                                 PEERDIST_CONTENT_HANDLE hContentHandle, DWORD cbNumberOfBytes,
                                                 PBYTE pBuffer, LPOVERLAPPED lpOverlapped);
DWORD WINAPI PeerDistClientCompleteContentInformation(PEERDIST_INSTANCE_HANDLE hPeerDist,
                                                      PEERDIST_CONTENT_HANDLE hContentHandle, LPOVERLAPPED lpOverlapped);
DWORD WINAPI PeerDistClientAddData(PEERDIST_INSTANCE_HANDLE hPeerDist, PEERDIST_CONTENT_HANDLE hContentHandle,
                                   DWORD cbNumberOfBytes, PBYTE pBuffer, LPOVERLAPPED lpOverlapped);
DWORD WINAPI PeerDistClientBlockRead(PEERDIST_INSTANCE_HANDLE hPeerDist, PEERDIST_CONTENT_HANDLE hContentHandle,
                                     DWORD cbMaxNumberOfBytes, PBYTE pBuffer, DWORD dwTimeoutInMilliseconds,
                                     LPOVERLAPPED lpOverlapped);
DWORD WINAPI PeerDistClientStreamRead(PEERDIST_INSTANCE_HANDLE hPeerDist, PEERDIST_CONTENT_HANDLE hContentHandle,
                                      DWORD cbMaxNumberOfBytes, PBYTE pBuffer, DWORD dwTimeoutInMilliseconds,
                                      LPOVERLAPPED lpOverlapped);
DWORD WINAPI PeerDistClientFlushContent(PEERDIST_INSTANCE_HANDLE hPeerDist, PCPEERDIST_CONTENT_TAG pContentTag,
                                        HANDLE hCompletionPort, ULONG_PTR ulCompletionKey, LPOVERLAPPED lpOverlapped);
DWORD WINAPI PeerDistClientCancelAsyncOperation(PEERDIST_INSTANCE_HANDLE hPeerDist,
                                                PEERDIST_CONTENT_HANDLE hContentHandle, LPOVERLAPPED pOverlapped);

#if NTDDI_VERSION >= NTDDI_WIN8
DWORD WINAPI PeerDistClientGetInformationByHandle(PEERDIST_INSTANCE_HANDLE hPeerDist,
                                                  PEERDIST_CONTENT_HANDLE hContentHandle,
                                                  PEERDIST_CLIENT_INFO_BY_HANDLE_CLASS PeerDistClientInfoClass,
                                                  DWORD dwBufferSize, LPVOID lpInformation);
#endif

/* The server: publishes content and gives out its content information. */

DWORD WINAPI PeerDistServerPublishStream(PEERDIST_INSTANCE_HANDLE hPeerDist, DWORD cbContentIdentifier,
                                         PBYTE pContentIdentifier, ULONGLONG cbContentLength,
                                         PCPEERDIST_PUBLICATION_OPTIONS pPublishOptions, HANDLE hCompletionPort,
                                         ULONG_PTR ulCompletionKey, PPEERDIST_STREAM_HANDLE phStream);
DWORD WINAPI PeerDistServerPublishAddToStream(PEERDIST_INSTANCE_HANDLE hPeerDist, PEERDIST_STREAM_HANDLE hStream,
                                              DWORD cbNumberOfBytes, PBYTE pBuffer, LPOVERLAPPED lpOverlapped);
DWORD WINAPI PeerDistServerPublishCompleteStream(PEERDIST_INSTANCE_HANDLE hPeerDist, PEERDIST_STREAM_HANDLE hStream,
                                                 LPOVERLAPPED lpOverlapped);
DWORD WINAPI PeerDistServerCloseStreamHandle(PEERDIST_INSTANCE_HANDLE hPeerDist, PEERDIST_STREAM_HANDLE hStream);
DWORD WINAPI PeerDistServerUnpublish(PEERDIST_INSTANCE_HANDLE hPeerDist, DWORD cbContentIdentifier,
                                     PBYTE pContentIdentifier);
DWORD WINAPI PeerDistServerOpenContentInformation(PEERDIST_INSTANCE_HANDLE hPeerDist, DWORD cbContentIdentifier,
                                                  PBYTE pContentIdentifier, ULONGLONG ullContentOffset,
                                                  ULONGLONG cbContentLength, HANDLE hCompletionPort,
                                                  ULONG_PTR ulCompletionKey,
                                                  PPEERDIST_CONTENTINFO_HANDLE phContentInfo);
DWORD WINAPI PeerDistServerRetrieveContentInformation(PEERDIST_INSTANCE_HANDLE hPeerDist,
                                                      PEERDIST_CONTENTINFO_HANDLE hContentInfo,
                                                      DWORD cbMaxNumberOfBytes, PBYTE pBuffer,
                                                      LPOVERLAPPED lpOverlapped);
DWORD WINAPI PeerDistServerCloseContentInformation(PEERDIST_INSTANCE_HANDLE hPeerDist,
                                                   PEERDIST_CONTENTINFO_HANDLE hContentInfo);
DWORD WINAPI PeerDistServerCancelAsyncOperation(PEERDIST_INSTANCE_HANDLE hPeerDist, DWORD cbContentIdentifier,
                                                PBYTE pContentIdentifier, LPOVERLAPPED pOverlapped);

#if NTDDI_VERSION >= NTDDI_WIN8
DWORD WINAPI PeerDistServerOpenContentInformationEx(PEERDIST_INSTANCE_HANDLE hPeerDist, DWORD cbContentIdentifier,
                                                    PBYTE pContentIdentifier, ULONGLONG ullContentOffset,
                                                    ULONGLONG cbContentLength,
                                                    PEERDIST_RETRIEVAL_OPTIONS *pRetrievalOptions,
                                                    HANDLE hCompletionPort, ULONG_PTR ulCompletionKey,
                                                    PPEERDIST_CONTENTINFO_HANDLE phContentInfo);
#endif

#ifdef __cplusplus
}
#endif

#endif

#endif
