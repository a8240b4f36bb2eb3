/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/complain.h"

#define PATIENCE 20 /* seconds */

/* ---- connecting ---- */

static const char *next_step(int err)
{
	switch (err) {
	case EACCES:
	case EPERM:
		return "try as root or as a member of the socket's group";
	case ENOENT:
	case ECONNREFUSED:
		return "is nvmegwd running? -s names another socket";
	default:
		return "is that the control socket of a running nvmegwd?";
	}
}

static int connect_to(const char *path)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = PATIENCE};
	int fd, err;

	if (strlen(path) >= sizeof(name.sun_path)) {
		complain("%s: the path of a socket has %zu bytes at most", path,
			 sizeof(name.sun_path) - 1);
		return -1;
	}
	strcpy(name.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0 &&
	    connect(fd, (const struct sockaddr *)&name, sizeof(name)) == 0)
		return fd;
	err = errno;
	complain("cannot reach the daemon at %s: %s; %s", path, strerror(err), next_step(err));
	if (fd >= 0)
		close(fd);
	return -1;
}

/* ---- lines ---- */

struct client {
	const char *path;
	int fd;
	char *in; /* what has been read and not been taken */
	size_t in_len, in_size;
};

/* False with errno set, 0 for the end of the stream. */
static bool read_more(struct client *c)
{
	ssize_t n;

	if (c->in_len == c->in_size) {
		c->in_size = 2 * c->in_size + 4096;
		c->in = realloc(c->in, c->in_size);
		if (!c->in)
			abort();
	}
	errno = 0;
	/* With a time limit it is not restarted by itself (signal(7)): top is stopped, or resized.
	 */
	n = TEMP_FAILURE_RETRY(recv(c->fd, c->in + c->in_len, c->in_size - c->in_len, 0));
	if (n <= 0)
		return false;
	c->in_len += (size_t)n;
	return true;
}

/* Takes the next line; false: it is not all here. *@line is NULL when it is no JSON. */
static bool take_line(struct client *c, json_t **line)
{
	const char *end = c->in_len ? memchr(c->in, '\n', c->in_len) : NULL;
	size_t len;

	if (!end)
		return false;
	len = (size_t)(end - c->in) + 1;
	*line = json_loadb(c->in, len, 0, NULL);
	c->in_len -= len;
	memmove(c->in, c->in + len, c->in_len);
	return true;
}

struct client *client_open(const char *socket)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c)
		abort();
	c->path = socket;
	c->fd = connect_to(socket);
	if (c->fd >= 0)
		return c;
	free(c);
	return NULL;
}

void client_close(struct client *c)
{
	close(c->fd);
	free(c->in);
	free(c);
}

int client_fd(const struct client *c)
{
	return c->fd;
}

bool client_hear(struct client *c)
{
	return read_more(c) || errno == EAGAIN;
}

json_t *client_line(struct client *c)
{
	json_t *line = NULL;

	take_line(c, &line);
	return line;
}

/* ---- one question, one answer ---- */

static void say_what_failed(const struct client *c, int err)
{
	if (err == EAGAIN)
		complain("the daemon at %s has not answered for %d s; see its log", c->path,
			 PATIENCE);
	else
		complain("the daemon at %s has hung up%s%s; see its log", c->path, err ? ": " : "",
			 err ? strerror(err) : "");
}

static bool say(const struct client *c, const char *text, size_t len)
{
	while (len) {
		ssize_t n = TEMP_FAILURE_RETRY(send(c->fd, text, len, MSG_NOSIGNAL));

		if (n < 0)
			return false;
		text += n;
		len -= (size_t)n;
	}
	return true;
}

static json_t *exchange(struct client *c, const json_t *request)
{
	json_t *answer = NULL;
	char *text = json_dumps(request, JSON_COMPACT), *line;
	int len = text ? asprintf(&line, "%s\n", text) : -1;
	bool lost;

	if (len < 0)
		abort();
	lost = !say(c, line, (size_t)len);
	while (!lost && !take_line(c, &answer))
		lost = !read_more(c);
	if (lost)
		say_what_failed(c, errno);
	else if (!answer)
		complain("the daemon at %s gave an answer that is no JSON; is it nvmegwd?",
			 c->path);
	free(line);
	free(text);
	return answer;
}

int client_ask(struct client *c, const char *method, json_t *params, json_t **result)
{
	json_t *request = json_pack("{s:s, s:i, s:s, s:o}", "jsonrpc", "2.0", "id", 1, "method",
				    method, "params", params);
	json_t *answer = exchange(c, request);
	int status = 0;

	json_decref(request);
	if (!answer)
		return EXIT_UNREACHABLE;
	*result = json_incref(json_object_get(answer, "result"));
	if (!*result) {
		const char *message = NULL;

		json_unpack(answer, "{s:{s:s}}", "error", "message", &message);
		complain("%s", message ? message : "the daemon gave an answer without a result");
		status = EXIT_REFUSED;
	}
	json_decref(answer);
	return status;
}

int client_call(const char *socket, const char *method, json_t *params, json_t **result)
{
	struct client *c = client_open(socket);
	int status;

	if (!c) {
		json_decref(params);
		return EXIT_UNREACHABLE;
	}
	status = client_ask(c, method, params, result);
	client_close(c);
	return status;
}
