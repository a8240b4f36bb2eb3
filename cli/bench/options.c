/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uuid.h>

#include "cli/bench/options.h"
#include "transport/loop.h"
#include "transport/request.h"

static const char usage[] =
	"usage: nvmegw-bench --addr HOST:PORT --nqn NQN [options]\n"
	"\n"
	"Puts load on a namespace as a host would, and reports speed, latency and errors.\n"
	"\n"
	"  --addr ADDRESS:PORT    where the controller listens (numeric; [v6]:port)\n"
	"  --transport tcp|rdma   (tcp)\n"
	"  --nqn NQN              of the subsystem\n"
	"  --hostnqn NQN          of this host (default: made from a fresh UUID)\n"
	"  --nsid N               namespace (default: the first active one)\n"
	"  --queues N             I/O queues (1)\n"
	"  --depth N              commands out per queue (32)\n"
	"  --threads N            threads that the queues are spread over (1)\n"
	"  --bs BYTES             size of one I/O, with suffix k or m (4k)\n"
	"  --rw read|write|mix    (read)\n"
	"  --rwmixread PERCENT    reads of a mix (50)\n"
	"  --pattern random|seq   (random)\n"
	"  --size BYTES           range to use, from LBA 0, suffix k, m, g (the whole namespace)\n"
	"  --time SECONDS         how long (10)\n"
	"  --rate IOPS            at most so many a second\n"
	"  --seed N               of the random numbers (the clock)\n"
	"  --verify               stamp what is written, check every read, read all back at the end\n"
	"  --apart                with --verify: never a read of what a write is out to, nor the other\n"
	"                         way round. For back-ends of several processes on one image: each\n"
	"                         keeps a block whole for its own commands, none for the others'\n"
	"  --hdr-digest           ask for header digests\n"
	"  --data-digest          ask for data digests\n"
	"  --keep-alive SECONDS   KATO (5; 0: none)\n"
	"  --wait SECONDS         how long the namespace may take to appear (0)\n"
	"  --interval SECONDS     print a progress line so often\n"
	"  --idle                 connect the queues and do nothing\n"
	"  -o, --output text|json one JSON object a line for scripts (text)\n"
	"\n"
	"Exit status: 0 all I/O succeeded and was right, 1 not so, 2 wrong usage.\n";

__attribute__((noreturn, format(printf, 1, 2))) static void bad(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("nvmegw-bench: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputs(" (--help lists the options)\n", stderr);
	va_end(ap);
	exit(2);
}

static uint64_t number(const char *opt, const char *text, uint64_t min, uint64_t max)
{
	char *end;
	uint64_t v;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || v < min || v > max)
		bad("--%s %s: a number %llu..%llu is expected", opt, text, (unsigned long long)min,
		    (unsigned long long)max);
	return v;
}

static uint64_t bytes(const char *opt, const char *text)
{
	char *end;
	uint64_t v;
	unsigned shift = 0;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (end != text && *end) {
		const char *units = "kmgt", *u = strchr(units, *end | 0x20);

		shift = u ? 10 * (unsigned)(u - units + 1) : 64;
		end++;
		if (!strcasecmp(end, "ib") || !strcasecmp(end, "b"))
			end += strlen(end);
	}
	if (errno || end == text || *end || *text == '-' || shift > 40 || !v ||
	    v > UINT64_MAX >> shift)
		bad("--%s %s: a number of bytes is expected, such as 4096, 4k or 1m", opt, text);
	return v << shift;
}

static uint64_t seconds(const char *opt, const char *text)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || *end || !isfinite(v) || v < 0 || v > 1e8)
		bad("--%s %s: a number of seconds is expected", opt, text);
	return (uint64_t)(v * NSEC_PER_SEC);
}

static void address(struct addr *a, const char *text)
{
	const char *colon = strrchr(text, ':');
	char host[ADDR_STR_MAX];
	size_t len = colon ? (size_t)(colon - text) : 0;

	if (!len || len >= sizeof(host))
		bad("--addr %s: ADDRESS:PORT is expected", text);
	if (text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	memcpy(host, text, len);
	host[len] = 0;
	if (addr_parse(a, host, colon + 1))
		bad("--addr: %s is no numeric address, or %s no port", host, colon + 1);
}

static void nqn(char *into, const char *opt, const char *text)
{
	size_t len = strlen(text);

	if (!len || len > NVMF_NQN_MAX)
		bad("--%s: 1 to %d characters are expected", opt, NVMF_NQN_MAX);
	memcpy(into, text, len + 1);
}

/* The index of @text among the names. */
static unsigned choice(const char *opt, const char *text, const char *a, const char *b,
		       const char *c)
{
	const char *names[] = {a, b, c};

	for (unsigned i = 0; i < 3 && names[i]; i++)
		if (!strcmp(text, names[i]))
			return i;
	bad("--%s %s: %s, %s%s%s is expected", opt, text, a, b, c ? ", " : "", c ? c : "");
}

static void defaults(struct options *o)
{
	char text[UUID_STR_LEN];
	struct timespec ts;

	memset(o, 0, sizeof(*o));
	uuid_generate(o->hostid);
	uuid_unparse_lower(o->hostid, text);
	snprintf(o->hostnqn, sizeof(o->hostnqn), "nqn.2014-08.org.nvmexpress:uuid:%s", text);
	clock_gettime(CLOCK_REALTIME, &ts);
	o->seed = (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
	o->transport = &ini_tcp;
	o->queues = 1;
	o->depth = 32;
	o->threads = 1;
	o->bs = 4096;
	o->read_pct = 100;
	o->time = 10 * NSEC_PER_SEC;
	o->keep_alive = 5 * NSEC_PER_SEC;
}

enum {
	ADDR = 256,
	TRANSPORT,
	NQN,
	HOSTNQN,
	NSID,
	QUEUES,
	DEPTH,
	THREADS,
	BS,
	RW,
	RWMIXREAD,
	PATTERN,
	SIZE,
	TIME,
	RATE,
	SEED,
	VERIFY,
	APART,
	HDR_DIGEST,
	DATA_DIGEST,
	KEEP_ALIVE,
	WAIT,
	INTERVAL,
	IDLE,
};

static const struct option longopts[] = {
	{"addr", required_argument, NULL, ADDR},
	{"transport", required_argument, NULL, TRANSPORT},
	{"nqn", required_argument, NULL, NQN},
	{"hostnqn", required_argument, NULL, HOSTNQN},
	{"nsid", required_argument, NULL, NSID},
	{"queues", required_argument, NULL, QUEUES},
	{"depth", required_argument, NULL, DEPTH},
	{"threads", required_argument, NULL, THREADS},
	{"bs", required_argument, NULL, BS},
	{"rw", required_argument, NULL, RW},
	{"rwmixread", required_argument, NULL, RWMIXREAD},
	{"pattern", required_argument, NULL, PATTERN},
	{"size", required_argument, NULL, SIZE},
	{"time", required_argument, NULL, TIME},
	{"rate", required_argument, NULL, RATE},
	{"seed", required_argument, NULL, SEED},
	{"verify", no_argument, NULL, VERIFY},
	{"apart", no_argument, NULL, APART},
	{"hdr-digest", no_argument, NULL, HDR_DIGEST},
	{"data-digest", no_argument, NULL, DATA_DIGEST},
	{"keep-alive", required_argument, NULL, KEEP_ALIVE},
	{"wait", required_argument, NULL, WAIT},
	{"interval", required_argument, NULL, INTERVAL},
	{"idle", no_argument, NULL, IDLE},
	{"output", required_argument, NULL, 'o'},
	{"help", no_argument, NULL, 'h'},
	{0},
};

void options_parse(struct options *o, int argc, char **argv)
{
	enum { READ, WRITE, MIX } rw = READ;
	unsigned mix = 50;
	int c, i = 0;

	defaults(o);
	while ((c = getopt_long(argc, argv, "o:h", longopts, &i)) != -1) {
		const char *opt = c == 'o' ? "output" : longopts[i].name;

		switch (c) {
		case ADDR:
			address(&o->addr, optarg);
			break;
		case TRANSPORT:
			o->transport =
				choice(opt, optarg, "tcp", "rdma", NULL) ? &ini_rdma : &ini_tcp;
			break;
		case NQN:
			nqn(o->nqn, opt, optarg);
			break;
		case HOSTNQN:
			nqn(o->hostnqn, opt, optarg);
			break;
		case NSID:
			o->nsid = (uint32_t)number(opt, optarg, 1, 0xfffffffe);
			break;
		case QUEUES:
			o->queues = (unsigned)number(opt, optarg, 1, 65535);
			break;
		case DEPTH:
			o->depth = (unsigned)number(opt, optarg, 1, 4096);
			break;
		case THREADS:
			o->threads = (unsigned)number(opt, optarg, 1, 64);
			break;
		case BS:
			o->bs = (uint32_t)bytes(opt, optarg);
			if (o->bs > REQUEST_MAX_DATA)
				bad("--bs: at most %u bytes", REQUEST_MAX_DATA);
			break;
		case RW:
			rw = choice(opt, optarg, "read", "write", "mix");
			break;
		case RWMIXREAD:
			mix = (unsigned)number(opt, optarg, 0, 100);
			break;
		case PATTERN:
			o->sequential = choice(opt, optarg, "random", "seq", NULL);
			break;
		case SIZE:
			o->size = bytes(opt, optarg);
			break;
		case TIME:
			o->time = seconds(opt, optarg);
			break;
		case RATE:
			o->rate = number(opt, optarg, 1, NSEC_PER_SEC);
			break;
		case SEED:
			o->seed = number(opt, optarg, 0, UINT64_MAX);
			break;
		case VERIFY:
			o->verify = true;
			break;
		case APART:
			o->apart = true;
			break;
		case HDR_DIGEST:
			o->hdr_digest = true;
			break;
		case DATA_DIGEST:
			o->data_digest = true;
			break;
		case KEEP_ALIVE:
			o->keep_alive = seconds(opt, optarg);
			break;
		case WAIT:
			o->wait = seconds(opt, optarg);
			break;
		case INTERVAL:
			o->interval = seconds(opt, optarg);
			break;
		case IDLE:
			o->idle = true;
			break;
		case 'o':
			o->json = choice(opt, optarg, "text", "json", NULL);
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			exit(2);
		}
	}
	if (optind < argc)
		bad("'%s' is no option", argv[optind]);
	if (!o->addr.len || !o->nqn[0])
		bad("--addr and --nqn are needed");
	if (o->threads > o->queues)
		bad("%u threads for %u queues: a thread needs one", o->threads, o->queues);
	if (o->apart && !o->verify)
		bad("--apart is of no use without --verify");
	o->read_pct = rw == READ ? 100 : rw == WRITE ? 0 : mix;
}
