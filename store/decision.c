/* Decisions to and from rows: see decision_private.h. */
#include "decision_private.h"

#include <stdlib.h>

static int
bind_text(sqlite3_stmt *stmt, int n, const char *text)
{
	return sqlite3_bind_text(stmt, n, text, -1, SQLITE_STATIC);
}

int
decision_bind(sqlite3_stmt *stmt, const struct decision *d)
{
	const char *const texts[24] = {
		[4] = d->phase,
		[5] = d->result,
		[6] = d->why,
		[8] = d->esc,
		[9] = d->text,
		[10] = d->user,
		[12] = d->how,
		[13] = d->client_addr,
		[14] = d->client_name,
		[15] = d->verify,
		[17] = d->cn,
		[18] = d->subject,
		[19] = d->issuer,
		[20] = d->sender,
		[21] = d->rcpt,
		[22] = d->key,
		[23] = d->ladder,
	};
	const int64_t numbers[24] = {
		[1] = d->at_us,
		[2] = (int64_t)d->sid,
		[3] = (int64_t)d->qid,
		[7] = d->code,
		[11] = d->device,
		[16] = d->bits,
	};
	int n, rc = SQLITE_OK;

	for (n = 1; n < 24 && rc == SQLITE_OK; n++)
		rc = texts[n] != NULL ? bind_text(stmt, n, texts[n])
				      : sqlite3_bind_int64(stmt, n, numbers[n]);
	return rc;
}

int
decision_bind_scan(sqlite3_stmt *stmt, int64_t first, int64_t last,
    const struct decision_filter *f)
{
	const int64_t numbers[] = { 0, first, last, (int64_t)f->sid,
		(int64_t)f->qid, 0, 0, f->since_us, f->refused };
	int n, rc = SQLITE_OK;

	for (n = 1; n <= 8 && rc == SQLITE_OK; n++)
		rc = n == 5  ? bind_text(stmt, n, f->user)
		    : n == 6 ? bind_text(stmt, n, f->addr)
			     : sqlite3_bind_int64(stmt, n, numbers[n]);
	return rc;
}

static const char *
text(sqlite3_stmt *stmt, int col)
{
	const char *s = (const char *)sqlite3_column_text(stmt, col);

	if (s == NULL) /* no column may be NULL: no memory */
		abort();
	return s;
}

void
decision_row(sqlite3_stmt *stmt, struct decision *d)
{
	*d = (struct decision){
		.id = sqlite3_column_int64(stmt, 0),
		.at_us = sqlite3_column_int64(stmt, 1),
		.sid = (uint64_t)sqlite3_column_int64(stmt, 2),
		.qid = (uint64_t)sqlite3_column_int64(stmt, 3),
		.phase = text(stmt, 4),
		.result = text(stmt, 5),
		.why = text(stmt, 6),
		.code = sqlite3_column_int(stmt, 7),
		.esc = text(stmt, 8),
		.text = text(stmt, 9),
		.user = text(stmt, 10),
		.device = sqlite3_column_int64(stmt, 11),
		.how = text(stmt, 12),
		.client_addr = text(stmt, 13),
		.client_name = text(stmt, 14),
		.verify = text(stmt, 15),
		.bits = sqlite3_column_int(stmt, 16),
		.cn = text(stmt, 17),
		.subject = text(stmt, 18),
		.issuer = text(stmt, 19),
		.sender = text(stmt, 20),
		.rcpt = text(stmt, 21),
		.key = text(stmt, 22),
		.ladder = text(stmt, 23),
	};
}
