/* SPDX-License-Identifier: Apache-2.0 */
/* What is done about each status of an upstream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "multipath/retry.h"
#include "transport/nvme.h"

/* All that is not the host's to see; everything else is. */
static const struct row {
	uint16_t status;
	enum retry_action plain, with_dnr;
} table[] = {
	{NVME_STATUS(0, NVME_SC_DATA_XFER_ERROR), RETRY_AGAIN, RETRY_NOT},
	{NVME_STATUS(0, NVME_SC_ABORT_REQ), RETRY_OTHER_PATH, RETRY_OTHER_PATH},
	{NVME_STATUS(0, NVME_SC_ABORT_QUEUE), RETRY_OTHER_PATH, RETRY_OTHER_PATH},
	{NVME_STATUS(0, NVME_SC_INVALID_NS), RETRY_OTHER_PATH, RETRY_OTHER_PATH},
	{NVME_STATUS(0, NVME_SC_CMD_INTERRUPTED), RETRY_AGAIN, RETRY_NOT},
	{NVME_STATUS(0, NVME_SC_TRAN_TPORT_ERROR), RETRY_AGAIN, RETRY_NOT},
	{NVME_STATUS(0, NVME_SC_NS_NOT_READY), RETRY_AGAIN, RETRY_NOT},
};

static struct row expected(uint16_t sct_sc)
{
	if (sct_sc >> 8 == NVME_SCT_PATH)
		return (struct row){sct_sc, RETRY_OTHER_PATH, RETRY_OTHER_PATH};
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].status == sct_sc)
			return table[i];
	return (struct row){sct_sc, RETRY_NOT, RETRY_NOT};
}

static void every_status_of_every_type(void **state)
{
	for (uint16_t sct_sc = 0; sct_sc < 0x800; sct_sc++) {
		struct row want = expected(sct_sc);

		assert_int_equal(retry_action(sct_sc), want.plain);
		assert_int_equal(retry_action(sct_sc | NVME_DNR), want.with_dnr);
	}
}

static void other_bits_change_nothing(void **state)
{
	const uint16_t more = 1 << 13, crd = 3 << 11;

	for (uint16_t sct_sc = 0; sct_sc < 0x800; sct_sc++) {
		assert_int_equal(retry_action(sct_sc | more), expected(sct_sc).plain);
		assert_int_equal(retry_action(sct_sc | crd), expected(sct_sc).plain);
		assert_int_equal(retry_action(sct_sc | more | crd | NVME_DNR),
				 expected(sct_sc).with_dnr);
	}
}

static void delay_asked_for(void **state)
{
	for (unsigned crd = 0; crd < 4; crd++) {
		uint16_t status = (uint16_t)(NVME_STATUS(7, 0xff) | crd << 11);

		assert_int_equal(retry_crd(status), crd);
		assert_int_equal(retry_crd(status | NVME_DNR | 1 << 13), crd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_status_of_every_type),
		cmocka_unit_test(other_bits_change_nothing),
		cmocka_unit_test(delay_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
