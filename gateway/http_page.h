/* SPDX-License-Identifier: Apache-2.0 */
/* The status page, gateway/http_page.html, which is part of the program. */
#ifndef GATEWAY_HTTP_PAGE_H
#define GATEWAY_HTTP_PAGE_H

const char *http_page(void);
/* Content-Security-Policy: its one style and its one script, known by their hashes, and its data.
 */
const char *http_page_policy(void);

#endif
