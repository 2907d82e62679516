// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * layout.c: what the module and md core must understand alike
 *
 * No part of md-raid1.ko.  It's compiled before the module, with the same
 * headers, so that scripts/check-layout can compare what they say about each
 * member of struct layout with what md-mod.ko was built with.  Structures are
 * compared with all that is embedded in them, enumerations by their values,
 * functions by their types.
 *
 * Whatever of md's private headers the module comes to use is added here;
 * `make check` tells what is missing.
 */
#include <linux/raid/md_p.h>
#include <linux/raid/md_u.h>
#include "compat-config.h"
#include "md.h"
#include "md-bitmap.h"
#include "md-cluster.h"

struct layout {
	/* md's structures */
	struct mddev mddev;
	struct md_rdev md_rdev;
	struct md_personality md_personality;
	struct md_thread md_thread;
	struct md_io_clone md_io_clone;
	struct md_sysfs_entry md_sysfs_entry;
	struct md_cluster_operations md_cluster_operations;
	struct bitmap_operations bitmap_operations;
	struct md_bitmap_stats md_bitmap_stats;
	struct serial_in_rdev serial_in_rdev;

	/* what md writes to the disks */
	struct bitmap_super_s bitmap_super_s;
	struct mdp_superblock_s mdp_superblock_s;
	struct mdp_superblock_1 mdp_superblock_1;

	/* flags in them */
	enum flag_bits flag_bits;
	enum mddev_flags mddev_flags;
	enum mddev_sb_flags mddev_sb_flags;
	enum recovery_flags recovery_flags;
	enum sync_action sync_action;
	enum md_ro_state md_ro_state;
	enum bitmap_state bitmap_state;
#ifdef MD_HAS_SUBMODULES
	struct md_submodule_head md_submodule_head;
	enum md_submodule_type md_submodule_type;
	enum md_submodule_id md_submodule_id;
#endif

	/* structures of the block layer that both sides look into */
	struct bio bio;
	struct bio_set bio_set;
	struct bio_vec bio_vec;
	struct block_device block_device;
	struct gendisk gendisk;
	struct request_queue request_queue;
	struct queue_limits queue_limits;
	struct badblocks badblocks;
	struct page page;

	/* functions of md core */
	typeof(&__md_wakeup_thread) __md_wakeup_thread;
	typeof(&md_account_bio) md_account_bio;
	typeof(&md_allow_write) md_allow_write;
	typeof(&md_check_recovery) md_check_recovery;
	typeof(&md_done_sync) md_done_sync;
#ifdef MD_HAS_SYNC_ERROR
	typeof(&md_sync_error) md_sync_error;
#endif
	typeof(&md_error) md_error;
	typeof(&md_flush_request) md_flush_request;
	typeof(&md_init_stacking_limits) md_init_stacking_limits;
	typeof(&md_integrity_register) md_integrity_register;
	typeof(&md_register_thread) md_register_thread;
	typeof(&md_set_array_sectors) md_set_array_sectors;
	typeof(&md_unregister_thread) md_unregister_thread;
	typeof(&md_update_sb) md_update_sb;
	typeof(&md_wait_for_blocked_rdev) md_wait_for_blocked_rdev;
	typeof(&md_write_end) md_write_end;
	typeof(&md_write_start) md_write_start;
	typeof(&mddev_resume) mddev_resume;
	typeof(&mddev_stack_rdev_limits) mddev_stack_rdev_limits;
	typeof(&mddev_suspend) mddev_suspend;
	typeof(&mddev_unlock) mddev_unlock;
	typeof(&rdev_clear_badblocks) rdev_clear_badblocks;
	typeof(&rdev_set_badblocks) rdev_set_badblocks;
#ifdef MD_HAS_SUBMODULES
	typeof(&register_md_submodule) register_md_submodule;
#else
	typeof(&register_md_personality) register_md_personality;
#endif
	typeof(&sync_page_io) sync_page_io;
#ifdef MD_HAS_SUBMODULES
	typeof(&unregister_md_submodule) unregister_md_submodule;
#else
	typeof(&unregister_md_personality) unregister_md_personality;
#endif
};

/* Makes the compiler describe it. */
struct layout *layout;
