/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The path of an open file as its process would name it: from the file's dentry up to the task's root, across mounts.
 *
 * One step is a global function, which the verifier checks once and not once per iteration; bpf_loop would do the same from
 * 5.17 on, but 5.15 is served too.
 */
#ifndef KUBEWARD_PATH_BPF_H
#define KUBEWARD_PATH_BPF_H

#define COMPONENT_BYTES 256 /* NAME_MAX and the NUL */

struct path_walk {
	struct dentry *dentry;
	struct vfsmount *mnt;
	struct dentry *root_dentry;
	struct vfsmount *root_mnt;
	u32 item_at;
};

/* Keeps the compiler from computing with `value` before the comparison that bounds it, where the verifier would not follow. */
#define checked(value) asm volatile("" : "+r"(value))

/* The item that begins at `at`, with room for a string behind it; NULL when the record is full. */
static __always_inline struct kw_item *item_at(struct record_buffer *buffer, u64 at)
{
	if (at > KW_ITEMS_BYTES)
		return NULL;
	checked(at);
	return (struct kw_item *)&buffer->items[at];
}

static __always_inline struct kw_item *open_item(struct record_buffer *buffer, u32 arg, u32 kind)
{
	struct kw_item *item = item_at(buffer, buffer->record.items_bytes);

	if (!item)
		return NULL;
	item->arg = arg;
	item->kind = kind;
	item->flags = 0;
	item->pad = 0;
	item->bytes = 0;
	return item;
}

static __always_inline void close_item(struct record_buffer *buffer, const struct kw_item *item)
{
	buffer->record.items_bytes += sizeof(*item) + item->bytes;
}

/* Appends one component's name to the open item. Returns whether there was room. */
static __always_inline bool append_component(struct record_buffer *buffer, u32 start, struct dentry *dentry)
{
	struct kw_item *item = item_at(buffer, start);
	const unsigned char *name;
	u64 at;
	long n;

	if (!item)
		return false;
	at = start + sizeof(*item) + item->bytes;
	if (at > KW_ITEMS_BYTES) {
		item->flags |= KW_ITEM_CUT;
		return false;
	}
	checked(at);
	name = BPF_CORE_READ(dentry, d_name.name);
	n = bpf_probe_read_kernel_str(&buffer->items[at], COMPONENT_BYTES, name);
	if (n <= 0) {
		item->flags |= KW_ITEM_UNREADABLE;
		return false;
	}
	item->bytes += n;
	return true;
}

/* One step towards the root. Returns 0 while there is more to do. */
__noinline int path_step(struct record_buffer *buffer, struct path_walk *walk)
{
	struct dentry *dentry, *parent;
	struct mount *mnt, *above;
	struct vfsmount *vfsmnt;

	if (!buffer || !walk)
		return 1;
	dentry = walk->dentry;
	vfsmnt = walk->mnt;
	if (dentry == walk->root_dentry && vfsmnt == walk->root_mnt)
		return 1;
	if (dentry == BPF_CORE_READ(vfsmnt, mnt_root)) {
		mnt = (void *)vfsmnt - bpf_core_field_offset(struct mount, mnt);
		above = BPF_CORE_READ(mnt, mnt_parent);
		if (above == mnt)
			return 1;
		walk->dentry = BPF_CORE_READ(mnt, mnt_mountpoint);
		walk->mnt = (void *)above + bpf_core_field_offset(struct mount, mnt);
		return 0;
	}
	if (!append_component(buffer, walk->item_at, dentry))
		return 1;
	parent = BPF_CORE_READ(dentry, d_parent);
	if (parent == dentry)
		return 1;
	walk->dentry = parent;
	return 0;
}

/* Appends the path of `file` (a struct file *) to the record, as those name it whose root is that of `fs` (a struct fs_struct *). */
__noinline int append_path_in(struct record_buffer *buffer, u64 file_address, u64 fs_address)
{
	struct file *file = (struct file *)file_address;
	struct fs_struct *fs = (struct fs_struct *)fs_address;
	struct path_walk walk = {};
	struct kw_item *item;
	u32 start;
	int i;

	if (!buffer)
		return 0;
	item = open_item(buffer, 6, KW_ITEM_PATH);
	if (!item)
		return 0;
	start = buffer->record.items_bytes;
	walk.item_at = start;
	walk.dentry = BPF_CORE_READ(file, f_path.dentry);
	walk.mnt = BPF_CORE_READ(file, f_path.mnt);
	walk.root_dentry = BPF_CORE_READ(fs, root.dentry);
	walk.root_mnt = BPF_CORE_READ(fs, root.mnt);
	for (i = 0; i < KW_PATH_STEPS; i++) {
		if (path_step(buffer, &walk))
			break;
	}
	item = item_at(buffer, start);
	if (!item)
		return 0;
	if (i == KW_PATH_STEPS)
		item->flags |= KW_ITEM_CUT;
	close_item(buffer, item);
	return 0;
}

/* Appends the path of the current task's open file `fd`. */
static __always_inline void append_fd_path(struct record_buffer *buffer, struct task_struct *task, u32 fd)
{
	struct fdtable *fdt = BPF_CORE_READ(task, files, fdt);
	struct file **files, *file = NULL;

	if (fd >= BPF_CORE_READ(fdt, max_fds))
		return;
	files = BPF_CORE_READ(fdt, fd);
	bpf_probe_read_kernel(&file, sizeof(file), &files[fd]);
	if (file)
		append_path_in(buffer, (u64)file, (u64)BPF_CORE_READ(task, fs));
}

#endif
