/* SPDX-License-Identifier: Apache-2.0 */
#include "multipath/ident.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <uuid/uuid.h>

#define DESC_HDR 4 /* NIDT, NIDL, two reserved bytes (Base 2.0 figure 277) */

static bool is_zero(const uint8_t *p, size_t n)
{
	while (n--)
		if (*p++)
			return false;
	return true;
}

/* One descriptor; false when it contradicts what is known already. */
static bool take(bool *has, uint8_t *to, const uint8_t *from, size_t n)
{
	if (is_zero(from, n))
		return true; /* "not reported" */
	if (*has)
		return memcmp(to, from, n) == 0;
	*has = true;
	memcpy(to, from, n);
	return true;
}

int ident_parse(struct ns_ident *id, const struct nvme_id_ns *idns, const uint8_t *descs,
		size_t len, const char **reason)
{
	size_t pos = 0;

	take(&id->has_nguid, id->nguid, idns->nguid, sizeof(id->nguid));
	take(&id->has_eui64, id->eui64, idns->eui64, sizeof(id->eui64));
	while (pos + DESC_HDR <= len) {
		uint8_t type = descs[pos], nidl = descs[pos + 1];
		const uint8_t *nid = descs + pos + DESC_HDR;
		bool agrees = true;
		size_t want;

		if (nidl == 0)
			return 0; /* the end of the list */
		if (pos + DESC_HDR + nidl > len) {
			*reason = "namespace identification descriptor runs past the list";
			return -EBADMSG;
		}
		switch (type) {
		case NVME_NIDT_EUI64:
			want = sizeof(id->eui64);
			if (nidl == want)
				agrees = take(&id->has_eui64, id->eui64, nid, want);
			break;
		case NVME_NIDT_NGUID:
			want = sizeof(id->nguid);
			if (nidl == want)
				agrees = take(&id->has_nguid, id->nguid, nid, want);
			break;
		case NVME_NIDT_UUID:
			want = sizeof(id->uuid);
			if (nidl == want)
				agrees = take(&id->has_uuid, id->uuid, nid, want);
			break;
		case NVME_NIDT_CSI:
			want = 1;
			if (nidl == want)
				id->csi = nid[0];
			break;
		default: /* later specs may add types */
			want = nidl;
			break;
		}
		if (nidl != want) {
			*reason = "namespace identification descriptor has the wrong length";
			return -EBADMSG;
		}
		if (!agrees) {
			*reason = "namespace identification descriptors contradict each other";
			return -EBADMSG;
		}
		pos += DESC_HDR + nidl;
	}
	return 0;
}

static void one(bool a_has, const uint8_t *a, bool b_has, const uint8_t *b, size_t n,
		unsigned *same, unsigned *differ)
{
	if (!a_has || !b_has)
		return;
	if (memcmp(a, b, n))
		++*differ;
	else
		++*same;
}

enum ident_match ident_compare(const struct ns_ident *a, const struct ns_ident *b)
{
	unsigned same = 0, differ = 0;
	bool a_any = a->has_uuid || a->has_nguid || a->has_eui64;
	bool b_any = b->has_uuid || b->has_nguid || b->has_eui64;

	if (!a_any || !b_any) {
		if (a_any == b_any && a->nsid == b->nsid && !strcmp(a->subnqn, b->subnqn))
			return a->csi == b->csi ? IDENT_SAME : IDENT_CONFLICT;
		return IDENT_DIFFERENT;
	}
	one(a->has_uuid, a->uuid, b->has_uuid, b->uuid, 16, &same, &differ);
	one(a->has_nguid, a->nguid, b->has_nguid, b->nguid, 16, &same, &differ);
	one(a->has_eui64, a->eui64, b->has_eui64, b->eui64, 8, &same, &differ);
	if (!same)
		return IDENT_DIFFERENT;
	return differ || a->csi != b->csi ? IDENT_CONFLICT : IDENT_SAME;
}

void ident_merge(struct ns_ident *a, const struct ns_ident *b)
{
	if (!a->has_uuid && b->has_uuid) {
		a->has_uuid = true;
		memcpy(a->uuid, b->uuid, sizeof(a->uuid));
	}
	if (!a->has_nguid && b->has_nguid) {
		a->has_nguid = true;
		memcpy(a->nguid, b->nguid, sizeof(a->nguid));
	}
	if (!a->has_eui64 && b->has_eui64) {
		a->has_eui64 = true;
		memcpy(a->eui64, b->eui64, sizeof(a->eui64));
	}
}

static void hex(char *to, const uint8_t *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sprintf(to + 2 * i, "%02x", from[i]);
}

char *ident_str(const struct ns_ident *id, char *buf)
{
	if (id->has_uuid) {
		strcpy(buf, "uuid.");
		uuid_unparse_lower(id->uuid, buf + 5);
	} else if (id->has_nguid) {
		strcpy(buf, "nguid.");
		hex(buf + 6, id->nguid, 16);
	} else if (id->has_eui64) {
		strcpy(buf, "eui.");
		hex(buf + 4, id->eui64, 8);
	} else {
		snprintf(buf, IDENT_STR_MAX, "%s:%u", id->subnqn, id->nsid);
	}
	return buf;
}

void geometry_of(struct ns_geometry *g, const struct nvme_id_ns *idns)
{
	/* FLBAS: bits 3:0 and, above 16 formats, 6:5 are the index; bit 4 is interleaved metadata
	 */
	unsigned idx = (idns->flbas & 0x0f) | (idns->flbas & 0x60) >> 1;

	g->nsze = le64toh(idns->nsze);
	g->lbads = idns->lbaf[idx].ds;
	g->ms = le16toh(idns->lbaf[idx].ms);
	g->dps = idns->dps;
}

const char *geometry_mismatch(const struct ns_geometry *a, const struct ns_geometry *b)
{
	if (a->lbads != b->lbads)
		return "logical block size differs from that of the other paths";
	if (a->ms != b->ms)
		return "metadata size differs from that of the other paths";
	if (a->dps != b->dps)
		return "end-to-end protection settings differ from those of the other paths";
	if (a->nsze != b->nsze)
		return "namespace size differs from that of the other paths";
	return NULL;
}
