/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are sent to the daemon, which may not be able to read them itself. */
#ifndef CLI_READ_FILE_H
#define CLI_READ_FILE_H

/* Its text, the caller's to free; NULL after saying on stderr what is wrong. */
char *read_text_file(const char *name);

#endif
