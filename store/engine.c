/* SQLite for the whole process: see engine.h. */
#include "engine.h"

#include <sqlite3.h>
#include <stddef.h>

void
engine_init(void)
{
	/* No 20 pages for the cache of each database at once: they come one
	 * by one, and small databases never have so many.  Refused, without
	 * harm, once SQLite runs. */
	sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0);
}
