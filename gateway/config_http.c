/* SPDX-License-Identifier: Apache-2.0 */
/* Where the status page and the metrics are. */
#include <stdio.h>

#include "gateway/config_field.h"
#include "gateway/config_parts.h"

struct http_text {
	char traddr[64];
	uint16_t port;
};

#define AT(member) CFG_AT(struct http_text, member)
static const struct cfg_field fields[] = {
	{"traddr", CFG_TEXT, AT(traddr), .text = "127.0.0.1", .check = cfg_check_traddr},
	{"trsvcid", CFG_PORT, AT(port), .min = 1, .max = 65535, .def = 8420},
	{0},
};

void cfg_http(const struct cfg_node *root, struct gw_config *cfg)
{
	const struct cfg_node *n = cfg_member(root, "http");
	struct http_text t = {0};
	char port[8];

	if (!n)
		return;
	cfg_read(n, fields, NULL, &t);
	snprintf(port, sizeof(port), "%u", t.port);
	addr_parse(&cfg->http, t.traddr, port);
}
