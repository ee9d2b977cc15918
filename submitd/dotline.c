/*
 * Transparency of DATA, and the lines of BDAT. The decoder is a small automaton
 * for the first bytes of a line and a scan by memchr() for the rest of it; the
 * encoder and the chunks of BDAT need only the scan. What the sink gets is
 * always a run of the input or a constant.
 */
#include "dotline.h"

#include <string.h>

/* Where the decoder stands on the wire. */
enum {
	LINE,   /* inside a line */
	CR,     /* behind a CR inside a line; the CR has been put out */
	START,  /* at the start of a line */
	DOT,    /* behind a dot at the start, which is held back */
	DOT_CR, /* behind dot and CR at the start, both held back */
};

struct run {
	dotline_sink *sink;
	void *arg;
	uint64_t *size;
};

static void
emit(const struct run *r, const char *from, const char *to)
{
	if (to > from) {
		*r->size += (uint64_t)(to - from);
		r->sink(r->arg, from, (size_t)(to - from));
	}
}

void
dotline_in_init(struct dotline_in *d, bool normalize)
{
	*d = (struct dotline_in){ .state = START, .normalize = normalize };
}

void
dotline_in_init_chunks(struct dotline_in *d, bool normalize)
{
	*d = (struct dotline_in){
		.state = LINE, .chunks = true, .normalize = normalize
	};
}

void
dotline_in_end(struct dotline_in *d)
{
	d->done = true;
	if (d->state == CR)
		d->bare_cr = true;
	if (d->line > DOTLINE_LINE_MAX)
		d->long_line = true;
}

/* A line has ended, len bytes behind what came of it before. */
static void
measure(struct dotline_in *d, size_t len, bool crlf)
{
	if (d->line + len - crlf > DOTLINE_LINE_MAX)
		d->long_line = true;
	d->line = 0;
}

/*
 * Scans the rest of a line from p, in state LINE or CR; of chunks all lines.
 * Returns where it stopped: behind the CR LF, at a bare LF that must be
 * rewritten, or at the end.
 */
static const char *
scan_line(struct dotline_in *d, const char *p, const char *end)
{
	const char *lf, *cr;
	bool crlf;

	for (;;) {
		lf = memchr(p, '\n', (size_t)(end - p));
		cr = memchr(p, '\r', (size_t)((lf != NULL ? lf : end) - p));
		/* a CR that LF does not follow at once */
		if ((d->state == CR && lf != p) ||
		    (cr != NULL && cr + 1 != (lf != NULL ? lf : end)))
			d->bare_cr = true;
		if (lf == NULL) {
			/* a last CR waits for its LF in the next piece */
			if (p < end)
				d->state = end[-1] == '\r' ? CR : LINE;
			d->line += (size_t)(end - p);
			return end;
		}
		crlf = lf > p ? lf[-1] == '\r' : d->state == CR;
		measure(d, (size_t)(lf - p), crlf);
		if (crlf && !d->chunks) {
			d->state = START;
			return lf + 1;
		}
		if (!crlf) {
			d->bare_lf = true;
			if (d->normalize)
				return lf;
		}
		d->state = LINE;
		p = lf + 1;
	}
}

/*
 * Takes one byte in one of the states at the start of a line. What is put out
 * begins at *from, in the input: a held dot is dropped by not going back to it.
 */
static const char *
line_start(
    struct dotline_in *d, const struct run *r, const char *p, const char **from)
{
	static const char cr[] = "\r";

	switch (d->state) {
	case START:
		if (*p != '.') {
			d->state = LINE;
			return p;
		}
		emit(r, *from, p);
		d->state = DOT;
		*from = p + 1;
		return p + 1;
	case DOT:
		if (*p == '\r') {
			d->state = DOT_CR;
			*from = p + 1;
			return p + 1;
		}
		d->state = LINE;
		return p;
	default: /* DOT_CR */
		if (*p == '\n') {
			d->done = true;
			*from = p + 1;
			return p + 1;
		}
		/* only a line that begins with a dot and CR */
		emit(r, cr, cr + 1);
		d->state = CR;
		return p;
	}
}

size_t
dotline_in_feed(struct dotline_in *d, const void *in, size_t len,
    dotline_sink *sink, void *arg)
{
	const struct run r = { sink, arg, &d->size };
	const char *start = in, *p = start, *end = start + len, *from = start;
	static const char crlf[] = "\r\n";

	while (p < end && !d->done) {
		if (d->state != LINE && d->state != CR) {
			p = line_start(d, &r, p, &from);
			continue;
		}
		p = scan_line(d, p, end);
		if (p < end && d->state != START) {
			emit(&r, from, p);
			emit(&r, crlf, crlf + 2);
			d->state = LINE;
			from = ++p;
		}
	}
	emit(&r, from, p);
	if (!d->nul && memchr(start, '\0', (size_t)(p - start)) != NULL)
		d->nul = true;
	return (size_t)(p - start);
}

void
dotline_out_init(struct dotline_out *d)
{
	*d = (struct dotline_out){ .line_start = true, .crlf = true };
}

void
dotline_out_feed(struct dotline_out *d, const void *in, size_t len,
    dotline_sink *sink, void *arg)
{
	const char *p = in, *end = p + len, *from = p, *lf;

	for (; p < end; p = lf + 1) {
		if (d->line_start && *p == '.') {
			/* the run ends with this dot, the next begins with it */
			sink(arg, from, (size_t)(p + 1 - from));
			from = p;
		}
		lf = memchr(p, '\n', (size_t)(end - p));
		d->line_start = lf != NULL;
		if (lf == NULL)
			break;
	}
	if (from < end)
		sink(arg, from, (size_t)(end - from));
	if (len > 0) {
		d->crlf =
		    end[-1] == '\n' && (len > 1 ? end[-2] == '\r' : d->cr);
		d->cr = end[-1] == '\r';
	}
}

void
dotline_out_end(struct dotline_out *d, dotline_sink *sink, void *arg)
{
	static const char end[] = "\r\n.\r\n";

	/* a bare LF is not enough: only CR LF makes the dot end it */
	if (d->crlf)
		sink(arg, end + 2, 3);
	else
		sink(arg, end, 5);
}
