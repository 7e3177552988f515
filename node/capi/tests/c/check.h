/* Ends the program with the line and the text of a condition that does not hold. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                       \
    do {                                                       \
        if (!(condition)) {                                    \
            fprintf(stderr, "%d: " #condition "\n", __LINE__); \
            exit(1);                                           \
        }                                                      \
    } while (0)

#endif
