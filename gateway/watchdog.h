/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells the service manager that the daemon is alive: that control runs, and that every worker
 * answers a message. Control loop only.
 */
#ifndef GATEWAY_WATCHDOG_H
#define GATEWAY_WATCHDOG_H

struct gateway;
struct watchdog;

/* NULL, and nothing to do, when the service manager does not ask for it (WATCHDOG_USEC). */
struct watchdog *watchdog_start(struct gateway *gw);
/* NULL is right too. With no thread running any more. */
void watchdog_free(struct watchdog *w);

#endif
