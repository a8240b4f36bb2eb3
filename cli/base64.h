/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes in JSON. Both return memory that the caller frees. */
#ifndef CLI_BASE64_H
#define CLI_BASE64_H

#include <stddef.h>
#include <stdint.h>

char *base64_encode(const uint8_t *bytes, size_t len);
/* NULL: it is none. */
uint8_t *base64_decode(const char *text, size_t *len);

#endif
