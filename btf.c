// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * md-raid1: is the kernel that runs the one that this was built for?
 *
 * md's structures are private to it, and change without notice. When the module
 * is built, scripts/check-layout compares them with those of the kernel that it is
 * built for, and leaves in layout-sums.h, for each one that the module and md
 * share, a sum of how it is laid out. When the module is loaded, the same sums are
 * made here of what the running kernel says of itself: of the types in
 * /sys/kernel/btf/vmlinux and, if md core is a module, md_mod. The kernel compares
 * its version with the module's before that, but can be told not to, and versions
 * can be the same where structures are not.
 *
 * A sum is the CRC-32 of, for a structure or union, each member in their order:
 *
 *	name, 0		bit		bits if it is a bit-field, or 0
 *	char...		le32		le32
 *
 *	kind of type	its size, an array's length, or 0
 *	le32		le32
 *
 * for an array, the latter two of its elements as well; and, if the member, or each
 * element of it, is a structure or union, the same of that. For an enumeration,
 * it is that of each name, 0 and value (le32). Kinds and all else about types are
 * those of Documentation/bpf/btf.rst in the kernel's source; aliases and qualifiers
 * are passed over, and ENUM64 is ENUM.
 *
 * Locks: none, all of this is done once, when the module is loaded.
 */
#include <linux/btf.h>
#include <linux/crc32.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/vmalloc.h>

#include "compat.h"

/* Structures are not embedded in each other more often than this. */
#define DEPTH_MAX	16

struct layout_sum {
	u32		kind;
	const char	*name;
	u32		size;	/* bytes */
	u32		sum;
};

/* made by scripts/check-layout, when it is started by "make", not by kbuild alone */
static const struct layout_sum layout_sums[] __initconst = {
#include "layout-sums.h"
};

/**
 * struct types - the types of a kernel
 * @file:	what was read: of vmlinux, and of md core if that is a module
 * @strings:	names; those of the second file go on where the first one's end
 * @length:	of these, in bytes
 * @type:	by their numbers; those of the second file go on likewise
 * @nr:		how many
 */
struct types {
	void				*file[2];
	const char			*strings[2];
	u32				length[2];
	const struct btf_type		**type;
	u32				nr;
};

static const char * __init type_string(const struct types *t, u32 at)
{
	if (at < t->length[0])
		return t->strings[0] + at;
	at -= t->length[0];
	return at < t->length[1] ? t->strings[1] + at : "";
}

/* What follows a struct btf_type, in bytes; negative: what that is, is unknown. */
static int __init type_tail(const struct btf_type *type)
{
	int nr = BTF_INFO_VLEN(type->info);

	switch (BTF_INFO_KIND(type->info)) {
	case BTF_KIND_INT:
	case BTF_KIND_VAR:
	case BTF_KIND_DECL_TAG:
		return 4;
	case BTF_KIND_ARRAY:
		return sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return nr * sizeof(struct btf_member);
	case BTF_KIND_ENUM:
		return nr * sizeof(struct btf_enum);
	case BTF_KIND_ENUM64:
		return nr * sizeof(struct btf_enum64);
	case BTF_KIND_FUNC_PROTO:
		return nr * sizeof(struct btf_param);
	case BTF_KIND_DATASEC:
		return nr * sizeof(struct btf_var_secinfo);
	case BTF_KIND_PTR:
	case BTF_KIND_FWD:
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_CONST:
	case BTF_KIND_RESTRICT:
	case BTF_KIND_FUNC:
	case BTF_KIND_FLOAT:
	case BTF_KIND_TYPE_TAG:
		return 0;
	default:
		return -1;
	}
}

/* Number the types of a file, or only count them. */
static int __init types_number(struct types *t, int nr)
{
	const struct btf_header *head = t->file[nr];
	const void *at, *end;

	at = t->file[nr] + head->hdr_len + head->type_off;
	end = at + head->type_len;
	while (at < end) {
		int tail;

		if (end - at < sizeof(struct btf_type))
			return -EINVAL;
		tail = type_tail(at);
		if (tail < 0)
			return -EINVAL;
		if (t->type)
			t->type[t->nr] = at;
		t->nr++;
		at += sizeof(struct btf_type) + tail;
	}
	return at == end ? 0 : -EINVAL;
}

/* A file of sysfs as a whole: *@size bytes, or an error. */
static void * __init file_read(const char *path, size_t *size)
{
	struct file *file = filp_open(path, O_RDONLY, 0);
	void *data = ERR_PTR(-EINVAL);
	ssize_t got = 1;
	loff_t pos = 0;

	if (IS_ERR(file))
		return ERR_CAST(file);
	*size = i_size_read(file_inode(file));
	if (*size && *size <= INT_MAX)
		data = vmalloc(*size) ?: ERR_PTR(-ENOMEM);
	/* sysfs gives a page at a time */
	while (!IS_ERR(data) && pos < *size && got > 0)
		got = kernel_read(file, data + pos, *size - pos, &pos);
	if (got <= 0) {
		vfree(data);
		data = ERR_PTR(got ?: -EIO);
	}
	filp_close(file, NULL);
	return data;
}

static int __init types_read(struct types *t, int nr, const char *path)
{
	struct btf_header *head;
	size_t size = 0;

	head = file_read(path, &size);
	if (IS_ERR(head))
		return PTR_ERR(head);
	t->file[nr] = head;
	if (size < sizeof(*head) || head->magic != BTF_MAGIC ||
	    (u64)head->hdr_len + head->type_off + head->type_len > size ||
	    (u64)head->hdr_len + head->str_off + head->str_len > size ||
	    !head->str_len)
		return -EINVAL;
	t->strings[nr] = t->file[nr] + head->hdr_len + head->str_off;
	t->length[nr] = head->str_len;
	return t->strings[nr][head->str_len - 1] ? -EINVAL : 0;
}

static int __init types_load(struct types *t)
{
	int err, pass;

	err = types_read(t, 0, "/sys/kernel/btf/vmlinux");
	if (!err && IS_MODULE(CONFIG_BLK_DEV_MD))
		err = types_read(t, 1, "/sys/kernel/btf/md_mod");
	/* the number 0 is void */
	for (pass = 0; !err && pass < 2; pass++) {
		t->nr = 1;
		err = types_number(t, 0);
		if (!err && t->file[1])
			err = types_number(t, 1);
		if (!err && !t->type) {
			t->type = kvcalloc(t->nr, sizeof(*t->type), GFP_KERNEL);
			err = t->type ? 0 : -ENOMEM;
		}
	}
	return err;
}

/* A type without aliases and qualifiers; NULL is void. */
static const struct btf_type * __init type_plain(const struct types *t, u32 nr)
{
	const struct btf_type *type;
	int i;

	for (i = 0; i < DEPTH_MAX; i++) {
		type = nr < t->nr ? t->type[nr] : NULL;
		if (!type)
			return NULL;
		switch (BTF_INFO_KIND(type->info)) {
		case BTF_KIND_TYPEDEF:
		case BTF_KIND_VOLATILE:
		case BTF_KIND_CONST:
		case BTF_KIND_RESTRICT:
		case BTF_KIND_TYPE_TAG:
			nr = type->type;
			continue;
		}
		return type;
	}
	return NULL;
}

static u32 __init type_kind(const struct btf_type *type)
{
	u32 kind = type ? BTF_INFO_KIND(type->info) : BTF_KIND_UNKN;

	return kind == BTF_KIND_ENUM64 ? BTF_KIND_ENUM : kind;
}

static u32 __init type_size(const struct btf_type *type)
{
	switch (type_kind(type)) {
	case BTF_KIND_INT:
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
	case BTF_KIND_ENUM:
	case BTF_KIND_FLOAT:
		return type->size;
	case BTF_KIND_ARRAY:
		return ((const struct btf_array *)(type + 1))->nelems;
	default:
		return 0;
	}
}

static u32 __init sum_words(u32 sum, u32 one, u32 two)
{
	__le32 word[2] = { cpu_to_le32(one), cpu_to_le32(two) };

	return crc32_le(sum, (const u8 *)word, sizeof(word));
}

static u32 __init sum_string(const struct types *t, u32 sum, u32 at)
{
	const char *name = type_string(t, at);

	return crc32_le(sum, name, strlen(name) + 1);
}

static u32 __init sum_values(const struct types *t, u32 sum,
			     const struct btf_type *type)
{
	bool wide = BTF_INFO_KIND(type->info) == BTF_KIND_ENUM64;
	const __u32 *word = (const __u32 *)(type + 1);
	u32 nr = BTF_INFO_VLEN(type->info);
	__le32 value;

	for (; nr--; word += wide ? 3 : 2) {
		sum = sum_string(t, sum, word[0]);
		value = cpu_to_le32(word[1]);
		sum = crc32_le(sum, (const u8 *)&value, sizeof(value));
	}
	return sum;
}

static u32 __init sum_type(const struct types *t, u32 sum,
			   const struct btf_type *type, int depth)
{
	const struct btf_member *m = (const struct btf_member *)(type + 1);
	bool fields = BTF_INFO_KFLAG(type->info);
	u32 nr = BTF_INFO_VLEN(type->info);

	if (type_kind(type) == BTF_KIND_ENUM)
		return sum_values(t, sum, type);
	for (; nr--; m++) {
		const struct btf_type *of = type_plain(t, m->type);
		u32 kind = type_kind(of);

		sum = sum_string(t, sum, m->name_off);
		if (fields)
			sum = sum_words(sum, BTF_MEMBER_BIT_OFFSET(m->offset),
					BTF_MEMBER_BITFIELD_SIZE(m->offset));
		else
			sum = sum_words(sum, m->offset, 0);
		sum = sum_words(sum, kind, type_size(of));
		if (kind == BTF_KIND_ARRAY) {
			of = type_plain(t, ((const struct btf_array *)(of + 1))->type);
			kind = type_kind(of);
			sum = sum_words(sum, kind, type_size(of));
		}
		if ((kind == BTF_KIND_STRUCT || kind == BTF_KIND_UNION) &&
		    depth < DEPTH_MAX)
			sum = sum_type(t, sum, of, depth + 1);
	}
	return sum;
}

/* There may be more than one of a name: any will do. */
static bool __init layout_found(const struct types *t,
				const struct layout_sum *want)
{
	u32 nr;

	for (nr = 1; nr < t->nr; nr++) {
		const struct btf_type *type = t->type[nr];

		if (type_kind(type) == want->kind && type->size == want->size &&
		    !strcmp(type_string(t, type->name_off), want->name) &&
		    ~sum_type(t, ~0U, type, 0) == want->sum)
			return true;
	}
	return false;
}

/**
 * layout_same() - are md's structures those that the module was compiled with?
 *
 * Context: may sleep; when the module is loaded.
 * Return: true if so; if not, or if it cannot be known, that is logged
 */
bool __init layout_same(void)
{
	struct types types = {};
	int err = types_load(&types);
	bool same = !err;
	int i;

	if (err)
		pr_err("md-raid1: cannot read in /sys/kernel/btf how this kernel's md is laid out, and if it was made for it: error %d\n",
		       err);
	for (i = 0; same && i < ARRAY_SIZE(layout_sums); i++) {
		same = layout_found(&types, &layout_sums[i]);
		if (!same)
			pr_err("md-raid1: made for another kernel, %s %s is different in this one: build it for this one\n",
			       layout_sums[i].kind == BTF_KIND_ENUM ?
			       "enum" : "struct", layout_sums[i].name);
	}
	kvfree(types.type);
	vfree(types.file[1]);
	vfree(types.file[0]);
	return same;
}
