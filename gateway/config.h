/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file, parsed and checked as a whole before anything starts.
 */
#ifndef GATEWAY_CONFIG_H
#define GATEWAY_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "multipath/multipath.h"
#include "transport/target.h"

struct listener_cfg {
	unsigned kind; /* as in the file: of the transports that there are */
	char traddr[64];
	uint16_t port;
	const struct tgt_transport *transport;
	struct addr addr;
	struct tgt_config tgt;
	char traddr_out[64]; /* advertised in the discovery log when traddr is a wildcard; "" then:
				the address the host reached */
};

/* One upstream entry; kind "file" has `file` set instead of an address. */
struct upstream_cfg {
	unsigned kind; /* as in the file: of the transports that there are */
	char traddr[64], host_traddr[64];
	uint16_t port;
	struct upstream_config mp; /* file_ns is opened by the daemon, not by the parser */
	bool is_file;
	bool any_cntlid; /* none is given for the file: it has one by its place, and keeps it */
	struct file_ns_config file; /* strings point into this struct's own memory below */
	char file_path[4096];
};

struct subsys_namespace_cfg {
	uint32_t nsid;	       /* 0: any free one */
	struct ns_ident ident; /* one of uuid, nguid, eui64 */
	enum mp_policy policy; /* MP_POLICY_COUNT: the subsystem's */
};

/* What is set of one path, whatever its upstream says. */
struct subsys_path_cfg {
	char path[MP_NAME_MAX + 12]; /* UPSTREAM/NSID, see subsystem_path_name() */
	enum path_admin admin;	     /* PATH_ADMIN_COUNT: the upstream's */
	unsigned weight;	     /* 0: the upstream's */
};

enum identity_mode {
	IDENTITY_PASSTHROUGH, /* hosts see the upstream's UUID, NGUID, EUI-64 */
	IDENTITY_DERIVED,     /* UUID derived from subsystem NQN and the upstream identity */
};

struct subsys_cfg {
	struct mp_subsys_config mp;
	char serial[21], model[41];
	uint16_t cntlid_min, cntlid_max;
	uint32_t max_transfer;	 /* bytes */
	unsigned max_io_queues;	 /* per controller */
	unsigned max_queue_size; /* entries per I/O queue */
	unsigned max_controllers;
	enum identity_mode identity;
	bool allow_any_host;
	char (*allowed_hosts)[NVMF_NQN_MAX + 1];
	unsigned nr_allowed_hosts;
	struct subsys_namespace_cfg *namespaces; /* none: export every namespace found */
	unsigned nr_namespaces;
	bool export_all; /* others than these too */
	struct subsys_path_cfg *paths;
	unsigned nr_paths;
	struct upstream_cfg *upstreams;
	unsigned nr_upstreams;
};

struct gw_config {
	unsigned workers;	  /* 1..MP_MAX_WORKERS */
	bool pin;		  /* pin workers to cores */
	uint64_t memory;	  /* bytes of data buffers per worker */
	unsigned requests;	  /* request slots per worker */
	char state_dir[4096];	  /* "": NSIDs are not kept */
	char control_socket[108]; /* "": none */
	bool admin_writes;	  /* io.write is allowed */
	struct addr http;	  /* of the status page and the metrics; len 0: none */
	int log_level;
	char hostnqn[NVMF_NQN_MAX + 1]; /* "" and zeroes: not given; what upstreams are shown is */
	uint8_t hostid[16];		/* in their own parts */
	struct listener_cfg *listeners;
	unsigned nr_listeners;
	struct subsys_cfg *subsystems;
	unsigned nr_subsystems;
	json_t *doc; /* the file, as it was read; NULL: made otherwise */
};

/**
 * config_load() - parse and check @file
 *
 * Returns NULL after writing every problem found to @err, one line each:
 * "FILE:LINE: $.json.path: what is wrong, what was expected".
 */
struct gw_config *config_load(const char *file, FILE *err);
/* The same for @len bytes of text; @name stands for it in messages. Any thread, as config_load().
 */
struct gw_config *config_parse(const char *name, const char *text, size_t len, FILE *err);
void config_free(struct gw_config *cfg);

#endif
