/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JSON file as a tree whose every value knows its line and its path, and problems reported at
 * them. What the values mean is for others (config_field.h).
 */
#ifndef GATEWAY_CONFIG_JSON_H
#define GATEWAY_CONFIG_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#define CFG_FILE_MAX	 (16u << 20) /* bytes */
#define CFG_PROBLEMS_MAX 100	     /* that are reported */

struct cfg_doc;

struct cfg_node {
	struct cfg_doc *doc;
	const struct cfg_node *parent; /* NULL: the whole file */
	const json_t *value;
	const char *key; /* of a member of an object, else NULL */
	unsigned index;	 /* among the parent's */
	unsigned line, key_line;
	struct cfg_node *children; /* members or elements, in the file's order */
	unsigned nr;
};

struct cfg_doc {
	const char *file;
	FILE *err;
	unsigned problems;
	json_t *json;
	struct cfg_node root;
};

/* False after reporting why @file is not readable, or no JSON. */
bool cfg_doc_load(struct cfg_doc *doc, const char *file, FILE *err);
/* The same for a text; @name stands for it in messages. */
bool cfg_doc_parse(struct cfg_doc *doc, const char *name, const char *text, size_t len, FILE *err);
void cfg_doc_free(struct cfg_doc *doc);

/* The member of an object, or NULL; no object has no members. */
const struct cfg_node *cfg_member(const struct cfg_node *n, const char *key);
/* One line: where @n is, then the message. Beyond CFG_PROBLEMS_MAX they are only counted. */
__attribute__((format(printf, 2, 3))) void cfg_problem(const struct cfg_node *n, const char *fmt,
						       ...);
/* The same, for what is wrong with the key. */
__attribute__((format(printf, 2, 3))) void cfg_key_problem(const struct cfg_node *n,
							   const char *fmt, ...);

/* The value fit for a message: one line, not too long, "an object" and "an array". Returns buf. */
#define CFG_SHOW_MAX 80
char *cfg_show(const struct cfg_node *n, char buf[CFG_SHOW_MAX]);

#endif
