/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/http_page.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HASH_MAX 48 /* SHA-256 in base 64 */

__asm__(".section .rodata\n"
	"http_page_text:\n"
	".incbin \"gateway/http_page.html\"\n"
	".byte 0\n"
	".previous");
extern const char http_page_text[];

const char *http_page(void)
{
	return http_page_text;
}

/* Of what is between the only two tags of that name. */
static void hash(const char *from, const char *to, char out[HASH_MAX])
{
	const char *start = strstr(http_page_text, from), *end = strstr(http_page_text, to);
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned n;

	start += strlen(from);
	if (!EVP_Digest(start, (size_t)(end - start), md, &n, EVP_sha256(), NULL))
		abort();
	EVP_EncodeBlock((unsigned char *)out, md, (int)n);
}

const char *http_page_policy(void)
{
	static char policy[512];
	char style[HASH_MAX], script[HASH_MAX];

	if (policy[0])
		return policy;
	hash("<style>", "</style>", style);
	hash("<script>", "</script>", script);
	snprintf(policy, sizeof(policy),
		 "default-src 'none'; style-src 'sha256-%s'; script-src 'sha256-%s'; "
		 "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
		 "frame-ancestors 'none'",
		 style, script);
	return policy;
}
