/* Clean text: see text.h. */
#include "text.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "utf8.h"

bool
text_is_clean(const char *text)
{
	size_t left = strlen(text), n;
	uint32_t cp;

	for (; left > 0; text += n, left -= n) {
		n = utf8_next(text, left, &cp);
		if (n == 0 || cp < 0x20 || (cp >= 0x7f && cp < 0xa0))
			return false;
	}
	return true;
}
