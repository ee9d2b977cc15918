/*
 * load_report.c: samples of times, their percentiles, and the report as text
 * and JSON.
 */
#include "load.h"

static const char *const failure_name[] = { "connect", "tls", "closed",
	"timeout", "protocol", "extension" };

void
sample_add(struct samples *s, uint64_t ns)
{
	if (s->len == s->cap) {
		s->cap = s->cap == 0 ? 1024 : s->cap * 2;
		s->ns = realloc(s->ns, s->cap * sizeof(*s->ns));
		if (s->ns == NULL)
			bench_die("out of memory");
	}
	s->ns[s->len++] = ns;
}

static int
sample_order(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void
sample_sort(struct samples *s)
{
	if (s->len > 0)
		qsort(s->ns, s->len, sizeof(*s->ns), sample_order);
}

/* Percentile of sorted samples, nearest rank, in milliseconds. */
static double
sample_ms(const struct samples *s, unsigned int percent)
{
	size_t rank;

	if (s->len == 0)
		return 0;
	rank = (s->len * percent + 99) / 100;
	return (double)s->ns[rank == 0 ? 0 : rank - 1] / 1e6;
}

static void
print_times(const char *name, struct samples *s)
{
	printf("\"%s\": {\"count\": %zu, \"p50\": %.3f, \"p90\": %.3f, "
	       "\"p99\": %.3f, \"max\": %.3f}, ",
	    name, s->len, sample_ms(s, 50), sample_ms(s, 90), sample_ms(s, 99),
	    sample_ms(s, 100));
}

static void
print_errors(void)
{
	const char *comma = "";
	unsigned int i;

	printf("\"errors\": {");
	for (i = 0; i < FAIL_COUNT; i++) {
		if (run.errors[i].count == 0)
			continue;
		if (i < FAIL_CONNECT)
			printf("%s\"%u\": ", comma, i);
		else
			printf("%s\"%s\": ", comma,
			    failure_name[i - FAIL_CONNECT]);
		printf("{\"count\": %lu, \"first\": \"%s\"}",
		    run.errors[i].count, run.errors[i].first);
		comma = ", ";
	}
	printf("}");
}

static void
print_json(double seconds)
{
	printf("{\"run\": \"%s\", \"sessions\": %lu, \"sessions_ok\": %lu, "
	       "\"held\": %lu, \"messages_ok\": %lu, \"octets\": %lu, "
	       "\"start_ns\": %llu, \"seconds\": %.4f, "
	       "\"sessions_per_s\": %.1f, \"messages_per_s\": %.1f, "
	       "\"mb_per_s\": %.2f, ",
	    opt.run, run.ended + run.held, run.good, run.held, run.messages,
	    run.octets, (unsigned long long)run.from_ns, seconds,
	    (double)(opt.idle > 0 ? run.opened : run.good) / seconds,
	    (double)run.messages / seconds, (double)run.octets / seconds / 1e6);
	print_times("session_ms", &run.session);
	print_times("dot_ms", &run.dot);
	printf("\"tls\": \"%s\", \"resumed\": %lu, \"cpu_s\": %.3f, "
	       "\"failures\": %lu, ",
	    run.tls == NULL ? "" : run.tls, run.resumed, bench_cpu(),
	    run.failures);
	print_errors();
	printf("}\n");
	fflush(stdout);
}

void
report(void)
{
	double seconds = (double)(run.until_ns - run.from_ns) / 1e9;
	FILE *text = opt.json ? stderr : stdout;

	sample_sort(&run.session);
	sample_sort(&run.dot);
	if (opt.json)
		print_json(seconds);
	fprintf(text,
	    "%lu sessions, %lu messages in %.2f s: %.0f sessions/s, "
	    "%.0f messages/s; session p50 %.2f p99 %.2f ms, dot p50 %.2f "
	    "p99 %.2f ms; %lu held, %lu failures\n",
	    run.good, run.messages, seconds, (double)run.good / seconds,
	    (double)run.messages / seconds, sample_ms(&run.session, 50),
	    sample_ms(&run.session, 99), sample_ms(&run.dot, 50),
	    sample_ms(&run.dot, 99), run.held, run.failures);
}
