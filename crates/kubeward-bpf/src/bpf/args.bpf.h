/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What arguments point to, copied from user memory into a record's items. */
#ifndef KUBEWARD_ARGS_BPF_H
#define KUBEWARD_ARGS_BPF_H

#define ARGV_COMPAT (1 << 31) /* pointers of 4 bytes */

/* Both limits of a profile in one number: a global function has five arguments. */
static __always_inline u32 pack_limits(const struct kw_profile *profile)
{
	return profile->arg_bytes | profile->argv_bytes << 16;
}

__noinline int append_string(struct record_buffer *buffer, u64 pointer, u32 arg, u32 limit)
{
	struct kw_item *item;
	u64 room = limit;
	char next = 0;
	long n;

	if (!buffer)
		return 0;
	item = open_item(buffer, arg, KW_ITEM_STRING);
	if (!item)
		return 0;
	checked(room);
	if (room == 0 || room > KW_STRING_BYTES)
		room = KW_STRING_BYTES;
	checked(room);
	n = bpf_probe_read_user_str(item + 1, room, (void *)pointer);
	if (n > 0) {
		item->bytes = n - 1;
		if ((u64)n == room && !bpf_probe_read_user(&next, 1, (void *)(pointer + n - 1)) && next)
			item->flags |= KW_ITEM_CUT;
	} else {
		item->flags |= KW_ITEM_UNREADABLE;
	}
	close_item(buffer, item);
	return n > 0 ? 0 : -1;
}

/* Appends argv[index] to the item that begins at `start`. Returns 0 while there may be more, -1 on a fault. */
__noinline int append_argv_string(struct record_buffer *buffer, u64 argv, u32 index, u32 start, u32 limit)
{
	struct kw_item *item;
	u64 pointer = 0, at, room;
	char next = 0;
	long n;

	if (!buffer)
		return 1;
	item = item_at(buffer, start);
	if (!item)
		return 1;
	if (index & ARGV_COMPAT)
		n = bpf_probe_read_user(&pointer, 4, (void *)(argv + 4 * (u64)(index & 0xffff)));
	else
		n = bpf_probe_read_user(&pointer, 8, (void *)(argv + 8 * (u64)(index & 0xffff)));
	if (n) {
		item->flags |= KW_ITEM_UNREADABLE;
		return -1;
	}
	if (!pointer)
		return 1;
	at = start + sizeof(*item) + item->bytes;
	room = limit - item->bytes;
	if (item->bytes >= limit || at > KW_ITEMS_BYTES) {
		item->flags |= KW_ITEM_CUT;
		return 1;
	}
	checked(at);
	if (room > KW_STRING_BYTES)
		room = KW_STRING_BYTES;
	checked(room);
	n = bpf_probe_read_user_str(&buffer->items[at], room, (void *)pointer);
	if (n <= 0) {
		item->flags |= KW_ITEM_UNREADABLE;
		return -1;
	}
	item->bytes += n;
	if ((u64)n == room && !bpf_probe_read_user(&next, 1, (void *)(pointer + n - 1)) && next) {
		item->flags |= KW_ITEM_CUT;
		return 1;
	}
	return 0;
}

__noinline int append_argv(struct record_buffer *buffer, u64 argv, u32 arg, u32 limit)
{
	struct kw_item *item;
	u32 start, compat = 0;
	int i, done = 0;

	if (!buffer)
		return 0;
	item = open_item(buffer, arg, KW_ITEM_ARGV);
	if (!item)
		return 0;
	if (buffer->record.flags & KW_RECORD_COMPAT)
		compat = ARGV_COMPAT;
	start = buffer->record.items_bytes;
	for (i = 0; i < KW_ARGV_STRINGS; i++) {
		done = append_argv_string(buffer, argv, i | compat, start, limit);
		if (done)
			break;
	}
	item = item_at(buffer, start);
	if (!item)
		return 0;
	if (i == KW_ARGV_STRINGS)
		item->flags |= KW_ITEM_CUT;
	close_item(buffer, item);
	return done < 0 ? -1 : 0;
}

__noinline int append_sockaddr(struct record_buffer *buffer, u64 pointer, u32 arg, u32 bytes)
{
	struct kw_item *item;
	long err;

	if (!buffer || bytes == 0)
		return 0;
	item = open_item(buffer, arg, KW_ITEM_SOCKADDR);
	if (!item)
		return 0;
	if (bytes > KW_SOCKADDR_BYTES) {
		bytes = KW_SOCKADDR_BYTES;
		item->flags |= KW_ITEM_CUT;
	}
	err = bpf_probe_read_user(item + 1, bytes, (void *)pointer);
	if (err)
		item->flags |= KW_ITEM_UNREADABLE;
	else
		item->bytes = bytes;
	close_item(buffer, item);
	return err ? -1 : 0;
}

/* Appends everything that the caller filled. Returns the number of arguments that could not be read. */
__noinline int append_inputs(struct record_buffer *buffer, struct call_args *args, u32 nr, u32 limits)
{
	struct kw_shape *shape;
	int unreadable = 0;

	shape = bpf_map_lookup_elem(&call_shapes, &nr);
	if (!shape || !buffer || !args)
		return 0;
	for (u32 i = 0; i < 6; i++) {
		u64 pointer = args->v[i];
		u32 len_arg = shape->len_arg[i];
		int err = 0;

		if (!pointer)
			continue;
		switch (shape->capture[i]) {
		case KW_CAPTURE_STRING:
			err = append_string(buffer, pointer, i, limits & 0xffff);
			break;
		case KW_CAPTURE_ARGV:
			err = append_argv(buffer, pointer, i, limits >> 16);
			break;
		case KW_CAPTURE_SOCKADDR_IN:
			if (len_arg < 6)
				err = append_sockaddr(buffer, pointer, i, args->v[len_arg]);
			break;
		}
		if (err < 0)
			unreadable++;
	}
	return unreadable;
}

/* Appends everything that the kernel filled. Returns the number of arguments that could not be read. */
__noinline int append_outputs(struct record_buffer *buffer, struct call_args *args, u32 nr)
{
	struct kw_shape *shape;
	int unreadable = 0;

	shape = bpf_map_lookup_elem(&call_shapes, &nr);
	if (!shape || !buffer || !args)
		return 0;
	for (u32 i = 0; i < 6; i++) {
		u32 len_arg = shape->len_arg[i];
		u32 bytes = 0;

		if (shape->capture[i] != KW_CAPTURE_SOCKADDR_OUT || !args->v[i] || len_arg >= 6)
			continue;
		if (bpf_probe_read_user(&bytes, sizeof(bytes), (void *)args->v[len_arg]) ||
		    append_sockaddr(buffer, args->v[i], i, bytes) < 0)
			unreadable++;
	}
	return unreadable;
}

#endif
