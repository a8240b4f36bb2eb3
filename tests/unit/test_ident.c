/* SPDX-License-Identifier: Apache-2.0 */
/* Identity, geometry and the ANA log parser: pure functions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "multipath/ana.h"
#include "multipath/ident.h"

static size_t desc(uint8_t *buf, size_t pos, uint8_t type, uint8_t len, uint8_t fill)
{
	buf[pos] = type;
	buf[pos + 1] = len;
	memset(buf + pos + 4, fill, len);
	return pos + 4 + len;
}

static void parses_descriptors(void **state)
{
	uint8_t d[4096] = {0};
	struct nvme_id_ns idns = {0};
	struct ns_ident id = {0};
	const char *reason = NULL;
	size_t pos = desc(d, 0, NVME_NIDT_UUID, 16, 0xaa);

	pos = desc(d, pos, NVME_NIDT_NGUID, 16, 0xbb);
	pos = desc(d, pos, NVME_NIDT_EUI64, 8, 0xcc);
	desc(d, pos, NVME_NIDT_CSI, 1, 0);
	assert_int_equal(ident_parse(&id, &idns, d, sizeof(d), &reason), 0);
	assert_true(id.has_uuid && id.has_nguid && id.has_eui64);
	assert_int_equal(id.uuid[15], 0xaa);
	assert_int_equal(id.nguid[15], 0xbb);
	assert_int_equal(id.eui64[7], 0xcc);
}

static void refuses_bad_descriptors(void **state)
{
	static const struct {
		uint8_t type, len;
	} bad[] = {{NVME_NIDT_UUID, 15},
		   {NVME_NIDT_NGUID, 8},
		   {NVME_NIDT_EUI64, 16},
		   {NVME_NIDT_CSI, 2}};
	struct nvme_id_ns idns = {0};
	const char *reason;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint8_t d[4096] = {0};
		struct ns_ident id = {0};

		desc(d, 0, bad[i].type, bad[i].len, 1);
		reason = NULL;
		assert_int_not_equal(ident_parse(&id, &idns, d, sizeof(d), &reason), 0);
		assert_non_null(reason);
	}
	/* runs past the end of the list */
	uint8_t d[24] = {0};
	struct ns_ident id = {0};

	desc(d, 0, NVME_NIDT_UUID, 16, 1);
	assert_int_not_equal(ident_parse(&id, &idns, d, 19, &reason), 0);
	/* two UUIDs that differ */
	uint8_t two[64] = {0};

	memset(&id, 0, sizeof(id));
	desc(two, desc(two, 0, NVME_NIDT_UUID, 16, 1), NVME_NIDT_UUID, 16, 2);
	assert_int_not_equal(ident_parse(&id, &idns, two, sizeof(two), &reason), 0);
	/* Identify Namespace and the list disagree on the NGUID */
	memset(&id, 0, sizeof(id));
	memset(two, 0, sizeof(two));
	desc(two, 0, NVME_NIDT_NGUID, 16, 2);
	memset(idns.nguid, 3, sizeof(idns.nguid));
	assert_int_not_equal(ident_parse(&id, &idns, two, sizeof(two), &reason), 0);
}

static void compares(void **state)
{
	struct ns_ident a = {.has_uuid = true, .has_nguid = true, .uuid = {1}, .nguid = {2}};
	struct ns_ident b = a;

	assert_int_equal(ident_compare(&a, &b), IDENT_SAME);
	b.has_nguid = false; /* reports less: what both report agrees */
	assert_int_equal(ident_compare(&a, &b), IDENT_SAME);
	b = a;
	b.nguid[0] = 9;
	assert_int_equal(ident_compare(&a, &b), IDENT_CONFLICT);
	b.uuid[0] = 9;
	assert_int_equal(ident_compare(&a, &b), IDENT_DIFFERENT);
	b = a;
	b.has_uuid = b.has_nguid = false;
	assert_int_equal(ident_compare(&a, &b), IDENT_DIFFERENT);
	/* nothing but subsystem and NSID on either side */
	struct ns_ident c = {.nsid = 3, .subnqn = "nqn.x"}, d = c;

	assert_int_equal(ident_compare(&c, &d), IDENT_SAME);
	d.nsid = 4;
	assert_int_equal(ident_compare(&c, &d), IDENT_DIFFERENT);
}

static void names(void **state)
{
	struct ns_ident id = {.has_eui64 = true, .eui64 = {1, 2, 3, 4, 5, 6, 7, 8}};
	char buf[IDENT_STR_MAX];

	assert_string_equal(ident_str(&id, buf), "eui.0102030405060708");
	id.has_uuid = true;
	assert_string_equal(ident_str(&id, buf), "uuid.00000000-0000-0000-0000-000000000000");
	struct ns_ident none = {.nsid = 7, .subnqn = "nqn.y"};

	assert_string_equal(ident_str(&none, buf), "nqn.y:7");
}

static void geometry(void **state)
{
	struct nvme_id_ns idns = {.nsze = htole64(100), .flbas = 1};
	struct ns_geometry a, b;

	idns.lbaf[1].ds = 12;
	geometry_of(&a, &idns);
	assert_int_equal(a.lbads, 12);
	assert_int_equal(a.nsze, 100);
	b = a;
	assert_null(geometry_mismatch(&a, &b));
	b.nsze++;
	assert_non_null(geometry_mismatch(&a, &b));
	b = a;
	b.lbads = 9;
	assert_non_null(geometry_mismatch(&a, &b));
	b = a;
	b.ms = 8;
	assert_non_null(geometry_mismatch(&a, &b));
	b = a;
	b.dps = 1;
	assert_non_null(geometry_mismatch(&a, &b));
}

static unsigned calls;

static void on_group(void *arg, uint32_t grpid, uint8_t st, uint64_t chgcnt)
{
	calls++;
}

static size_t ana_log(uint8_t *buf, uint32_t grpid, uint8_t st, uint32_t claim, uint32_t real)
{
	struct nvme_ana_log *log = (void *)buf;
	struct nvme_ana_group_desc *d = (void *)(buf + sizeof(*log));

	memset(buf, 0, 4096);
	log->ngrps = htole16(1);
	d->grpid = htole32(grpid);
	d->state = st;
	d->nnsids = htole32(claim);
	return sizeof(*log) + sizeof(*d) + 4 * real;
}

static void ana_parser(void **state)
{
	_Alignas(8) uint8_t buf[4096];
	const char *reason;
	size_t len = ana_log(buf, 1, NVME_ANA_STATE_OPTIMIZED, 2, 2);

	calls = 0;
	assert_int_equal(ana_parse(buf, len, 1, on_group, NULL, &reason), 0);
	assert_int_equal(calls, 1);
	calls = 0;
	assert_int_not_equal(ana_parse(buf, 15, 1, on_group, NULL, &reason), 0);
	assert_int_not_equal(ana_parse(buf, 20, 1, on_group, NULL, &reason), 0);
	len = ana_log(buf, 0, NVME_ANA_STATE_OPTIMIZED, 0, 0);
	assert_int_not_equal(ana_parse(buf, len, 1, on_group, NULL, &reason), 0);
	len = ana_log(buf, 2, NVME_ANA_STATE_OPTIMIZED, 0, 0);
	assert_int_not_equal(ana_parse(buf, len, 1, on_group, NULL, &reason), 0);
	len = ana_log(buf, 1, 0, 0, 0);
	assert_int_not_equal(ana_parse(buf, len, 1, on_group, NULL, &reason), 0);
	len = ana_log(buf, 1, 7, 0, 0);
	assert_int_not_equal(ana_parse(buf, len, 1, on_group, NULL, &reason), 0);
	len = ana_log(buf, 1, NVME_ANA_STATE_OPTIMIZED, 0xffffffff, 2);
	assert_int_not_equal(ana_parse(buf, len, 1, on_group, NULL, &reason), 0);
	len = ana_log(buf, 1, NVME_ANA_STATE_OPTIMIZED, 3, 2);
	assert_int_not_equal(ana_parse(buf, len, 1, on_group, NULL, &reason), 0);
	assert_int_equal(calls, 0); /* refused whole */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_descriptors), cmocka_unit_test(refuses_bad_descriptors),
		cmocka_unit_test(compares),	      cmocka_unit_test(names),
		cmocka_unit_test(geometry),	      cmocka_unit_test(ana_parser),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
