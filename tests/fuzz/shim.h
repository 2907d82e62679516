/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * As much of the kernel's API as bitmap.c, fork.c, maps.c, superblock.c and
 * table.c use, for user space and one thread. It is included ahead of them; the
 * headers that they ask for are empty (see run).
 *
 * Locks know whether they are held, allocations can be made to fail, and I/O
 * goes to members that are in memory (disk.c). Work that is queued is not done.
 */
#ifndef SHIM_H
#define SHIM_H

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/types.h>
#include <linux/raid/md_p.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error The shim is for little-endian hosts only.
#endif

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef u64 sector_t;
typedef unsigned int blk_opf_t;
typedef u8 blk_status_t;
typedef s64 shim_loff_t;
typedef u32 shim_dev_t;
#define loff_t shim_loff_t
#define dev_t shim_dev_t
#define ssize_t long

#define S32_MIN	INT32_MIN
#define S32_MAX	INT32_MAX
#define U32_MAX	UINT32_MAX
#define U64_MAX	UINT64_MAX

#define __must_check	__attribute__((warn_unused_result))
#define __packed	__attribute__((packed))
#define __aligned(n)	__attribute__((aligned(n)))
#define __maybe_unused	__attribute__((unused))
#define ____cacheline_aligned_in_smp
#define __cacheline_group_begin_aligned(group)	char begin_##group[0]
#define __cacheline_group_end_aligned(group)	char end_##group[0]
#define __release(x)	((void)0)
#define __acquire(x)	((void)0)
#define __acquires(x)
#define __releases(x)
#define likely(x)	(x)
#define unlikely(x)	(x)
#define fallthrough	__attribute__((fallthrough))

#define READ_ONCE(x)		(x)
#define WRITE_ONCE(x, v)	((x) = (v))
#define smp_mb()		((void)0)
#define smp_load_acquire(p)	(*(p))
#define data_race(x)		(x)
#define smp_store_release(p, v)	(*(p) = (v))
#define cond_resched()		((void)0)
static inline void schedule(void) {}
#define might_sleep()		((void)0)

#define BUILD_BUG_ON(x)		_Static_assert(!(x), #x)
#define sizeof_field(t, f)	sizeof(((t *)0)->f)
#define container_of(p, t, m)	((t *)((char *)(p) - offsetof(t, m)))
#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))

#define WARN_ON_ONCE(x)	({ bool bad_ = (x); \
	if (bad_) \
		finding("WARN_ON_ONCE(%s) in %s", #x, __func__); \
	bad_; })
#define WARN_ON		WARN_ON_ONCE

/* What the fuzzer is after: says so and aborts. */
void finding(const char *fmt, ...)
	__attribute__((noreturn, format(printf, 1, 2)));

/* ----------------------------------------------------------- arithmetic */

#define min(a, b) ({ __auto_type a_ = (a); __auto_type b_ = (b); \
	a_ < b_ ? a_ : b_; })
#define max(a, b) ({ __auto_type a__ = (a); __auto_type b__ = (b); \
	a__ > b__ ? a__ : b__; })
#define min_t(t, a, b)	min((t)(a), (t)(b))
#define max_t(t, a, b)	max((t)(a), (t)(b))
#define min3(a, b, c)	min(min(a, b), c)
#define max3(a, b, c)	max(max(a, b), c)
#define clamp(v, lo, hi) min(max(v, lo), hi)
#define clamp_t(t, v, lo, hi) clamp((t)(v), (t)(lo), (t)(hi))
#define swap(a, b) ({ __auto_type t_ = (a); (a) = (b); (b) = t_; })

#define DIV_ROUND_UP(n, d)	(((n) + (d) - 1) / (d))
#define roundup(x, y)		(DIV_ROUND_UP(x, y) * (y))
#define round_down(x, y)	((x) & ~((__typeof__(x))(y) - 1))
#define round_up(x, y)		round_down((x) + (__typeof__(x))(y) - 1, y)
#define is_power_of_2(x)	((x) && !((x) & ((x) - 1)))
#define ilog2(x)		(63 - __builtin_clzll(x))

#define cpu_to_le16(x)	((u16)(x))
#define cpu_to_le32(x)	((u32)(x))
#define cpu_to_le64(x)	((u64)(x))
#define le16_to_cpu(x)	((u16)(x))
#define le32_to_cpu(x)	((u32)(x))
#define le64_to_cpu(x)	((u64)(x))

u32 crc32_le(u32 crc, const void *buf, size_t len);
static inline u32 get_random_u32(void) { return 0x5eed1234; }

/* ----------------------------------------------------------------- bits */

#define BITS_PER_LONG		64
#define BITS_TO_LONGS(n)	DIV_ROUND_UP(n, BITS_PER_LONG)
#define BIT_WORD(nr)		((nr) / BITS_PER_LONG)
#define BITMAP_FIRST_WORD_MASK(start)	(~0UL << (start) % BITS_PER_LONG)
#define BITMAP_LAST_WORD_MASK(nr)	(~0UL >> -(nr) % BITS_PER_LONG)
#define set_mask_bits(p, mask, bits)	(*(p) = (*(p) & ~(mask)) | (bits))

static inline bool test_bit(unsigned long nr, const unsigned long *p)
{
	return p[nr / 64] >> nr % 64 & 1;
}

static inline void set_bit(unsigned long nr, unsigned long *p)
{
	p[nr / 64] |= 1UL << nr % 64;
}

static inline void clear_bit(unsigned long nr, unsigned long *p)
{
	p[nr / 64] &= ~(1UL << nr % 64);
}

static inline bool test_and_set_bit(unsigned long nr, unsigned long *p)
{
	bool old = test_bit(nr, p);

	set_bit(nr, p);
	return old;
}

static inline bool test_and_clear_bit(unsigned long nr, unsigned long *p)
{
	bool old = test_bit(nr, p);

	clear_bit(nr, p);
	return old;
}

#define __set_bit	set_bit
#define __clear_bit	clear_bit

static inline bool test_bit_le(unsigned long nr, const void *p)
{
	return ((const u8 *)p)[nr / 8] >> nr % 8 & 1;
}

static inline void __set_bit_le(unsigned long nr, void *p)
{
	((u8 *)p)[nr / 8] |= 1U << nr % 8;
}

static inline void __clear_bit_le(unsigned long nr, void *p)
{
	((u8 *)p)[nr / 8] &= ~(1U << nr % 8);
}

/* The next bit from @nr on that differs from @skip, or @size. */
static inline unsigned long next_bit(const unsigned long *p, unsigned long size,
				     unsigned long nr, unsigned long skip)
{
	unsigned long word;

	if (nr >= size)
		return size;
	word = (p[nr / 64] ^ skip) & ~0UL << nr % 64;
	for (nr = nr / 64 * 64; !word; word = p[nr / 64] ^ skip) {
		nr += 64;
		if (nr >= size)
			return size;
	}
	nr += __builtin_ctzl(word);
	return nr < size ? nr : size;
}

#define find_next_bit(p, size, nr)	next_bit(p, size, nr, 0)
#define find_next_zero_bit(p, size, nr)	next_bit(p, size, nr, ~0UL)
#define find_first_bit(p, size)		next_bit(p, size, 0, 0)
#define bitmap_empty(p, size)		(find_first_bit(p, size) == (size))
#define for_each_set_bit(bit, p, size) \
	for ((bit) = find_first_bit(p, size); (bit) < (size); \
	     (bit) = find_next_bit(p, size, (bit) + 1))

static inline void bitmap_set(unsigned long *p, unsigned long nr,
			      unsigned long len)
{
	while (len--)
		set_bit(nr++, p);
}

static inline void bitmap_clear(unsigned long *p, unsigned long nr,
				unsigned long len)
{
	while (len--)
		clear_bit(nr++, p);
}

static inline void bitmap_fill(unsigned long *p, unsigned long size)
{
	memset(p, 0xff, BITS_TO_LONGS(size) * sizeof(long));
}

static inline void bitmap_copy(unsigned long *to, const unsigned long *from,
			       unsigned long size)
{
	memcpy(to, from, BITS_TO_LONGS(size) * sizeof(long));
}

static inline unsigned long bitmap_weight(const unsigned long *p,
					  unsigned long size)
{
	unsigned long bit, n = 0;

	for_each_set_bit(bit, p, size)
		n++;
	return n;
}

/* --------------------------------------------------------------- memory */

#define PAGE_SHIFT	12
#define PAGE_SIZE	4096UL
#define GFP_KERNEL	0
#define GFP_NOIO	0
#define __GFP_ZERO	0
#define __GFP_NORETRY	0
#define __GFP_RETRY_MAYFAIL 0
#define __GFP_NOWARN	0
typedef unsigned int gfp_t;

struct page {
	u8 data[4096];
};

/* NULL when it is this allocation's turn to fail. */
void *shim_alloc(size_t n, size_t size);
extern unsigned int shim_alloc_fails;	/* which one from now on; 0: none */

#define kmalloc(size, gfp)	shim_alloc(1, size)
#define kzalloc(size, gfp)	shim_alloc(1, size)
#define kcalloc(n, size, gfp)	shim_alloc(n, size)
#define kvcalloc(n, size, gfp)	shim_alloc(n, size)
#define __vmalloc(size, gfp)	shim_alloc(1, size)
#define kfree(p)		free(p)
#define kvfree(p)		free(p)
#define vfree(p)		free(p)
#define alloc_page(gfp)		((struct page *)shim_alloc(1, PAGE_SIZE))
#define put_page(p)		free(p)
#define __free_page(p)		free(p)
#define page_address(p)		((void *)(p)->data)

#define totalram_pages()	((4UL << 30) >> PAGE_SHIFT)

static inline void *kmemdup(const void *p, size_t size, int gfp)
{
	void *copy = shim_alloc(1, size);

	return copy ? memcpy(copy, p, size) : NULL;
}

static inline void *memchr_inv(const void *p, int c, size_t n)
{
	const u8 *s = p;

	for (; n; s++, n--)
		if (*s != (u8)c)
			return (void *)s;
	return NULL;
}

/* --------------------------------------------------------------- locking */

struct lock {
	bool held;
};

static inline void lock_take(struct lock *l)
{
	if (l->held)
		finding("deadlock: a lock is taken twice");
	l->held = true;
}

static inline void lock_give(struct lock *l)
{
	if (!l->held)
		finding("a lock is released that is not held");
	l->held = false;
}

struct mutex { struct lock l; };
typedef struct { struct lock l; } spinlock_t;

#define mutex_init(m)		((m)->l.held = false)
#define mutex_lock(m)		lock_take(&(m)->l)
#define mutex_unlock(m)		lock_give(&(m)->l)
#define spin_lock_init(s)	((s)->l.held = false)
#define spin_lock(s)		lock_take(&(s)->l)
#define spin_unlock(s)		lock_give(&(s)->l)
#define spin_lock_irq(s)	lock_take(&(s)->l)
#define spin_unlock_irq(s)	lock_give(&(s)->l)
#define lockdep_assert_held(m) do { \
	if (!(m)->l.held) \
		finding("%s without its lock", __func__); \
} while (0)

typedef struct { int counter; } atomic_t;
typedef struct { long counter; } atomic_long_t;

#define atomic_read(a)		((a)->counter)
#define atomic_set(a, v)	((a)->counter = (v))
#define atomic_inc(a)		((void)(a)->counter++)
#define atomic_dec(a)		((void)(a)->counter--)
#define atomic_dec_and_test(a)	(--(a)->counter == 0)
#define atomic_long_read	atomic_read
#define atomic_long_inc		atomic_inc
#define atomic_long_dec		atomic_dec
#define try_cmpxchg(p, old, new) ({ bool same_ = *(p) == *(old); \
	if (same_) \
		*(p) = (new); \
	else \
		*(old) = *(p); \
	same_; })

struct srcu_struct { int readers; };

static inline int srcu_down_read(struct srcu_struct *s)
{
	return s->readers++;
}

static inline void srcu_up_read(struct srcu_struct *s, int idx)
{
	if (--s->readers < 0)
		finding("srcu: more readers end than began");
}

#define srcu_read_lock		srcu_down_read
#define srcu_read_unlock	srcu_up_read
#define start_poll_synchronize_srcu(s)	((unsigned long)((s)->readers >= 0))
#define poll_state_synchronize_srcu(s, c) ((s)->readers == 0 && (c))
#define synchronize_srcu_expedited(s) ((void)(s))

struct percpu_ref { int refs; };

static inline void percpu_ref_get(struct percpu_ref *ref)
{
	ref->refs++;
}

static inline void percpu_ref_put(struct percpu_ref *ref)
{
	if (--ref->refs < 0)
		finding("active_io: dropped more often than taken");
}

struct completion { bool done; };
#define init_completion(c)	((c)->done = false)
#define reinit_completion(c)	((c)->done = false)
#define complete(c)		((void)((c)->done = true))

static inline void wait_for_completion_io(struct completion *c)
{
	if (!c->done)
		finding("hang: waiting for what never comes");
}

typedef struct { int unused; } wait_queue_head_t;
typedef struct { int unused; } mempool_t;
struct bio_set { int unused; };

struct llist_node { struct llist_node *next; };
struct llist_head { struct llist_node *first; };

#define init_llist_head(h)	((h)->first = NULL)

static inline bool llist_add(struct llist_node *n, struct llist_head *h)
{
	n->next = h->first;
	h->first = n;
	return !n->next;
}

static inline struct llist_node *llist_del_all(struct llist_head *h)
{
	struct llist_node *first = h->first;

	h->first = NULL;
	return first;
}

#define llist_reverse_order(n)	(n)
#define llist_for_each_entry_safe(pos, n, node, member) \
	for (pos = (node) ? container_of(node, __typeof__(*pos), member) : NULL; \
	     pos && (n = pos->member.next ? container_of(pos->member.next, \
		     __typeof__(*pos), member) : NULL, true); pos = n)

struct work_struct { void (*func)(struct work_struct *work); };
struct delayed_work { struct work_struct work; };
struct workqueue_struct { int unused; };

#define WQ_MEM_RECLAIM	0
#define WQ_UNBOUND	0
#define WQ_HIGHPRI	0
#define alloc_workqueue(name, ...) \
	((struct workqueue_struct *)shim_alloc(1, sizeof(int)))
#define destroy_workqueue(wq)		free(wq)
#define INIT_WORK(w, f)			((w)->func = (f))
#define INIT_DELAYED_WORK(w, f)		((w)->work.func = (f))
#define to_delayed_work(w)		container_of(w, struct delayed_work, work)
#define queue_work(wq, w)		((void)(w))
#define queue_delayed_work(wq, w, t)	((void)(w))
#define mod_delayed_work(wq, w, t)	((void)(w))
#define flush_work(w)			((void)(w))
#define disable_delayed_work_sync(w)	((void)(w))

#define HZ		250
#define jiffies		0UL

/* --------------------------------------------------------------- messages */

/* Shown with FUZZ_VERBOSE in the environment. */
void shim_log(const char *fmt, ...);

#define pr_err			shim_log
#define pr_warn			shim_log
#define pr_notice		shim_log
#define pr_info			shim_log
#define pr_debug		shim_log
#define pr_err_ratelimited	shim_log
#define pr_warn_ratelimited	shim_log
#define pr_info_ratelimited	shim_log

int sysfs_emit_at(char *page, int at, const char *fmt, ...);

/* -------------------------------------------------------------------- I/O */

#define MaxSector	(~(sector_t)0)

#define REQ_OP_READ	0U
#define REQ_OP_WRITE	1U
#define REQ_META	2U
#define REQ_SYNC	4U
#define REQ_IDLE	8U
#define REQ_FUA		16U
#define REQ_PREFLUSH	32U

struct block_device {
	int		nr;		/* of the member */
	sector_t	sectors;
	unsigned int	block;		/* bytes */
	dev_t		bd_dev;
};

struct request_queue { unsigned int block; };
struct gendisk { struct request_queue *queue; };
struct bio_vec { int unused; };
struct blk_plug { int unused; };

struct bio {
	struct block_device	*bi_bdev;
	blk_opf_t		bi_opf;
	blk_status_t		bi_status;
	void			*bi_private;
	void			(*bi_end_io)(struct bio *bio);
	struct { sector_t bi_sector; unsigned int bi_size; } bi_iter;
	struct page		*page;
};

#define bdev_nr_sectors(b)		((b)->sectors)
#define bdev_logical_block_size(b)	((b)->block)
#define queue_logical_block_size(q)	((q)->block)
#define bio_sectors(b)			((b)->bi_iter.bi_size >> 9)
#define bio_end_sector(b)		((b)->bi_iter.bi_sector + bio_sectors(b))
#define bio_uninit(b)			((void)(b))
#define blk_start_plug(p)		((void)(p))
#define blk_finish_plug(p)		((void)(p))
#define blk_status_to_errno(s)		(-EIO)

static inline void bio_init(struct bio *bio, struct block_device *bdev,
			    struct bio_vec *vec, int nr, blk_opf_t opf)
{
	*bio = (struct bio) { .bi_bdev = bdev, .bi_opf = opf };
}

static inline void __bio_add_page(struct bio *bio, struct page *page,
				  unsigned int len, unsigned int off)
{
	if (off || len > PAGE_SIZE)
		finding("a page with %u bytes from %u on", len, off);
	bio->page = page;
	bio->bi_iter.bi_size = len;
}

void submit_bio(struct bio *bio);

/* --------------------------------------------------------------------- md */

struct mddev;
struct file;

enum { Faulty, In_sync, Bitmap_sync, WriteMostly, Journal, Blocked };
enum { MD_SB_CHANGE_DEVS, MD_SB_CHANGE_PENDING };
enum {
	MD_RECOVERY_NEEDED, MD_RECOVERY_RUNNING, MD_RECOVERY_SYNC,
	MD_RECOVERY_REQUESTED, MD_RECOVERY_INTR,
};

struct md_rdev {
	struct md_rdev		*next;
	struct mddev		*mddev;
	struct block_device	*bdev;
	struct block_device	*meta_bdev;
	struct page		*sb_page;
	u64			sb_events;
	sector_t		data_offset;
	sector_t		sb_start;
	int			sb_size;
	unsigned long		flags;
	int			desc_nr;
	int			raid_disk;
	int			saved_raid_disk;
	sector_t		recovery_offset;
	atomic_t		nr_pending;
};

struct mddev {
	struct md_rdev		*disks;
	void			*private;
	void			*pers;
	unsigned long		sb_flags;
	int			ro;
	int			major_version;
	int			minor_version;
	int			persistent;
	int			external;
	u8			uuid[16];
	sector_t		dev_sectors;
	sector_t		resync_max_sectors;
	sector_t		recovery_cp;
	u64			events;
	int			degraded;
	int			raid_disks;
	int			recovery_disabled;
	bool			fail_last_dev;
	unsigned long		recovery;
	struct gendisk		*gendisk;
	void			*thread;
	spinlock_t		lock;
	struct percpu_ref	active_io;
	void			*bitmap;
	struct {
		struct file	*file;
		loff_t		offset;
		unsigned long	space;
		loff_t		default_offset;
		unsigned long	default_space;
		struct mutex	mutex;
		unsigned long	chunksize;
		unsigned long	daemon_sleep;
		unsigned long	max_write_behind;
		int		external;
		int		nodes;
	} bitmap_info;
};

struct md_bitmap_stats {
	u64		events_cleared;
	int		behind_writes;
	bool		behind_wait;
	unsigned long	missing_pages;
	unsigned long	file_pages;
	unsigned long	sync_size;
	unsigned long	pages;
	struct file	*file;
};

struct md_personality {
	const char	*name;
	int		level;
};

struct queue_limits {
	unsigned int	max_write_zeroes_sectors;
};

#define rdev_for_each(rdev, mddev) \
	for ((rdev) = (mddev)->disks; (rdev); (rdev) = (rdev)->next)
#define mdname(mddev)		((void)(mddev), "md0")
#define md_is_rdwr(mddev)	((mddev)->ro == 0)
#define md_wakeup_thread(t)	((void)(t))

bool sync_page_io(struct md_rdev *rdev, sector_t sector, int size,
		  struct page *page, blk_opf_t opf, bool metadata_op);
void rdev_dec_pending(struct md_rdev *rdev, struct mddev *mddev);

/* named in headers only */
void md_done_sync(struct mddev *mddev, int blocks, int ok);
bool bdev_nonrot(struct block_device *bdev);

#endif
