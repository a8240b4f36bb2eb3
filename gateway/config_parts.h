/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the configuration, for each other; outside it is config.h. */
#ifndef GATEWAY_CONFIG_PARTS_H
#define GATEWAY_CONFIG_PARTS_H

#include "gateway/config.h"
#include "gateway/config_field.h"
#include "gateway/config_json.h"

#define CFG_MAX_LISTENERS  64
#define CFG_MAX_SUBSYSTEMS 256
#define CFG_MAX_UPSTREAMS  1024 /* per subsystem; those of discovery logs not counted */
#define CFG_MAX_HOSTS	   4096 /* allowed per subsystem */
#define CFG_MAX_PATHS	   4096 /* with settings of their own, per subsystem */

/* Who we are to upstreams. */
struct host_id {
	char hostnqn[NVMF_NQN_MAX + 1];
	uint8_t hostid[16];
};

/* What the defaults of a subsystem and its upstreams come from. */
struct cfg_defaults {
	struct host_id host;
	const char *etc; /* "/etc"; see host_id_of() */
	unsigned requests;
};

/* ---- config_host.c: names, and the identity of this host ---- */

/* For cfg_field.check: NULL, or what was expected. */
const char *cfg_check_nqn(const char *nqn);	    /* by the rules of the specification */
const char *cfg_check_foreign_nqn(const char *nqn); /* as others choose them, some against it */

/**
 * host_id_of() - what is not configured of a host's identity
 * @etc: the folder of nvme/hostnqn, nvme/hostid and machine-id
 *
 * An empty hostnqn is taken from nvme/hostnqn, else made from machine-id, else from the host name.
 * A hostid of zeroes is nvme/hostid if the NQN is that of nvme/hostnqn, else the UUID in the
 * NQN, else made from the NQN.
 */
void host_id_of(struct host_id *id, const char *etc);

/* A UUID (version 8, RFC 9562) that is always the same for the same text. */
void cfg_uuid_from(const char *text, uint8_t uuid[16]);

/* ---- config_listener.c, config_http.c, config_upstream.c, config_subsystem.c ---- */
/* They report what is wrong and return nothing: cfg_doc.problems counts. */

/* For cfg_field.check: NULL, or what was expected. */
const char *cfg_check_traddr(const char *traddr);

void cfg_listeners(const struct cfg_node *root, struct gw_config *cfg);
void cfg_http(const struct cfg_node *root, struct gw_config *cfg);
void cfg_subsystems(const struct cfg_node *root, const struct cfg_defaults *defaults,
		    struct gw_config *cfg);
/* @subsystem is the object that has "upstreams". */
void cfg_upstreams(const struct cfg_node *subsystem, const struct cfg_defaults *defaults,
		   struct subsys_cfg *cfg);

/* ---- what has changed, see config_diff.h ---- */
struct cfg_delta {
	json_t *keys; /* what has changed of an object is appended; NULL: nobody asks */
	bool changed, reconnect, restart;
};

/* Of two structs that are filled in by the table @f, the later one for @variant. */
void cfg_compare(const struct cfg_field *f, const struct cfg_variant *variant, const void *was,
		 const void *is, struct cfg_delta *d);
void cfg_compare_top(const struct gw_config *was, const struct gw_config *is, struct cfg_delta *d);
void cfg_compare_listener(const struct listener_cfg *was, const struct listener_cfg *is,
			  struct cfg_delta *d);
void cfg_compare_subsystem(const struct subsys_cfg *was, const struct subsys_cfg *is,
			   struct cfg_delta *d);
void cfg_compare_namespace(const struct subsys_namespace_cfg *was,
			   const struct subsys_namespace_cfg *is, struct cfg_delta *d);
void cfg_compare_path(const struct subsys_path_cfg *was, const struct subsys_path_cfg *is,
		      struct cfg_delta *d);
void cfg_compare_upstream(const struct upstream_cfg *was, const struct upstream_cfg *is,
			  struct cfg_delta *d);
bool cfg_same_namespace(const struct subsys_namespace_cfg *a, const struct subsys_namespace_cfg *b);

#endif
