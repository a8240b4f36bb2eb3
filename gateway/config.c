/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/config.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "gateway/config_field.h"
#include "gateway/config_parts.h"

static const struct cfg_word log_levels[] = {
	{"info", LOG_INFO},	{"error", LOG_ERR},   {"warning", LOG_WARNING},
	{"notice", LOG_NOTICE}, {"debug", LOG_DEBUG}, {0},
};

#define AT(member) CFG_AT(struct gw_config, member)
static const struct cfg_field fields[] = {
	{"workers", CFG_UINT, AT(workers), .min = 1, .max = MP_MAX_WORKERS},
	{"pin", CFG_BOOL, AT(pin), .def = true},
	/* no less than a few of the largest requests */
	{"memory_mib", CFG_UINT, AT(memory), .min = 4, .max = 65536, .def = 64, .unit = 1 << 20},
	{"requests", CFG_UINT, AT(requests), .min = 64, .max = 65536, .def = 2048},
	{"state_dir", CFG_TEXT, AT(state_dir), .text = "/var/lib/nvmegw", .or_empty = true},
	{"control_socket", CFG_TEXT, AT(control_socket), .text = "/run/nvmegw/control.sock",
	 .or_empty = true},
	{"admin_writes", CFG_BOOL, AT(admin_writes)},
	{.name = "http", .type = CFG_OTHER},
	{"log_level", CFG_WORD, AT(log_level), .words = log_levels, .live = CFG_LIVE},
	{"hostnqn", CFG_TEXT, AT(hostnqn), .check = cfg_check_nqn, .live = CFG_LIVE},
	{"hostid", CFG_ID, AT(hostid), .live = CFG_LIVE},
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

	cfg_read(root, fields, NULL, cfg);
	if (!cfg->workers)
		cfg->workers = default_workers();
	strcpy(defaults.host.hostnqn, cfg->hostnqn);
	memcpy(defaults.host.hostid, cfg->hostid, sizeof(cfg->hostid));
	defaults.requests = cfg->requests;
	host_id_of(&defaults.host, defaults.etc);
	cfg_listeners(root, cfg);
	cfg_http(root, cfg);
	cfg_subsystems(root, &defaults, cfg);
}

static struct gw_config *finish(struct cfg_doc *doc, bool is_json)
{
	struct gw_config *cfg = NULL;

	if (is_json) {
		cfg = cfg_alloc(1, sizeof(*cfg));
		read_top(&doc->root, cfg);
		cfg->doc = json_incref(doc->json);
	}
	cfg_doc_free(doc);
	if (doc->problems) {
		config_free(cfg);
		cfg = NULL;
	}
	return cfg;
}

struct gw_config *config_load(const char *file, FILE *err)
{
	struct cfg_doc doc;

	return finish(&doc, cfg_doc_load(&doc, file, err));
}

struct gw_config *config_parse(const char *name, const char *text, size_t len, FILE *err)
{
	struct cfg_doc doc;

	return finish(&doc, cfg_doc_parse(&doc, name, text, len, err));
}

void cfg_compare_top(const struct gw_config *was, const struct gw_config *is, struct cfg_delta *d)
{
	cfg_compare(fields, NULL, was, is, d);
}

void config_free(struct gw_config *cfg)
{
	if (!cfg)
		return;
	for (unsigned i = 0; i < cfg->nr_subsystems; i++) {
		free(cfg->subsystems[i].allowed_hosts);
		free(cfg->subsystems[i].namespaces);
		free(cfg->subsystems[i].paths);
		free(cfg->subsystems[i].upstreams);
	}
	json_decref(cfg->doc);
	free(cfg->subsystems);
	free(cfg->listeners);
	free(cfg);
}
