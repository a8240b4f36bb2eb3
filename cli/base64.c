/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/base64.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

static void *room(size_t n)
{
	void *p = malloc(n + 1);

	if (!p)
		abort();
	return p;
}

char *base64_encode(const uint8_t *bytes, size_t len)
{
	char *text = room((len + 2) / 3 * 4);

	EVP_EncodeBlock((unsigned char *)text, bytes, (int)len);
	return text;
}

/* What stands for missing bytes at the end is decoded as zeros. */
uint8_t *base64_decode(const char *text, size_t *len)
{
	size_t n = strlen(text), padding = 0;
	uint8_t *bytes = room(n);
	int got = EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)n);

	while (padding < 2 && padding < n && text[n - 1 - padding] == '=')
		padding++;
	if (got < (int)padding) {
		free(bytes);
		return NULL;
	}
	*len = (size_t)got - padding;
	return bytes;
}
