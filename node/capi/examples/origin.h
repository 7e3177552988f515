/* Bytes of a file from its web server. No part of PeerDist. */
#ifndef ORIGIN_H
#define ORIGIN_H

#include <stddef.h>

typedef struct origin ORIGIN;

/* Asks for `length` bytes from an offset on, or for all the rest if that is 0. NULL when they do not come. */
ORIGIN *origin_open(const char *url, unsigned long long from, unsigned long long length);

/* The next bytes: 0 at the end, -1 when they do not come. */
long origin_read(ORIGIN *origin, void *buffer, size_t size);

void origin_close(ORIGIN *origin);

#endif
