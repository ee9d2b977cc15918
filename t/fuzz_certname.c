/*
 * Fuzz target: the escaping of names from certificates.  The input is
 * attributes: an octet for the type (bits 0 to 3) and whether it is in the
 * RDN of the one before (bit 7), an octet for the length, the value.
 *
 * Whatever they are, a name is of octets that may stand in a key, each "+" of
 * it begins an escape, and it stays within its size.  Where nothing makes it
 * doubtful it leads back to the attributes, so that no two subjects have the
 * same, but for values that spell an escape "\xHH" themselves; of one that
 * was cut the first attributes are there, whole.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "auth/certname.h"

#define ATTRS_MAX 40

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char *const types[16] = { "C", "O", "OU", "CN", "L", "ST", "DC",
	"UID", "GN", "SN", "title", "serialNumber", "emailAddress", "1.2.3.4.5",
	"2.5.4.17", "CN" };

/* ---- attributes from the input ---- */

static void *
copy(const void *p, size_t len)
{
	void *c = malloc(len > 0 ? len : 1); /* sanitizers see its end */

	assert(c != NULL);
	if (len > 0)
		memcpy(c, p, len);
	return c;
}

static size_t
take_attrs(const uint8_t *p, size_t len, struct certname_attr attr[ATTRS_MAX])
{
	size_t n = 0, at = 0, vlen;

	while (n < ATTRS_MAX && len - at >= 2) {
		vlen = p[at + 1] < len - at - 2 ? p[at + 1] : len - at - 2;
		attr[n].rdn = n == 0 ? 0 : attr[n - 1].rdn + (p[at] < 0x80);
		attr[n].type = types[p[at] & 15];
		attr[n].value = copy(p + at + 2, vlen);
		attr[n++].len = vlen;
		at += 2 + vlen;
	}
	return n;
}

/* ---- and back ---- */

static int
hex_value(char c)
{
	return c >= '0' && c <= '9' ? c - '0'
	    : c >= 'A' && c <= 'F'  ? c - 'A' + 10
				    : -1;
}

/* Two hex digits at p, or -1. */
static int
octet(const char *p)
{
	int high = hex_value(p[0]), low = high == -1 ? -1 : hex_value(p[1]);

	return low == -1 ? -1 : high * 16 + low;
}

/* Takes the second step back; checks each octet.  Returns the length. */
static size_t
unescape(const char *name, char out[CERTNAME_SIZE])
{
	size_t n = 0;

	assert(memchr(name, '\0', CERTNAME_SIZE) != NULL);
	for (; *name != '\0'; name++) {
		assert(*name > 0x20 && *name < 0x7f);
		assert(strchr("\\()<>\"", *name) == NULL);
		if (*name != '+') {
			out[n++] = *name;
			continue;
		}
		assert(octet(name + 1) != -1);
		out[n++] = (char)octet(name + 1);
		name += 2;
	}
	out[n] = '\0';
	return n;
}

/* Takes the first step back for one value, up to a separator or the end. */
static const char *
take_value(const char *p, unsigned char *value, size_t *len)
{
	for (*len = 0; *p != '\0' && *p != '/' && *p != '+'; p++) {
		int c = p[0] == '\\' && p[1] == 'x' ? octet(p + 2) : -1;

		if (c != -1 && (c < 0x20 || c > 0x7e)) {
			value[(*len)++] = (unsigned char)c;
			p += 3;
			continue;
		}
		if (p[0] == '\\' && (p[1] == '/' || p[1] == '+'))
			p++;
		value[(*len)++] = (unsigned char)*p;
	}
	return p;
}

static bool
spells_escape(const struct certname_attr *a)
{
	return a->len > 1 && memmem(a->value, a->len, "\\x", 2) != NULL;
}

/* The line is the first attributes of these; how many. */
static size_t
check_line(const char *line, const struct certname_attr *attr, size_t n)
{
	unsigned char value[CERTNAME_LINE_MAX];
	size_t i, len, tlen;

	for (i = 0; *line != '\0'; i++) {
		assert(i < n);
		assert(*line ==
		    (i > 0 && attr[i].rdn == attr[i - 1].rdn ? '+' : '/'));
		tlen = strlen(attr[i].type);
		assert(strncmp(line + 1, attr[i].type, tlen) == 0);
		assert(line[1 + tlen] == '=');
		line = take_value(line + 2 + tlen, value, &len);
		if (spells_escape(&attr[i]))
			continue;
		assert(len == attr[i].len);
		assert(len == 0 || memcmp(value, attr[i].value, len) == 0);
	}
	return i;
}

static void
check_dn(const struct certname_attr *attr, size_t n)
{
	char line[CERTNAME_SIZE], *name = malloc(CERTNAME_SIZE);
	unsigned bits;
	size_t i, len;

	assert(name != NULL);
	bits = certname_dn(attr, n, name);
	len = unescape(name, line);
	assert(len <= CERTNAME_LINE_MAX);
	for (i = 0; i < len; i++)
		assert(line[i] >= 0x20 && line[i] <= 0x7e);
	if ((bits & CERTNAME_BACKSLASH) == 0) {
		i = check_line(line, attr, n);
		assert((i < n) == ((bits & CERTNAME_CUT) != 0));
	}
	free(name);
}

static void
check_cn(const struct certname_attr *attr, size_t n)
{
	char back[CERTNAME_SIZE], *name = malloc(CERTNAME_SIZE);
	size_t i, len;

	assert(name != NULL);
	certname_cn(attr, n, name);
	len = unescape(name, back);
	for (i = 0; i < n && strcmp(attr[i].type, "CN") != 0;)
		i++;
	if (i == n)
		assert(strcmp(name, "BadCertificateUnknown") == 0);
	else if (attr[i].len >= CERTNAME_LINE_MAX)
		assert(strcmp(name, "BadCertificateTooLong") == 0);
	else if (memchr(attr[i].value, '\0', attr[i].len) != NULL)
		assert(strcmp(name, "BadCertificateContainsNUL") == 0);
	else
		assert(len == attr[i].len &&
		    memcmp(back, attr[i].value, len) == 0);
	free(name);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct certname_attr attr[ATTRS_MAX];
	size_t n = take_attrs(data, len, attr), i;

	check_dn(attr, n);
	check_cn(attr, n);
	for (i = 0; i < n; i++) {
		void *value;

		memcpy(&value, &attr[i].value, sizeof(value));
		free(value);
	}
	return 0;
}
