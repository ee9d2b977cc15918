/*
 * Fuzzes the reading of tokens and of key files.  Input: "T" and a token, which
 * is checked by the keys of RFC 7515's examples; or anything else, which is a
 * key file.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "auth/jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char jwks[] =
    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
    "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},"
    "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":"
    "\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw"
    "-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2j"
    "Z47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTB"
    "EMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWN"
    "moudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\"}]}";

static void
fuzz_token(const uint8_t *data, size_t len)
{
	static const struct jwt_expect want = { .issuer = "joe",
		.audience = "submitd",
		.user_claim = "email",
		.now = 1300819380 };
	static struct jwt_keys *keys;
	char err[200], user[JWT_USER_MAX + 1];
	enum jwt_rc rc;

	if (keys == NULL &&
	    (keys = jwt_keys_new(jwks, sizeof(jwks) - 1, err, sizeof(err))) ==
		NULL)
		abort();
	rc = jwt_check(keys, &want, (const char *)data, len, user);
	/* whoever has the keys has signed nothing for this audience */
	if (rc == JWT_OK || user[0] != '\0')
		abort();
	if (jwt_rc_text(rc)[0] == '?')
		abort();
}

static void
fuzz_keys(const uint8_t *data, size_t len)
{
	char err[200];
	struct jwt_keys *k =
	    jwt_keys_new((const char *)data, len, err, sizeof(err));

	if (k == NULL && err[0] == '\0')
		abort();
	jwt_keys_free(&k);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len > 0 && data[0] == 'T')
		fuzz_token(data + 1, len - 1);
	else
		fuzz_keys(data, len);
	return 0;
}
