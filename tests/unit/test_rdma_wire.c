/* SPDX-License-Identifier: Apache-2.0 */
/* NVMe/RDMA's private data and SGL descriptors: what is right, and what each wrong one gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "transport/rdma_wire.h"

/* ---- private data ---- */

static void test_request(void **state)
{
	/* As a Linux host sends it for an I/O queue of 128 entries. */
	static const uint8_t linux_io[RDMA_PRIVATE_LEN] = {0, 0, 3, 0, 0x80, 0, 0x7f, 0};
	struct rdma_wire_request r, ours = {.qid = 3, .hrqsize = 128, .hsqsize = 127};
	uint8_t b[RDMA_PRIVATE_LEN];

	assert_int_equal(rdma_wire_get_request(linux_io, sizeof(linux_io), &r), RDMA_REJ_NONE);
	assert_int_equal(r.qid, 3);
	assert_int_equal(r.hrqsize, 128);
	assert_int_equal(r.hsqsize, 127);
	assert_int_equal(r.cntlid, 0);
	memset(b, 0xff, sizeof(b));
	rdma_wire_put_request(b, &ours);
	assert_memory_equal(b, linux_io, sizeof(b));
	ours.cntlid = 0x1234;
	rdma_wire_put_request(b, &ours);
	assert_int_equal(b[8], 0x34);
	assert_int_equal(b[9], 0x12);
	assert_int_equal(rdma_wire_get_request(b, sizeof(b), &r), RDMA_REJ_NONE);
	assert_int_equal(r.cntlid, 0x1234);
}

/* The connection manager pads: what it hands out may be longer. */
static void test_request_padded(void **state)
{
	uint8_t b[56] = {0, 0, 0, 0, 32, 0, 31, 0};
	struct rdma_wire_request r;

	assert_int_equal(rdma_wire_get_request(b, sizeof(b), &r), RDMA_REJ_NONE);
	assert_int_equal(r.qid, 0);
}

static void test_bad_requests(void **state)
{
	static const struct {
		uint8_t b[10];
		size_t len;
		enum rdma_rej why;
	} bad[] = {
		{{0, 0, 1, 0, 32, 0, 31, 0}, 0, RDMA_REJ_LENGTH},
		{{0, 0, 1, 0, 32, 0, 31, 0}, RDMA_PRIVATE_LEN - 1, RDMA_REJ_LENGTH},
		{{1, 0, 1, 0, 32, 0, 31, 0}, RDMA_PRIVATE_LEN, RDMA_REJ_RECFMT},
		{{0, 1, 1, 0, 32, 0, 31, 0}, RDMA_PRIVATE_LEN, RDMA_REJ_RECFMT},
		{{0, 0, 0xff, 0xff, 32, 0, 31, 0}, RDMA_PRIVATE_LEN, RDMA_REJ_QID},
		{{0, 0, 1, 0, 32, 0, 0, 0}, RDMA_PRIVATE_LEN, RDMA_REJ_HSQSIZE},
		{{0, 0, 1, 0, 32, 0, 0xff, 0xff}, RDMA_PRIVATE_LEN, RDMA_REJ_HSQSIZE},
		{{0, 0, 1, 0, 0, 0, 31, 0}, RDMA_PRIVATE_LEN, RDMA_REJ_HRQSIZE},
	};
	uint8_t b[RDMA_PRIVATE_LEN];
	struct rdma_wire_request r;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memset(b, 0, sizeof(b));
		memcpy(b, bad[i].b, sizeof(bad[i].b));
		assert_int_equal(rdma_wire_get_request(b, bad[i].len, &r), bad[i].why);
	}
}

static void test_accept(void **state)
{
	uint8_t b[RDMA_PRIVATE_LEN];
	uint16_t n = 0;

	memset(b, 0xff, sizeof(b));
	rdma_wire_put_accept(b, 0x201);
	assert_int_equal(b[0], 0);
	assert_int_equal(b[2], 1);
	assert_int_equal(b[3], 2);
	assert_int_equal(b[31], 0);
	assert_true(rdma_wire_get_accept(b, sizeof(b), &n));
	assert_int_equal(n, 0x201);
	assert_false(rdma_wire_get_accept(b, 3, &n));
	b[0] = 1;
	assert_false(rdma_wire_get_accept(b, sizeof(b), &n));
}

static void test_reject(void **state)
{
	uint8_t b[RDMA_REJECT_LEN];

	rdma_wire_put_reject(b, RDMA_REJ_HSQSIZE);
	assert_int_equal(b[2], 4);
	assert_int_equal(b[3], 0);
	assert_int_equal(rdma_wire_get_reject(b, sizeof(b)), RDMA_REJ_HSQSIZE);
	assert_int_equal(rdma_wire_get_reject(b, 3), RDMA_REJ_NONE);
	b[3] = 0x70;
	assert_string_equal(rdma_rej_str(rdma_wire_get_reject(b, sizeof(b))), "unknown reason");
	for (unsigned i = RDMA_REJ_NONE; i <= RDMA_REJ_CNTLID; i++)
		assert_string_not_equal(rdma_rej_str(i), "unknown reason");
}

/* ---- SGL ---- */

static struct nvme_sqe sqe_of(uint8_t opcode, uint8_t type)
{
	return (struct nvme_sqe){.opcode = opcode, .flags = NVME_PSDT_SGL, .sgl.type = type};
}

static void test_keyed(void **state)
{
	static const uint8_t wire[16] = {0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
					 0x03, 0x02, 0x01, 0xdd, 0xcc, 0xbb, 0xaa, 0x40};
	struct nvme_sqe sqe = sqe_of(nvme_cmd_write, 0);
	struct rdma_data d;

	rdma_wire_put_keyed(&sqe.sgl, 0x1122334455667788, 0x010203, 0xaabbccdd);
	assert_memory_equal(&sqe.sgl, wire, sizeof(wire));
	assert_int_equal(rdma_sgl_check(&sqe, 0, &d), 0);
	assert_int_equal(d.len, 0x010203);
	assert_int_equal(d.key, 0xaabbccdd);
	assert_int_equal(d.addr, 0x1122334455667788);
	assert_false(d.in_capsule);
	assert_false(d.invalidate);
	sqe.sgl.type = NVME_SGL_KEYED_INV;
	assert_int_equal(rdma_sgl_check(&sqe, 0, &d), 0);
	assert_true(d.invalidate);
	assert_int_equal(d.len, 0x010203);
}

/* Without data there is none, whatever the descriptor says, but its key may have to go. */
static void test_no_data(void **state)
{
	struct nvme_sqe sqe = sqe_of(nvme_cmd_flush, 0);
	struct rdma_data d;

	assert_int_equal(rdma_sgl_check(&sqe, 0, &d), 0);
	assert_int_equal(d.len, 0);
	rdma_wire_put_keyed(&sqe.sgl, 1, 4096, 77);
	sqe.sgl.type = NVME_SGL_KEYED_INV;
	assert_int_equal(rdma_sgl_check(&sqe, 0, &d), 0);
	assert_int_equal(d.len, 0);
	assert_true(d.invalidate);
	assert_int_equal(d.key, 77);
}

static void test_in_capsule(void **state)
{
	struct nvme_sqe sqe = sqe_of(nvme_cmd_write, NVME_SGL_DATA_OFFSET);
	struct rdma_data d;

	sqe.sgl.length = htole32(4096);
	assert_int_equal(rdma_sgl_check(&sqe, 4096, &d), 0);
	assert_true(d.in_capsule);
	assert_int_equal(d.len, 4096);
	assert_int_equal(d.addr, 0);
	sqe.sgl.addr = htole64(512);
	assert_int_equal(rdma_sgl_check(&sqe, 4608, &d), 0);
	assert_int_equal(d.addr, 512);
}

static void assert_status(const struct nvme_sqe *sqe, uint32_t icd, uint16_t sc)
{
	struct rdma_data d;

	assert_int_equal(rdma_sgl_check(sqe, icd, &d), sc | NVME_DNR);
}

static void test_bad_sgls(void **state)
{
	static const uint8_t types[] = {0x00, 0x0f, 0x10, 0x20, 0x30, 0x41,
					0x4a, 0x50, 0x5a, 0xf0, 0xff};
	struct nvme_sqe sqe = sqe_of(nvme_cmd_write, NVME_SGL_DATA_OFFSET);

	sqe.sgl.length = htole32(4096);
	assert_status(&sqe, 0, NVME_SC_SGL_INVALID_DATA);
	assert_status(&sqe, 4095, NVME_SC_SGL_INVALID_DATA);
	sqe.sgl.addr = htole64(1);
	assert_status(&sqe, 4096, NVME_SC_SGL_INVALID_DATA);
	sqe.sgl.addr = htole64(4097);
	assert_status(&sqe, 4096, NVME_SC_SGL_INVALID_OFFSET);
	sqe.sgl.addr = UINT64_MAX;
	assert_status(&sqe, 4096, NVME_SC_SGL_INVALID_OFFSET);
	for (unsigned i = 0; i < sizeof(types); i++) {
		sqe = sqe_of(nvme_cmd_write, types[i]);
		assert_status(&sqe, 0, NVME_SC_SGL_INVALID_TYPE);
	}
	/* What a read returns does not fit into a capsule that has come. */
	sqe = sqe_of(nvme_cmd_read, NVME_SGL_DATA_OFFSET);
	assert_status(&sqe, 4096, NVME_SC_SGL_INVALID_TYPE);
	/* PRPs */
	sqe = sqe_of(nvme_cmd_write, NVME_SGL_KEYED);
	sqe.flags = 0;
	assert_status(&sqe, 0, NVME_SC_INVALID_FIELD);
	sqe.flags = NVME_PSDT_MASK;
	assert_status(&sqe, 0, NVME_SC_INVALID_FIELD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request),	     cmocka_unit_test(test_request_padded),
		cmocka_unit_test(test_bad_requests), cmocka_unit_test(test_accept),
		cmocka_unit_test(test_reject),	     cmocka_unit_test(test_keyed),
		cmocka_unit_test(test_no_data),	     cmocka_unit_test(test_in_capsule),
		cmocka_unit_test(test_bad_sgls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
