/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a JSON value is what a schema says: a part of JSON Schema 2020-12, namely type (also an
 * array of types), properties, required, additionalProperties: false, items, enum, minimum,
 * maximum, minLength and maxLength. description and the like say nothing here. An integer is one
 * that is written without a fraction and an exponent.
 */
#ifndef GATEWAY_SCHEMA_H
#define GATEWAY_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* False with the first thing that is wrong in @problem; @name is what the value is called there. */
bool schema_fits(const json_t *schema, const json_t *value, const char *name, char *problem,
		 size_t len);

#endif
