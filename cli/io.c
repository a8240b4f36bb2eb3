/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/io.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/base64.h"
#include "cli/cell.h"
#include "cli/complain.h"
#include "cli/member.h"
#include "cli/text.h"
#include "cli/units.h"

#define MAX_WRITE (32u << 10) /* what the daemon takes */
#define PER_LINE  16u

/* ---- what was done, for people ---- */

static void print_what(const json_t *r, const char *done)
{
	char latency[UNITS_MAX];
	int metadata = (int)number_of(r, "metadata_size");
	char *path = cell_text(r, "path");

	printf("namespace %d, %d block%s of %d", (int)number_of(r, "nsid"),
	       (int)number_of(r, "blocks"), number_of(r, "blocks") == 1 ? "" : "s",
	       (int)number_of(r, "block_size"));
	if (metadata)
		printf("+%d", metadata);
	printf(" bytes from LBA %" JSON_INTEGER_FORMAT " on %s over ", number_of(r, "lba"), done);
	text_print(path, COLOUR_NONE, 0, false);
	printf(" in %s\n", units_latency(latency, (uint64_t)number_of(r, "latency_us")));
	free(path);
}

static void print_line(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < PER_LINE; i++) {
		fputs(i == PER_LINE / 2 ? "  " : " ", stdout);
		if (i < n)
			printf("%02x", bytes[i]);
		else
			fputs("  ", stdout);
	}
	fputs("  |", stdout);
	for (size_t i = 0; i < n; i++)
		putchar(bytes[i] < 0x80 && isprint(bytes[i]) ? bytes[i] : '.');
	puts("|");
}

/* As hexdump -C does it: lines that are as the one before are a star. */
static void print_hex(const uint8_t *bytes, size_t len)
{
	bool starred = false;

	for (size_t at = 0; at < len; at += PER_LINE) {
		size_t n = len - at < PER_LINE ? len - at : PER_LINE;

		if (at && n == PER_LINE && !memcmp(bytes + at, bytes + at - PER_LINE, PER_LINE)) {
			fputs(starred ? "" : "*\n", stdout);
			starred = true;
			continue;
		}
		starred = false;
		printf("%08zx ", at);
		print_line(bytes + at, n);
	}
	printf("%08zx\n", len);
}

/* ---- reading ---- */

static uint8_t *data_of(const json_t *result, size_t *len)
{
	uint8_t *bytes = base64_decode(text_of(result, "data"), len);

	if (bytes)
		return bytes;
	complain("the daemon gave data that is no base 64");
	exit(EXIT_REFUSED);
}

void show_io_read(const json_t *result)
{
	size_t len;
	uint8_t *bytes = data_of(result, &len);

	print_what(result, "read");
	print_hex(bytes, len);
	free(bytes);
}

void raw_io_read(const json_t *result)
{
	size_t len;
	uint8_t *bytes = data_of(result, &len);

	fwrite(bytes, 1, len, stdout);
	free(bytes);
}

/* ---- writing ---- */

/* All of standard input, in base 64. */
static char *read_input(void)
{
	static uint8_t bytes[MAX_WRITE + 1];
	size_t len = fread(bytes, 1, sizeof(bytes), stdin);

	if (ferror(stdin) || !len)
		bad_usage("io write: the blocks are expected on standard input");
	if (len > MAX_WRITE)
		bad_usage("io write: %u bytes are the most", MAX_WRITE);
	return base64_encode(bytes, len);
}

void prepare_io_write(const struct options *o, json_t *params)
{
	char *data;

	if (!o->value[OPTION_YES_WRITE])
		bad_usage("io write: what is there now is lost; --yes-write says that it is "
			  "meant");
	data = read_input();
	json_object_set_new(params, "data", json_string(data));
	free(data);
}

void show_io_write(const json_t *result)
{
	print_what(result, "written");
}
