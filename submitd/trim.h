/*
 * Memory that a start has needed and what follows does not.
 */
#ifndef SUBMITD_TRIM_H
#define SUBMITD_TRIM_H

/*
 * Gives it back: what is free of the heap, and the pages of programs and
 * libraries.  Those are mapped anew when they are used; most, as the tables
 * that libraries were linked by, never are.
 */
void trim_start(void);

#endif
