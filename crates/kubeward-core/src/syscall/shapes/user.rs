//! Who a process is: user and group ids, capabilities, keys.

use super::group;
use crate::syscall::flags::user::*;
use crate::syscall::ArgKind::*;

group! { User:
    getuid();
    geteuid();
    getgid();
    getegid();
    setuid(uid: Uid);
    setgid(gid: Gid);
    setreuid(ruid: Uid, euid: Uid);
    setregid(rgid: Gid, egid: Gid);
    setresuid(ruid: Uid, euid: Uid, suid: Uid);
    setresgid(rgid: Gid, egid: Gid, sgid: Gid);
    getresuid(ruidp: Ptr, euidp: Ptr, suidp: Ptr);
    getresgid(rgidp: Ptr, egidp: Ptr, sgidp: Ptr);
    setfsuid(uid: Uid);
    setfsgid(gid: Gid);
    getgroups(gidsetsize: Int, grouplist: Ptr);
    setgroups(gidsetsize: Int, grouplist: Ptr);
    capget(header: Ptr, dataptr: Ptr);
    capset(header: Ptr, data: Ptr);
    add_key(type: Str, description: Str, payload: Ptr, plen: Size, ringid: Flags(&KEYRING));
    request_key(type: Str, description: Str, callout_info: Str, destringid: Flags(&KEYRING));
    keyctl(option: Flags(&KEYCTL), arg2: Hex, arg3: Hex, arg4: Hex, arg5: Hex);
}
