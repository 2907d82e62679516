// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * md-raid1: a task is stopped between two steps, for tests. Compiled with "make HOLD=y"
 * only; see Kbuild.
 *
 * The module's parameter "hold" has the names of points in the code, as r1_hold() has
 * them, with blanks between them. A task that gets to one of them stops until "hold" is
 * changed. "held" counts the tasks that are stopped.
 */
#include <linux/delay.h>
#include <linux/module.h>

#include "../../raid1.h"

static char hold[64];
module_param_string(hold, hold, sizeof(hold), 0600);
MODULE_PARM_DESC(hold, "tasks that get to these points stop");

static atomic_t holds;

static int held_get(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%d\n", atomic_read(&holds));
}

static const struct kernel_param_ops held_ops = {
	.get = held_get,
};

module_param_cb(held, &held_ops, NULL, 0400);
MODULE_PARM_DESC(held, "number of tasks that are stopped");

static bool is_held(const char *point)
{
	size_t len = strlen(point);
	bool found = false;
	const char *at;

	kernel_param_lock(THIS_MODULE);
	for (at = hold; *at && !found; at += strcspn(at, " \n")) {
		at += strspn(at, " \n");
		found = strcspn(at, " \n") == len && !memcmp(at, point, len);
	}
	kernel_param_unlock(THIS_MODULE);
	return found;
}

/**
 * r1_hold() - stop here if a test wants that
 * @point:	the name of the place
 *
 * Context: sleeps.
 */
void r1_hold(const char *point)
{
	if (!is_held(point))
		return;
	atomic_inc(&holds);
	while (is_held(point))
		msleep(20);
	atomic_dec(&holds);
}
