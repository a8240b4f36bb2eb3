/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners, subsystems, hosts, namespaces and upstreams: what they become, and what excludes what.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/config_try.h"

#define UUID_1 "0c7e6a52-93d1-4b57-8f0c-6a1de2b4f3a7"
#define UUID_2 "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
#define DISC   "nqn.2014-08.org.nvmexpress.discovery"

static int teardown(void **state)
{
	try_end();
	return 0;
}

/* A correct file but for its listeners, which start on line 2. */
#define LISTENERS(list)                                                  \
	"{\"subsystems\": [{\"nqn\": \"" TRY_NQN "\", \"upstreams\": [{" \
	"\"transport\": \"file\", \"path\": \"/a\"}]}], \"listeners\": [\n" list "]}"
#define TCP_AT(addr)	     "{\"transport\": \"tcp\", \"traddr\": \"" addr "\"}"
#define TCP_WITH(addr, more) "{\"transport\": \"tcp\", \"traddr\": \"" addr "\", " more "}"

/* ... but for members of its only subsystem, on line 2. */
#define SUBSYSTEM(members) "{\"listeners\": [" TCP_AT("::1") "], \"subsystems\": [{\n" members "}]}"
#define WITH_FILE	   "\"upstreams\": [{\"transport\": \"file\", \"path\": \"/a\"}]"

/* ... but for its upstreams, which start on line 2. */
#define UPSTREAMS(list) SUBSYSTEM("\"nqn\": \"" TRY_NQN "\", \"upstreams\": [" list "]")
#define UP_AT(addr, more) \
	"{\"transport\": \"tcp\", \"nqn\": \"" TRY_ARRAY "\", \"traddr\": \"" addr "\"" more "}"
#define DISC_AT(addr, more) "{\"transport\": \"tcp\", \"traddr\": \"" addr "\"" more "}"

static const struct upstream_cfg *upstream(const struct gw_config *cfg, unsigned i)
{
	assert_true(i < cfg->subsystems[0].nr_upstreams);
	return &cfg->subsystems[0].upstreams[i];
}

static const char *address(const struct addr *a)
{
	static char buf[ADDR_STR_MAX];

	return addr_str(a, buf);
}

/* ---- listeners ---- */

static void test_listeners(void **state)
{
	const struct gw_config *cfg = try_good(LISTENERS(
		TCP_AT("0.0.0.0") "," TCP_AT("::") "," TCP_WITH("::1", "\"trsvcid\": 8009") "," TCP_WITH(
			"0.0.0.0",
			"\"trsvcid\": \"65535\", \"advertise\": \"192.0.2.1\"") "," TCP_WITH("::",
											     "\"trsvcid\": 1, \"advertise\": \"2001:db8::1\"")));

	assert_int_equal(cfg->nr_listeners, 5);
	assert_ptr_equal(cfg->listeners[0].transport, &tgt_tcp);
	assert_string_equal(address(&cfg->listeners[0].addr), "0.0.0.0:4420");
	assert_string_equal(cfg->listeners[0].traddr_out, "");
	assert_string_equal(address(&cfg->listeners[1].addr), "[::]:4420");
	assert_string_equal(address(&cfg->listeners[2].addr), "[::1]:8009");
	assert_string_equal(address(&cfg->listeners[3].addr), "0.0.0.0:65535");
	assert_string_equal(cfg->listeners[3].traddr_out, "192.0.2.1");
	assert_string_equal(cfg->listeners[4].traddr_out, "2001:db8::1");
}

static void test_ports(void **state)
{
	static const char *const bad[] = {
		"0",	     "65536", "-1",	"1.0",	  "null",   "\"0\"",
		"\"\"",	     "\"x\"", "\"+1\"", "\" 1\"", "\"1 \"", "\"99999999999\"",
		"\"65536\"",
	};
	char said[100];

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(said, sizeof(said), "is %s, expected an integer from 1 to 65535", bad[i]);
		try_refused_with(TRY_LISTENER, "trsvcid", bad[i], said);
		try_refused_with(TRY_TCP, "trsvcid", bad[i], said);
	}
	assert_string_equal(
		address(&upstream(try_good_with(TRY_TCP, "trsvcid", "\"04421\""), 0)->mp.addr),
		"192.0.2.1:4421");
}

static void test_listener_addresses(void **state)
{
	try_refused(LISTENERS(TCP_AT("gateway.example") ",\n" TCP_AT("010.0.0.1") ",\n" TCP_AT(
			    "[::1]") ",\n" TCP_AT("")),
		    "2: $.listeners[0].traddr: is \"gateway.example\", expected an IPv4 or IPv6 "
		    "address in digits\n"
		    "3: $.listeners[1].traddr: is \"010.0.0.1\", expected an IPv4 or IPv6 address "
		    "in digits\n"
		    "4: $.listeners[2].traddr: is \"[::1]\", expected an IPv4 or IPv6 address in "
		    "digits\n"
		    "5: $.listeners[3].traddr: is empty, expected a string of 1 to 63 bytes\n");
}

static void test_listeners_collide(void **state)
{
	try_good(LISTENERS(
		TCP_AT("127.0.0.1") "," TCP_AT("127.0.0.2") "," TCP_AT("::1") "," TCP_WITH(
			"127.0.0.1",
			"\"trsvcid\": 4421") "," TCP_WITH("0.0.0.0",
							  "\"trsvcid\": 4422") "," TCP_AT("::2")));
	try_refused(
		LISTENERS(TCP_AT("127.0.0.1") ",\n" TCP_WITH(
			"127.0.0.1",
			"\"trsvcid\": 4420") ",\n"
					     "{\"transport\": \"tcp\",\n\"traddr\": \"0.0.0.0\"},\n" TCP_AT(
						     "0:0::1") ",\n" TCP_AT("::1")),
		"3: $.listeners[1].traddr: the address is taken by listeners[0] on "
		"127.0.0.1:4420, expected another address or trsvcid\n"
		"5: $.listeners[2].traddr: the address is taken by listeners[0] on "
		"127.0.0.1:4420, expected another address or trsvcid\n"
		"7: $.listeners[4].traddr: the address is taken by listeners[3] on "
		"[::1]:4420, expected another address or trsvcid\n");
	try_refused(LISTENERS(TCP_AT("::") ",\n" TCP_AT("::1")),
		    "3: $.listeners[1].traddr: the address is taken by listeners[0] on [::]:4420, "
		    "expected another address or trsvcid\n");
}

static void test_advertise(void **state)
{
	try_refused(
		LISTENERS(TCP_WITH("127.0.0.1", "\"trsvcid\": 1,\n\"advertise\":\n\"192.0.2.1\"") ",\n" TCP_WITH(
			"0.0.0.0",
			"\n\"advertise\": \"::1\"") ",\n" TCP_WITH("::",
								   "\n\"advertise\": \"::\"") ",\n" TCP_WITH("bad",
													     "\n\"advertise\": \"192.0.2.1\"")),
		"3: $.listeners[0].advertise: fits a wildcard traddr only, expected not to be "
		"there: hosts are told the traddr 127.0.0.1\n"
		"6: $.listeners[1].advertise: is not of the address family of traddr, expected "
		"both IPv4 or both IPv6\n"
		"8: $.listeners[2].advertise: is \"::\", expected the IPv4 or IPv6 address, in "
		"digits, at which hosts reach the listener\n"
		"9: $.listeners[3].traddr: is \"bad\", expected an IPv4 or IPv6 address in "
		"digits\n");
}

/* ---- status page and metrics ---- */

#define HTTP(members)                                                                \
	"{\"listeners\": [" TCP_AT("::1") "], \"subsystems\": [{\"nqn\": \"" TRY_NQN \
					  "\", \"upstreams\": [" UP_AT(              \
						  "192.0.2.1", "") "]}], \"http\":\n" members "}"

static void test_http(void **state)
{
	assert_int_equal(try_good_with(TRY_TOP, NULL, NULL)->http.len, 0);
	assert_string_equal(address(&try_good(HTTP("{}"))->http), "127.0.0.1:8420");
	assert_string_equal(
		address(&try_good(HTTP("{\"traddr\": \"::\", \"trsvcid\": \"80\"}"))->http),
		"[::]:80");
	try_refused(HTTP("true"), "2: $.http: is true, expected an object\n");
	try_refused(HTTP("{\"traddr\": \"localhost\", \"trsvcid\": 0, \"port\": 80}"),
		    "2: $.http.traddr: is \"localhost\", expected an IPv4 or IPv6 address in "
		    "digits\n"
		    "2: $.http.trsvcid: is 0, expected an integer from 1 to 65535\n"
		    "2: $.http.port: unknown key, expected one of nvmegw.json(5)\n");
}

/* ---- subsystems ---- */

static void test_subsystem_nqns(void **state)
{
	try_refused(
		"{\"listeners\": [" TCP_AT("::1") "], \"subsystems\": [\n"
						  "{\"nqn\": \"" TRY_NQN "\", " WITH_FILE "},\n"
						  "{\"nqn\": \"" TRY_NQN "2\", " WITH_FILE "},\n"
						  "{\n\"nqn\": \"" TRY_NQN "\", " WITH_FILE "},\n"
						  "{\"nqn\": \"" DISC "\", " WITH_FILE "},\n"
						  "{\"nqn\": \"array\", " WITH_FILE "}]}",
		"5: $.subsystems[2].nqn: is the NQN of subsystems[0] too, expected another\n"
		"6: $.subsystems[3].nqn: is \"" DISC "\", expected another NQN: the discovery "
		"subsystem is always there\n"
		"7: $.subsystems[4].nqn: is \"array\", expected the form "
		"nqn.YYYY-MM.REVERSE.DOMAIN:NAME\n");
}

static void test_cntlids(void **state)
{
	const struct subsys_cfg *ss;

	ss = try_good(SUBSYSTEM("\"nqn\": \"" TRY_NQN
				"\", \"cntlid_min\": 7, \"cntlid_max\": 7, " WITH_FILE))
		     ->subsystems;
	assert_int_equal(ss->cntlid_min, 7);
	assert_int_equal(ss->cntlid_max, 7);
	try_refused(SUBSYSTEM("\"nqn\": \"" TRY_NQN
			      "\", \"cntlid_max\":\n7,\n\"cntlid_min\": 8, " WITH_FILE),
		    "3: $.subsystems[0].cntlid_max: cntlid_min 8 is above cntlid_max 7, expected "
		    "it not to be\n");
}

/* ---- hosts ---- */

#define HOSTS(members) SUBSYSTEM("\"nqn\": \"" TRY_NQN "\", " WITH_FILE ",\n" members)

static void test_hosts(void **state)
{
	const struct subsys_cfg *ss = try_good_with(TRY_TOP, NULL, NULL)->subsystems;

	assert_true(ss->allow_any_host);
	assert_int_equal(ss->nr_allowed_hosts, 0);
	ss = try_good(HOSTS("\"allow_any_host\": true"))->subsystems;
	assert_true(ss->allow_any_host);
	ss = try_good(HOSTS("\"allowed_hosts\": []"))->subsystems;
	assert_false(ss->allow_any_host);
	assert_int_equal(ss->nr_allowed_hosts, 0);
	ss = try_good(HOSTS("\"allow_any_host\": false, \"allowed_hosts\": [\"nqn.a\", \"b\"]"))
		     ->subsystems;
	assert_false(ss->allow_any_host);
	assert_int_equal(ss->nr_allowed_hosts, 2);
	assert_string_equal(ss->allowed_hosts[0], "nqn.a");
	assert_string_equal(ss->allowed_hosts[1], "b");
}

static void test_most_hosts(void **state)
{
	const unsigned max = 4096;
	char *text, *to;
	const struct subsys_cfg *ss;

	text = malloc(max * 16 + 512);
	to = text + sprintf(text, "%s",
			    "{\"listeners\": [" TCP_AT("::1") "], \"subsystems\": [{"
							      "\"nqn\": \"" TRY_NQN "\", " WITH_FILE
							      ", \"allowed_hosts\": [");
	for (unsigned i = 0; i < max; i++)
		to += sprintf(to, "%s\"host%u\"", i ? "," : "", i);
	strcpy(to, "]}]}");
	ss = try_good(text)->subsystems;
	assert_int_equal(ss->nr_allowed_hosts, max);
	assert_string_equal(ss->allowed_hosts[max - 1], "host4095");
	free(text);
}

static void test_wrong_hosts(void **state)
{
	try_refused(HOSTS("\"allowed_hosts\": [\n\"nqn.a\",\n\"a b\",\n\"nqn.a\",\n5,\n\"\"]"),
		    "5: $.subsystems[0].allowed_hosts[1]: is \"a b\", expected an NQN without "
		    "spaces and control characters\n"
		    "7: $.subsystems[0].allowed_hosts[3]: is 5, expected a string\n"
		    "8: $.subsystems[0].allowed_hosts[4]: is empty, expected a string of 1 to 223 "
		    "bytes\n"
		    "6: $.subsystems[0].allowed_hosts[2]: is the same as allowed_hosts[0], "
		    "expected each once\n");
	try_refused(HOSTS("\"allowed_hosts\": [],\n\"allow_any_host\": true"),
		    "4: $.subsystems[0].allow_any_host: is true and there are \"allowed_hosts\", "
		    "expected one of the two\n");
	try_refused(HOSTS("\"allow_any_host\": false"),
		    "3: $.subsystems[0].allow_any_host: is false and there are no "
		    "\"allowed_hosts\", expected a list of them, empty when no host may connect\n");
	try_refused(HOSTS("\"allowed_hosts\": \"nqn.a\""),
		    "3: $.subsystems[0].allowed_hosts: is \"nqn.a\", expected an array\n");
	try_refused(HOSTS("\"allow_any_host\": 1"),
		    "3: $.subsystems[0].allow_any_host: is 1, expected true or false\n");
}

/* ---- namespaces ---- */

#define NAMESPACES(list) HOSTS("\"namespaces\": [\n" list "]")

static void test_namespaces(void **state)
{
	const struct subsys_cfg *ss = try_good_with(TRY_TOP, NULL, NULL)->subsystems;
	const struct ns_ident *id;

	assert_int_equal(ss->nr_namespaces, 0);
	ss = try_good(NAMESPACES("{\"uuid\": \"" UUID_1 "\", \"nsid\": 1024},"
				 "{\"nguid\": \"11111111111111111111111111111111\"},"
				 "{\"eui64\": \"2222222222222222\", \"nsid\": 1}"))
		     ->subsystems;
	assert_int_equal(ss->nr_namespaces, 3);
	assert_int_equal(ss->namespaces[0].nsid, 1024);
	id = &ss->namespaces[0].ident;
	assert_true(id->has_uuid && !id->has_nguid && !id->has_eui64);
	assert_int_equal(id->uuid[15], 0xa7);
	assert_int_equal(ss->namespaces[1].nsid, 0);
	id = &ss->namespaces[1].ident;
	assert_true(!id->has_uuid && id->has_nguid && !id->has_eui64);
	assert_int_equal(id->nguid[15], 0x11);
	assert_int_equal(ss->namespaces[2].nsid, 1);
	id = &ss->namespaces[2].ident;
	assert_true(!id->has_uuid && !id->has_nguid && id->has_eui64);
	assert_int_equal(id->eui64[7], 0x22);
}

static void test_policy_of_a_namespace(void **state)
{
	static const char *const names[] = {"failover", "round-robin", "queue-depth",
					    "service-time", "numa"};
	const struct subsys_namespace_cfg *ns;
	char text[512];

	ns = try_good(NAMESPACES("{\"uuid\": \"" UUID_1 "\"}"))->subsystems[0].namespaces;
	assert_int_equal(ns->policy, MP_POLICY_COUNT);
	ns = try_good(NAMESPACES("{\"uuid\": \"" UUID_1 "\", \"policy\": \"subsystem\"}"))
		     ->subsystems[0]
		     .namespaces;
	assert_int_equal(ns->policy, MP_POLICY_COUNT);
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(text, sizeof(text),
			 NAMESPACES("{\"uuid\": \"" UUID_1 "\", \"policy\": \"%s\"}"), names[i]);
		ns = try_good(text)->subsystems[0].namespaces;
		assert_string_equal(mp_policy_name(ns->policy), names[i]);
	}
	try_refused(NAMESPACES("{\"uuid\": \"" UUID_1 "\",\n\"policy\": \"\"}"),
		    "5: $.subsystems[0].namespaces[0].policy: is \"\", expected \"subsystem\" or "
		    "\"failover\" or \"round-robin\" or \"queue-depth\" or \"service-time\" or "
		    "\"numa\"\n");
}

static void test_exported_ones(void **state)
{
	assert_true(try_good(HOSTS("\"model\": \"x\""))->subsystems[0].export_all);
	assert_false(try_good(NAMESPACES("{\"uuid\": \"" UUID_1 "\"}"))->subsystems[0].export_all);
	assert_true(try_good(HOSTS("\"export_all\": true, \"namespaces\": [{\"uuid\": "
				   "\"" UUID_1 "\"}]"))
			    ->subsystems[0]
			    .export_all);
	try_refused(HOSTS("\"export_all\": false"),
		    "3: $.subsystems[0].export_all: is false and there are no \"namespaces\", "
		    "expected a list of those to export\n");
}

/* ---- single paths ---- */

#define PATHS(list) HOSTS("\"paths\": [\n" list "]")

static void test_paths(void **state)
{
	const struct subsys_cfg *ss;

	ss = &try_good(PATHS("{\"path\": \"a/1\"}, {\"path\": \"d/192.0.2.1:4420#1/12\", "
			     "\"admin\": \"disabled\", \"weight\": 1000}"))
		      ->subsystems[0];
	assert_int_equal(ss->nr_paths, 2);
	assert_string_equal(ss->paths[0].path, "a/1");
	assert_int_equal(ss->paths[0].admin, PATH_ADMIN_COUNT);
	assert_int_equal(ss->paths[0].weight, 0);
	assert_string_equal(ss->paths[1].path, "d/192.0.2.1:4420#1/12");
	assert_int_equal(ss->paths[1].admin, PATH_DISABLED);
	assert_int_equal(ss->paths[1].weight, 1000);
	assert_int_equal(try_good(PATHS(""))->subsystems[0].nr_paths, 0);
}

static void test_wrong_paths(void **state)
{
	try_refused(PATHS("{\"path\": \"a\"},\n{\"path\": \"/1\"},\n{\"path\": \"a/\"},\n"
			  "{\"path\": \"a/1x\"}"),
		    "4: $.subsystems[0].paths[0].path: is \"a\", expected UPSTREAM/NSID as "
		    "\"nvmegw path list\" has it\n"
		    "5: $.subsystems[0].paths[1].path: is \"/1\", expected UPSTREAM/NSID as "
		    "\"nvmegw path list\" has it\n"
		    "6: $.subsystems[0].paths[2].path: is \"a/\", expected UPSTREAM/NSID as "
		    "\"nvmegw path list\" has it\n"
		    "7: $.subsystems[0].paths[3].path: is \"a/1x\", expected UPSTREAM/NSID as "
		    "\"nvmegw path list\" has it\n");
	try_refused(PATHS("{\"path\": \"a/1\"},\n{\"path\": \"a/1\", \"weight\": 1001}"),
		    "5: $.subsystems[0].paths[1].weight: is 1001, expected an integer from 1 to "
		    "1000\n"
		    "5: $.subsystems[0].paths[1].path: \"a/1\" is that of paths[0] too, expected "
		    "each once\n");
}

static void test_wrong_namespaces(void **state)
{
	try_refused(NAMESPACES(""),
		    "3: $.subsystems[0].namespaces: has 0 elements, expected 1 to 1024\n");
	try_refused(
		NAMESPACES("{},\n{\"nsid\": 1025, \"uuid\": \"" UUID_1 "\"},\n"
			   "{\"nsid\": 3, \"uuid\": \"" UUID_1
			   "\", \"eui64\": \"2222222222222222\"},\n"
			   "{\"uid\": 1},\n7"),
		"4: $.subsystems[0].namespaces[0]: has no identifier, expected exactly one of "
		"\"uuid\", \"nguid\" and \"eui64\"\n"
		"5: $.subsystems[0].namespaces[1].nsid: is 1025, expected an integer from 1 to "
		"1024\n"
		"6: $.subsystems[0].namespaces[2]: has several identifiers, expected exactly one "
		"of \"uuid\", \"nguid\" and \"eui64\"\n"
		"7: $.subsystems[0].namespaces[3].uid: unknown key, did you mean \"uuid\"?\n"
		"7: $.subsystems[0].namespaces[3]: has no identifier, expected exactly one of "
		"\"uuid\", \"nguid\" and \"eui64\"\n"
		"8: $.subsystems[0].namespaces[4]: is 7, expected an object\n");
	try_refused(NAMESPACES("{\"nsid\": 3, \"uuid\": \"" UUID_1 "\"},\n"
			       "{\n\"nsid\": 3, \"uuid\": \"" UUID_2 "\"},\n"
			       "{\"uuid\": \"0C7E6A5293D14B578F0C6A1DE2B4F3A7\"},\n"
			       "{\"nguid\": \"0C7E6A5293D14B578F0C6A1DE2B4F3A7\"}"),
		    "6: $.subsystems[0].namespaces[1].nsid: 3 is the NSID of namespaces[0] too, "
		    "expected each once\n"
		    "7: $.subsystems[0].namespaces[2]: is the same namespace as namespaces[0], "
		    "expected each once\n");
}

static void test_nsid_against_max_transfer(void **state)
{
	const struct subsys_cfg *ss;

	ss = try_good(HOSTS("\"max_transfer_kib\": 8, \"namespaces\": [{\"nsid\": 227, "
			    "\"uuid\": \"" UUID_1 "\"}]"))
		     ->subsystems;
	assert_int_equal(ss->namespaces[0].nsid, 227);
	try_refused(HOSTS("\"max_transfer_kib\": 8, \"namespaces\": [\n{\"nsid\": 228, "
			  "\"uuid\": \"" UUID_1 "\"}]"),
		    "4: $.subsystems[0].namespaces[0].nsid: is 228, expected 1 to 227, as many as "
		    "the ANA log has room for within max_transfer_kib\n");
}

/* ---- upstreams over a network ---- */

static void test_tcp_upstreams(void **state)
{
	const struct upstream_config *up;
	const struct gw_config *cfg;

	cfg = try_good(UPSTREAMS(
		UP_AT("192.0.2.1", "") "," UP_AT("2001:db8::1", ", \"trsvcid\": \"4421\", \"host_traddr\": \"2001:db8::2\"") "," UP_AT(
			"192.0.2.1", ", \"name\": \"b\", \"host_traddr\": \"192.0.2.9\"")));
	assert_int_equal(cfg->subsystems[0].nr_upstreams, 3);
	up = &upstream(cfg, 0)->mp;
	assert_false(upstream(cfg, 0)->is_file);
	assert_ptr_equal(up->transport, &ini_tcp);
	assert_string_equal(up->nqn, TRY_ARRAY);
	assert_string_equal(up->name, "192.0.2.1:4420");
	assert_string_equal(address(&up->addr), "192.0.2.1:4420");
	assert_string_equal(address(&up->host_addr), "-");
	up = &upstream(cfg, 1)->mp;
	assert_string_equal(up->name, "[2001:db8::1]:4421");
	assert_string_equal(address(&up->addr), "[2001:db8::1]:4421");
	assert_string_equal(address(&up->host_addr), "[2001:db8::2]:0");
	up = &upstream(cfg, 2)->mp;
	assert_string_equal(up->name, "b");
	assert_string_equal(address(&up->host_addr), "192.0.2.9:0");
}

static void test_discovery_upstreams(void **state)
{
	const struct gw_config *cfg;

	cfg = try_good(UPSTREAMS(DISC_AT("192.0.2.1", ", \"discovery\": true") "," DISC_AT(
		"192.0.2.2", ", \"discovery\": true, \"trsvcid\": 4420, \"nqn\": \"" TRY_ARRAY
			     "\"") "," UP_AT("192.0.2.3", ", \"discovery\": false")));
	assert_true(upstream(cfg, 0)->mp.discovery);
	assert_string_equal(address(&upstream(cfg, 0)->mp.addr), "192.0.2.1:8009");
	assert_string_equal(upstream(cfg, 0)->mp.nqn, DISC);
	assert_string_equal(upstream(cfg, 0)->mp.name, "192.0.2.1:8009");
	assert_true(upstream(cfg, 1)->mp.discovery);
	assert_string_equal(address(&upstream(cfg, 1)->mp.addr), "192.0.2.2:4420");
	assert_string_equal(upstream(cfg, 1)->mp.nqn, TRY_ARRAY);
	assert_false(upstream(cfg, 2)->mp.discovery);
	try_refused(UPSTREAMS(DISC_AT("192.0.2.1", ",\n\"nqn\": \"" DISC "\"") ",\n" DISC_AT(
			    "192.0.2.2", ", \"discovery\": false")),
		    "3: $.subsystems[0].upstreams[0].nqn: is the discovery NQN, expected a "
		    "subsystem's, or \"discovery\": true\n"
		    "4: $.subsystems[0].upstreams[1]: has no \"nqn\", expected one unless "
		    "\"discovery\" is true\n");
}

static void test_upstream_addresses(void **state)
{
	static const char one_machine[] = "the IPv4 or IPv6 address, in digits, of one machine\n";
	char said[600];

	snprintf(said, sizeof(said),
		 "2: $.subsystems[0].upstreams[0].traddr: is \"0.0.0.0\", expected %s"
		 "3: $.subsystems[0].upstreams[1].traddr: is \"array\", expected %s"
		 "5: $.subsystems[0].upstreams[2].host_traddr: is \"::\", expected %s"
		 "7: $.subsystems[0].upstreams[3].host_traddr: is not of the address family of "
		 "traddr, expected both IPv4 or both IPv6\n",
		 one_machine, one_machine, one_machine);
	try_refused(
		UPSTREAMS(UP_AT("0.0.0.0", "") ",\n" UP_AT("array", "") ",\n" UP_AT(
			"::1",
			",\n\"host_traddr\": \"::\"") ",\n" UP_AT("::1",
								  ",\n\"trsvcid\": 1, \"host_traddr\": \"127.0.0.1\"")),
		said);
}

/* What others call themselves need not be right. */
static void test_upstream_nqns(void **state)
{
	const struct gw_config *cfg;

	cfg = try_good(UPSTREAMS("{\"transport\": \"tcp\", \"traddr\": \"::1\", \"nqn\": "
				 "\"nqn.1999-99.\xc3\xa9\"}"));
	assert_string_equal(upstream(cfg, 0)->mp.nqn, "nqn.1999-99.\xc3\xa9");
	try_refused(UPSTREAMS("{\"transport\": \"tcp\", \"traddr\": \"::1\",\n\"nqn\": \"a b\"}"),
		    "3: $.subsystems[0].upstreams[0].nqn: is \"a b\", expected an NQN without "
		    "spaces and control characters\n");
}

static void test_same_upstreams(void **state)
{
	try_good(UPSTREAMS(
		UP_AT("192.0.2.1", "") "," UP_AT("192.0.2.1", ", \"trsvcid\": 4421") "," UP_AT(
			"192.0.2.1",
			", \"name\": \"x\", \"host_traddr\": \"192.0.2.7\"") ","
									     "{\"transport\": \"tcp\", \"traddr\": \"192.0.2.1\", \"name\": \"y\", "
									     "\"nqn\": \"" TRY_ARRAY
									     "2\"}"));
	try_refused(
		UPSTREAMS(UP_AT("192.0.2.1", "") ",\n" UP_AT("192.0.2.1", ", \"name\": \"b\"") ",\n" UP_AT(
			"192.0.2.2",
			",\n\"name\": \"192.0.2.1:4420\"") ",\n"
							   "{\"transport\": \"tcp\", \"traddr\": \"192.0.2.1\", \"nqn\": \"" TRY_ARRAY
							   "2\"}"),
		"3: $.subsystems[0].upstreams[1]: is the same as upstreams[0], expected "
		"another traddr, trsvcid, nqn or host_traddr\n"
		"5: $.subsystems[0].upstreams[2].name: \"192.0.2.1:4420\" is the name of "
		"upstreams[0] too, expected another \"name\"\n"
		"6: $.subsystems[0].upstreams[3]: \"192.0.2.1:4420\" is the name of "
		"upstreams[0] too, expected another \"name\"\n");
}

/* ---- who we are ---- */

#define HOST_1 "nqn.2014-08.org.nvmexpress:uuid:" UUID_1
#define IDENTITIES(top, up)                                                                   \
	"{" top "\n\"listeners\": [" TCP_AT("::1") "], \"subsystems\": [{\"nqn\": \"" TRY_NQN \
						   "\", \"upstreams\": [" UP_AT("::1", up) "]}]}"

static void identity_is(const char *text, const char *hostnqn, uint8_t hostid_first)
{
	const struct upstream_config *up = &upstream(try_good(text), 0)->mp;

	assert_string_equal(up->hostnqn, hostnqn);
	assert_int_equal(up->hostid[0], hostid_first);
}

static void test_host_identity(void **state)
{
	/* That of the file, with the host ID that is in its NQN. */
	identity_is(IDENTITIES("\"hostnqn\": \"" HOST_1 "\",", ""), HOST_1, 0x0c);
	identity_is(IDENTITIES("\"hostnqn\": \"" HOST_1 "\", \"hostid\": \"" UUID_2 "\",", ""),
		    HOST_1, 0xaa);
	/* That of the upstream, whose host ID is not the file's then. */
	identity_is(IDENTITIES("\"hostnqn\": \"" TRY_NQN "\", \"hostid\": \"" UUID_2 "\",",
			       ", \"hostnqn\": \"" HOST_1 "\""),
		    HOST_1, 0x0c);
	/* But one host has one host ID. */
	identity_is(IDENTITIES("\"hostnqn\": \"" HOST_1 "\", \"hostid\": \"" UUID_2 "\",",
			       ", \"hostnqn\": \"" HOST_1 "\""),
		    HOST_1, 0xaa);
	identity_is(IDENTITIES("\"hostnqn\": \"" HOST_1 "\",",
			       ", \"hostid\": \"11111111222233334444555555555555\""),
		    HOST_1, 0x11);
}

static void test_wrong_identity(void **state)
{
	try_refused(IDENTITIES("\"hostnqn\": \"host\",", ",\n\"hostid\": \"7\""),
		    "1: $.hostnqn: is \"host\", expected the form "
		    "nqn.YYYY-MM.REVERSE.DOMAIN:NAME\n"
		    "3: $.subsystems[0].upstreams[0].hostid: is \"7\", expected 32 hexadecimal "
		    "digits or the form of a UUID, not all zero\n");
}

/* ---- files ---- */

static void test_files(void **state)
{
	const struct upstream_cfg *up;
	const struct gw_config *cfg;

	cfg = try_good(UPSTREAMS(
		"{\"transport\": \"file\", \"path\": \"/a/b.img\", \"size\": \"1MiB\","
		" \"block_size\": 4096, \"nqn\": \"" TRY_ARRAY "\", \"read_only\": true},"
		"{\"transport\": \"file\", \"path\": \"/a/b.img\", \"name\": \"again\"}"));
	up = upstream(cfg, 0);
	assert_true(up->is_file);
	assert_ptr_equal(up->mp.transport, &ini_file);
	assert_string_equal(up->file.path, "/a/b.img");
	assert_string_equal(up->mp.name, "b.img");
	assert_string_equal(up->mp.nqn, TRY_ARRAY);
	assert_string_equal(up->file.subnqn, TRY_ARRAY);
	assert_int_equal(up->file.cntlid, 1);
	assert_true(up->file.read_only);
	assert_null(up->mp.file_ns);
	up = upstream(cfg, 1);
	assert_string_equal(up->mp.name, "again");
	assert_string_equal(up->file.subnqn, TRY_NQN);
	assert_int_equal(up->file.cntlid, 2);
}

static void test_file_names(void **state)
{
	static const char sentence[] =
		"its last part makes no name for the upstream, expected a \"name\" too\n";
	char said[600];

	snprintf(said, sizeof(said),
		 "2: $.subsystems[0].upstreams[0].path: %s3: $.subsystems[0].upstreams[1].path: "
		 "%s4: $.subsystems[0].upstreams[2].path: is empty, expected a string of 1 to 4095 "
		 "bytes\n5: $.subsystems[0].upstreams[4]: \"a\" is the name of upstreams[3] too, "
		 "expected another \"name\"\n",
		 sentence, sentence);
	try_refused(UPSTREAMS("{\"transport\": \"file\", \"path\": \"/a/\"},\n"
			      "{\"transport\": \"file\", \"path\": \"/a/b c\"},\n"
			      "{\"transport\": \"file\", \"path\": \"\"},\n"
			      "{\"transport\": \"file\", \"path\": \"a\"},"
			      "{\"transport\": \"file\", \"path\": \"/b/a\"}"),
		    said);
	try_good(UPSTREAMS("{\"transport\": \"file\", \"path\": \"/a/b c\", \"name\": \"b\"}"));
}

int main(void)
{
#define T(f) cmocka_unit_test_teardown(f, teardown)
	const struct CMUnitTest tests[] = {
		T(test_listeners),
		T(test_ports),
		T(test_listener_addresses),
		T(test_listeners_collide),
		T(test_advertise),
		T(test_http),
		T(test_subsystem_nqns),
		T(test_cntlids),
		T(test_hosts),
		T(test_most_hosts),
		T(test_wrong_hosts),
		T(test_namespaces),
		T(test_policy_of_a_namespace),
		T(test_wrong_namespaces),
		T(test_exported_ones),
		T(test_paths),
		T(test_wrong_paths),
		T(test_nsid_against_max_transfer),
		T(test_tcp_upstreams),
		T(test_discovery_upstreams),
		T(test_upstream_addresses),
		T(test_upstream_nqns),
		T(test_same_upstreams),
		T(test_host_identity),
		T(test_wrong_identity),
		T(test_files),
		T(test_file_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
