/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fields of one kind of JSON object, as a table: from it the struct is filled with what the
 * file says or the default, and from it comes what is unknown, missing, misplaced or out of bounds.
 */
#ifndef GATEWAY_CONFIG_FIELD_H
#define GATEWAY_CONFIG_FIELD_H

#include <stdbool.h>
#include <stddef.h>

#include "gateway/config_json.h"

enum cfg_type {
	CFG_OTHER,   /* the caller's to read; the table only knows the key */
	CFG_BOOL,    /* bool */
	CFG_UINT,    /* an unsigned integer of any size */
	CFG_PORT,    /* the same, from a number or its digits as a string */
	CFG_BYTES,   /* uint64_t from a number of bytes or a string like "64MiB" */
	CFG_SECONDS, /* uint64_t or int64_t of nanoseconds from seconds */
	CFG_TEXT,    /* char array */
	CFG_WORD,    /* one of a few words; an unsigned integer of any size */
	CFG_ID,	     /* uint8_t array from hexadecimal digits; never all zero */
};

/* How a changed value takes effect in a daemon that runs. */
enum cfg_live {
	CFG_RESTART,   /* not before the daemon is started anew */
	CFG_LIVE,      /* at once */
	CFG_RECONNECT, /* the upstream is connected anew */
};

struct cfg_word {
	const char *text;
	unsigned value;
};

#define CFG_NAME_MAX 32 /* a field's name is shorter */

struct cfg_field {
	const char *name;
	enum cfg_type type;
	size_t off, size; /* of the member; see CFG_AT */
	bool required;
	unsigned only;	      /* the variants of the object that have it; 0: all */
	double min, max, def; /* in the unit of the file */
	unsigned unit;	      /* CFG_UINT: what 1 in the file is in the struct; 0: 1 */
	unsigned multiple;    /* CFG_UINT: of this; 0: of anything */
	bool power_of_two;    /* CFG_UINT */
	bool or_off;	      /* CFG_SECONDS: 0 is right too, below min */
	bool or_never;	      /* CFG_SECONDS: -1 is right too, and is -1 in the struct */
	bool or_empty;	      /* CFG_TEXT */
	const char *text;     /* CFG_TEXT: default */
	const struct cfg_word
		*words; /* CFG_WORD: up to one without text; the first is the default */
	/* CFG_TEXT: NULL, or what was expected. */
	const char *(*check)(const char *text);
	enum cfg_live live;
};

#define CFG_AT(type, member) .off = offsetof(type, member), .size = sizeof(((type *)0)->member)

/* Which of its variants an object is; 0: unknown, then nothing of a variant is missed or refused.
 */
struct cfg_variant {
	unsigned bit;
	const char *name; /* "transport \"file\"" */
};

/**
 * cfg_read() - fill @out from the object @n by the table @f, which ends with a field without name
 *
 * Reports all problems of these fields. @out is written in any case, so that what depends on
 * several fields can be looked at after it.
 */
void cfg_read(const struct cfg_node *n, const struct cfg_field *f,
	      const struct cfg_variant *variant, void *out);

/* Whether objects of this variant have the field. */
bool cfg_applies(const struct cfg_field *f, const struct cfg_variant *variant);
/* The member of the struct @in as a value for the file; never for CFG_OTHER. A new reference. */
json_t *cfg_value(const struct cfg_field *f, const void *in);

/**
 * cfg_array() - the array that member @key of @n must be, with @min to @max elements
 *
 * NULL when it is not there or was refused with a report.
 */
const struct cfg_node *cfg_array(const struct cfg_node *n, const char *key, unsigned min,
				 unsigned max);

/* The string that @n must be: 1..size - 1 bytes and right by @check. @out is left alone otherwise.
 */
void cfg_text(const struct cfg_node *n, char *out, size_t size, const char *(*check)(const char *));

/* calloc() that does not fail. */
void *cfg_alloc(size_t count, size_t size);

#endif
