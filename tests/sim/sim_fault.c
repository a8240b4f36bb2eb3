/* SPDX-License-Identifier: Apache-2.0 */
/* What goes wrong: one thing after the other, some of them at once, each mended after a while. */
#include "tests/sim/sim.h"

static uint64_t end;

static struct sim_ctrl *any_ctrl(void)
{
	return &sim_ctrls[sim_between(0, sim_nr_ctrls - 1)];
}

static void on_heal(void *arg)
{
	sim_heal(arg);
}

static void heal_after(struct sim_ctrl *c, uint64_t least_ms, uint64_t most_ms)
{
	sim_at(sim_now + sim_between(least_ms, most_ms) * NSEC_PER_MSEC, NULL, on_heal, c);
}

static void on_quick(void *arg)
{
	((struct sim_ctrl *)arg)->slow = 0;
}

static void reset(struct sim_ctrl *c)
{
	sim_reset(c);
}

static void flap(struct sim_ctrl *c)
{
	sim_reset(c);
	c->down = true;
	heal_after(c, 1, 300);
}

static void crash(struct sim_ctrl *c)
{
	sim_crash(c, sim_chance(60));
	/* What comes back may be another namespace under the same NSID. */
	c->swapped = sim_chance(8) ? !c->swapped : c->swapped;
	heal_after(c, 10, 4000);
}

static void silence(struct sim_ctrl *c)
{
	if (c->silent)
		return;
	sim_silence(c);
	heal_after(c, 5, 5000);
}

static void stuck(struct sim_ctrl *c)
{
	c->stuck = true;
	sim_trace("controller %u: takes commands and does nothing", c->port);
	heal_after(c, 100, 6000);
}

static void slow(struct sim_ctrl *c)
{
	c->slow = (unsigned)sim_between(10, 300);
	sim_trace("controller %u: %u times as slow", c->port, c->slow);
	sim_at(sim_now + sim_between(100, 6000) * NSEC_PER_MSEC, NULL, on_quick, c);
}

static void statuses(struct sim_ctrl *c)
{
	static const uint16_t some[] = {
		NVME_STATUS(3, NVME_SC_CTRL_PATH_ERROR),
		NVME_STATUS(3, NVME_SC_ANA_INTERNAL_PATH_ERROR),
		NVME_STATUS(0, NVME_SC_CMD_INTERRUPTED),
		NVME_STATUS(0, NVME_SC_CMD_INTERRUPTED) | 1 << 11,
		NVME_STATUS(0, NVME_SC_NS_NOT_READY) | 2 << 11,
		NVME_STATUS(0, NVME_SC_ABORT_QUEUE),
		NVME_STATUS(2, NVME_SC_READ_ERROR) | NVME_DNR,
	};

	c->fault_status = some[sim_between(0, sizeof(some) / sizeof(some[0]) - 1)];
	c->fault_count = (unsigned)sim_between(1, 20);
	sim_trace("controller %u: status %#x for %u commands", c->port, c->fault_status,
		  c->fault_count);
}

static void set_ana(struct sim_ctrl *c, unsigned ns, uint8_t ana_state)
{
	if (c->ana_state[ns] == NVME_ANA_STATE_INACCESSIBLE)
		c->cut_off[ns] = sim_now;
	c->ana_state[ns] = ana_state;
}

static void ana(struct sim_ctrl *c)
{
	static const uint8_t states[] = {NVME_ANA_STATE_OPTIMIZED, NVME_ANA_STATE_OPTIMIZED,
					 NVME_ANA_STATE_NONOPTIMIZED, NVME_ANA_STATE_INACCESSIBLE,
					 NVME_ANA_STATE_CHANGE};
	unsigned ns = (unsigned)sim_between(0, SIM_NAMESPACES - 1);

	set_ana(c, ns, states[sim_between(0, sizeof(states) - 1)]);
	sim_trace("controller %u: ANA state %u for namespace %u", c->port, c->ana_state[ns],
		  ns + 1);
	if (sim_chance(85))
		sim_notice(c, NVME_AER_NOTICE_ANA);
}

static void attach(void *arg)
{
	struct sim_ctrl *c = arg;

	if (c->attached[1])
		return;
	c->attached[1] = true;
	sim_trace("controller %u: namespace 2 is attached", c->port);
	sim_notice(c, NVME_AER_NOTICE_NS_CHANGED);
}

static void detach(struct sim_ctrl *c)
{
	if (!c->attached[1]) {
		attach(c);
		return;
	}
	c->attached[1] = false;
	c->detached[1] = sim_now;
	sim_trace("controller %u: namespace 2 is detached", c->port);
	sim_notice(c, NVME_AER_NOTICE_NS_CHANGED);
}

/* The namespace leaves the subsystem, and soon is back. */
static void withdraw(struct sim_ctrl *c)
{
	for (unsigned i = 0; i < sim_nr_ctrls; i++) {
		if (!sim_ctrls[i].attached[1])
			continue;
		detach(&sim_ctrls[i]);
		sim_at(sim_now + sim_between(1, 600) * NSEC_PER_MSEC, NULL, attach, &sim_ctrls[i]);
	}
}

static void grow_one(void *arg)
{
	struct sim_ctrl *c = arg;

	c->size[0] += 8;
	sim_trace("controller %u: namespace 1 has %llu blocks", c->port,
		  (unsigned long long)c->size[0]);
	sim_notice(c, NVME_AER_NOTICE_NS_CHANGED);
}

/* All controllers show the new size, one after the other. */
static void grow(struct sim_ctrl *c)
{
	for (unsigned i = 0; i < sim_nr_ctrls; i++)
		sim_at(sim_now + sim_between(0, 800) * NSEC_PER_MSEC, NULL, grow_one,
		       &sim_ctrls[i]);
}

static void everything(struct sim_ctrl *c)
{
	for (unsigned i = 0; i < sim_nr_ctrls; i++) {
		sim_crash(&sim_ctrls[i], sim_chance(50));
		heal_after(&sim_ctrls[i], 50, 4000);
	}
}

static void on_awake(void *arg)
{
	sim_resume(arg);
}

/* One of our own threads gets no core, or its machine is suspended. */
static void stall(struct sim_ctrl *c)
{
	struct loop *loop = sim_any_worker();
	uint64_t ms = sim_chance(80) ? sim_between(1, 200) : sim_between(200, 6000);

	sim_trace("a worker does not run for %llu ms", (unsigned long long)ms);
	sim_stall(loop);
	sim_at(sim_now + ms * NSEC_PER_MSEC, NULL, on_awake, loop);
}

static const struct {
	void (*fn)(struct sim_ctrl *c);
	unsigned weight;
} faults[] = {
	{reset, 20}, {flap, 12},      {crash, 10}, {silence, 14}, {stuck, 5},
	{slow, 8},   {statuses, 8},   {ana, 14},   {detach, 4},	  {withdraw, 4},
	{grow, 2},   {everything, 2}, {stall, 10},
};

static void one_fault(void *arg)
{
	unsigned n = sizeof(faults) / sizeof(faults[0]), all = 0, dice;

	if (sim_now >= end)
		return;
	for (unsigned i = 0; i < n; i++)
		all += faults[i].weight;
	dice = (unsigned)sim_between(0, all - 1);
	for (unsigned i = 0; i < n; i++) {
		if (dice < faults[i].weight) {
			faults[i].fn(any_ctrl());
			return;
		}
		dice -= faults[i].weight;
	}
}

static void on_fault(void *arg)
{
	one_fault(NULL);
	if (sim_now < end)
		sim_at(sim_now + sim_between(1, sim_chance(30) ? 50 : 2500) * NSEC_PER_MSEC, NULL,
		       on_fault, NULL);
}

void sim_fault_soon(void)
{
	sim_at(sim_now + sim_between(0, 400) * NSEC_PER_USEC, NULL, one_fault, NULL);
}

static void on_end(void *arg)
{
	sim_trace("everything is mended");
	for (unsigned i = 0; i < sim_nr_ctrls; i++) {
		struct sim_ctrl *c = &sim_ctrls[i];

		sim_heal(c);
		c->slow = c->fault_count = 0;
		c->limit_changes = false;
		c->zeroes_limit = 0;
		c->attached[1] = true;
		for (unsigned n = 0; n < SIM_NAMESPACES; n++)
			set_ana(c, n, NVME_ANA_STATE_OPTIMIZED);
		sim_notice(c, NVME_AER_NOTICE_NS_CHANGED);
		sim_notice(c, NVME_AER_NOTICE_ANA);
	}
	/* The right namespaces, which only a new connection shows. */
	for (unsigned i = 0; i < sim_nr_ctrls; i++)
		if (sim_ctrls[i].swapped) {
			sim_crash(&sim_ctrls[i], true);
			sim_ctrls[i].swapped = false;
			heal_after(&sim_ctrls[i], 10, 100);
		}
}

void sim_faults_start(uint64_t until)
{
	end = until;
	sim_at(sim_now + sim_between(50, 1500) * NSEC_PER_MSEC, NULL, on_fault, NULL);
	/* After the last thing that mends itself. */
	sim_at(until + 7 * NSEC_PER_SEC, NULL, on_end, NULL);
}
