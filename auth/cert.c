/*
 * Client certificates (cert.h).  All of OpenSSL's certificate functions that
 * touch what a stranger sent are called from here.
 */
#include "cert.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ATTRS_MAX      128 /* more never fit a line of CERTNAME_LINE_MAX */
#define TYPE_MAX       80  /* octets of a dotted OID and its NUL */
#define SECURITY_LEVEL 2   /* keys of 112 bits, no SHA-1: Debian's for TLS */

struct cert_trust {
	X509_STORE *store;
	STACK_OF(X509_CRL) * crls;
	unsigned flags;
};

const char *
cert_verify_word(enum cert_verify v)
{
	switch (v) {
	case CERT_NO:
		return "NO";
	case CERT_OK:
		return "OK";
	case CERT_FAIL:
		break;
	case CERT_TRUSTED:
		return "TRUSTED";
	}
	return "FAIL";
}

const char *
cert_key_word(enum cert_key key)
{
	switch (key) {
	case CERT_KEY_SHA256:
		return "sha256";
	case CERT_KEY_SPKI:
		return "spki";
	case CERT_KEY_EMAIL:
		return "email";
	case CERT_KEY_SUBJECT:
		return "subject";
	case CERT_KEY_NONE:
		break;
	}
	return "none";
}

const char *
cert_map_word(enum cert_map map, const struct cert_owner *o)
{
	switch (map) {
	case CERT_MAP_FOUND:
		return cert_key_word(o->by);
	case CERT_MAP_UNUSABLE:
		return "unusable";
	case CERT_MAP_AMBIGUOUS:
		return "ambiguous";
	default:
		return "none";
	}
}

/* ---- trust ---- */

/* True if reading PEM stopped because there was no more. */
static bool
pem_ended(void)
{
	unsigned long e = ERR_peek_last_error();
	bool ended = ERR_GET_LIB(e) == ERR_LIB_PEM &&
	    ERR_GET_REASON(e) == PEM_R_NO_START_LINE;

	ERR_clear_error();
	return ended;
}

static int
load_cas(struct cert_trust *t, BIO *bio, char *err, size_t errlen)
{
	X509 *x;
	int n = 0;

	while ((x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		n++;
		if (X509_STORE_add_cert(t->store, x) != 1) {
			X509_free(x);
			snprintf(err, errlen,
			    "CA certificate %d can't be used", n);
			ERR_clear_error();
			return -1;
		}
		X509_free(x);
	}
	if (!pem_ended()) {
		snprintf(err, errlen, "CA certificate %d is broken", n + 1);
		return -1;
	}
	if (n == 0)
		snprintf(err, errlen, "no certificate in PEM form");
	return n > 0 ? 0 : -1;
}

static int
load_crls(struct cert_trust *t, BIO *bio, char *err, size_t errlen)
{
	X509_CRL *c;
	int n = 0;

	while ((c = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)) != NULL) {
		n++;
		/* the stack takes it, the store has its own reference */
		if (X509_STORE_add_crl(t->store, c) != 1 ||
		    sk_X509_CRL_push(t->crls, c) == 0) {
			X509_CRL_free(c);
			snprintf(err, errlen, "CRL %d can't be used", n);
			ERR_clear_error();
			return -1;
		}
	}
	if (!pem_ended()) {
		snprintf(err, errlen, "CRL %d is broken", n + 1);
		return -1;
	}
	if (n == 0) {
		snprintf(err, errlen, "no CRL in PEM form");
		return -1;
	}
	X509_STORE_set_flags(
	    t->store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	return 0;
}

static int
load(struct cert_trust *t, const char *pem, size_t len,
    int (*reader)(struct cert_trust *, BIO *, char *, size_t), char *err,
    size_t errlen)
{
	BIO *bio;
	int rc;

	if (pem == NULL)
		return 0;
	if (len > INT32_MAX || (bio = BIO_new_mem_buf(pem, (int)len)) == NULL) {
		snprintf(err, errlen, "too long");
		return -1;
	}
	rc = reader(t, bio, err, errlen);
	BIO_free(bio);
	return rc;
}

struct cert_trust *
cert_trust_new(const char *ca, size_t ca_len, const char *crl, size_t crl_len,
    unsigned flags, char *err, size_t errlen)
{
	struct cert_trust *t = calloc(1, sizeof(*t));

	ERR_clear_error();
	if (t == NULL || (t->store = X509_STORE_new()) == NULL ||
	    (t->crls = sk_X509_CRL_new_null()) == NULL) {
		snprintf(err, errlen, "no memory");
		cert_trust_free(&t);
		return NULL;
	}
	t->flags = flags;
	if (load(t, ca, ca_len, load_cas, err, errlen) == -1 ||
	    load(t, crl, crl_len, load_crls, err, errlen) == -1)
		cert_trust_free(&t);
	return t;
}

void
cert_trust_free(struct cert_trust **tp)
{
	struct cert_trust *t = *tp;

	if (t == NULL)
		return;
	X509_STORE_free(t->store);
	sk_X509_CRL_pop_free(t->crls, X509_CRL_free);
	free(t);
	*tp = NULL;
}

/* ---- the chain ---- */

static X509 *
read_der(const unsigned char *p, size_t len)
{
	const unsigned char *end = p;
	X509 *x = d2i_X509(NULL, &end, (long)len);

	if (x != NULL && end != p + len) {
		X509_free(x);
		x = NULL;
	}
	return x;
}

/* All certificates, the peer's first; NULL if one is broken. */
static STACK_OF(X509) * read_chain(const unsigned char *p, size_t len)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	uint32_t n;
	X509 *x;

	while (
	    chain != NULL && len > 0 && sk_X509_num(chain) < CERT_CHAIN_MAX) {
		if (len < sizeof(n))
			goto broken;
		memcpy(&n, p, sizeof(n));
		p += sizeof(n);
		len -= sizeof(n);
		if (n > len || (x = read_der(p, n)) == NULL)
			goto broken;
		if (sk_X509_push(chain, x) == 0) {
			X509_free(x);
			goto broken;
		}
		p += n;
		len -= n;
	}
	if (chain == NULL || sk_X509_num(chain) > 0)
		return chain;
broken:
	sk_X509_pop_free(chain, X509_free);
	return NULL;
}

/* ---- facts ---- */

static void
put_hex(const unsigned char md[32], char out[CERT_DIGEST_MAX])
{
	size_t i;

	for (i = 0; i < 32; i++)
		snprintf(out + 2 * i, 3, "%02x", md[i]);
}

static int
digests(X509 *x, struct cert_facts *f)
{
	unsigned char md[EVP_MAX_MD_SIZE], *der = NULL;
	int len;

	if (X509_digest(x, EVP_sha256(), md, NULL) != 1)
		return -1;
	put_hex(md, f->sha256);
	if ((len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der)) <= 0)
		return -1;
	EVP_Digest(der, (size_t)len, md, NULL, EVP_sha256(), NULL);
	put_hex(md, f->spki_sha256);
	OPENSSL_free(der);
	return 0;
}

/* Names of the types as OpenSSL prints them: short name, else dotted OID. */
static const char *
type_name(const ASN1_OBJECT *obj, char buf[TYPE_MAX])
{
	int nid = OBJ_obj2nid(obj);
	const char *sn = nid != NID_undef ? OBJ_nid2sn(nid) : NULL;

	if (sn != NULL)
		return sn;
	if (OBJ_obj2txt(buf, TYPE_MAX, obj, 1) <= 0)
		return "?";
	return buf;
}

/* Both forms of a name; returns CERTNAME_* bits. */
static unsigned
names(const X509_NAME *name, char *dn, char *cn)
{
	static const unsigned char nothing[1];
	struct certname_attr attr[ATTRS_MAX];
	char types[ATTRS_MAX][TYPE_MAX];
	int i, n = X509_NAME_entry_count(name);
	unsigned bits = 0;

	if (n > ATTRS_MAX) {
		n = ATTRS_MAX;
		bits = CERTNAME_CUT;
	}
	for (i = 0; i < n; i++) {
		const X509_NAME_ENTRY *e = X509_NAME_get_entry(name, i);
		const ASN1_STRING *v = X509_NAME_ENTRY_get_data(e);
		const unsigned char *data = ASN1_STRING_get0_data(v);

		attr[i].rdn = (unsigned)X509_NAME_ENTRY_set(e);
		attr[i].type =
		    type_name(X509_NAME_ENTRY_get_object(e), types[i]);
		attr[i].value = data != NULL ? data : nothing;
		attr[i].len = data != NULL ? (size_t)ASN1_STRING_length(v) : 0;
	}
	certname_cn(attr, (size_t)n, cn);
	return bits | certname_dn(attr, (size_t)n, dn);
}

/* printable ASCII with an "@" inside: what can be an address at all */
static bool
is_email(const unsigned char *p, size_t len)
{
	const unsigned char *at;
	size_t i;

	if (len < 3 || len >= CERT_EMAIL_MAX)
		return false;
	for (i = 0; i < len; i++)
		if (p[i] <= ' ' || p[i] >= 0x7f)
			return false;
	at = memchr(p, '@', len);
	return at != NULL && at != p && at != p + len - 1 &&
	    memchr(at + 1, '@', (size_t)(p + len - 1 - at)) == NULL;
}

static void
emails(const X509 *x, struct cert_facts *f)
{
	GENERAL_NAMES *list =
	    X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	const GENERAL_NAME *g;
	int i;

	for (i = 0; i < sk_GENERAL_NAME_num(list) && !f->emails_cut; i++) {
		g = sk_GENERAL_NAME_value(list, i);
		if (g->type != GEN_EMAIL)
			continue;
		const unsigned char *p = ASN1_STRING_get0_data(g->d.rfc822Name);
		size_t len = (size_t)ASN1_STRING_length(g->d.rfc822Name);

		if (!is_email(p, len))
			continue;
		if (f->nemail == CERT_EMAILS) {
			f->emails_cut = true;
			continue;
		}
		memcpy(f->email[f->nemail], p, len);
		f->email[f->nemail++][len] = '\0';
	}
	GENERAL_NAMES_free(list);
}

static int64_t
seconds(const ASN1_TIME *t)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(t, &tm) != 1)
		return 0;
	return (int64_t)timegm(&tm);
}

static void
dates(const X509 *x, time_t now, struct cert_facts *f)
{
	const ASN1_TIME *from = X509_get0_notBefore(x);
	const ASN1_TIME *to = X509_get0_notAfter(x);

	f->not_before = seconds(from);
	f->not_after = seconds(to);
	/* 0 is an error in the time itself */
	f->in_dates =
	    X509_cmp_time(from, &now) < 0 && X509_cmp_time(to, &now) > 0;
}

/*
 * Listed in a CRL that names the same issuer?  Asked apart from verification,
 * which ends with its first error and may not have come to the CRL.
 */
static bool
is_revoked(const struct cert_trust *t, X509 *x)
{
	X509_REVOKED *entry;
	X509_CRL *crl;
	int i;

	if (t == NULL)
		return false;
	for (i = 0; i < sk_X509_CRL_num(t->crls); i++) {
		crl = sk_X509_CRL_value(t->crls, i);
		if (X509_NAME_cmp(X509_CRL_get_issuer(crl),
			X509_get_issuer_name(x)) == 0 &&
		    X509_CRL_get0_by_cert(crl, &entry, x) == 1)
			return true;
	}
	return false;
}

/* ---- verification ---- */

/* Returns an X509_V_ code; -1 if the library failed. */
static int
verify_for(
    const struct cert_trust *t, STACK_OF(X509) * chain, time_t now, int purpose)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509_VERIFY_PARAM *param;
	int rc = -1;

	if (ctx == NULL ||
	    X509_STORE_CTX_init(
		ctx, t->store, sk_X509_value(chain, 0), chain) != 1)
		goto out;
	X509_STORE_CTX_set_purpose(ctx, purpose);
	param = X509_STORE_CTX_get0_param(ctx);
	X509_VERIFY_PARAM_set_time(param, now);
	X509_VERIFY_PARAM_set_auth_level(param, SECURITY_LEVEL);
	/* without a callback it stops at the first error and keeps it */
	rc = X509_verify_cert(ctx) == 1 ? X509_V_OK
					: X509_STORE_CTX_get_error(ctx);
out:
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return rc;
}

static bool
is_crl_trouble(int code)
{
	switch (code) {
	case X509_V_ERR_UNABLE_TO_GET_CRL:
	case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
	case X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE:
	case X509_V_ERR_CRL_SIGNATURE_FAILURE:
	case X509_V_ERR_CRL_NOT_YET_VALID:
	case X509_V_ERR_CRL_HAS_EXPIRED:
	case X509_V_ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD:
	case X509_V_ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD:
		return true;
	default:
		return false;
	}
}

static void
set_fail(struct cert_facts *f, const char *why)
{
	f->verify = CERT_FAIL;
	snprintf(f->reason, sizeof(f->reason), "%s", why);
}

static int
verify(const struct cert_trust *t, STACK_OF(X509) * chain, time_t now,
    struct cert_facts *f)
{
	int code;

	if (t == NULL) {
		set_fail(f, "no CA of client certificates is configured");
		return 0;
	}
	code = verify_for(t, chain, now, X509_PURPOSE_SSL_CLIENT);
	if (code == X509_V_ERR_INVALID_PURPOSE &&
	    (t->flags & CERT_ACCEPT_SERVER) != 0)
		code = verify_for(t, chain, now, X509_PURPOSE_SSL_SERVER);
	if (code == -1)
		return -1;
	if (code == X509_V_OK) {
		f->verify = CERT_OK;
		return 0;
	}
	set_fail(f, X509_verify_cert_error_string(code));
	f->crl_trouble = is_crl_trouble(code);
	return 0;
}

/* Names that do not tell subjects apart must not be decided by. */
static void
distrust_names(unsigned bits, struct cert_facts *f)
{
	if (bits == 0 || f->verify != CERT_OK)
		return;
	if ((bits & CERTNAME_NUL) != 0)
		set_fail(f, "subject or issuer has a NUL");
	else if ((bits & CERTNAME_CUT) != 0)
		set_fail(f, "subject or issuer is too long");
	else
		set_fail(f, "subject or issuer is ambiguous");
}

enum cert_rc
cert_examine(const struct cert_trust *t, const unsigned char *der, size_t len,
    int64_t now, struct cert_facts *f)
{
	enum cert_rc rc = CERT_RC_FAILED;
	STACK_OF(X509) * chain;
	unsigned bits;
	X509 *x;

	memset(f, 0, sizeof(*f));
	ERR_clear_error();
	if ((chain = read_chain(der, len)) == NULL) {
		ERR_clear_error();
		return CERT_RC_MALFORMED;
	}
	x = sk_X509_value(chain, 0);
	if (digests(x, f) == -1 || verify(t, chain, (time_t)now, f) == -1)
		goto out;
	bits = names(X509_get_subject_name(x), f->subject, f->cn_subject);
	bits |= names(X509_get_issuer_name(x), f->issuer, f->cn_issuer);
	f->vague = bits != 0;
	distrust_names(bits, f);
	emails(x, f);
	dates(x, (time_t)now, f);
	f->revoked = is_revoked(t, x);
	rc = CERT_RC_OK;
out:
	sk_X509_pop_free(chain, X509_free);
	ERR_clear_error();
	return rc;
}

/* ---- mapping ---- */

static void
forget_names(struct cert_facts *f)
{
	f->subject[0] = f->issuer[0] = '\0';
	f->cn_subject[0] = f->cn_issuer[0] = '\0';
}

/* A pin is found: good in its dates and as long as no CRL lists it. */
static enum cert_map
use_pin(struct cert_facts *f)
{
	if (!f->in_dates || f->revoked) {
		set_fail(f,
		    f->revoked ? "certificate revoked"
			       : "pinned certificate is outside its dates");
		return CERT_MAP_UNUSABLE;
	}
	if (f->verify != CERT_OK) {
		f->verify = CERT_TRUSTED;
		forget_names(f);
	}
	return CERT_MAP_FOUND;
}

static enum cert_map
ask(cert_lookup_fn *lookup, void *arg, enum cert_key key, const char *value,
    const char *issuer, struct cert_owner *out)
{
	memset(out, 0, sizeof(*out));
	out->by = key;
	snprintf(out->key, sizeof(out->key), "%s", value);
	return lookup(arg, key, value, issuer, out);
}

/* Two users' addresses in one certificate tell nothing. */
static enum cert_map
by_email(const struct cert_facts *f, cert_lookup_fn *lookup, void *arg,
    struct cert_owner *out)
{
	enum cert_map found = CERT_MAP_NONE, rc;
	struct cert_owner one;
	size_t i;

	if (f->emails_cut)
		return CERT_MAP_AMBIGUOUS;
	for (i = 0; i < f->nemail; i++) {
		rc = ask(lookup, arg, CERT_KEY_EMAIL, f->email[i], NULL, &one);
		if (rc == CERT_MAP_NONE)
			continue;
		if (rc != CERT_MAP_FOUND)
			return rc;
		if (found == CERT_MAP_FOUND && strcmp(one.user, out->user) != 0)
			return CERT_MAP_AMBIGUOUS;
		if (found == CERT_MAP_NONE)
			*out = one;
		found = CERT_MAP_FOUND;
	}
	return found;
}

static enum cert_map
find_user(struct cert_facts *f, cert_lookup_fn *lookup, void *arg,
    struct cert_owner *out)
{
	enum cert_map rc;

	rc = ask(lookup, arg, CERT_KEY_SHA256, f->sha256, NULL, out);
	if (rc == CERT_MAP_NONE)
		rc = ask(lookup, arg, CERT_KEY_SPKI, f->spki_sha256, NULL, out);
	if (rc == CERT_MAP_FOUND)
		return use_pin(f);
	if (rc != CERT_MAP_NONE || f->verify != CERT_OK)
		return rc;
	rc = by_email(f, lookup, arg, out);
	if (rc == CERT_MAP_NONE)
		rc = ask(
		    lookup, arg, CERT_KEY_SUBJECT, f->subject, f->issuer, out);
	return rc;
}

enum cert_map
cert_map_user(struct cert_facts *f, cert_lookup_fn *lookup, void *arg,
    struct cert_owner *out)
{
	enum cert_map rc = find_user(f, lookup, arg, out);

	if (rc == CERT_MAP_FOUND)
		return rc;
	if (rc == CERT_MAP_UNUSABLE && f->verify != CERT_FAIL)
		set_fail(f, "expired or revoked in the user store");
	memset(out, 0, sizeof(*out));
	out->by = CERT_KEY_NONE;
	return rc;
}
