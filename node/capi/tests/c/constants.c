/* Prints the constants that constants.inc names, which the test writes. None may be wider than 32 bits. */
#include <windows.h>
#include <peerdist.h>

#include <stdio.h>

#define CONSTANT(name) printf(#name " %#x %zu\n", (unsigned)(name), sizeof(name));

int main(void)
{
#include "constants.inc"
    return INVALID_HANDLE_VALUE == (HANDLE)UINTPTR_MAX ? 0 : 1;
}
