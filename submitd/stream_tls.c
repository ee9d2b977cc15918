/* What a handshake has shown, for who is there: see stream.h. */
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "stream.h"
#include "tls.h"

void
stream_tls_info(const struct stream *s, struct stream_tls *t)
{
	SSL *ssl = stream_ssl(s);

	*t = (struct stream_tls){ .version = "", .cipher = "" };
	if (ssl == NULL)
		return;
	t->version = SSL_get_version(ssl);
	/* the name in the registry, as the tls clause of Received wants */
	t->cipher = SSL_CIPHER_standard_name(SSL_get_current_cipher(ssl));
	t->bits = SSL_get_cipher_bits(ssl, NULL);
	t->resumed = SSL_session_reused(ssl) == 1;
}

static bool
add_der(struct buf *out, X509 *x, size_t max)
{
	unsigned char *p;
	uint32_t n32;
	int n = i2d_X509(x, NULL);

	if (n <= 0 || out->len + sizeof(n32) + (size_t)n > max)
		return false;
	n32 = (uint32_t)n;
	buf_add(out, &n32, sizeof(n32));
	p = buf_room(out, (size_t)n);
	buf_grew(out, (size_t)n);
	i2d_X509(x, &p);
	return true;
}

void
stream_tls_chain(const struct stream *s, struct buf *out, size_t max)
{
	SSL *ssl = stream_ssl(s);
	STACK_OF(X509) * chain;
	X509 *leaf;
	int i;

	if (ssl == NULL || (leaf = SSL_get0_peer_certificate(ssl)) == NULL)
		return;
	if (!add_der(out, leaf, max))
		return;
	/* On a server the chain leaves the leaf out. */
	chain = SSL_get_peer_cert_chain(ssl);
	for (i = 0; i < sk_X509_num(chain); i++)
		if (!add_der(out, sk_X509_value(chain, i), max))
			return;
}

void
stream_tls_exporter(const struct stream *s, unsigned char out[32], size_t *len)
{
	SSL *ssl = stream_ssl(s);
	static const char label[] = "EXPORTER-Channel-Binding";

	*len = 0;
	if (ssl == NULL)
		return;
	if (SSL_version(ssl) < TLS1_3_VERSION &&
	    SSL_get_extms_support(ssl) != 1)
		return; /* RFC 9266 section 4.2 */
	if (SSL_export_keying_material(ssl, out, 32, label, sizeof(label) - 1,
		(const unsigned char *)"", 0, 1) == 1)
		*len = 32;
}

/* The first Finished message: of the client, or of the server when an earlier
 * session was resumed (RFC 5929 section 3.1). */
void
stream_tls_unique(const struct stream *s, unsigned char out[64], size_t *len)
{
	SSL *ssl = stream_ssl(s);
	bool by_server, mine;

	*len = 0;
	/* without extended master secret it is not unique (RFC 7627) */
	if (ssl == NULL || SSL_version(ssl) >= TLS1_3_VERSION ||
	    SSL_get_extms_support(ssl) != 1)
		return;
	by_server = SSL_session_reused(ssl) == 1;
	mine = by_server == (SSL_is_server(ssl) == 1);
	*len = mine ? SSL_get_finished(ssl, out, 64)
		    : SSL_get_peer_finished(ssl, out, 64);
	if (*len > 64)
		*len = 0;
}

void
stream_tls_endpoint(const struct stream *s, unsigned char out[64], size_t *len)
{
	SSL *ssl = stream_ssl(s);
	const EVP_MD *md;
	unsigned int n = 0;
	X509 *x;
	int nid;

	*len = 0;
	if (ssl == NULL || (x = tls_own(ssl)) == NULL ||
	    X509_get_signature_info(x, &nid, NULL, NULL, NULL) != 1)
		return;
	/* RFC 5929 section 4.1: MD5 and SHA-1 become SHA-256. */
	if (nid == NID_md5 || nid == NID_sha1)
		nid = NID_sha256;
	if ((md = EVP_get_digestbynid(nid)) != NULL &&
	    X509_digest(x, md, out, &n) == 1)
		*len = n;
}
