/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may stand at a place of the command line, for the completion of shells (etc/completion).
 * It comes from the tables that the tool itself works by, names from the daemon.
 */
#ifndef CLI_COMPLETE_H
#define CLI_COMPLETE_H

#include <getopt.h>

/**
 * complete() - print what the last of the words may become
 * @words:   the command line without the program's name; the last one is what there is of it so far
 * @options: of the tool
 * @socket:  of the daemon, where the words name no other
 *
 * One a line: the word, and behind a tab what it is; ":files" stands for names of files. Silent
 * and quick whatever the daemon does.
 */
void complete(int nr_words, char **words, const struct option *options, const char *socket);

#endif
