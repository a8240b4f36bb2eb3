/* SPDX-License-Identifier: Apache-2.0 */
/* RDMA devices and registered memory; see rdma_dev.h. */
#include "transport/rdma_dev.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <unistd.h>

#include "transport/log.h"
#include "transport/loop.h"
#include "transport/pool.h"
#include "transport/rdma_cm.h"
#include "transport/rdma_qp.h"

#define VENDOR_RXE 0xffffffu
#define CHUNK_MIN  (4u << 20) /* a power of two of REQUEST_MAX_DATA */

struct rdma_dev {
	LIST_ENTRY(rdma_dev) link;
	struct ibv_context *verbs;
	struct ibv_device_attr attr;
	struct ibv_pd *pd[RDMA_ROLES];
	SLIST_HEAD(, rdma_mem) pools[RDMA_ROLES];
	unsigned refs;
	bool removed;
	atomic_bool tells_last;
	/* on control, which watches over the device */
	bool watched;
	struct loop_fd watch;
	struct rdma_cm_id *guard; /* bound to it, to hear of its removal when nobody uses it */
	struct sockaddr_storage local;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(, rdma_dev) devices = LIST_HEAD_INITIALIZER(devices);
static struct loop *control;
static struct rdma_cm guards; /* control's */

/* Nobody else gets it, and it is closed after the last put. */
static void mark_removed(struct rdma_dev *dev);

static int access_flags(const struct rdma_dev *dev, enum rdma_role role)
{
	int flags = IBV_ACCESS_LOCAL_WRITE;

	if (role == RDMA_INITIATOR)
		flags |= IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE;
	else if (role == RDMA_WINDOWS)
		flags |= IBV_ACCESS_MW_BIND;
	/* iWARP delivers what is read as a remote write (RFC 5040, 5.5). */
	else if (dev->verbs->device->transport_type == IBV_TRANSPORT_IWARP)
		flags |= IBV_ACCESS_REMOTE_WRITE;
	return flags;
}

/* ---- what a device reports ---- */

static void on_async(void *arg, unsigned events)
{
	struct rdma_dev *dev = arg;
	struct ibv_async_event e;

	while (!ibv_get_async_event(dev->verbs, &e)) {
		enum ibv_event_type type = e.event_type;

		/* The end of a queue pair waits for its events to be acknowledged: till then it is
		 * there, and no longer. */
		rdma_qp_note(&e);
		ibv_ack_async_event(&e);
		if (type == IBV_EVENT_DEVICE_FATAL) {
			pthread_mutex_lock(&lock);
			mark_removed(dev);
			pthread_mutex_unlock(&lock);
		}
		if (type == IBV_EVENT_QP_LAST_WQE_REACHED)
			atomic_store_explicit(&dev->tells_last, true, memory_order_relaxed);
		/* What concerns a queue pair is seen there, by its completions and by the CM. */
		if (type == IBV_EVENT_DEVICE_FATAL || type == IBV_EVENT_CQ_ERR ||
		    type == IBV_EVENT_PORT_ERR)
			log_warn("RDMA device %s: %s", ibv_get_device_name(dev->verbs->device),
				 ibv_event_type_str(type));
		else
			log_debug(RDMA, "device %s: %s", ibv_get_device_name(dev->verbs->device),
				  ibv_event_type_str(type));
	}
	/* A device that was taken away stays readable with nothing to read. */
	if (errno != EAGAIN)
		loop_fd_want(&dev->watch, 0);
}

static void set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0)
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static void bind_guard(struct rdma_dev *dev)
{
	struct sockaddr *sa = (struct sockaddr *)&dev->local;

	if (sa->sa_family == AF_INET6)
		((struct sockaddr_in6 *)sa)->sin6_port = 0;
	else
		((struct sockaddr_in *)sa)->sin_port = 0;
	if (!guards.channel || rdma_create_id(guards.channel, &dev->guard, dev, RDMA_PS_TCP)) {
		dev->guard = NULL;
		return;
	}
	if (rdma_bind_addr(dev->guard, sa)) {
		rdma_destroy_id(dev->guard);
		dev->guard = NULL;
	}
}

static void on_guard(void *arg, const struct rdma_cm_note *note)
{
	struct rdma_dev *dev = note->id->context;

	if (note->type != RDMA_CM_EVENT_DEVICE_REMOVAL)
		return;
	rdma_dev_removed(note->id);
	rdma_destroy_id(note->id);
	dev->guard = NULL;
}

/* Control: watches over what came into use on some other loop. */
static void watch_all(void *arg)
{
	struct rdma_dev *dev;

	pthread_mutex_lock(&lock);
	/* At the start the kernel may not have had the module yet. */
	if (control && !guards.channel)
		rdma_cm_init(&guards, control, on_guard, NULL);
	LIST_FOREACH(dev, &devices, link) {
		if (dev->watched || !control)
			continue;
		dev->watched = true;
		set_nonblocking(dev->verbs->async_fd);
		loop_fd_init(&dev->watch, control, dev->verbs->async_fd, on_async, dev);
		loop_fd_want(&dev->watch, LOOP_READ);
		bind_guard(dev);
	}
	pthread_mutex_unlock(&lock);
}

/* ---- devices ---- */

static void mem_free(struct rdma_mem *m)
{
	for (unsigned i = 0; i < RDMA_CHUNKS; i++)
		if (m->mr[i])
			ibv_dereg_mr(m->mr[i]);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

static void dev_free(struct rdma_dev *dev)
{
	if (dev->watched)
		loop_fd_fini(&dev->watch);
	if (dev->guard)
		rdma_destroy_id(dev->guard);
	for (unsigned role = 0; role < RDMA_ROLES; role++) {
		struct rdma_mem *m;

		while ((m = SLIST_FIRST(&dev->pools[role]))) {
			SLIST_REMOVE_HEAD(&dev->pools[role], link);
			mem_free(m);
		}
		if (dev->pd[role])
			ibv_dealloc_pd(dev->pd[role]);
	}
	if (dev->verbs)
		ibv_close_device(dev->verbs);
	free(dev);
}

/* Control, or with nobody watching anywhere. */
static void free_removed(void *arg)
{
	struct rdma_dev *dev, *next;

	pthread_mutex_lock(&lock);
	for (dev = LIST_FIRST(&devices); dev; dev = next) {
		next = LIST_NEXT(dev, link);
		if (!dev->removed || dev->refs)
			continue;
		LIST_REMOVE(dev, link);
		log_info("RDMA device %s let go", ibv_get_device_name(dev->verbs->device));
		dev_free(dev);
	}
	pthread_mutex_unlock(&lock);
}

static struct rdma_dev *dev_new(struct rdma_cm_id *id)
{
	struct rdma_dev *dev = calloc(1, sizeof(*dev));
	struct ibv_device *device = id->verbs->device;
	const struct sockaddr *sa = rdma_get_local_addr(id);
	int e;

	if (!dev)
		return NULL;
	memcpy(&dev->local, sa,
	       sa->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
					 : sizeof(struct sockaddr_in));
	dev->verbs = ibv_open_device(device);
	e = dev->verbs ? ibv_query_device(dev->verbs, &dev->attr) : errno;
	/* Soft-RoCE of Linux 6.1 does not; a later one may. */
	atomic_init(&dev->tells_last, dev->attr.vendor_id != VENDOR_RXE);
	for (unsigned role = 0; !e && role < RDMA_ROLES; role++) {
		SLIST_INIT(&dev->pools[role]);
		dev->pd[role] = ibv_alloc_pd(dev->verbs);
		if (!dev->pd[role])
			e = errno;
	}
	if (e) {
		dev_free(dev);
		errno = e;
		return NULL;
	}
	log_info("RDMA device %s in use", ibv_get_device_name(device));
	LIST_INSERT_HEAD(&devices, dev, link);
	if (control)
		loop_post(control, watch_all, NULL);
	return dev;
}

struct rdma_dev *rdma_dev_get(struct rdma_cm_id *id)
{
	struct rdma_dev *dev;

	pthread_mutex_lock(&lock);
	LIST_FOREACH(dev, &devices, link)
		if (dev->verbs->device == id->verbs->device && !dev->removed)
			break;
	if (!dev)
		dev = dev_new(id);
	if (dev)
		dev->refs++;
	pthread_mutex_unlock(&lock);
	return dev;
}

void rdma_dev_hold(struct rdma_dev *dev)
{
	pthread_mutex_lock(&lock);
	dev->refs++;
	pthread_mutex_unlock(&lock);
}

void rdma_dev_put(struct rdma_dev *dev)
{
	struct loop *loop;
	bool last;

	pthread_mutex_lock(&lock);
	last = !--dev->refs && dev->removed;
	loop = control;
	pthread_mutex_unlock(&lock);
	if (last && loop)
		loop_post(loop, free_removed, NULL);
	else if (last)
		free_removed(NULL);
}

static void mark_removed(struct rdma_dev *dev)
{
	dev->removed = true;
	if (!dev->refs && control)
		loop_post(control, free_removed, NULL);
}

/*
 * The kernel takes a soft-RoCE device away only when nobody has it open any more, and librdmacm
 * keeps its own context of it open until it has some reason to look at the list of devices. That
 * context is of no more use; what its descriptors stand for is closed beneath it, and it can close
 * them like any others when it gets there. Its protection domain it cannot give back: a few bytes
 * are lost with every removal.
 */
static void close_beneath(const struct ibv_context *cm)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	dup3(fd, cm->async_fd, O_CLOEXEC);
	dup3(fd, cm->cmd_fd, O_CLOEXEC);
	close(fd);
}

void rdma_dev_removed(struct rdma_cm_id *id)
{
	struct rdma_dev *dev;

	if (!id->verbs)
		return;
	close_beneath(id->verbs);
	pthread_mutex_lock(&lock);
	LIST_FOREACH(dev, &devices, link)
		if (dev->verbs->device == id->verbs->device)
			mark_removed(dev);
	pthread_mutex_unlock(&lock);
}

struct ibv_context *rdma_dev_verbs(const struct rdma_dev *dev)
{
	return dev->verbs;
}

const struct ibv_device_attr *rdma_dev_attr(const struct rdma_dev *dev)
{
	return &dev->attr;
}

struct ibv_pd *rdma_dev_pd(const struct rdma_dev *dev, enum rdma_role role)
{
	return dev->pd[role];
}

bool rdma_dev_has_windows(const struct rdma_dev *dev)
{
	return dev->attr.device_cap_flags &
	       (IBV_DEVICE_MEM_WINDOW_TYPE_2A | IBV_DEVICE_MEM_WINDOW_TYPE_2B);
}

bool rdma_dev_tells_last(const struct rdma_dev *dev)
{
	return atomic_load_explicit(&dev->tells_last, memory_order_relaxed);
}

unsigned rdma_dev_inv_flags(const struct rdma_dev *dev)
{
	/* Soft-RoCE hands user space the kernel's own value for it, which stands for something else
	 * here, though for nothing that a reliable connection has. */
	return IBV_WC_WITH_INV | (dev->attr.vendor_id == VENDOR_RXE ? IBV_WC_IP_CSUM_OK : 0);
}

struct ibv_mr *rdma_dev_register(struct rdma_dev *dev, enum rdma_role role, void *mem, size_t len)
{
	struct ibv_mr *mr = ibv_reg_mr(dev->pd[role], mem, len, access_flags(dev, role));

	if (!mr)
		log_ratelimited(LOG_ERR,
				"RDMA device %s: cannot register %zu bytes of memory: %s%s",
				ibv_get_device_name(dev->verbs->device), len, strerror(errno),
				errno == ENOMEM ? " (see the limit of locked memory)" : "");
	return mr;
}

/* ---- pools ---- */

static struct rdma_mem *mem_new(struct rdma_dev *dev, enum rdma_role role, const struct pool *pool)
{
	struct rdma_mem *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->dev = dev;
	m->role = role;
	m->pool = pool;
	pthread_mutex_init(&m->lock, NULL);
	m->base = pool_memory(pool, &m->len);
	m->chunk = CHUNK_MIN;
	while (m->chunk * RDMA_CHUNKS < m->len)
		m->chunk *= 2;
	SLIST_INSERT_HEAD(&dev->pools[role], m, link);
	return m;
}

struct rdma_mem *rdma_dev_mem(struct rdma_dev *dev, enum rdma_role role, const struct pool *pool)
{
	struct rdma_mem *m;

	pthread_mutex_lock(&lock);
	SLIST_FOREACH(m, &dev->pools[role], link)
		if (m->pool == pool)
			break;
	if (!m)
		m = mem_new(dev, role, pool);
	pthread_mutex_unlock(&lock);
	return m;
}

struct ibv_mr *rdma_mem_register(struct rdma_mem *m, size_t i)
{
	size_t off = i * m->chunk, len = m->len - off < m->chunk ? m->len - off : m->chunk;

	/* It takes its time: what others are locked out of is this memory, and not the devices. */
	pthread_mutex_lock(&m->lock);
	if (!m->mr[i])
		m->mr[i] = rdma_dev_register(m->dev, m->role, (void *)(m->base + off), len);
	pthread_mutex_unlock(&m->lock);
	return m->mr[i];
}

int rdma_mem_fill(struct rdma_mem *m)
{
	for (size_t off = 0; off < m->len; off += m->chunk)
		if (!rdma_mem_of(m, m->base + off))
			return -ENOMEM;
	return 0;
}

/* ---- the whole ---- */

void rdma_start(struct loop *loop)
{
	int n = 0;
	struct ibv_device **list = ibv_get_device_list(&n);

	if (list)
		ibv_free_device_list(list);
	if (!n)
		log_info("no RDMA device: NVMe/RDMA is not available until there is one");
	rdma_cm_init(&guards, loop, on_guard, NULL);
	pthread_mutex_lock(&lock);
	control = loop;
	pthread_mutex_unlock(&lock);
}

void rdma_stop(void)
{
	struct rdma_dev *dev, *next;

	pthread_mutex_lock(&lock);
	control = NULL;
	for (dev = LIST_FIRST(&devices); dev; dev = next) {
		next = LIST_NEXT(dev, link);
		if (dev->refs)
			continue;
		LIST_REMOVE(dev, link);
		dev_free(dev);
	}
	pthread_mutex_unlock(&lock);
	rdma_cm_fini(&guards);
}

/* ---- a queue pair's own memory ---- */

int rdma_slab_init(struct rdma_slab *s, struct rdma_dev *dev, enum rdma_role role, size_t len)
{
	*s = (struct rdma_slab){.dev = dev, .len = len};
	rdma_dev_hold(dev);
	s->mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->mem == MAP_FAILED) {
		int e = errno;

		s->mem = NULL;
		rdma_slab_fini(s);
		return -e;
	}
	s->mr = rdma_dev_register(dev, role, s->mem, len);
	if (!s->mr) {
		int e = errno;

		rdma_slab_fini(s);
		return -e;
	}
	return 0;
}

void rdma_slab_fini(struct rdma_slab *s)
{
	if (s->mr)
		ibv_dereg_mr(s->mr);
	if (s->mem)
		munmap(s->mem, s->len);
	if (s->dev)
		rdma_dev_put(s->dev);
	*s = (struct rdma_slab){.len = 0};
}
