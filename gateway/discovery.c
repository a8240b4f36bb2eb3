/* SPDX-License-Identifier: Apache-2.0 */
/* The discovery log: what a host may connect to, and where (Base 2.0, 5.16.1.23). */
#include <stdio.h>
#include <string.h>

#include "gateway/admin.h"

#define SUBTYPE_DISCOVERY 3u /* the discovery subsystem that the host is talking to */
#define SUBTYPE_NVM	  2u

/*
 * Of the discovery subsystem's entries: hosts may stay connected (they close what has no EPCSD when
 * they have read the log), and learn nothing new by the other listeners.
 */
#define DISCOVERY_FLAGS (NVMF_DISC_EFLAGS_EPCSD | NVMF_DISC_EFLAGS_DUPRETINFO)

/*
 * Where @l is reached by the host of @c: as configured, else at its own address, else, when it
 * listens on any address, at the one by which that host came. False when none of these is known.
 */
static bool reached_at(const struct controller *c, const struct gw_listener *l, char *traddr,
		       uint8_t *adrfam)
{
	const struct addr *a = l->cfg.transport->listener_addr(l->tgt);

	if (!a)
		return false;
	if (addr_is_any(a)) {
		if (l->cfg.traddr_out[0]) {
			struct addr out;

			snprintf(traddr, NVMF_TRADDR_SIZE, "%s", l->cfg.traddr_out);
			*adrfam = addr_parse(&out, traddr, "1") == 0 && out.ss.ss_family == AF_INET6
					  ? NVMF_ADDR_FAMILY_IP6
					  : NVMF_ADDR_FAMILY_IP4;
			return true;
		}
		if (a->ss.ss_family != c->local.ss.ss_family)
			return false;
		a = &c->local;
	}
	addr_host_str(a, traddr);
	*adrfam = a->ss.ss_family == AF_INET6 ? NVMF_ADDR_FAMILY_IP6 : NVMF_ADDR_FAMILY_IP4;
	return true;
}

/* RDMA transport 1.0, 3.4: how connections are made; which of the RDMA protocols it is depends on
 * the device that the address leads to. */
static void put_rdma_subtype(struct nvmf_disc_log_entry *e)
{
	e->tsas.rdma.qptype = NVMF_RDMA_QPTYPE_CONNECTED;
	e->tsas.rdma.prtype = NVMF_RDMA_PRTYPE_NOT_SPECIFIED;
	e->tsas.rdma.cms = NVMF_RDMA_CMS_RDMA_CM;
}

static bool make_entry(const struct controller *c, const struct subsystem *ss,
		       const struct gw_listener *l, struct nvmf_disc_log_entry *e)
{
	*e = (struct nvmf_disc_log_entry){
		.trtype = l->cfg.transport->trtype,
		.subtype = ss->cfg ? SUBTYPE_NVM : SUBTYPE_DISCOVERY,
		.treq = NVMF_TREQ_DISABLE_SQFLOW,
		.portid = htole16(l->portid),
		.cntlid = htole16(NVMF_CNTLID_DYNAMIC),
		.asqsz = htole16(CTRL_MIN_ADMIN_ENTRIES),
		.eflags = htole16(ss->cfg ? 0 : DISCOVERY_FLAGS),
	};
	if (!l->tgt || !reached_at(c, l, e->traddr, &e->adrfam))
		return false;
	if (e->trtype == NVMF_TRTYPE_RDMA)
		put_rdma_subtype(e);
	snprintf(e->trsvcid, sizeof(e->trsvcid), "%u",
		 addr_port(l->cfg.transport->listener_addr(l->tgt)));
	strcpy(e->subnqn, ss->nqn);
	return true;
}

/* Appends the entries of @ss; @o NULL: only counts them. */
static unsigned put_subsystem(const struct controller *c, const struct subsystem *ss,
			      struct log_out *o)
{
	const struct gateway *gw = c->ss->gw;
	struct nvmf_disc_log_entry e;
	unsigned n = 0;

	if (ss->cfg && !subsystem_host_allowed(ss, c->ident.hostnqn))
		return 0;
	for (unsigned i = 0; i < gw->nr_listeners; i++) {
		if (!make_entry(c, ss, gw->listeners[i], &e))
			continue;
		n++;
		if (o)
			log_put(o, &e, sizeof(e));
	}
	return n;
}

static unsigned put_all(const struct controller *c, struct log_out *o)
{
	const struct subsystem *ss;
	unsigned n = put_subsystem(c, c->ss, o);

	TAILQ_FOREACH(ss, &c->ss->gw->subsystems, link)
		n += put_subsystem(c, ss, o);
	return n;
}

void discovery_log(const struct controller *c, struct log_out *o)
{
	struct nvmf_discovery_log hdr = {
		.genctr = htole64(c->ss->gw->disc_genctr),
		.numrec = htole64(put_all(c, NULL)),
	};

	log_put(o, &hdr, sizeof(hdr));
	put_all(c, o);
}

void discovery_changed(struct gateway *gw)
{
	struct controller *c;

	gw->disc_genctr++;
	TAILQ_FOREACH(c, &gw->discovery.controllers, link)
		aer_raise(c, AEN_DISC);
}
