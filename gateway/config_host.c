/* SPDX-License-Identifier: Apache-2.0 */
/* NVMe Qualified Names, and the identity that we show as a host. */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uuid.h>

#include "gateway/config_parts.h"

#define NQN_UUID_PREFIX "nqn.2014-08.org.nvmexpress:uuid:"

/* ---- NQNs ---- */

const char *cfg_check_foreign_nqn(const char *nqn)
{
	if (strlen(nqn) > NVMF_NQN_MAX)
		return "at most 223 bytes";
	for (; *nqn; nqn++)
		if ((unsigned char)*nqn <= ' ' || *nqn == 0x7f)
			return "an NQN without spaces and control characters";
	return NULL;
}

/* @form with 9 for a digit and itself for the rest; the text may go on. */
static bool starts_like(const char *s, const char *form)
{
	for (; *form; s++, form++)
		if (*form == '9' ? *s < '0' || *s > '9' : *s != *form)
			return false;
	return true;
}

/* Base 2.0, 4.5: "nqn.yyyy-mm.", the reverse domain, ":" and a name; or a UUID of one domain. */
const char *cfg_check_nqn(const char *nqn)
{
	const size_t month = strlen("nqn.9999-"), domain = strlen("nqn.9999-99.");
	const char *bad = cfg_check_foreign_nqn(nqn), *colon = strchr(nqn, ':');
	uuid_t uuid;

	if (bad)
		return bad;
	if (!starts_like(nqn, "nqn.9999-99.") || atoi(nqn + month) < 1 || atoi(nqn + month) > 12 ||
	    !colon || colon == nqn + domain || !colon[1])
		return "the form nqn.YYYY-MM.REVERSE.DOMAIN:NAME";
	if (!strncmp(nqn, NQN_UUID_PREFIX, strlen(NQN_UUID_PREFIX)) &&
	    uuid_parse(nqn + strlen(NQN_UUID_PREFIX), uuid))
		return "a UUID after " NQN_UUID_PREFIX;
	return NULL;
}

/* ---- this host ---- */

void cfg_uuid_from(const char *text, uint8_t uuid[16])
{
	unsigned char md[EVP_MAX_MD_SIZE];

	if (!EVP_Digest(text, strlen(text), md, NULL, EVP_sha256(), NULL))
		abort();
	memcpy(uuid, md, 16);
	uuid[6] = (uuid[6] & 0x0f) | 0x80;
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
}

/* The first word of a file, "" without one. */
static void first_word(const char *dir, const char *name, char *word, size_t size)
{
	char path[4096];
	FILE *f;

	word[0] = '\0';
	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return;
	f = fopen(path, "re");
	if (!f)
		return;
	if (fgets(word, (int)size, f))
		word[strcspn(word, " \t\r\n")] = '\0';
	else
		word[0] = '\0';
	fclose(f);
}

/* An image that was never started says "uninitialized", on all of its copies. */
static bool is_machine_id(const char *word)
{
	return strlen(word) == 32 && strspn(word, "0123456789abcdef") == 32;
}

/* Not the machine ID itself, which is to be kept secret: see machine-id(5). */
static void make_hostnqn(const char *etc, char *nqn)
{
	char machine[128], seed[160], text[UUID_STR_LEN];
	uint8_t uuid[16];

	first_word(etc, "machine-id", machine, sizeof(machine));
	if (!is_machine_id(machine) && gethostname(machine, sizeof(machine) - 1))
		machine[0] = '\0';
	machine[sizeof(machine) - 1] = '\0';
	snprintf(seed, sizeof(seed), "nvmegw host of %s", machine);
	cfg_uuid_from(seed, uuid);
	uuid_unparse_lower(uuid, text);
	snprintf(nqn, NVMF_NQN_MAX + 1, NQN_UUID_PREFIX "%s", text);
}

static void make_hostid(struct host_id *id, const char *etc, const char *system_nqn)
{
	char word[64];

	if (!strcmp(id->hostnqn, system_nqn)) {
		first_word(etc, "nvme/hostid", word, sizeof(word));
		if (!uuid_parse(word, id->hostid) && !uuid_is_null(id->hostid))
			return;
	}
	if (strncmp(id->hostnqn, NQN_UUID_PREFIX, strlen(NQN_UUID_PREFIX)) ||
	    uuid_parse(id->hostnqn + strlen(NQN_UUID_PREFIX), id->hostid) ||
	    uuid_is_null(id->hostid))
		cfg_uuid_from(id->hostnqn, id->hostid);
}

void host_id_of(struct host_id *id, const char *etc)
{
	char system_nqn[NVMF_NQN_MAX + 2];

	first_word(etc, "nvme/hostnqn", system_nqn, sizeof(system_nqn));
	if (!id->hostnqn[0]) {
		if (system_nqn[0] && !cfg_check_foreign_nqn(system_nqn))
			strcpy(id->hostnqn, system_nqn);
		else
			make_hostnqn(etc, id->hostnqn);
	}
	if (uuid_is_null(id->hostid))
		make_hostid(id, etc, system_nqn);
}
