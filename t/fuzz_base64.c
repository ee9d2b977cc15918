/* submitd/base64.c: what decodes encodes to the same text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "submitd/base64.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *out = malloc(len + 1), *text = malloc(len + 5);
	size_t n;

	if (out == NULL || text == NULL)
		abort();
	if (base64_decode((const char *)data, len, out, len, &n) == 0) {
		if (base64_encode(out, n, text, len + 1) != 0 ||
		    memcmp(text, data, len) != 0 || text[len] != '\0')
			abort();
	}
	free(out);
	free(text);
	return 0;
}
