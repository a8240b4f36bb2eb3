/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An I/O queue of the emulated controller, by io_uring. A command is a row of kernel operations,
 * one at a time: an operation that has ended decides on the next one or finishes the command.
 * Operations are prepared and submitted together at the end of a turn.
 */
#include "transport/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "transport/log.h"

/* Gathers of one submission; the kernel has copied them when the submission returns. */
#define IOVS	     512u
#define SCRATCH_SIZE (128u * 1024)
#define ZERO_SIZE    (64u * 1024)
#define ZERO_IOVS    16u
#define RETRY	     NSEC_PER_MSEC /* of what the kernel or another queue is in the way of */

#define CDW12_FUA  (1u << 30)
#define CDW12_DEAC (1u << 25)
#define CDW11_AD   (1u << 2)

#define ST(sct, sc)    (uint16_t)(NVME_STATUS(sct, sc) | NVME_DNR)
#define ST_RUNNING     0xffff /* no NVMe status has this value */
#define ST_WRITE_FAULT NVME_STATUS(2, NVME_SC_WRITE_FAULT)
#define ST_READ_ERROR  NVME_STATUS(2, NVME_SC_READ_ERROR)

struct file_io;
struct file_op;

/* A kind of kernel operation: how it is prepared, and what follows from its result. */
struct step {
	void (*prepare)(struct file_io *fi, struct file_op *op, struct io_uring_sqe *sqe);
	/* ST_RUNNING with op->step being the next operation, else the command's status. */
	uint16_t (*ended)(struct file_io *fi, struct file_op *op, int res);
};

/* A command under way; its request is in the slot of the same index. */
struct file_op {
	const struct step *step; /* NULL: not begun */
	const struct step *then; /* after step_sync; NULL: the command is finished */
	uint64_t pos;		 /* bytes in the file: where the command's extent starts */
	uint64_t len, done;
	uint16_t range; /* Dataset Management: the present one */
	bool fua, has_scratch;
	struct file_claim claim;
};

struct file_io {
	struct ini_qpair qp;
	struct file_ns *ns;
	/*
	 * An open file of our own: the kernel reports a failed write-back once to each, and a
	 * failure must reach the Flush of every queue.
	 */
	int fd;
	struct io_uring ring;
	bool have_ring;
	struct loop_fd watch; /* the ring's own fd: readable while completions are waiting */
	struct loop_hook hook;
	struct loop_timer retry;
	struct file_slots slots;
	struct file_op *ops;
	struct file_fifo ready;	   /* to have its (next) operation prepared */
	struct file_fifo scratchy; /* waiting for the scratch memory */
	struct file_fifo blocked;  /* waiting for a claim */
	struct iovec iovs[IOVS];
	unsigned nr_iovs;
	unsigned prepared; /* operations given to the ring and not yet ended */
	uint8_t *scratch;  /* for data that no request has memory for; one user at a time */
	bool scratch_busy;
	bool no_zero_range, no_punch; /* the file system has said so */
	bool announced;
};

static const uint8_t zeroes[ZERO_SIZE];

static uint16_t slot_of(const struct file_io *fi, const struct file_op *op)
{
	return (uint16_t)(op - fi->ops);
}

static struct request *request_of(const struct file_io *fi, const struct file_op *op)
{
	return fi->slots.req[slot_of(fi, op)];
}

static bool try_again(int res)
{
	return res == -EINTR || res == -EAGAIN;
}

static uint16_t error_status(int error, uint16_t media_status)
{
	switch (error) {
	case ENOSPC:
	case EDQUOT:
		return NVME_STATUS(0, NVME_SC_CAP_EXCEEDED);
	case ENOMEM:
	case ENOBUFS:
		return NVME_STATUS(0, NVME_SC_INTERNAL);
	default:
		return media_status;
	}
}

static uint16_t failed(struct file_io *fi, const char *what, int error, uint16_t media_status)
{
	log_ratelimited(LOG_ERR, "%s: %s: %s", fi->ns->path, what, strerror(error));
	return error_status(error, media_status);
}

/* ---- sync ---- */

static void sync_failed(struct file_io *fi, int error)
{
	if (!atomic_exchange(&fi->ns->lost, true))
		log_err("%s: cached data could not be written (%s): no Flush will succeed until "
			"it is opened again",
			fi->ns->path, strerror(error));
}

static void sync_prepare(struct file_io *fi, struct file_op *op, struct io_uring_sqe *sqe)
{
	io_uring_prep_fsync(sqe, fi->fd, IORING_FSYNC_DATASYNC);
}

static uint16_t sync_ended(struct file_io *fi, struct file_op *op, int res)
{
	if (try_again(res))
		return ST_RUNNING;
	if (res < 0)
		sync_failed(fi, -res);
	if (atomic_load(&fi->ns->lost))
		return ST_WRITE_FAULT;
	op->step = op->then;
	return op->step ? ST_RUNNING : 0;
}

static const struct step step_sync = {sync_prepare, sync_ended};

/* ---- read ---- */

static struct iovec *request_iovs(struct file_io *fi, struct file_op *op, unsigned *n)
{
	struct iovec *iov = fi->iovs + fi->nr_iovs;

	*n = request_iov(request_of(fi, op), (uint32_t)op->done, (uint32_t)(op->len - op->done),
			 iov, REQUEST_MAX_SEGS);
	if (*n > 1)
		fi->nr_iovs += *n;
	return iov;
}

static void read_prepare(struct file_io *fi, struct file_op *op, struct io_uring_sqe *sqe)
{
	unsigned n;
	struct iovec *iov = request_iovs(fi, op, &n);
	uint64_t at = op->pos + op->done;

	if (n == 1)
		io_uring_prep_read(sqe, fi->fd, iov->iov_base, (unsigned)iov->iov_len, at);
	else
		io_uring_prep_readv(sqe, fi->fd, iov, n, at);
}

static uint16_t read_ended(struct file_io *fi, struct file_op *op, int res)
{
	struct request *req = request_of(fi, op);

	if (try_again(res))
		return ST_RUNNING;
	if (res < 0)
		return failed(fi, "read", -res, ST_READ_ERROR);
	if (!res)
		return failed(fi, "read past its end: it has been cut", EIO, ST_READ_ERROR);
	op->done += (unsigned)res;
	stat_add(&fi->qp.rx_bytes, (unsigned)res);
	if (op->done == op->len)
		return 0;
	req->filled = (uint32_t)op->done;
	if (req->progress)
		req->progress(req);
	return ST_RUNNING;
}

static const struct step step_read = {read_prepare, read_ended};

/* ---- write ---- */

static uint16_t write_failed(struct file_io *fi, int res)
{
	return failed(fi, "write", res ? -res : EIO, ST_WRITE_FAULT);
}

static void write_prepare(struct file_io *fi, struct file_op *op, struct io_uring_sqe *sqe)
{
	unsigned n;
	struct iovec *iov = request_iovs(fi, op, &n);
	uint64_t at = op->pos + op->done;

	if (n == 1)
		io_uring_prep_write(sqe, fi->fd, iov->iov_base, (unsigned)iov->iov_len, at);
	else
		io_uring_prep_writev(sqe, fi->fd, iov, n, at);
	sqe->rw_flags = op->fua ? RWF_DSYNC : 0;
}

static uint16_t write_ended(struct file_io *fi, struct file_op *op, int res)
{
	if (try_again(res))
		return ST_RUNNING;
	/* A synchronous write that fails may have used up the file's one report of lost data. */
	if (res == -EIO && op->fua)
		sync_failed(fi, EIO);
	if (res <= 0)
		return write_failed(fi, res);
	op->done += (unsigned)res;
	stat_add(&fi->qp.tx_bytes, (unsigned)res);
	return op->done == op->len ? 0 : ST_RUNNING;
}

static const struct step step_write = {write_prepare, write_ended};

/* ---- Write Zeroes ---- */

static uint16_t zeroed(struct file_op *op)
{
	op->step = op->fua ? &step_sync : NULL;
	op->then = NULL;
	return op->step ? ST_RUNNING : 0;
}

/* The plain way, where the file system knows no better. */
static void zero_write_prepare(struct file_io *fi, struct file_op *op, struct io_uring_sqe *sqe)
{
	struct iovec *iov = fi->iovs + fi->nr_iovs;
	uint64_t left = op->len - op->done;
	unsigned n;

	for (n = 0; n < ZERO_IOVS && left; n++) {
		iov[n].iov_base = (void *)zeroes;
		iov[n].iov_len = left < ZERO_SIZE ? left : ZERO_SIZE;
		left -= iov[n].iov_len;
	}
	fi->nr_iovs += n;
	io_uring_prep_writev(sqe, fi->fd, iov, n, op->pos + op->done);
}

static uint16_t zero_write_ended(struct file_io *fi, struct file_op *op, int res)
{
	if (try_again(res))
		return ST_RUNNING;
	if (res <= 0)
		return write_failed(fi, res);
	op->done += (unsigned)res;
	return op->done == op->len ? zeroed(op) : ST_RUNNING;
}

static const struct step step_zero_write = {zero_write_prepare, zero_write_ended};

static uint16_t fallocated(struct file_io *fi, struct file_op *op, int res, bool *unsupported)
{
	if (try_again(res))
		return ST_RUNNING;
	if (res == -EOPNOTSUPP || res == -ENOSYS || res == -EINVAL) {
		*unsupported = true;
		op->step = &step_zero_write;
		return ST_RUNNING;
	}
	return res < 0 ? write_failed(fi, res) : zeroed(op);
}

static void zero_range_prepare(struct file_io *fi, struct file_op *op, struct io_uring_sqe *sqe)
{
	io_uring_prep_fallocate(sqe, fi->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
				(off_t)op->pos, (off_t)op->len);
}

static uint16_t zero_range_ended(struct file_io *fi, struct file_op *op, int res)
{
	return fallocated(fi, op, res, &fi->no_zero_range);
}

static const struct step step_zero_range = {zero_range_prepare, zero_range_ended};

static void punch_prepare(struct file_io *fi, struct file_op *op, struct io_uring_sqe *sqe)
{
	io_uring_prep_fallocate(sqe, fi->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				(off_t)op->pos, (off_t)op->len);
}

static uint16_t zero_punch_ended(struct file_io *fi, struct file_op *op, int res)
{
	return fallocated(fi, op, res, &fi->no_punch);
}

static const struct step step_zero_punch = {punch_prepare, zero_punch_ended};

/* ---- Dataset Management ---- */

static unsigned dsm_ranges(const struct request *req)
{
	return (le32toh(req->sqe.cdw10) & 0xff) + 1;
}

/* Takes the next range that is not empty; false when there is none. */
static bool dsm_next(struct file_io *fi, struct file_op *op)
{
	const struct request *req = request_of(fi, op);
	struct nvme_dsm_range r;

	while (op->range < dsm_ranges(req)) {
		request_copy_out(req, op->range++ * (uint32_t)sizeof(r), &r, sizeof(r));
		op->pos = le64toh(r.slba) << fi->ns->shift;
		op->len = (uint64_t)le32toh(r.nlb) << fi->ns->shift;
		if (op->len)
			return true;
	}
	return false;
}

/* Deallocation is a hint: a failure leaves the data as it is, which is allowed. */
static uint16_t dsm_punch_ended(struct file_io *fi, struct file_op *op, int res)
{
	if (try_again(res))
		return ST_RUNNING;
	if (res == -EOPNOTSUPP)
		fi->no_punch = true;
	if (fi->no_punch || !dsm_next(fi, op))
		return 0;
	return ST_RUNNING;
}

static const struct step step_dsm_punch = {punch_prepare, dsm_punch_ended};

/* ---- Compare and Verify: read into the scratch memory ---- */

static void check_prepare(struct file_io *fi, struct file_op *op, struct io_uring_sqe *sqe)
{
	uint64_t left = op->len - op->done;

	io_uring_prep_read(sqe, fi->fd, fi->scratch,
			   left < SCRATCH_SIZE ? (unsigned)left : SCRATCH_SIZE, op->pos + op->done);
}

static bool same_as_scratch(struct file_io *fi, struct file_op *op, uint32_t len)
{
	struct iovec iov[SCRATCH_SIZE / SEG_SIZE + 1];
	unsigned n = request_iov(request_of(fi, op), (uint32_t)op->done, len, iov,
				 sizeof(iov) / sizeof(iov[0]));
	const uint8_t *at = fi->scratch;

	for (unsigned i = 0; i < n; at += iov[i++].iov_len)
		if (memcmp(at, iov[i].iov_base, iov[i].iov_len))
			return false;
	return true;
}

static uint16_t check_ended(struct file_io *fi, struct file_op *op, int res)
{
	if (try_again(res))
		return ST_RUNNING;
	if (res <= 0)
		return failed(fi, "read", res ? -res : EIO, ST_READ_ERROR);
	if (request_of(fi, op)->sqe.opcode == nvme_cmd_compare &&
	    !same_as_scratch(fi, op, (uint32_t)res))
		return ST(2, NVME_SC_COMPARE_FAILED);
	op->done += (unsigned)res;
	return op->done == op->len ? 0 : ST_RUNNING;
}

static const struct step step_check = {check_prepare, check_ended};

/* ---- commands: checked once, here ---- */

static bool out_of_range(const struct file_ns *ns, uint64_t slba, uint64_t blocks)
{
	return slba > ns->blocks || blocks > ns->blocks - slba;
}

static uint16_t begin_flush(struct file_io *fi, struct file_op *op, const struct request *req)
{
	op->step = &step_sync;
	return ST_RUNNING;
}

/* What Read, Write, Compare, Verify and Write Zeroes have in common. */
static uint16_t begin_extent(struct file_io *fi, struct file_op *op, const struct request *req,
			     bool transfers)
{
	uint32_t cdw12 = le32toh(req->sqe.cdw12);
	uint64_t slba = nvme_sqe_slba(&req->sqe), blocks = (cdw12 & 0xffff) + 1;

	if (out_of_range(fi->ns, slba, blocks))
		return ST(0, NVME_SC_LBA_RANGE);
	op->pos = slba << fi->ns->shift;
	op->len = blocks << fi->ns->shift;
	op->fua = cdw12 & CDW12_FUA;
	if (transfers && op->len > REQUEST_MAX_DATA)
		return NVME_ST_INVALID_FIELD;
	if (transfers && op->len != req->data_len)
		return ST(0, NVME_SC_SGL_INVALID_DATA);
	return ST_RUNNING;
}

/* FUA of a command that reads: what it returns must be on the disk first (NVM 1.0, 3.2.4). */
static uint16_t after_sync(struct file_op *op, const struct step *step)
{
	op->step = op->fua ? &step_sync : step;
	op->then = step;
	return ST_RUNNING;
}

static uint16_t begin_read(struct file_io *fi, struct file_op *op, const struct request *req)
{
	uint16_t status = begin_extent(fi, op, req, true);

	return status == ST_RUNNING ? after_sync(op, &step_read) : status;
}

static uint16_t begin_write(struct file_io *fi, struct file_op *op, const struct request *req)
{
	op->step = &step_write;
	return begin_extent(fi, op, req, true);
}

static uint16_t begin_check(struct file_io *fi, struct file_op *op, const struct request *req)
{
	uint16_t status = begin_extent(fi, op, req, req->sqe.opcode == nvme_cmd_compare);

	return status == ST_RUNNING ? after_sync(op, &step_check) : status;
}

static uint16_t begin_write_zeroes(struct file_io *fi, struct file_op *op,
				   const struct request *req)
{
	if (le32toh(req->sqe.cdw12) & CDW12_DEAC)
		op->step = fi->no_punch ? &step_zero_write : &step_zero_punch;
	else
		op->step = fi->no_zero_range ? &step_zero_write : &step_zero_range;
	return begin_extent(fi, op, req, false);
}

static uint16_t begin_dsm(struct file_io *fi, struct file_op *op, const struct request *req)
{
	unsigned n = dsm_ranges(req);
	struct nvme_dsm_range r;

	if (n * sizeof(r) > req->data_len)
		return ST(0, NVME_SC_SGL_INVALID_DATA);
	for (unsigned i = 0; i < n; i++) {
		request_copy_out(req, i * (uint32_t)sizeof(r), &r, sizeof(r));
		if (out_of_range(fi->ns, le64toh(r.slba), le32toh(r.nlb)))
			return ST(0, NVME_SC_LBA_RANGE);
	}
	op->step = &step_dsm_punch;
	if (!(le32toh(req->sqe.cdw11) & CDW11_AD) || fi->no_punch || !dsm_next(fi, op))
		return 0;
	return ST_RUNNING;
}

static const struct command {
	uint16_t (*begin)(struct file_io *fi, struct file_op *op, const struct request *req);
	bool writes, scratch;
	bool claims; /* its extent, while it is under way */
} commands[] = {
	[nvme_cmd_flush] = {begin_flush},
	[nvme_cmd_write] = {begin_write, .writes = true, .claims = true},
	[nvme_cmd_read] = {begin_read, .claims = true},
	[nvme_cmd_compare] = {begin_check, .scratch = true, .claims = true},
	[nvme_cmd_write_zeroes] = {begin_write_zeroes, .writes = true, .claims = true},
	[nvme_cmd_dsm] = {begin_dsm, .writes = true},
	[nvme_cmd_verify] = {begin_check, .scratch = true},
};

static const struct command *command_of(const struct nvme_sqe *sqe)
{
	if (sqe->opcode >= sizeof(commands) / sizeof(commands[0]) || !commands[sqe->opcode].begin)
		return NULL;
	return &commands[sqe->opcode];
}

static uint16_t begin(struct file_io *fi, struct file_op *op)
{
	const struct request *req = request_of(fi, op);
	const struct command *cmd = command_of(&req->sqe);

	if (!cmd)
		return NVME_ST_INVALID_OPCODE;
	if (le32toh(req->sqe.nsid) != FILE_NSID)
		return NVME_ST_INVALID_NS;
	if (req->sqe.flags & NVME_FUSE_MASK)
		return NVME_ST_INVALID_FIELD;
	if (file_ana_status(fi->ns))
		return file_ana_status(fi->ns);
	if (cmd->writes && fi->ns->read_only)
		return ST(0, NVME_SC_NS_WRITE_PROTECTED);
	return cmd->begin(fi, op, req);
}

/* ---- running them ---- */

static void make_ready(struct file_io *fi, uint16_t slot)
{
	file_fifo_push(&fi->ready, slot);
	loop_hook_queue(fi->qp.loop, &fi->hook);
}

/* Handed to the next in line, so that nobody gets in between. */
static void release_scratch(struct file_io *fi, struct file_op *op)
{
	uint16_t next;

	op->has_scratch = false;
	fi->scratch_busy = fi->scratchy.n;
	if (!fi->scratch_busy)
		return;
	next = file_fifo_pop(&fi->scratchy);
	fi->ops[next].has_scratch = true;
	make_ready(fi, next);
}

/* False when the command has to wait for the scratch memory; it comes back by make_ready(). */
static bool take_scratch(struct file_io *fi, struct file_op *op)
{
	const struct command *cmd = command_of(&request_of(fi, op)->sqe);

	if (!cmd || !cmd->scratch || op->has_scratch)
		return true;
	if (fi->scratch_busy) {
		file_fifo_push(&fi->scratchy, slot_of(fi, op));
		return false;
	}
	op->has_scratch = fi->scratch_busy = true;
	return true;
}

/* They all try again, oldest first. */
static void unblock(struct file_io *fi)
{
	for (uint16_t n = fi->blocked.n; n; n--)
		make_ready(fi, file_fifo_pop(&fi->blocked));
}

/* False when the command has to wait for others that have its pages; unblock() brings it back. */
static bool take_claim(struct file_io *fi, struct file_op *op)
{
	const struct command *cmd = command_of(&request_of(fi, op)->sqe);

	if (!cmd->claims || op->claim.pages)
		return true;
	op->claim.writes = cmd->writes;
	if (file_claim_take(fi->ns, &op->claim, op->pos, op->len))
		return true;
	file_fifo_push(&fi->blocked, slot_of(fi, op));
	return false;
}

static void finish(struct file_io *fi, struct file_op *op, uint16_t status)
{
	if (op->has_scratch)
		release_scratch(fi, op);
	if (op->claim.pages) {
		file_claim_drop(fi->ns, &op->claim);
		unblock(fi);
	}
	file_give_back(&fi->qp, &fi->slots, slot_of(fi, op), 0, status);
}

static void advance(struct file_io *fi, struct file_op *op)
{
	struct io_uring_sqe *sqe;
	uint16_t status;

	if (!op->step) {
		if (!take_scratch(fi, op))
			return;
		status = begin(fi, op);
		if (status != ST_RUNNING) {
			finish(fi, op, status);
			return;
		}
	}
	if (!take_claim(fi, op))
		return;
	sqe = io_uring_get_sqe(&fi->ring);
	assert(sqe);
	op->step->prepare(fi, op, sqe);
	io_uring_sqe_set_data64(sqe, slot_of(fi, op));
	fi->prepared++;
}

/* Gives the kernel what is prepared; false when it has no room for all of it now. */
static bool submit_prepared(struct file_io *fi)
{
	while (io_uring_sq_ready(&fi->ring))
		if (io_uring_submit(&fi->ring) <= 0)
			return false;
	fi->nr_iovs = 0;
	return true;
}

static bool room_to_prepare(const struct file_io *fi)
{
	return io_uring_sq_space_left(&fi->ring) && fi->nr_iovs + REQUEST_MAX_SEGS <= IOVS;
}

static void reap(struct file_io *fi)
{
	struct io_uring_cqe *cqe;

	while (!io_uring_peek_cqe(&fi->ring, &cqe)) {
		struct file_op *op = &fi->ops[io_uring_cqe_get_data64(cqe)];
		int res = cqe->res;
		uint16_t status;

		io_uring_cqe_seen(&fi->ring, cqe);
		fi->prepared--;
		status = op->step->ended(fi, op, res);
		if (status == ST_RUNNING)
			make_ready(fi, slot_of(fi, op));
		else
			finish(fi, op, status);
	}
}

static void run(struct file_io *fi)
{
	bool taken = true;

	while (fi->ready.n && taken) {
		if (room_to_prepare(fi))
			advance(fi, &fi->ops[file_fifo_pop(&fi->ready)]);
		else
			taken = submit_prepared(fi);
	}
	taken = submit_prepared(fi);
	reap(fi);
	/* The kernel is out of memory, or another queue has the pages: a little later then. */
	if (!taken || fi->blocked.n)
		loop_timer_arm(&fi->retry, RETRY);
}

static void on_hook(void *arg)
{
	struct file_io *fi = arg;

	if (!fi->announced) {
		fi->announced = fi->qp.live = true;
		fi->qp.ops->connected(&fi->qp, 0, NULL);
		return; /* it may have closed us */
	}
	run(fi);
}

static void on_retry(void *arg)
{
	struct file_io *fi = arg;

	unblock(fi);
	run(fi);
}

static void on_readable(void *arg, unsigned events)
{
	reap(arg);
}

/* ---- life ---- */

static void release(struct file_io *fi)
{
	loop_fd_fini(&fi->watch);
	loop_timer_fini(&fi->retry);
	if (fi->have_ring)
		io_uring_queue_exit(&fi->ring);
	if (fi->fd >= 0)
		close(fi->fd);
	if (fi->scratch)
		munmap(fi->scratch, SCRATCH_SIZE);
	free(fi->ops);
	file_slots_fini(&fi->slots);
	file_fifo_fini(&fi->ready);
	file_fifo_fini(&fi->scratchy);
	file_fifo_fini(&fi->blocked);
	free(fi);
}

static int open_again(const struct file_ns *ns)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", ns->fd);
	fd = open(path, (ns->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int ring_init(struct file_io *fi, uint16_t entries)
{
	int e = io_uring_queue_init(entries, &fi->ring,
				    IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL |
					    IORING_SETUP_COOP_TASKRUN);

	fi->have_ring = !e;
	if (e)
		log_err("%s: io_uring cannot be used: %s (Linux 5.19 or later needed, and "
			"permission: sysctl kernel.io_uring_disabled, seccomp)",
			fi->ns->path, strerror(-e));
	return e;
}

static int set_up(struct file_io *fi, uint16_t entries)
{
	void *scratch = mmap(NULL, SCRATCH_SIZE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (scratch == MAP_FAILED)
		return -errno;
	fi->scratch = scratch;
	fi->ops = calloc(entries, sizeof(*fi->ops));
	if (!fi->ops || file_slots_init(&fi->slots, entries) ||
	    file_fifo_init(&fi->ready, entries) || file_fifo_init(&fi->scratchy, entries) ||
	    file_fifo_init(&fi->blocked, entries))
		return -ENOMEM;
	fi->fd = open_again(fi->ns);
	if (fi->fd < 0)
		return fi->fd;
	return ring_init(fi, entries);
}

struct ini_qpair *file_io_connect(struct loop *loop, const struct ini_params *params,
				  const struct ini_ops *ops, void *priv)
{
	struct file_io *fi = calloc(1, sizeof(*fi));
	int e;

	if (!fi)
		return NULL;
	fi->fd = -1;
	fi->ns = (struct file_ns *)params->file_ns;
	file_qpair_init(&fi->qp, loop, params, ops, priv);
	e = set_up(fi, params->sq_size);
	if (e) {
		release(fi);
		errno = -e;
		return NULL;
	}
	loop_timer_init(&fi->retry, loop, on_retry, fi);
	loop_hook_init(&fi->hook, on_hook, fi);
	loop_fd_init(&fi->watch, loop, fi->ring.ring_fd, on_readable, fi);
	loop_fd_want(&fi->watch, LOOP_READ);
	loop_hook_queue(loop, &fi->hook);
	return &fi->qp;
}

int file_io_submit(struct ini_qpair *qp, struct request *req)
{
	struct file_io *fi = (struct file_io *)qp;
	int slot = file_take(qp, &fi->slots, req);

	if (slot < 0)
		return slot;
	memset(&req->cqe, 0, sizeof(req->cqe));
	fi->ops[slot] = (struct file_op){0};
	make_ready(fi, (uint16_t)slot);
	return 0;
}

/* Waits until the kernel has let go of every buffer. */
static void drain(struct file_io *fi)
{
	struct io_uring_sync_cancel_reg cancel = {
		.flags = IORING_ASYNC_CANCEL_ANY,
		.fd = -1,
		.timeout = {.tv_sec = -1, .tv_nsec = -1},
	};
	struct io_uring_cqe *cqe;

	/* Only speeds things up, so it may fail (Linux before 6.0, or nothing to cancel). */
	if (fi->prepared)
		io_uring_register_sync_cancel(&fi->ring, &cancel);
	/* What was never submitted goes with the ring. */
	while (fi->prepared > io_uring_sq_ready(&fi->ring)) {
		if (io_uring_wait_cqe(&fi->ring, &cqe))
			continue; /* a signal */
		io_uring_cqe_seen(&fi->ring, cqe);
		fi->prepared--;
	}
}

void file_io_close(struct ini_qpair *qp)
{
	struct file_io *fi = (struct file_io *)qp;

	qp->live = false;
	loop_hook_cancel(qp->loop, &fi->hook);
	drain(fi);
	for (uint16_t i = 0; i < fi->slots.total; i++)
		file_claim_drop(fi->ns, &fi->ops[i].claim);
	file_cancel_all(qp, &fi->slots);
	release(fi);
}
