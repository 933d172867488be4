/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The kernel fields that KubeWard reads, and no others. Every access is relocated to the running kernel's layout when the
 * object is loaded (CO-RE), so order and gaps here mean nothing.
 */
#ifndef KUBEWARD_KERNEL_H
#define KUBEWARD_KERNEL_H

#include <linux/types.h>
#include <stdbool.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;

#define NULL ((void *)0)

#include "arch.bpf.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	unsigned int inum;
};

/* From 6.18 on. */
struct ns_common___id {
	u64 ns_id;
};

struct mnt_namespace {
	struct ns_common ns;
};

/* Before 6.18. */
struct mnt_namespace___seq {
	u64 seq;
};

struct pid_namespace {
	unsigned int level;
	struct ns_common ns;
};

struct nsproxy {
	struct mnt_namespace *mnt_ns;
};

struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level;
	struct upid numbers[1];
};

struct kernfs_node {
	u64 id;
	const char *name;
};

struct cgroup;

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
};

struct cgroup_root {
	int hierarchy_id;
};

struct cgroup {
	struct cgroup_subsys_state self;
	int level;
	struct kernfs_node *kn;
	struct cgroup_root *root;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

typedef struct {
	unsigned int val;
} kuid_t;

typedef struct {
	unsigned int val;
} kgid_t;

struct cred {
	kuid_t uid;
	kgid_t gid;
};

struct qstr {
	const unsigned char *name;
};

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
};

struct vfsmount {
	struct dentry *mnt_root;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct file {
	struct path f_path;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct fs_struct {
	struct path root;
};

struct mm_struct {
	unsigned long arg_start;
	unsigned long arg_end;
	struct file *exe_file;
};

struct seccomp {
	int mode;
};

struct signal_struct {
	struct pid *pids[4];
};

struct bpf_local_storage;

struct task_struct {
	struct thread_info thread_info;
	int pid;
	int tgid;
	u64 start_time;
	u64 start_boottime;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	const struct cred *cred;
	struct nsproxy *nsproxy;
	struct css_set *cgroups;
	struct files_struct *files;
	struct fs_struct *fs;
	struct mm_struct *mm;
	struct seccomp seccomp;
	struct bpf_local_storage *bpf_storage;
	char comm[16];
};

struct io_cqe {
	u64 user_data;
	s32 res;
	u32 flags;
};

struct io_ring_ctx {
	unsigned int flags;
	u32 *sq_array;
	void *sq_sqes;
	unsigned int cached_sq_head;
	unsigned int sq_entries;
};

struct io_kiocb {
	u8 opcode;
	unsigned int flags; /* the lower half of 8 bytes from 6.8 on */
	struct io_cqe cqe;
	struct io_ring_ctx *ctx;
	const struct cred *creds;
};

struct linux_binprm {
	const char *filename;
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

struct trace_event_raw_sys_enter {
	long id;
};

struct trace_event_raw_sched_process_exec {
	u32 __data_loc_filename; /* offset from the event's start in the lower half */
};

struct trace_event_raw_sys_exit {
	long id;
	long ret;
};

struct io_uring_cqe {
	u64 user_data;
	s32 res;
	u32 flags;
};

struct trace_event_raw_io_uring_submit_req {
	void *req;
};

struct trace_event_raw_io_uring_submit_sqe { /* the same before 6.5 */
	void *req;
};

struct trace_event_raw_io_uring_req_failed {
	void *req;
};

struct trace_event_raw_io_uring_complete {
	void *ctx;
	void *req;
	u64 user_data;
	int res;
	unsigned int cflags;
};

struct trace_event_raw_io_uring_cqe_overflow {
	void *ctx;
	unsigned long long user_data;
	s32 res;
	u32 cflags;
};

#pragma clang attribute pop

#define KW_SECCOMP_MODE_FILTER 2 /* include/uapi/linux/seccomp.h */

#endif
