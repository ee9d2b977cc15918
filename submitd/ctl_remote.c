/*
 * submitctl's side of the control socket: one request, one answer, in lines
 * of JSON (see control.h).
 */
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "ctl.h"
#include "mem.h"

enum {
	ANSWER_S = 60,            /* without a byte from the server */
	TRY_S = 5,                /* the same, where it is no matter */
	LINE_MAX_BYTES = 4 << 20, /* of one line of the answer */
};

static int
no_server(const struct ctl *ctl, int e)
{
	const char *path = ctl->conf.control_socket;

	if (e == EACCES || e == EPERM)
		return ctl_fail(EX_NOPERM,
		    "%s: no permission: the queue answers root and the user "
		    "it runs as",
		    path);
	return ctl_fail(EX_UNAVAILABLE,
	    "%s: no answer (%s): is submitd running with this configuration "
	    "(%s)?",
	    path, strerror(e), ctl->conf_file);
}

/* A connected descriptor, or -1 with errno. */
static int
connect_to(const char *path, int limit_s)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = limit_s };
	int fd, e;

	if (strlen(path) >= sizeof(sun.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(sun.sun_path, path);
	if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) == -1)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	e = errno;
	close(fd);
	errno = e;
	return -1;
}

/* Takes the request. */
static int
send_request(int fd, json_t *request)
{
	char *text = json_dumps(request, JSON_COMPACT);
	struct buf line = { 0 };
	ssize_t n = 0;

	json_decref(request);
	if (text == NULL)
		abort();
	buf_add(&line, text, strlen(text));
	buf_add(&line, "\n", 1);
	free(text);
	for (; line.len > 0 && n != -1; buf_drop(&line, (size_t)n)) {
		n = send(fd, buf_head(&line), line.len, MSG_NOSIGNAL);
		if (n == -1 && errno == EINTR)
			n = 0;
		if (n == -1)
			break;
	}
	buf_clear(&line);
	return n == -1 ? -1 : 0;
}

/*
 * The next line without its newline, as JSON; NULL with errno, which is
 * EBADMSG where the server did not keep to the protocol.
 */
static json_t *
next_line(int fd, struct buf *in)
{
	const unsigned char *newline;
	json_t *line;
	ssize_t n;
	size_t len;

	while (in->len == 0 ||
	    (newline = memchr(buf_head(in), '\n', in->len)) == NULL) {
		errno = EBADMSG;
		if (in->len > LINE_MAX_BYTES)
			return NULL;
		n = recv(fd, buf_room(in, 65536), 65536, 0);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == 0)
			errno = EBADMSG;
		if (n <= 0)
			return NULL;
		buf_grew(in, (size_t)n);
	}
	len = (size_t)(newline - buf_head(in));
	line = json_loadb((const char *)buf_head(in), len, 0, NULL);
	buf_drop(in, len + 1);
	if (!json_is_object(line)) {
		json_decref(line);
		errno = EBADMSG;
		return NULL;
	}
	return line;
}

static int
refused(const json_t *end)
{
	json_int_t status = json_integer_value(json_object_get(end, "exit"));
	const char *text = json_string_value(json_object_get(end, "error"));

	if (status < 1 || status > 255)
		status = EX_SOFTWARE;
	return ctl_fail((int)status, "%s",
	    text != NULL ? text : "the server refused without a reason");
}

/* Reads the answer up to its last line. */
static int
read_answer(int fd, const struct ctl *ctl, json_t *items, json_t **end)
{
	struct buf in = { 0 };
	json_t *line, *item;

	*end = NULL;
	while (*end == NULL && (line = next_line(fd, &in)) != NULL) {
		if ((item = json_object_get(line, "item")) != NULL) {
			if (items != NULL)
				json_array_append(items, item);
			json_decref(line);
		} else
			*end = line;
	}
	buf_clear(&in);
	if (*end == NULL && errno == EBADMSG)
		return ctl_fail(EX_PROTOCOL,
		    "%s: the answer broke off or is not understood",
		    ctl->conf.control_socket);
	return *end == NULL ? no_server(ctl, errno) : 0;
}

int
ctl_ask(const struct ctl *ctl, json_t *request, json_t *items, json_t **end)
{
	json_t *last = NULL;
	int fd, status;

	if ((fd = connect_to(ctl->conf.control_socket, ANSWER_S)) == -1) {
		json_decref(request);
		return no_server(ctl, errno);
	}
	status = send_request(fd, request) == -1
	    ? no_server(ctl, errno)
	    : read_answer(fd, ctl, items, &last);
	close(fd);
	if (status == 0 && !json_is_true(json_object_get(last, "ok")))
		status = refused(last);
	if (status == 0 && end != NULL)
		*end = json_incref(last);
	json_decref(last);
	return status;
}

/* Items up to the last line; whether that one says ok. */
static bool
take_items(int fd, json_t *items)
{
	struct buf in = { 0 };
	json_t *line, *item;
	bool more = true, ok = false;

	while (more && (line = next_line(fd, &in)) != NULL) {
		if ((item = json_object_get(line, "item")) != NULL)
			json_array_append(items, item);
		else {
			ok = json_is_true(json_object_get(line, "ok"));
			more = false;
		}
		json_decref(line);
	}
	buf_clear(&in);
	return ok;
}

int
ctl_try(const struct ctl *ctl, json_t *request, json_t *items)
{
	int fd = connect_to(ctl->conf.control_socket, TRY_S);
	bool ok;

	if (fd == -1) {
		json_decref(request);
		return -1;
	}
	ok = send_request(fd, request) == 0 && take_items(fd, items);
	close(fd);
	return ok ? 0 : -1;
}

json_t *
ctl_suspended(const struct ctl *ctl)
{
	json_t *items = json_array();

	ctl_try(ctl, json_pack("{s:s}", "cmd", "user.suspended"), items);
	return items;
}

const json_t *
ctl_suspended_find(const json_t *suspended, const char *sender)
{
	const char *user;
	const json_t *item;
	size_t i;

	json_array_foreach(suspended, i, item)
	{
		user = json_string_value(json_object_get(item, "user"));
		if (user != NULL && strcmp(user, sender) == 0)
			return item;
	}
	return NULL;
}
