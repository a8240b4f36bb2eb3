/* SPDX-License-Identifier: Apache-2.0 */
/* Replacing a file so that after a crash at any moment there is the old one or the new one. */
#ifndef GATEWAY_REPLACE_FILE_H
#define GATEWAY_REPLACE_FILE_H

/**
 * replace_file() - put @text into the file @name of the folder @dirfd
 * @backup: a name under which a copy of the old file is kept, or NULL
 *
 * A new file gets mode 0644 less the umask, one that there was keeps its mode and, as far as this
 * process may do that, its owner and group. Nothing is changed when it fails. Blocks on the disk,
 * any thread. Returns 0 or -errno.
 */
int replace_file(int dirfd, const char *name, const char *text, const char *backup);

#endif
