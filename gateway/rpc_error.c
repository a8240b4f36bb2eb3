/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/rpc_error.h"

#include <stdarg.h>
#include <stdio.h>

void rpc_fail(struct rpc_error *err, enum rpc_code code, const char *fmt, ...)
{
	va_list ap;

	err->code = code;
	va_start(ap, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, ap);
	va_end(ap);
}
