/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/helper.h"

#include "transport/loop.h"

static void *helper_main(void *arg)
{
	struct helper *h = arg;

	h->work(h->arg);
	loop_post(h->control, h->done, h->arg);
	return NULL;
}

int helper_start(struct helper *h)
{
	return -pthread_create(&h->thread, NULL, helper_main, h);
}

void helper_join(struct helper *h)
{
	pthread_join(h->thread, NULL);
}
