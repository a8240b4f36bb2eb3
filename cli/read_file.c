/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/read_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/complain.h"

/* What the daemon takes in one request, with some room for what JSON escapes. */
#define FILE_MAX (900u << 10)

char *read_text_file(const char *name)
{
	FILE *f = fopen(name, "re");
	char *text = malloc(FILE_MAX + 1);
	size_t n;

	if (!text)
		abort();
	if (!f) {
		complain("%s: cannot open: %s", name, strerror(errno));
		free(text);
		return NULL;
	}
	n = fread(text, 1, FILE_MAX + 1, f);
	if (ferror(f))
		complain("%s: cannot read: %s", name, strerror(errno));
	else if (n > FILE_MAX)
		complain("%s: has more than %u bytes: put it where the daemon has its own "
			 "configuration, and leave FILE out",
			 name, FILE_MAX);
	else if (memchr(text, '\0', n))
		complain("%s: has a zero byte in it, which no configuration has", name);
	else {
		fclose(f);
		text[n] = '\0';
		return text;
	}
	fclose(f);
	free(text);
	return NULL;
}
