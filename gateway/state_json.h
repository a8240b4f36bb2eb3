/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The remembered NSIDs and their JSON form:
 *
 *	{"version": 1, "subsystems": {NQN: [{"nsid": 1, "uuid": ..., "nguid": ..., "eui64": ...}]}}
 *
 * with "upstream_nqn" and "upstream_nsid" instead for a namespace without identifiers.
 */
#ifndef GATEWAY_STATE_JSON_H
#define GATEWAY_STATE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "multipath/ident.h"

struct state_ns {
	TAILQ_ENTRY(state_ns) link;
	uint32_t nsid;
	struct ns_ident id;
	uint64_t version; /* of the state that first had this NSID */
};

struct state_map {
	TAILQ_ENTRY(state_map) link;
	char nqn[NVMF_NQN_MAX + 1];
	TAILQ_HEAD(, state_ns) namespaces;
};
TAILQ_HEAD(state_maps, state_map);

struct state_map *state_map_add(struct state_maps *maps, const char *nqn);
struct state_ns *state_map_nsid(const struct state_map *m, uint32_t nsid);
struct state_ns *state_ns_add(struct state_map *m, const struct ns_ident *id);
void state_maps_free(struct state_maps *maps);

/* To be freed. */
char *state_maps_text(const struct state_maps *maps);
/* Fills @maps, which is empty. False with *what set when @doc is not what we write. */
bool state_maps_parse(struct state_maps *maps, json_t *doc, char *what, size_t len);

#endif
