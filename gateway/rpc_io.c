/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/rpc_io.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include <libnvme.h>

#include "gateway/rpc_later.h"
#include "gateway/rpc_namespace.h"
#include "gateway/rpc_path.h"
#include "gateway/rpc_value.h"
#include "transport/log.h"

/* One command of an admin's, from the request to its answer. */
struct admin_io {
	struct mp_io io;
	struct rpc_later *later;
	struct gateway *gw;
	struct subsystem *ss;
	uint32_t nsid, block_size;
	uint8_t data[];
};

/* ---- the answer ---- */

static void say_why(const struct admin_io *a, struct rpc_error *err)
{
	switch (a->io.error) {
	case 0:
		rpc_fail(err, RPC_FAILED, "the command was answered with status %#x: %s",
			 nvme_sct_sc(a->io.status), nvme_status_to_string(a->io.status, false));
		break;
	case -ESTALE:
		rpc_fail(err, RPC_REFUSED, "namespace %u has just changed; ask again", a->nsid);
		break;
	case -ENOTCONN:
		rpc_fail(err, RPC_REFUSED,
			 "the path is not connected; \"nvmegw path list\" tells why");
		break;
	default:
		rpc_fail(err, RPC_REFUSED, "the daemon is busy; ask again");
		break;
	}
}

static void put_data(json_t *o, const struct mp_io *io)
{
	char *text = malloc(io->len / 3 * 4 + 8);

	if (!text)
		abort();
	EVP_EncodeBlock((unsigned char *)text, io->data, (int)io->len);
	rpc_put_text(o, "data", text);
	free(text);
}

static void put_path(json_t *o, const struct admin_io *a)
{
	struct path *p = a->io.path;
	char name[RPC_PATH_NAME_MAX];

	if (p)
		rpc_put_text(o, "path", rpc_path_name(&(struct rpc_path){a->ss, p->up, p}, name));
	else
		json_object_set_new(o, "path", json_null());
}

static json_t *result_of(const struct admin_io *a)
{
	json_t *o = json_object();

	rpc_put_u64(o, "nsid", a->nsid);
	rpc_put_text(o, "subsystem", a->ss->nqn);
	rpc_put_u64(o, "lba", a->io.slba);
	rpc_put_u64(o, "blocks", a->io.blocks);
	rpc_put_u64(o, "block_size", a->block_size);
	rpc_put_u64(o, "metadata_size", a->io.block_bytes - a->block_size);
	put_path(o, a);
	rpc_put_u64(o, "latency_us", a->io.ns / NSEC_PER_USEC);
	if (!a->io.write)
		put_data(o, &a->io);
	return o;
}

static void on_done(struct mp_io *io)
{
	struct admin_io *a = (struct admin_io *)io;
	bool well = !io->error && !io->status;
	struct rpc_error err;

	if (!well)
		say_why(a, &err);
	a->gw->admin_ios--;
	rpc_later_answer(a->later, well ? result_of(a) : NULL, &err);
	free(a);
}

/* ---- the request ---- */

/* False with @err set, when the command is not one that may be sent. */
static bool check(const struct gateway *gw, const struct subsystem *ss, const struct head *h,
		  const struct mp_io *io, struct rpc_error *err)
{
	uint32_t most = io->write ? RPC_IO_MAX_WRITE : RPC_IO_MAX_READ;
	struct limits limits;

	if (mp_subsys_limits(ss->mp, &limits) && limits.max_transfer < most)
		most = limits.max_transfer;
	if (io->blocks > most / io->block_bytes)
		rpc_fail(err, RPC_REFUSED, "%u blocks of %u bytes are more than %u bytes",
			 io->blocks, io->block_bytes, most);
	else if (io->blocks > h->geo.nsze || io->slba > h->geo.nsze - io->blocks)
		rpc_fail(err, RPC_REFUSED, "namespace %u ends before that: it has %llu blocks",
			 h->nsid, (unsigned long long)h->geo.nsze);
	else if (gw->admin_ios >= RPC_IO_MAX_OUT)
		rpc_fail(err, RPC_REFUSED, "%u commands of admins are out already; ask again",
			 gw->admin_ios);
	else
		return true;
	return false;
}

/* The path of the namespace that is asked for, NULL: any. False with @err set. */
static bool find_path(struct gateway *gw, const json_t *params, const struct subsystem *ss,
		      const struct head *h, const struct path **only, struct rpc_error *err)
{
	const char *name = json_string_value(json_object_get(params, "path"));
	struct rpc_path p;

	*only = NULL;
	if (!name)
		return true;
	if (!rpc_path_find(gw, name, ss->nqn, &p, err))
		return false;
	if (!p.path || p.path->head != h) {
		rpc_fail(err, RPC_REFUSED, "%s is no path of namespace %u", name, h->nsid);
		return false;
	}
	*only = p.path;
	return true;
}

static uint64_t number_of(const json_t *params, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(params, name));
}

/* The namespace that is meant; NULL with @err set. */
static struct head *find_namespace(struct gateway *gw, const json_t *params, struct subsystem **ss,
				   struct rpc_error *err)
{
	const char *nqn = json_string_value(json_object_get(params, "subsystem"));

	return rpc_namespace(gw, (uint32_t)number_of(params, "namespace"), nqn, ss, err);
}

/* With room for the data, which is the caller's to fill in for a write. */
static struct admin_io *new_io(struct gateway *gw, struct subsystem *ss, const struct head *h,
			       const struct mp_io *io)
{
	struct admin_io *a = calloc(1, sizeof(*a) + io->len);

	if (!a)
		abort();
	a->io = *io;
	a->io.data = a->data;
	a->io.done = on_done;
	a->gw = gw;
	a->ss = ss;
	a->nsid = h->nsid;
	a->block_size = 1u << h->geo.lbads;
	return a;
}

static void start(struct admin_io *a, struct head *h, const struct path *only,
		  struct rpc_error *err)
{
	a->later = rpc_answer_later(err);
	a->gw->admin_ios++;
	mp_io_start(h, only, &a->io);
}

json_t *rpc_io_read(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	struct subsystem *ss;
	struct head *h = find_namespace(gw, params, &ss, err);
	const struct path *only;
	struct mp_io io = {.slba = number_of(params, "lba"),
			   .blocks = (uint32_t)number_of(params, "blocks")};

	if (!h || !find_path(gw, params, ss, h, &only, err))
		return NULL;
	if (!io.blocks)
		io.blocks = 1;
	io.block_bytes = mp_block_bytes(&h->geo);
	if (!check(gw, ss, h, &io, err))
		return NULL;
	io.len = io.blocks * io.block_bytes;
	start(new_io(gw, ss, h, &io), h, only, err);
	return NULL;
}

/* Bytes that the text stands for, 0 when it is no base 64. */
static uint32_t decode(const char *text, uint8_t *out)
{
	size_t len = strlen(text), padding;
	int n;

	for (padding = 0; padding < 2 && padding < len && text[len - 1 - padding] == '=';)
		padding++;
	n = EVP_DecodeBlock(out, (const unsigned char *)text, (int)len);
	return n > (int)padding ? (uint32_t)n - (uint32_t)padding : 0;
}

static json_t *write_blocks(struct gateway *gw, struct subsystem *ss, struct head *h, uint64_t slba,
			    const uint8_t *data, uint32_t len, struct rpc_error *err)
{
	struct mp_io io = {.write = true, .slba = slba, .len = len};
	struct admin_io *a;

	io.block_bytes = mp_block_bytes(&h->geo);
	io.blocks = len / io.block_bytes;
	if (!len || len % io.block_bytes) {
		rpc_fail(err, RPC_REFUSED, "the data must be base 64 of whole blocks of %u bytes",
			 io.block_bytes);
		return NULL;
	}
	if (!check(gw, ss, h, &io, err))
		return NULL;
	log_notice("namespace %u of %s: %u blocks from LBA %llu on are written by an admin",
		   h->nsid, ss->nqn, io.blocks, (unsigned long long)slba);
	a = new_io(gw, ss, h, &io);
	memcpy(a->data, data, len);
	start(a, h, NULL, err);
	return NULL;
}

json_t *rpc_io_write(struct gateway *gw, const json_t *params, struct rpc_error *err)
{
	const char *text = json_string_value(json_object_get(params, "data"));
	struct subsystem *ss;
	struct head *h = find_namespace(gw, params, &ss, err);
	uint8_t *data;

	if (!h)
		return NULL;
	if (!gw->cfg->admin_writes) {
		rpc_fail(err, RPC_REFUSED,
			 "writing is not allowed: the configuration has no \"admin_writes\": true");
		return NULL;
	}
	data = malloc(strlen(text) + 1);
	if (!data)
		abort();
	write_blocks(gw, ss, h, number_of(params, "lba"), data, decode(text, data), err);
	free(data);
	return NULL;
}
