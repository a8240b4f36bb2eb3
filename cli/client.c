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

/* ---- one question, one answer ---- */

static json_t *exchange_lines(int fd, const char *path, const char *request)
{
	FILE *in = fdopen(fd, "r");
	size_t len = strlen(request), size = 0;
	char *line = NULL;
	json_t *answer = NULL;

	if (!in)
		abort();
	errno = 0;
	if (send(fd, request, len, MSG_NOSIGNAL) == (ssize_t)len && getline(&line, &size, in) > 0) {
		answer = json_loads(line, 0, NULL);
		if (!answer)
			complain("the daemon at %s gave an answer that is no JSON; is it "
				 "nvmegwd?",
				 path);
	} else if (errno == EAGAIN) {
		complain("the daemon at %s has not answered for %d s; see its log", path, PATIENCE);
	} else {
		complain("the daemon at %s has hung up%s%s; see its log", path, errno ? ": " : "",
			 errno ? strerror(errno) : "");
	}
	free(line);
	fclose(in);
	return answer;
}

static json_t *exchange(const char *path, json_t *request)
{
	int fd = connect_to(path);
	json_t *answer = NULL;
	char *text, *line;

	if (fd < 0)
		return NULL;
	text = json_dumps(request, JSON_COMPACT);
	if (!text || asprintf(&line, "%s\n", text) < 0)
		abort();
	answer = exchange_lines(fd, path, line);
	free(line);
	free(text);
	return answer;
}

int client_call(const char *socket, const char *method, json_t *params, json_t **result)
{
	json_t *request = json_pack("{s:s, s:i, s:s, s:o}", "jsonrpc", "2.0", "id", 1, "method",
				    method, "params", params);
	json_t *answer = exchange(socket, request);
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
