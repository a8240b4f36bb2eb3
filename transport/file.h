/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the local kind "file": the namespace (file.c), the emulated controller's admin queue
 * (file_admin.c) and its I/O queues (file_io.c, file_claim.c). Others use initiator.h.
 */
#ifndef TRANSPORT_FILE_H
#define TRANSPORT_FILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "transport/initiator.h"
#include "transport/nvme.h"

#define FILE_NSID   1u
#define FILE_CLAIMS 4096u

/* Opened on control, read by any loop; only `lost` and `claims` change. */
struct file_ns {
	int fd;
	char *path; /* canonical, for log lines */
	uint64_t blocks;
	uint8_t shift; /* log2 of the block size */
	uint8_t uuid[16], nguid[16], eui64[8];
	bool has_uuid, has_nguid, has_eui64;
	char serial[21];
	char subnqn[NVMF_NQN_MAX + 1];
	uint16_t cntlid;
	uint8_t ana_state;
	bool read_only;
	/*
	 * The kernel failed to write cached data and has dropped it. It says so once per open file,
	 * so we remember: no Flush may succeed any more, on any queue.
	 */
	atomic_bool lost;
	atomic_uint claims[FILE_CLAIMS]; /* file_claim.c */
};

/* The pages that a command reads or writes. */
struct file_claim {
	uint64_t page, wanted;
	uint32_t pages; /* 0: none held */
	bool writes;	/* set before it is taken */
	bool wants;	/* refused at the page `wanted` */
};

/* True, or false when a command that is under way is in the way: to be tried again later. */
bool file_claim_take(struct file_ns *ns, struct file_claim *k, uint64_t pos, uint64_t len);
/* Nothing to do when none is held or waited for. */
void file_claim_drop(struct file_ns *ns, struct file_claim *k);

/* What I/O gets in the namespace's ANA state; 0 when it is accessible. */
uint16_t file_ana_status(const struct file_ns *ns);

/* The slots of a qpair: the requests that it holds. `free` is a stack of indexes. */
struct file_slots {
	struct request **req;
	uint16_t *free;
	uint16_t nr_free, total;
};

/* Indexes of slots, first in, first out. */
struct file_fifo {
	uint16_t *slot;
	uint16_t head, n, total;
};

/* 0 or -ENOMEM; fini is right after a failure and on zeroed memory too. */
int file_slots_init(struct file_slots *s, uint16_t total);
void file_slots_fini(struct file_slots *s);
int file_fifo_init(struct file_fifo *f, uint16_t total);
void file_fifo_fini(struct file_fifo *f);
void file_fifo_push(struct file_fifo *f, uint16_t slot);
uint16_t file_fifo_pop(struct file_fifo *f);

/* The start and the end that both kinds of qpair share. */
void file_qpair_init(struct ini_qpair *qp, struct loop *loop, const struct ini_params *params,
		     const struct ini_ops *ops, void *priv);
/* Takes the request in: a slot number, or the -errno that submit() answers. */
int file_take(struct ini_qpair *qp, struct file_slots *s, struct request *req);
/* Gives it back with @status, or with @error when that is not 0. */
void file_give_back(struct ini_qpair *qp, struct file_slots *s, uint16_t slot, int error,
		    uint16_t status);
/* Gives everything back with -ECANCELED. */
void file_cancel_all(struct ini_qpair *qp, struct file_slots *s);

struct ini_qpair *file_admin_connect(struct loop *loop, const struct ini_params *params,
				     const struct ini_ops *ops, void *priv);
int file_admin_submit(struct ini_qpair *qp, struct request *req);
void file_admin_close(struct ini_qpair *qp);

struct ini_qpair *file_io_connect(struct loop *loop, const struct ini_params *params,
				  const struct ini_ops *ops, void *priv);
int file_io_submit(struct ini_qpair *qp, struct request *req);
void file_io_close(struct ini_qpair *qp);

#endif
