// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * odd-disk: disks in memory, for tests, with limits and answers that no disk of a
 * test machine has.
 *
 * Parameters that are bit masks have a bit for each disk, /dev/odd0 first.
 *
 *   at loading   secure, atomic, p2p, integrity, small: what a disk supports, or
 *		  that its requests have to be short
 *   at any time  refuse_reads, refuse_writes: requests from sector refuse_from on end
 *		  with BLK_STS_INVAL
 *		  payloads: how many requests came with integrity data, of the right
 *		  length, and right if they were writes
 *		  send: writing DEVICE sends 4 KiB to its start, with integrity data
 *		  fetch: writing DEVICE reads 4 KiB from its start, with room for them
 *		  look: writing DEVICE, then reading: whether its queue has P2PDMA
 */
#include <linux/blk-integrity.h>
#include <linux/blkdev.h>
#include <linux/module.h>
#include <linux/vmalloc.h>

#include "../compat-config.h"

#define DISKS		8
#define MARK		0x5a
#define SEND_BYTES	4096
#define TUPLE		8	/* of integrity data, for each sector */

static unsigned int nr = 2;
module_param(nr, uint, 0444);
static unsigned int mib = 16;
module_param(mib, uint, 0444);
static unsigned int secure;
module_param(secure, uint, 0444);
static unsigned int atomic;
module_param(atomic, uint, 0444);
static unsigned int p2p;
module_param(p2p, uint, 0444);
static unsigned int integrity;
module_param(integrity, uint, 0444);
static unsigned int small;
module_param(small, uint, 0444);
static unsigned int refuse_reads;
module_param(refuse_reads, uint, 0644);
static unsigned int refuse_writes;
module_param(refuse_writes, uint, 0644);
static unsigned long refuse_from;
module_param(refuse_from, ulong, 0644);
static atomic_t payload_count;

static struct odd_disk {
	struct gendisk	*disk;
	u8		*data;
	unsigned int	bit;
} disks[DISKS];
static int major;

static bool odd_refused(const struct odd_disk *d, struct bio *bio)
{
	unsigned int mask = bio_data_dir(bio) == READ ?
			    READ_ONCE(refuse_reads) : READ_ONCE(refuse_writes);

	return mask & d->bit && bio_sectors(bio) &&
	       bio->bi_iter.bi_sector >= READ_ONCE(refuse_from);
}

static void odd_payload(struct bio *bio)
{
	struct bio_integrity_payload *bip = bio_integrity(bio);
	struct bio_vec vec;

	if (!bip)
		return;
	vec = bvec_iter_bvec(bip->bip_vec, bip->bip_iter);
	if (vec.bv_len == bio_sectors(bio) * TUPLE &&
	    (bio_data_dir(bio) == READ || *(u8 *)bvec_virt(&vec) == MARK))
		atomic_inc(&payload_count);
}

static void odd_submit(struct bio *bio)
{
	struct odd_disk *d = bio->bi_bdev->bd_disk->private_data;
	u8 *at = d->data + (bio->bi_iter.bi_sector << 9);
	struct bvec_iter iter;
	struct bio_vec vec;

	if (odd_refused(d, bio)) {
		bio->bi_status = BLK_STS_INVAL;
		bio_endio(bio);
		return;
	}
	odd_payload(bio);
	if (bio_op(bio) == REQ_OP_SECURE_ERASE) {
		memset(at, 0, bio->bi_iter.bi_size);
		bio_endio(bio);
		return;
	}
	bio_for_each_segment(vec, bio, iter) {
		if (bio_data_dir(bio) == READ)
			memcpy_to_bvec(&vec, at);
		else
			memcpy_from_bvec(at, &vec);
		at += vec.bv_len;
	}
	bio_endio(bio);
}

static const struct block_device_operations odd_ops = {
	.owner		= THIS_MODULE,
	.submit_bio	= odd_submit,
};

static void odd_limits(unsigned int bit, struct queue_limits *lim)
{
	if (secure & bit) {
		lim->max_secure_erase_sectors = 1U << 20;
		lim->discard_granularity = 4096;
	}
	if (small & bit)
		lim->max_hw_sectors = 64;
	if (p2p & bit)
		lim->features |= BLK_FEAT_PCI_P2PDMA;
	if (integrity & bit) {
#ifdef MD_HAS_INTEGRITY_METADATA_SIZE
		lim->integrity.metadata_size = TUPLE;
#else
		lim->integrity.tuple_size = TUPLE;
#endif
		lim->integrity.interval_exp = 9;
	}
#ifdef MD_HAS_ATOMIC_WRITES
	if (atomic & bit) {
		lim->features |= BLK_FEAT_ATOMIC_WRITES;
		lim->atomic_write_hw_max = 65536;
		lim->atomic_write_hw_unit_min = 512;
		lim->atomic_write_hw_unit_max = 65536;
	}
#endif
}

static int odd_add(unsigned int i)
{
	struct queue_limits lim = { .logical_block_size = 512 };
	struct odd_disk *d = &disks[i];
	int err;

	d->bit = 1U << i;
	d->data = vzalloc((size_t)mib << 20);
	if (!d->data)
		return -ENOMEM;
	odd_limits(d->bit, &lim);
	d->disk = blk_alloc_disk(&lim, NUMA_NO_NODE);
	if (IS_ERR(d->disk)) {
		err = PTR_ERR(d->disk);
		d->disk = NULL;
		return err;
	}
	d->disk->major = major;
	d->disk->first_minor = i;
	d->disk->minors = 1;
	d->disk->fops = &odd_ops;
	d->disk->private_data = d;
	snprintf(d->disk->disk_name, sizeof(d->disk->disk_name), "odd%u", i);
	set_capacity(d->disk, (sector_t)mib << 11);
	err = add_disk(d->disk);
	if (err) {
		put_disk(d->disk);
		d->disk = NULL;
	}
	return err;
}

static void odd_remove_all(void)
{
	unsigned int i;

	for (i = 0; i < DISKS; i++) {
		if (disks[i].disk) {
			del_gendisk(disks[i].disk);
			put_disk(disks[i].disk);
		}
		vfree(disks[i].data);
	}
	unregister_blkdev(major, "odd");
}

/* ------------------------------------------------------- send and look */

static int odd_exchange(struct block_device *bdev, enum req_op op)
{
	unsigned int bytes = SEND_BYTES / 512 * TUPLE;
	struct bio_integrity_payload *bip;
	struct page *page, *tuples;
	struct bio *bio;
	int err = -ENOMEM;

	page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	tuples = alloc_page(GFP_KERNEL);
	bio = bio_alloc(bdev, 1, op, GFP_KERNEL);
	if (page && tuples) {
		memset(page_address(tuples), MARK, PAGE_SIZE);
		__bio_add_page(bio, page, SEND_BYTES, 0);
		bip = bio_integrity_alloc(bio, GFP_KERNEL, 1);
		err = PTR_ERR_OR_ZERO(bip);
	}
	if (!err)
		err = bio_integrity_add_page(bio, tuples, bytes, 0) == bytes ?
		      submit_bio_wait(bio) : -EINVAL;
	bio_put(bio);
	if (tuples)
		__free_page(tuples);
	if (page)
		__free_page(page);
	return err;
}

static int odd_send(struct block_device *bdev)
{
	return odd_exchange(bdev, REQ_OP_WRITE);
}

static int odd_fetch(struct block_device *bdev)
{
	return odd_exchange(bdev, REQ_OP_READ);
}

static int with_bdev(const char *name, int (*func)(struct block_device *bdev))
{
	char path[64];
	struct file *file;
	int err;

	strscpy(path, name);
	file = bdev_file_open_by_path(strim(path), BLK_OPEN_WRITE, NULL, NULL);
	if (IS_ERR(file))
		return PTR_ERR(file);
	err = func(file_bdev(file));
	fput(file);
	return err;
}

static int send_set(const char *val, const struct kernel_param *kp)
{
	return with_bdev(val, odd_send);
}

static const struct kernel_param_ops send_ops = { .set = send_set };
module_param_cb(send, &send_ops, NULL, 0200);

static int fetch_set(const char *val, const struct kernel_param *kp)
{
	return with_bdev(val, odd_fetch);
}

static const struct kernel_param_ops fetch_ops = { .set = fetch_set };
module_param_cb(fetch, &fetch_ops, NULL, 0200);

static bool look_p2p;

static int odd_look(struct block_device *bdev)
{
	look_p2p = bdev_get_queue(bdev)->limits.features & BLK_FEAT_PCI_P2PDMA;
	return 0;
}

static int look_set(const char *val, const struct kernel_param *kp)
{
	return with_bdev(val, odd_look);
}

static int look_get(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%d\n", look_p2p);
}

static const struct kernel_param_ops look_ops = {
	.set = look_set,
	.get = look_get,
};
module_param_cb(look, &look_ops, NULL, 0600);

static int payloads_get(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%d\n", atomic_read(&payload_count));
}

static const struct kernel_param_ops payloads_ops = { .get = payloads_get };
module_param_cb(payloads, &payloads_ops, NULL, 0400);

static int __init odd_init(void)
{
	unsigned int i;
	int err = 0;

	if (nr > DISKS)
		return -EINVAL;
	major = register_blkdev(0, "odd");
	if (major < 0)
		return major;
	for (i = 0; !err && i < nr; i++)
		err = odd_add(i);
	if (err)
		odd_remove_all();
	return err;
}

static void __exit odd_exit(void)
{
	odd_remove_all();
}

module_init(odd_init);
module_exit(odd_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Disks with odd limits and answers, for the tests of md-raid1");
