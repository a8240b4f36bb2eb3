/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/config.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "gateway/config_field.h"
#include "gateway/config_parts.h"

/* As in the file, beside what goes into the struct as it is. */
struct top_text {
	struct gw_config cfg;
	struct host_id host; /* what is left out is zero */
};

static const struct cfg_word log_levels[] = {
	{"info", LOG_INFO},	{"error", LOG_ERR},   {"warning", LOG_WARNING},
	{"notice", LOG_NOTICE}, {"debug", LOG_DEBUG}, {0},
};

#define AT(member) CFG_AT(struct top_text, member)
static const struct cfg_field fields[] = {
	{"workers", CFG_UINT, AT(cfg.workers), .min = 1, .max = MP_MAX_WORKERS},
	{"pin", CFG_BOOL, AT(cfg.pin), .def = true},
	/* no less than a few of the largest requests */
	{"memory_mib", CFG_UINT, AT(cfg.memory), .min = 4, .max = 65536, .def = 64,
	 .unit = 1 << 20},
	{"requests", CFG_UINT, AT(cfg.requests), .min = 64, .max = 65536, .def = 2048},
	{"state_dir", CFG_TEXT, AT(cfg.state_dir), .text = "/var/lib/nvmegw", .or_empty = true},
	{"control_socket", CFG_TEXT, AT(cfg.control_socket), .text = "/run/nvmegw/control.sock",
	 .or_empty = true},
	{"admin_writes", CFG_BOOL, AT(cfg.admin_writes)},
	{.name = "http", .type = CFG_OTHER},
	{"log_level", CFG_WORD, AT(cfg.log_level), .words = log_levels},
	{"hostnqn", CFG_TEXT, AT(host.hostnqn), .check = cfg_check_nqn},
	{"hostid", CFG_ID, AT(host.hostid)},
	{"listeners", CFG_OTHER, .required = true},
	{"subsystems", CFG_OTHER, .required = true},
	{0},
};

/* One per core that this process may use. */
static unsigned default_workers(void)
{
	cpu_set_t set;
	long n;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		n = CPU_COUNT(&set);
	else
		n = sysconf(_SC_NPROCESSORS_ONLN);
	return n < 1 ? 1 : n > MP_MAX_WORKERS ? MP_MAX_WORKERS : (unsigned)n;
}

static void read_top(const struct cfg_node *root, struct gw_config *cfg)
{
	struct cfg_defaults defaults = {.etc = "/etc"};
	struct top_text t = {0};

	cfg_read(root, fields, NULL, &t);
	*cfg = t.cfg;
	if (!cfg->workers)
		cfg->workers = default_workers();
	defaults.host = t.host;
	defaults.requests = cfg->requests;
	host_id_of(&defaults.host, defaults.etc);
	cfg_listeners(root, cfg);
	cfg_http(root, cfg);
	cfg_subsystems(root, &defaults, cfg);
}

struct gw_config *config_load(const char *file, FILE *err)
{
	struct gw_config *cfg = NULL;
	struct cfg_doc doc;

	if (cfg_doc_load(&doc, file, err)) {
		cfg = cfg_alloc(1, sizeof(*cfg));
		read_top(&doc.root, cfg);
	}
	cfg_doc_free(&doc);
	if (doc.problems) {
		config_free(cfg);
		cfg = NULL;
	}
	return cfg;
}

void config_free(struct gw_config *cfg)
{
	if (!cfg)
		return;
	for (unsigned i = 0; i < cfg->nr_subsystems; i++) {
		free(cfg->subsystems[i].allowed_hosts);
		free(cfg->subsystems[i].namespaces);
		free(cfg->subsystems[i].upstreams);
	}
	free(cfg->subsystems);
	free(cfg->listeners);
	free(cfg);
}
