/* SPDX-License-Identifier: Apache-2.0 */
/* nvmegw io: blocks of a namespace on standard output, or from standard input. */
#ifndef CLI_IO_H
#define CLI_IO_H

#include <jansson.h>

#include "cli/options.h"

void show_io_read(const json_t *result);
/* The bytes themselves. */
void raw_io_read(const json_t *result);
/* Adds the data from standard input; ends the program when it is not to be. */
void prepare_io_write(const struct options *o, json_t *params);
void show_io_write(const json_t *result);

#endif
