/*
 * The file with parent's process id, for service managers that want one.
 */
#ifndef SUBMITD_PIDFILE_H
#define SUBMITD_PIDFILE_H

/*
 * Writes our id to this file in one step, over whatever is there, and removes
 * the file written before if it is another one and still ours.  "" only
 * removes.  A failure is logged: nothing depends on the file.
 */
void pidfile_move(const char *path);

#endif
