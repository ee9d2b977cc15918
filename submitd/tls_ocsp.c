/* OCSP responses that are sent along with our certificates, from files. */
#include "tls_int.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <time.h>

enum { SKEW_S = 300, TLS_STATUS_REQUEST = 5 };

static int
say(char *err, size_t errlen, const char *what)
{
	ERR_clear_error();
	snprintf(err, errlen, "%s", what);
	return -1;
}

static X509 *
issuer_of(const struct tls_chain *c)
{
	int i;

	for (i = 0; i < sk_X509_num(c->more); i++)
		if (X509_check_issued(sk_X509_value(c->more, i), c->leaf) ==
		    X509_V_OK)
			return sk_X509_value(c->more, i);
	return NULL;
}

/* By the issuer, or by a responder that it has appointed: both end at it. */
static bool
is_signed(OCSP_BASICRESP *basic, X509 *issuer, STACK_OF(X509) * with)
{
	X509_STORE *store = X509_STORE_new();
	bool ok;

	ok = store != NULL && X509_STORE_add_cert(store, issuer) == 1 &&
	    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) == 1 &&
	    OCSP_basic_verify(basic, with, store, 0) == 1;
	X509_STORE_free(store);
	return ok;
}

/* Of the several certificates that a response may be about. */
static OCSP_SINGLERESP *
find_single(OCSP_BASICRESP *basic, const X509 *leaf, const X509 *issuer)
{
	ASN1_OBJECT *digest;
	OCSP_SINGLERESP *one;
	const OCSP_CERTID *id;
	OCSP_CERTID *ours;
	bool same;
	int i;

	for (i = 0; i < OCSP_resp_count(basic); i++) {
		one = OCSP_resp_get0(basic, i);
		id = OCSP_SINGLERESP_get0_id(one);
		OCSP_id_get0_info(
		    NULL, &digest, NULL, NULL, (OCSP_CERTID *)(size_t)id);
		ours =
		    OCSP_cert_to_id(EVP_get_digestbyobj(digest), leaf, issuer);
		same = ours != NULL && OCSP_id_cmp(id, ours) == 0;
		OCSP_CERTID_free(ours);
		if (same)
			return one;
	}
	return NULL;
}

static int64_t
seconds(const ASN1_GENERALIZEDTIME *t)
{
	struct tm tm;

	return ASN1_TIME_to_tm(t, &tm) == 1 ? timegm(&tm) : 0;
}

static int
judge_single(
    OCSP_SINGLERESP *one, int64_t now, int64_t *until, char *err, size_t errlen)
{
	ASN1_GENERALIZEDTIME *from = NULL, *next = NULL;
	char when[32];
	time_t t;
	struct tm tm;
	int status = OCSP_single_get0_status(one, NULL, NULL, &from, &next);

	if (status == V_OCSP_CERTSTATUS_REVOKED)
		return say(
		    err, errlen, "it says that the certificate is revoked");
	if (status != V_OCSP_CERTSTATUS_GOOD)
		return say(err, errlen, "its sender knows no such certificate");
	if (next == NULL)
		return say(err, errlen,
		    "it does not say until when it is good (nextUpdate)");
	*until = t = seconds(next);
	if (t <= now) {
		gmtime_r(&t, &tm);
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M UTC", &tm);
		snprintf(err, errlen, "it is out of date since %s", when);
		return -1;
	}
	if (seconds(from) > now + SKEW_S)
		return say(err, errlen, "it is of a time to come");
	return 0;
}

static int
judge(const struct tls_chain *c, OCSP_BASICRESP *basic, int64_t now,
    int64_t *until, char *err, size_t errlen)
{
	X509 *issuer = issuer_of(c);
	OCSP_SINGLERESP *one;

	if (issuer == NULL)
		return say(err, errlen,
		    "it cannot be checked: the file of the certificate lacks "
		    "that of its issuer");
	if ((one = find_single(basic, c->leaf, issuer)) == NULL)
		return say(err, errlen, "it is not for this certificate");
	if (!is_signed(basic, issuer, c->more))
		return say(err, errlen,
		    "it is signed neither by the issuer of the certificate "
		    "nor in its name");
	return judge_single(one, now, until, err, errlen);
}

static int
judge_response(const struct tls_chain *c, const struct buf *der, int64_t now,
    int64_t *until, char *err, size_t errlen)
{
	const unsigned char *p = buf_head(der);
	OCSP_RESPONSE *r =
	    der->len > 0 ? d2i_OCSP_RESPONSE(NULL, &p, (long)der->len) : NULL;
	OCSP_BASICRESP *basic = NULL;
	int rc, status;

	if (r == NULL)
		return say(err, errlen, "it is no OCSP response in DER form");
	if ((status = OCSP_response_status(r)) !=
	    OCSP_RESPONSE_STATUS_SUCCESSFUL) {
		snprintf(err, errlen, "its sender had no answer: %s",
		    OCSP_response_status_str(status));
		rc = -1;
	} else if ((basic = OCSP_response_get1_basic(r)) == NULL)
		rc = say(err, errlen, "it is of an unknown form");
	else
		rc = judge(c, basic, now, until, err, errlen);
	OCSP_BASICRESP_free(basic);
	OCSP_RESPONSE_free(r);
	return rc;
}

int
tls_check_staple(const struct buf *cert, const struct buf *der, int64_t now,
    int64_t *until, char *err, size_t errlen)
{
	struct tls_chain c;
	int rc = tls_chain_read(&c, cert, err, errlen);

	if (rc == 0)
		rc = judge_response(&c, der, now, until, err, errlen);
	tls_chain_clear(&c);
	return rc;
}

static bool
has_feature(const X509 *leaf)
{
	TLS_FEATURE *f = X509_get_ext_d2i(leaf, NID_tlsfeature, NULL, NULL);
	bool yes = false;
	int i;

	for (i = 0; i < sk_ASN1_INTEGER_num(f); i++)
		yes = yes ||
		    ASN1_INTEGER_get(sk_ASN1_INTEGER_value(f, i)) ==
			TLS_STATUS_REQUEST;
	TLS_FEATURE_free(f);
	return yes;
}

bool
tls_must_staple(const struct buf *cert)
{
	struct tls_chain c;
	char err[256];
	bool yes = tls_chain_read(&c, cert, err, sizeof(err)) == 0 &&
	    has_feature(c.leaf);

	tls_chain_clear(&c);
	return yes;
}
