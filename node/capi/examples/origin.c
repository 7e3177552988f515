/* The least of an HTTP/1.1 client: one request for a range a connection. */
#define _POSIX_C_SOURCE 200809L

#include "origin.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

struct origin {
    FILE *stream;
    unsigned long long left;
};

/* http://HOST[:PORT]/PATH, where HOST may be an IPv6 address in brackets. */
struct address {
    char authority[300];
    char host[256];
    char port[8];
    const char *path;
};

static int split(const char *url, struct address *address)
{
    const char *start, *end, *colon;
    size_t size;
    if (strncasecmp(url, "http://", 7) != 0)
        return -1;
    start = url + 7;
    address->path = strchr(start, '/');
    size = address->path ? (size_t)(address->path - start) : strlen(start);
    if (size == 0 || size >= sizeof(address->authority))
        return -1;
    memcpy(address->authority, start, size);
    address->authority[size] = '\0';
    if (!address->path)
        address->path = "/";
    start = address->authority;
    if (*start == '[') {
        end = strchr(++start, ']');
        if (!end)
            return -1;
        colon = end[1] == ':' ? end + 1 : NULL;
    } else {
        colon = strchr(start, ':');
        end = colon ? colon : start + strlen(start);
    }
    size = (size_t)(end - start);
    if (size == 0 || size >= sizeof(address->host) || (colon && strlen(colon + 1) >= sizeof(address->port)))
        return -1;
    memcpy(address->host, start, size);
    address->host[size] = '\0';
    strcpy(address->port, colon ? colon + 1 : "80");
    return 0;
}

static int connect_to(const struct address *address)
{
    const struct timeval patience = {30, 0};
    struct addrinfo hints, *found, *each;
    int connection = -1;
    memset(&hints, 0, sizeof(hints));
    hints.ai_socktype = SOCK_STREAM;
    if (getaddrinfo(address->host, address->port, &hints, &found) != 0)
        return -1;
    for (each = found; each && connection < 0; each = each->ai_next) {
        connection = socket(each->ai_family, each->ai_socktype | SOCK_CLOEXEC, each->ai_protocol);
        if (connection < 0)
            continue;
        setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
        if (connect(connection, each->ai_addr, each->ai_addrlen) != 0) {
            close(connection);
            connection = -1;
        }
    }
    freeaddrinfo(found);
    return connection;
}

static int send_all(int connection, const char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        ssize_t sent = send(connection, text, left, MSG_NOSIGNAL);
        if (sent <= 0)
            return -1;
        text += sent;
        left -= (size_t)sent;
    }
    return 0;
}

/* The head of the answer: 0 where the range follows, of which `left` tells the length. */
static int read_head(FILE *stream, unsigned long long from, unsigned long long length, unsigned long long *left)
{
    char line[4096];
    unsigned long long first = 0, last = 0;
    int status = 0, ranged = 0;
    if (!fgets(line, sizeof(line), stream) || sscanf(line, "HTTP/1.%*d %d", &status) != 1)
        return -1;
    while (fgets(line, sizeof(line), stream) && line[0] != '\r' && line[0] != '\n') {
        if (strncasecmp(line, "content-range:", 14) == 0)
            ranged = sscanf(line + 14, " bytes %llu-%llu", &first, &last) == 2;
        else if (strncasecmp(line, "transfer-encoding:", 18) == 0)
            return -1;
    }
    /* The rest from the end on is nothing. */
    if (status == 416 && length == 0) {
        *left = 0;
        return 0;
    }
    if (status != 206 || !ranged || first != from || last < first || (length > 0 && last - first + 1 != length)) {
        fprintf(stderr, "the origin answers with status %d and not with the range\n", status);
        return -1;
    }
    *left = last - first + 1;
    return 0;
}

ORIGIN *origin_open(const char *url, unsigned long long from, unsigned long long length)
{
    struct address address;
    char request[4096], last[32] = "";
    int connection, size;
    FILE *stream;
    ORIGIN *origin;
    if (split(url, &address) != 0) {
        fprintf(stderr, "%s is no URL of the form http://HOST[:PORT]/PATH\n", url);
        return NULL;
    }
    if (length > 0)
        snprintf(last, sizeof(last), "%llu", from + length - 1);
    size = snprintf(request, sizeof(request),
                    "GET %s HTTP/1.1\r\nHost: %s\r\nRange: bytes=%llu-%s\r\nAccept-Encoding: identity\r\n"
                    "Connection: close\r\n\r\n",
                    address.path, address.authority, from, last);
    if (size < 0 || (size_t)size >= sizeof(request))
        return NULL;
    connection = connect_to(&address);
    if (connection < 0) {
        fprintf(stderr, "%s cannot be reached\n", address.authority);
        return NULL;
    }
    stream = fdopen(connection, "rb");
    if (!stream) {
        close(connection);
        return NULL;
    }
    origin = (ORIGIN *)calloc(1, sizeof(*origin));
    if (!origin || send_all(connection, request) != 0 || read_head(stream, from, length, &origin->left) != 0) {
        fclose(stream);
        free(origin);
        return NULL;
    }
    origin->stream = stream;
    return origin;
}

long origin_read(ORIGIN *origin, void *buffer, size_t size)
{
    size_t count;
    if (size > origin->left)
        size = (size_t)origin->left;
    if (size == 0)
        return 0;
    count = fread(buffer, 1, size, origin->stream);
    origin->left -= count;
    return count > 0 ? (long)count : -1;
}

void origin_close(ORIGIN *origin)
{
    fclose(origin->stream);
    free(origin);
}
