/*
 * What SQLite is told once in a process, before its first database.
 */
#ifndef STORE_ENGINE_H
#define STORE_ENGINE_H

/* To be called before each database is opened; cheap the next times. */
void engine_init(void);

#endif
