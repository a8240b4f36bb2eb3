/* SPDX-License-Identifier: Apache-2.0 */
/* The local kind "file": opening the namespace, and what its two kinds of qpair share. */
#include "transport/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#define MIN_BLOCK 512u
#define MAX_BLOCK (64u * 1024)

/* ---- the namespace ---- */

struct opening {
	struct file_ns *ns;
	const struct file_ns_config *cfg;
	char *err;
	unsigned err_len;
};

__attribute__((format(printf, 3, 4))) static int refuse(struct opening *o, int error,
							const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(o->err, o->err_len, fmt, ap);
	va_end(ap);
	return -error;
}

static int refuse_errno(struct opening *o, const char *what)
{
	int e = errno;

	return refuse(o, e, "%s: %s: %s", o->cfg->path, what, strerror(e));
}

/* A new file is only there after a crash if its directory is on disk too. */
static int sync_parent(const char *path)
{
	char dir[PATH_MAX];
	int fd, e;

	snprintf(dir, sizeof(dir), "%s", path);
	fd = open(dirname(dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	e = fsync(fd) ? errno : 0;
	close(fd);
	errno = e;
	return e ? -1 : 0;
}

static int open_regular(struct opening *o, const struct stat *st, uint64_t *size)
{
	const struct file_ns_config *cfg = o->cfg;

	*size = (uint64_t)st->st_size;
	if (cfg->read_only || cfg->size <= *size)
		return 0;
	if (cfg->size > INT64_MAX)
		return refuse(o, EFBIG, "%s: size too large", cfg->path);
	if (ftruncate(o->ns->fd, (off_t)cfg->size))
		return refuse_errno(o, "cannot extend");
	if (fsync(o->ns->fd) || sync_parent(cfg->path))
		return refuse_errno(o, "cannot sync");
	*size = cfg->size;
	return 0;
}

static int open_block_device(struct opening *o, uint64_t *size, uint32_t *block)
{
	int logical;

	if (o->cfg->size)
		return refuse(o, EINVAL, "%s: a block device has its own size", o->cfg->path);
	if (ioctl(o->ns->fd, BLKGETSIZE64, size) || ioctl(o->ns->fd, BLKSSZGET, &logical))
		return refuse_errno(o, "cannot read its size");
	if (!*block)
		*block = (uint32_t)logical;
	if (*block < (uint32_t)logical)
		return refuse(o, EINVAL, "%s: block size %u is below the device's %d", o->cfg->path,
			      *block, logical);
	return 0;
}

static int open_storage(struct opening *o)
{
	const struct file_ns_config *cfg = o->cfg;
	struct file_ns *ns = o->ns;
	uint32_t block = cfg->block_size;
	int flags = O_CLOEXEC, e;
	uint64_t size;
	struct stat st;

	flags |= cfg->read_only ? O_RDONLY : O_RDWR;
	if (cfg->size && !cfg->read_only)
		flags |= O_CREAT;
	ns->fd = open(cfg->path, flags, 0600);
	if (ns->fd < 0 || fstat(ns->fd, &st))
		return refuse_errno(o, "cannot open");
	if (S_ISREG(st.st_mode))
		e = open_regular(o, &st, &size);
	else if (S_ISBLK(st.st_mode))
		e = open_block_device(o, &size, &block);
	else
		e = refuse(o, EINVAL, "%s: neither a regular file nor a block device", cfg->path);
	if (e)
		return e;
	if (!block)
		block = MIN_BLOCK;
	if (block < MIN_BLOCK || block > MAX_BLOCK || (block & (block - 1)))
		return refuse(o, EINVAL, "%s: block size %u is not a power of two from %u to %u",
			      cfg->path, block, MIN_BLOCK, MAX_BLOCK);
	ns->shift = (uint8_t)__builtin_ctz(block);
	ns->blocks = size >> ns->shift;
	if (!ns->blocks)
		return refuse(o, EINVAL, "%s: smaller than one block", cfg->path);
	ns->path = realpath(cfg->path, NULL);
	if (!ns->path)
		return refuse_errno(o, "cannot resolve");
	return 0;
}

static bool is_set(const uint8_t *id, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (id[i])
			return true;
	return false;
}

/*
 * A UUID (RFC 9562 version 5 in form) from the path, and from the machine: two machines may have
 * different files of the same path, and those must never be taken for one namespace.
 */
static int derive_uuid(struct file_ns *ns)
{
	unsigned char text[PATH_MAX + 128], md[EVP_MAX_MD_SIZE];
	int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
	ssize_t n = 0;
	size_t len;

	if (fd >= 0) {
		n = read(fd, text, 64);
		close(fd);
	}
	if (n < 0)
		n = 0;
	len = strlen(ns->path);
	if (len > PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(text + n, ns->path, len);
	if (!EVP_Digest(text, (size_t)n + len, md, NULL, EVP_sha1(), NULL))
		return -ENOTSUP;
	memcpy(ns->uuid, md, 16);
	ns->uuid[6] = (ns->uuid[6] & 0x0f) | 0x50;
	ns->uuid[8] = (ns->uuid[8] & 0x3f) | 0x80;
	return 0;
}

static int identify(struct opening *o)
{
	const struct file_ns_config *cfg = o->cfg;
	struct file_ns *ns = o->ns;
	const uint8_t *id;

	memcpy(ns->uuid, cfg->uuid, sizeof(ns->uuid));
	memcpy(ns->nguid, cfg->nguid, sizeof(ns->nguid));
	memcpy(ns->eui64, cfg->eui64, sizeof(ns->eui64));
	ns->has_nguid = is_set(ns->nguid, sizeof(ns->nguid));
	ns->has_eui64 = is_set(ns->eui64, sizeof(ns->eui64));
	if (!is_set(ns->uuid, sizeof(ns->uuid)) && !ns->has_nguid && !ns->has_eui64 &&
	    derive_uuid(ns))
		return refuse(o, ENOTSUP, "%s: cannot derive a UUID", cfg->path);
	ns->has_uuid = is_set(ns->uuid, sizeof(ns->uuid));

	/* The subsystem's serial number: the same in every process that exports this storage. */
	id = ns->has_uuid ? ns->uuid : ns->has_nguid ? ns->nguid : ns->eui64;
	for (unsigned i = 0; i < (id == ns->eui64 ? 8 : 10); i++)
		snprintf(ns->serial + 2 * i, 3, "%02x", id[i]);
	return 0;
}

struct file_ns *file_ns_open(const struct file_ns_config *cfg, char *err, unsigned err_len)
{
	struct file_ns *ns = calloc(1, sizeof(*ns));
	struct opening o = {.ns = ns, .cfg = cfg, .err = err, .err_len = err_len};
	int e;

	if (!ns) {
		refuse(&o, ENOMEM, "%s: out of memory", cfg->path);
		errno = ENOMEM;
		return NULL;
	}
	ns->fd = -1;
	ns->cntlid = cfg->cntlid;
	ns->ana_state = cfg->ana_state;
	ns->read_only = cfg->read_only;
	snprintf(ns->subnqn, sizeof(ns->subnqn), "%s", cfg->subnqn);
	e = open_storage(&o);
	if (!e)
		e = identify(&o);
	if (e) {
		file_ns_close(ns);
		errno = -e;
		return NULL;
	}
	return ns;
}

void file_ns_close(struct file_ns *ns)
{
	if (!ns)
		return;
	if (ns->fd >= 0)
		close(ns->fd);
	free(ns->path);
	free(ns);
}

uint16_t file_ana_status(const struct file_ns *ns)
{
	switch (ns->ana_state) {
	case NVME_ANA_STATE_INACCESSIBLE:
		return NVME_ST_ANA_INACCESSIBLE;
	case NVME_ANA_STATE_PERSISTENT_LOSS:
		return NVME_STATUS(3, NVME_SC_ANA_PERSISTENT_LOSS);
	case NVME_ANA_STATE_CHANGE:
		return NVME_STATUS(3, NVME_SC_ANA_TRANSITION);
	default:
		return 0;
	}
}

/* ---- slots ---- */

int file_slots_init(struct file_slots *s, uint16_t total)
{
	s->req = calloc(total, sizeof(*s->req));
	s->free = calloc(total, sizeof(*s->free));
	if (!s->req || !s->free)
		return -ENOMEM;
	s->total = s->nr_free = total;
	for (unsigned i = 0; i < total; i++)
		s->free[i] = (uint16_t)(total - 1 - i);
	return 0;
}

void file_slots_fini(struct file_slots *s)
{
	free(s->req);
	free(s->free);
}

int file_fifo_init(struct file_fifo *f, uint16_t total)
{
	f->slot = calloc(total, sizeof(*f->slot));
	f->total = total;
	return f->slot ? 0 : -ENOMEM;
}

void file_fifo_fini(struct file_fifo *f)
{
	free(f->slot);
}

void file_fifo_push(struct file_fifo *f, uint16_t slot)
{
	assert(f->n < f->total);
	f->slot[(f->head + f->n++) % f->total] = slot;
}

uint16_t file_fifo_pop(struct file_fifo *f)
{
	uint16_t slot = f->slot[f->head];

	assert(f->n);
	f->head = (uint16_t)((f->head + 1) % f->total);
	f->n--;
	return slot;
}

/* ---- qpairs ---- */

void file_qpair_init(struct ini_qpair *qp, struct loop *loop, const struct ini_params *params,
		     const struct ini_ops *ops, void *priv)
{
	qp->loop = loop;
	qp->tr = &ini_file;
	qp->ops = ops;
	qp->priv = priv;
	qp->qid = params->qid;
	qp->cntlid = params->file_ns->cntlid;
	qp->sq_size = params->sq_size;
	qp->node = -1;
}

int file_take(struct ini_qpair *qp, struct file_slots *s, struct request *req)
{
	uint16_t slot;

	if (!qp->live)
		return -ENOTCONN;
	if (!ini_room(qp))
		return -EAGAIN;
	assert(!req->ini && s->nr_free);
	if (req->dir == NVME_DIR_C2H)
		req->filled = 0;
	else
		assert(req->filled == req->data_len);
	assert(req->data_len <= (uint32_t)req->nsegs * SEG_SIZE);
	slot = s->free[--s->nr_free];
	s->req[slot] = req;
	req->ini = qp;
	req->ini_slot = slot;
	qp->inflight++;
	stat_add(&qp->commands, 1);
	return slot;
}

void file_give_back(struct ini_qpair *qp, struct file_slots *s, uint16_t slot, int error,
		    uint16_t status)
{
	struct request *req = s->req[slot];

	s->req[slot] = NULL;
	s->free[s->nr_free++] = slot;
	qp->inflight--;
	req->ini = NULL;
	nvme_cqe_set_status(&req->cqe, status);
	if (!error && !status && req->dir == NVME_DIR_C2H)
		req->filled = req->data_len;
	req->ini_done(req, error);
}

void file_cancel_all(struct ini_qpair *qp, struct file_slots *s)
{
	for (uint16_t i = 0; i < s->total; i++)
		if (s->req[i])
			file_give_back(qp, s, i, -ECANCELED, 0);
	assert(!qp->inflight);
}

static struct ini_qpair *file_connect(struct loop *loop, const struct ini_params *params,
				      const struct ini_ops *ops, void *priv)
{
	assert(loop_is_current(loop) && params->file_ns);
	if (params->sq_size < 2) {
		errno = EINVAL;
		return NULL;
	}
	return params->qid ? file_io_connect(loop, params, ops, priv)
			   : file_admin_connect(loop, params, ops, priv);
}

static int file_submit(struct ini_qpair *qp, struct request *req)
{
	return qp->qid ? file_io_submit(qp, req) : file_admin_submit(qp, req);
}

static void file_close(struct ini_qpair *qp)
{
	if (qp->qid)
		file_io_close(qp);
	else
		file_admin_close(qp);
}

const struct ini_transport ini_file = {
	.name = "file",
	.trtype = NVMF_TRTYPE_LOOP,
	.connect = file_connect,
	.submit = file_submit,
	.close = file_close,
};
