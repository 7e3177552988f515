/* Ctrl-C. No part of PeerDist. */
#ifndef INTERRUPT_H
#define INTERRUPT_H

/* From now on Ctrl-C does not end the program: `stop` is called instead, in a thread of its own. Returns 0, or -1. */
int on_interrupt(void (*stop)(void *), void *argument);

#endif
