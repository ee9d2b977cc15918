/* Recipients as one text: see rcptlist.h. */
#include "rcptlist.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MORE_MAX = 24 }; /* a tab and a number */

bool
rcptlist_add(struct buf *list, const char *address)
{
	size_t n = strlen(address);

	if (list->len > 0 && list->len + 1 + n + MORE_MAX > RCPTLIST_MAX)
		return false;
	if (list->len > 0)
		buf_add(list, "\n", 1);
	buf_add(list, address, n);
	return true;
}

void
rcptlist_end(struct buf *list, size_t more)
{
	char text[MORE_MAX];

	if (more > 0) { /* no address has a tab */
		snprintf(text, sizeof(text), "\n\t%zu", more);
		buf_add(list, text, strlen(text));
	}
	buf_add(list, "", 1);
}

char *
rcptlist_next(const char **list, size_t *more)
{
	size_t n = strcspn(*list, "\n");
	char *address;

	*more = 0;
	if (**list == '\t')
		*more = strtoul(*list + 1, NULL, 10);
	if (**list == '\t' || **list == '\0')
		return NULL;
	address = xstrndup(*list, n);
	*list += n + ((*list)[n] == '\n');
	return address;
}
