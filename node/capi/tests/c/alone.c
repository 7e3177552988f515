/* The header that header.inc names, which the test writes, included alone and twice. */
#include "header.inc"
#include "header.inc"

extern int something;
