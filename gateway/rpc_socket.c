/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/rpc_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport/log.h"

#define BACKLOG	    16
#define MODE_FOLDER 0755
#define MODE_SOCKET 0660

static int new_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* What connecting to it says: 0, or an errno. */
static int probe(const struct sockaddr_un *name)
{
	int fd = new_socket(), err = 0;

	if (fd < 0)
		return errno;
	if (connect(fd, (const struct sockaddr *)name, sizeof(*name)))
		err = errno;
	close(fd);
	return err;
}

/* Removes what a dead daemon left. NULL, or why the place cannot be used. */
static const char *clear_place(const struct sockaddr_un *name)
{
	struct stat st;

	if (lstat(name->sun_path, &st))
		return errno == ENOENT ? NULL : strerror(errno);
	if (!S_ISSOCK(st.st_mode))
		return "a file that is no socket is there; remove it or configure another "
		       "control_socket";
	switch (probe(name)) {
	case ECONNREFUSED:
		return unlink(name->sun_path) && errno != ENOENT ? strerror(errno) : NULL;
	case ENOENT:
		return NULL;
	case 0:
	case EAGAIN: /* its backlog is full */
		return "a running daemon has it; stop that one or configure another "
		       "control_socket";
	default:
		return strerror(errno);
	}
}

/* Errors show when the socket is bound. */
static void make_folder(const char *path)
{
	char folder[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char *slash;

	strcpy(folder, path);
	slash = strrchr(folder, '/');
	if (!slash || slash == folder)
		return;
	*slash = 0;
	if (mkdir(folder, MODE_FOLDER) == 0)
		log_info("made the folder %s", folder);
}

/* On a socket not yet bound fchmod() says what the file may be at most: never open to all. */
static int bind_and_listen(struct rpc_socket *s)
{
	const char *path = s->name.sun_path;

	if (fchmod(s->fd, MODE_SOCKET) ||
	    bind(s->fd, (const struct sockaddr *)&s->name, sizeof(s->name)))
		return -1;
	if (chmod(path, MODE_SOCKET) || lstat(path, &s->made) || listen(s->fd, BACKLOG)) {
		int err = errno;

		unlink(path);
		errno = err;
		return -1;
	}
	return 0;
}

int rpc_socket_open(struct rpc_socket *s, const char *path)
{
	const char *problem;

	*s = (struct rpc_socket){.name = {.sun_family = AF_UNIX}, .fd = -1};
	if (strlen(path) >= sizeof(s->name.sun_path)) {
		log_err("control socket %s: its path is longer than %zu bytes", path,
			sizeof(s->name.sun_path) - 1);
		return -1;
	}
	strcpy(s->name.sun_path, path);
	make_folder(path);
	problem = clear_place(&s->name);
	if (!problem) {
		s->fd = new_socket();
		if (s->fd >= 0 && bind_and_listen(s) == 0)
			return 0;
		problem = strerror(errno);
	}
	log_err("control socket %s: %s", path, problem);
	if (s->fd >= 0)
		close(s->fd);
	return -1;
}

void rpc_socket_close(struct rpc_socket *s)
{
	struct stat st;

	close(s->fd);
	if (lstat(s->name.sun_path, &st) == 0 && st.st_dev == s->made.st_dev &&
	    st.st_ino == s->made.st_ino)
		unlink(s->name.sun_path);
}
