/* SPDX-License-Identifier: Apache-2.0 */
/* The command line, taken apart. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>

enum output { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_CSV, OUTPUT_RAW };

/* Options that only some commands take; a command has a bit for each. */
enum {
	OPTION_LAST,
	OPTION_TYPE,
	OPTION_DELAY,
	OPTION_BATCH,
	OPTION_FRAMES,
	OPTION_BLOCKS,
	OPTION_PATH,
	OPTION_YES_WRITE,
	OPTION_COUNT,
};
#define TAKES(option) (1u << OPTION_##option)

struct options {
	const char *socket, *subsystem, *namespace;
	const char *value[OPTION_COUNT]; /* NULL: not given; of a switch, "" */
	enum output output;
	bool help;
	char **words; /* what is no option */
	int nr_words;
};

#endif
