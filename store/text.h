/*
 * What the store takes as text. Pure.
 */
#ifndef STORE_TEXT_H
#define STORE_TEXT_H

#include <stdbool.h>

/* Valid UTF-8 (RFC 3629) without C0, C1 and DEL control characters. */
bool text_is_clean(const char *text);

#endif
