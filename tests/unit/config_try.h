/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files that are only texts in a test, and what config_load() says of them. */
#ifndef TESTS_CONFIG_TRY_H
#define TESTS_CONFIG_TRY_H

#include <stddef.h>

#include "gateway/config.h"

#define TRY_NQN	  "nqn.2014-08.org.example:gw"
#define TRY_ARRAY "nqn.2014-08.org.example:array"

/*
 * Loads @len bytes as a file. Returns the configuration or NULL; try_said is then what was
 * reported, each line without its "FILE:". Both live until the next call or try_end().
 */
extern char *try_said;
struct gw_config *try_bytes(const char *bytes, size_t len);
struct gw_config *try_text(const char *text);
void try_end(void);

/* The file must be right. */
struct gw_config *try_good(const char *text);
/* The file must be refused with exactly this report: "LINE: PATH: MESSAGE\n" and so on. */
void try_refused(const char *text, const char *said);

/* The objects of a correct file that can be given more members; each has a line of its own. */
enum try_place { TRY_LISTENER, TRY_SUBSYSTEM, TRY_TCP, TRY_FILE, TRY_TOP, TRY_PLACES };

/* The file with "key": value in one of its objects; no key: as it is. To be freed. */
char *try_with(enum try_place place, const char *key, const char *value);
/* It must be right. */
struct gw_config *try_good_with(enum try_place place, const char *key, const char *value);
/* It must be refused with this message alone, at the line and the path of that member. */
void try_refused_with(enum try_place place, const char *key, const char *value,
		      const char *message);
/* What an object of the file has become in @cfg. */
void *try_struct(const struct gw_config *cfg, enum try_place place);

#endif
